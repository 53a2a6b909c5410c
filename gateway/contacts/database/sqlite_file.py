"""A database file of ours: made, opened, brought to this program's schema; and what SQLite's errors mean.

A file is never replaced: what is damaged, not ours or left over is reported and stays as it is (R38).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from gateway.contacts.database.schema.migrations import (
    CREATE_MIGRATIONS,
    INSERT_MIGRATION,
    MIGRATIONS,
    SELECT_MIGRATIONS,
    pending,
)
from gateway.errors import Code, Outage, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRITER_PATIENCE = 10.0
"""Seconds that a connection waits for another process to finish writing."""

_APPLICATION_ID = 0x67776964
"""`gwid`, in the header of each database that this program makes."""


def create(path: Path) -> None:
    """Make an empty database that is marked as ours, mode 0600. It takes its name only when it is whole."""
    if path.with_name(f"{path.name}-wal").exists():
        raise StoreUnusable(f"{path} is missing, but its write-ahead log is there: bring the database back to it")
    unfinished: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # 0600, and nobody else's name
        os.close(descriptor)
        unfinished = Path(name)
        connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.hardlink_to(unfinished)
    except (OSError, apsw.Error) as error:
        raise StoreUnusable(f"{path} cannot be made: {error}") from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def migrate(path: Path) -> list[str]:
    """Bring a database to this program's schema; return the names of the migrations that were applied."""
    connection = connect(path)
    names: list[str] = []
    try:
        while step := _migrate_once(connection, path):
            names.append(step)
    except apsw.Error as error:
        raise _unusable(error, path) from error
    finally:
        connection.close()
    return names


def connect(path: Path, *, patience: float = WRITER_PATIENCE) -> apsw.Connection:
    """A connection to a database of ours, with the settings that the store's promises need.

    It waits `patience` seconds for another process to finish writing. Raises `StoreUnusable` and `Outage`.
    """
    if inode(path) is None:
        raise StoreUnusable(f"there is no database at {path}: run `gateway db migrate` to make one")
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error as error:
        raise _unusable(error, path) from error
    try:
        connection.set_busy_handler(lambda times: times * 0.001 < patience and _pause())
        # Without it, binding other values than the last time prepares a join anew (STAT4): 25 us instead of 5.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        _check_ours(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten, not merely marked as free: a deleted person leaves the file, too.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync alone leaves data in the disk's cache
        connection.execute("PRAGMA cache_size = -65536")
    except BaseException as error:
        connection.close()
        if isinstance(error, apsw.Error):
            raise _unusable(error, path) from error
        raise
    return connection


def applied(connection: apsw.Connection, path: Path) -> int:
    """How many migrations the database has seen."""
    try:
        # A statement, for it looks into the file: `table_exists` asks what the connection last knew of the schema.
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchall():
            return 0
        return len(connection.execute(SELECT_MIGRATIONS).fetchall())
    except apsw.Error as error:
        raise _unusable(error, path) from error


def execute(connection: apsw.Connection, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
    """Run a statement and return its rows; raises `Outage`, and `ValueError` for what cannot be bound."""
    try:
        return connection.execute(sql, arguments).fetchall()
    except apsw.Error as error:
        raise outage(error) from error


def execute_many(connection: apsw.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run a statement for each of many rows and return how many rows it changed; raises as `execute`."""
    before = connection.total_changes()
    try:
        connection.executemany(sql, rows)
    except apsw.Error as error:
        raise outage(error) from error
    return connection.total_changes() - before


def scratch() -> apsw.Connection:
    """An empty store that nobody else sees; what its cache cannot hold lies in a file without a name."""
    connection = apsw.Connection("")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA cache_size = -16384")
    for migration in MIGRATIONS:
        for statement in migration.sqlite:
            connection.execute(statement)
    connection.execute("BEGIN")
    return connection


def inode(path: Path) -> tuple[int, int] | None:
    """Which file stands at a path, whatever it holds; None when there is none. `Outage` when nobody can say."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Outage(Code.STORE_UNAVAILABLE, f"{path}: {error}") from error
    return found.st_dev, found.st_ino


def data_version(connection: apsw.Connection) -> int:
    """Another number whenever another connection has committed. Only the pragma looks into the file for it."""
    version: int = execute(connection, "PRAGMA data_version")[0][0]
    return version


def outage(error: Exception) -> Exception:
    """What an error means while the store is at work; only the driver's are translated."""
    if isinstance(error, apsw.Error):
        return Outage(Code.STORE_UNAVAILABLE, f"{type(error).__name__}: {error}")
    return error


def _pause() -> bool:
    """Wait a millisecond; SQLite's own handler waits 100, and starves beside a process that writes all the time."""
    time.sleep(0.001)
    return True


def _check_ours(connection: apsw.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchall() != [(_APPLICATION_ID,)]:
        raise StoreUnusable(f"{path} is not a contact store of this program")
    if connection.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
        raise StoreUnusable(f"{path} lies where SQLite's write-ahead log cannot work, such as a network folder")


@contextlib.contextmanager
def _immediate(connection: apsw.Connection) -> Iterator[None]:
    """A transaction that holds the right to write from its beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _migrate_once(connection: apsw.Connection, path: Path) -> str | None:
    """Apply the next migration together with its record; return its name, or None when there is none."""
    with _immediate(connection):
        done = applied(connection, path)
        steps = pending(done)
        if not steps:
            return None
        number, migration = steps[0]
        if not done:
            connection.execute(CREATE_MIGRATIONS)
        for statement in migration.sqlite:
            connection.execute(statement)
        connection.execute(INSERT_MIGRATION, (number, migration.name))
    return migration.name


def _unusable(error: apsw.Error, path: Path) -> StoreUnusable | Outage:
    """What an error means while a database is opened."""
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.IOError | apsw.FullError):
        return Outage(Code.STORE_UNAVAILABLE, f"{path}: {error}")
    return StoreUnusable(f"{path} cannot be used, and nothing was changed in it: {error}")
