"""What all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres import empty_database, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that the gateway runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server; see `tests/postgres.py`."""
    with running_server() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with empty_database(postgres_server) as url:
        yield url
