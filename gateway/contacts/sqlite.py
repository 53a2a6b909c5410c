"""The embedded store: SQLite through APSW, in one file, shared by several processes.

Look-ups run on the event loop over prepared statements: a thread hop costs more than the look-up (facts: performance).
Writes go to one writer thread, which takes all that wait and commits them together, so that one fsync
(`synchronous=FULL`) serves them all. Work never suspends there: its coroutine is run by hand, inside a savepoint.

Other processes' changes are noticed by `PRAGMA data_version`, looked at five times a second, and read from a small
table that each changing transaction appends to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from gateway.contacts.changes import ALL_CHANGED, Changes
from gateway.contacts.group_commit import GroupTransaction, GroupWriter, run_now
from gateway.contacts.rows import contact_of
from gateway.contacts.schema import CREATE_MIGRATIONS, INSERT_MIGRATION, SELECT_MIGRATIONS, check_current, pending
from gateway.contacts.sql import HOLDER, SqlReader
from gateway.errors import Code, Outage, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.rows import Row
    from gateway.contacts.store import ChangeListener, T, Work

LISTEN_SECONDS = 0.2
_READER_PATIENCE = 0.25  # seconds; the event loop stands still meanwhile, and a WAL reader all but never waits
_WRITER_PATIENCE = 10.0
_KEPT_CHANGES = 10_000
_TOLD_ONE_BY_ONE = 1_000
_APPLICATION_ID = 0x67776964
"""`gwid`, in the header of each database that this program makes."""

_LAST_CHANGE = "SELECT coalesce(max(seq), 0) FROM contact_changes"
_CHANGES_SINCE = "SELECT seq, workspace_id, contact_id FROM contact_changes WHERE seq > $1 ORDER BY seq LIMIT $2"
_APPEND_CHANGE = "INSERT INTO contact_changes (workspace_id, contact_id) VALUES ($1, $2)"
_TRIM_CHANGES = "DELETE FROM contact_changes WHERE seq <= $1"


class SqliteStore(SqlReader):
    """See `ContactStore`; `path` is the database file."""

    embedded = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._changes = Changes(time.monotonic)
        self._reader: apsw.Connection | None = None
        self._cursor: apsw.Cursor | None = None
        self._writer: GroupWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last_change = 0  # in the table of changes; what came later is to be told

    @property
    def hears_changes(self) -> bool:
        """See `ContactStore.hears_changes`."""
        return self._changes.heard_of_all

    def subscribe(self, listener: ChangeListener) -> None:
        """See `ContactStore.subscribe`."""
        self._changes.subscribe(listener)

    async def open(self) -> None:
        """See `ContactStore.open`."""
        loop = asyncio.get_running_loop()
        reader = _connect(self.path, patience=_READER_PATIENCE)
        try:
            check_current(_applied(reader, self.path))
            _execute(reader, "PRAGMA query_only = ON")
            self._last_change = _execute(reader, _LAST_CHANGE)[0][0]
            version, started = _data_version(reader), self._changes.now()
            writer = _connect(self.path)
            self._writer = GroupWriter(lambda: _SqliteTransaction(writer), writer.close, loop, self._committed)
        except BaseException:
            reader.close()
            raise
        self._reader, self._cursor = reader, reader.cursor()
        self._changes.heard(started)
        self._listening = loop.create_task(self._listen(reader, version))

    async def close(self) -> None:
        """See `ContactStore.close`."""
        self._changes.deaf()
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = self._cursor = None

    async def migrate(self) -> Sequence[str]:
        """See `ContactStore.migrate`."""
        if not self.path.exists():
            _create(self.path)
        connection = _connect(self.path)
        names: list[str] = []
        try:
            while step := _migrate_once(connection, self.path):
                names.append(step)
        except apsw.Error as error:
            raise _unusable(error, self.path) from error
        finally:
            connection.close()
        return names

    async def check(self) -> Sequence[str]:
        """See `ContactStore.check`. It reads the whole file, on a thread and a connection of its own."""
        return await asyncio.to_thread(self._check)

    def _check(self) -> list[str]:
        connection = _connect(self.path)
        try:
            damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check").fetchall()]
            if damage != ["ok"]:
                return damage
            return run_now(_SqliteTransaction(connection)._broken_promises())  # noqa: SLF001 - of a base class
        except apsw.Error as error:
            return [f"{self.path}: {error}"]
        finally:
            connection.close()

    async def write(self, work: Work[T]) -> T:
        """See `ContactStore.write`."""
        if self._writer is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        result: T = await self._writer.submit(work)
        return result

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        """See `ContactReader.find_by_external_id`.

        Every request comes this way, so it is short: a cursor that stays, and the join only for a merged record.
        """
        if self._cursor is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        if "\0" in external_id:
            raise ValueError("a text with NUL cannot be kept")
        try:
            rows = self._cursor.execute(HOLDER, (workspace_id, external_id)).fetchall()
        except apsw.Error as error:
            raise _outage(error) from error
        if not rows:
            return None
        contact = contact_of(rows[0])
        if contact.merged_into is None:
            return contact
        return await super().find_by_external_id(workspace_id, external_id)

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        if self._reader is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        return _execute(self._reader, sql, arguments)

    def _committed(self, changed: Sequence[tuple[str, str]], first: int) -> None:
        """Tell what this process changed; its lines in the table of changes, from `first` on, are known already."""
        if first == self._last_change + 1:
            self._last_change += len(changed)
        self._changes.tell(changed)

    async def _listen(self, reader: apsw.Connection, version: int) -> None:
        """Notice what other processes changed, until `close`."""
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            started = self._changes.now()
            try:
                seen = _data_version(reader)
                if seen != version:
                    self._changes.tell(self._news(reader))
                version = seen
            except Outage:
                self._changes.deaf()
            else:
                self._changes.heard(started)

    def _news(self, reader: apsw.Connection) -> Sequence[tuple[str, str]]:
        """What the table of changes holds after the last line that was told; everything, where lines are missing."""
        lines = _execute(reader, _CHANGES_SINCE, (self._last_change, _TOLD_ONE_BY_ONE))
        if not lines:
            return ()
        complete = lines[0][0] == self._last_change + 1 and len(lines) < _TOLD_ONE_BY_ONE
        self._last_change = lines[-1][0] if complete else _execute(reader, _LAST_CHANGE)[0][0]
        return [(line[1], line[2]) for line in lines] if complete else [ALL_CHANGED]


class _SqliteTransaction(GroupTransaction):
    """A transaction on one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__()
        self.connection = connection

    @property
    def standing(self) -> bool:
        """See `GroupTransaction.standing`."""
        return self.connection.in_transaction

    def run(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See `GroupTransaction.run`."""
        return _execute(self.connection, sql, arguments)

    def keep_changes(self) -> int:
        """See `GroupTransaction.keep_changes`."""
        if not self.changed:
            return 0
        self.changed = list(dict.fromkeys(self.changed)) if len(self.changed) < _TOLD_ONE_BY_ONE else [ALL_CHANGED]
        for change in self.changed:
            _execute(self.connection, _APPEND_CHANGE, change)
        last = self.connection.last_insert_rowid()
        _execute(self.connection, _TRIM_CHANGES, (last - _KEPT_CHANGES,))
        return last - len(self.changed) + 1


def _execute(connection: apsw.Connection, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
    try:
        return connection.execute(sql, arguments).fetchall()
    except apsw.Error as error:
        raise _outage(error) from error


def _data_version(connection: apsw.Connection) -> int:
    """Another number whenever another connection has committed. Only the pragma looks into the file for it."""
    version: int = _execute(connection, "PRAGMA data_version")[0][0]
    return version


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


def _create(path: Path) -> None:
    """Make an empty database that is marked as ours, mode 0600. It takes its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = apsw.Connection(str(unfinished), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(unfinished, path)
    except (OSError, apsw.Error) as error:
        raise StoreUnusable(f"{path} cannot be made: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _pause() -> bool:
    """Wait a millisecond; SQLite's own handler waits 100, and starves beside a process that writes all the time."""
    time.sleep(0.001)
    return True


def _connect(path: Path, *, patience: float = _WRITER_PATIENCE) -> apsw.Connection:
    """A connection to a database of ours, with the settings that the store's promises need.

    It waits `patience` seconds for another process to finish writing. Raises `StoreUnusable` and `Outage`.
    """
    if not path.exists():
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
        connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync alone leaves data in the disk's cache
        connection.execute("PRAGMA cache_size = -65536")
    except BaseException as error:
        connection.close()
        if isinstance(error, apsw.Error):
            raise _unusable(error, path) from error
        raise
    return connection


def _check_ours(connection: apsw.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchall() != [(_APPLICATION_ID,)]:
        raise StoreUnusable(f"{path} is not a contact store of this program")
    if connection.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
        raise StoreUnusable(f"{path} lies where SQLite's write-ahead log cannot work, such as a network folder")


def _applied(connection: apsw.Connection, path: Path) -> int:
    """How many migrations the database has seen."""
    try:
        if not connection.table_exists("main", "migrations"):
            return 0
        return len(connection.execute(SELECT_MIGRATIONS).fetchall())
    except apsw.Error as error:
        raise _unusable(error, path) from error


def _migrate_once(connection: apsw.Connection, path: Path) -> str | None:
    """Apply the next migration together with its record; return its name, or None when there is none."""
    with _immediate(connection):
        applied = _applied(connection, path)
        steps = pending(applied)
        if not steps:
            return None
        number, migration = steps[0]
        if not applied:
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


def _outage(error: Exception) -> Exception:
    """What an error means while the store is at work; only the driver's are translated."""
    if isinstance(error, apsw.Error):
        return Outage(Code.STORE_UNAVAILABLE, f"{type(error).__name__}: {error}")
    return error
