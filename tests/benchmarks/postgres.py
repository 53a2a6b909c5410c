"""A PostgreSQL for the measurements: an empty database on the server that the tests use."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.postgres import empty_database, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of an empty database."""
    with running_server() as server, empty_database(server) as url:
        yield url
