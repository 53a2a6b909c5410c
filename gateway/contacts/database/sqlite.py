"""The embedded store: SQLite through APSW, in one file, shared by several processes.

Look-ups run on the event loop over prepared statements: a thread hop costs more than the look-up (facts: performance).
Writes go to one writer thread, which takes all that wait and commits them together, so that one fsync
(`synchronous=FULL`) serves them all. Work never suspends there: its coroutine is run by hand, inside a savepoint.

Other processes' changes are noticed by `PRAGMA data_version`, looked at five times a second, and read from a small
table that each changing transaction appends to. When another file, or none, stands at the path by then, the store
closes: what is written to a file without a name would be acknowledged and gone (R36, R38).
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from gateway.contacts.database.changes import ALL_CHANGED, Changes, TellsChanges
from gateway.contacts.database.group_commit import GroupTransaction, GroupWriter, run_now
from gateway.contacts.database.rows import contact_of
from gateway.contacts.database.schema.migrations import check_current
from gateway.contacts.database.sqlite_file import (
    applied,
    connect,
    create,
    data_version,
    execute,
    execute_many,
    inode,
    migrate,
    outage,
    scratch,
)
from gateway.contacts.database.sqlite_scanner import Scanner
from gateway.contacts.database.statements import HOLDER, SqlReader
from gateway.errors import Code, Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.database.rows import Row
    from gateway.contacts.store import T, Work

_log = logging.getLogger(__name__)

LISTEN_SECONDS = 0.2
_READER_PATIENCE = 0.25  # seconds; the event loop stands still meanwhile, and a WAL reader all but never waits
_KEPT_CHANGES = 10_000
_TOLD_ONE_BY_ONE = 1_000

_LAST_CHANGE = "SELECT coalesce(max(seq), 0) FROM contact_changes"
_CHANGES_SINCE = "SELECT workspace_id, contact_id FROM contact_changes WHERE seq > $1 AND seq <= $2 ORDER BY seq"
_APPEND_CHANGE = "INSERT INTO contact_changes (workspace_id, contact_id) VALUES ($1, $2)"
_TRIM_CHANGES = "DELETE FROM contact_changes WHERE seq <= $1"


class SqliteStore(TellsChanges, SqlReader):
    """See `ContactStore`; `path` is the database file."""

    embedded = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._changes = Changes(time.monotonic)
        self._reader: apsw.Connection | None = None
        self._cursor: apsw.Cursor | None = None
        self._scanner: Scanner | None = None
        self._searcher: Scanner | None = None  # what people search for does not wait for a report
        self._writer: GroupWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last_change = 0  # in the table of changes; what came later is to be told

    async def open(self) -> None:
        """See `ContactStore.open`."""
        if self._listening is not None:
            return
        loop = asyncio.get_running_loop()
        reader = connect(self.path, patience=_READER_PATIENCE)
        try:
            check_current(applied(reader, self.path))
            execute(reader, "PRAGMA query_only = ON")
            self._last_change = execute(reader, _LAST_CHANGE)[0][0]
            version, started = data_version(reader), self._changes.now()
            writer = connect(self.path)
            self._writer = GroupWriter(lambda: _SqliteTransaction(writer), writer.close, loop, self._committed)
        except BaseException:
            reader.close()
            raise
        self._reader, self._cursor = reader, reader.cursor()
        self._scanner, self._searcher = Scanner(self.path), Scanner(self.path)
        self._changes.heard(started)
        self._listening = loop.create_task(self._listen(reader, version, inode(self.path)))

    async def close(self) -> None:
        """See `ContactStore.close`."""
        self._changes.deaf()
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        writer, self._writer = self._writer, None
        scanners, self._scanner, self._searcher = (self._scanner, self._searcher), None, None
        reader, self._reader, self._cursor = self._reader, None, None
        if writer is not None:
            await writer.close()
        for scanner in scanners:
            if scanner is not None:
                await scanner.close()
        if reader is not None:
            reader.close()

    async def migrate(self) -> Sequence[str]:
        """See `ContactStore.migrate`."""
        if not self.path.exists():
            create(self.path)
        return migrate(self.path)

    async def check(self) -> Sequence[str]:
        """See `ContactStore.check`. It reads the whole file, on a thread and a connection of its own."""
        return await asyncio.to_thread(self._check)

    def _check(self) -> list[str]:
        connection = connect(self.path)
        try:
            damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check").fetchall()]
            if damage != ["ok"]:
                return damage
            check_current(applied(connection, self.path))
            connection.execute("BEGIN")
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
            raise outage(error) from error
        if not rows:
            return None
        contact = contact_of(rows[0])
        if contact.merged_into is None:
            return contact
        return await super().find_by_external_id(workspace_id, external_id)

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        if self._reader is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        return execute(self._reader, sql, arguments)

    async def _scan(self, sql: str, *arguments: Any) -> Sequence[Row]:
        if self._scanner is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        return await self._scanner.run(sql, arguments)

    async def _search(self, seconds: float, sql: str, *arguments: Any) -> Sequence[Row]:
        if self._searcher is None:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        return await self._searcher.run(sql, arguments, seconds=seconds)

    def _committed(self, changed: Sequence[tuple[str, str]], first: int) -> None:
        """Tell what this process changed; its lines in the table of changes, from `first` on, are known already."""
        if first == self._last_change + 1:
            self._last_change += len(changed)
        self._changes.tell(changed)

    async def _listen(self, reader: apsw.Connection, version: int, file: tuple[int, int] | None) -> None:
        """Notice what other processes changed, until `close`."""
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            started = self._changes.now()
            try:
                if inode(self.path) != file:
                    _log.error("the database was removed or replaced; nothing is read or written until a restart")
                    self._listening = None
                    await self.close()
                    return
                seen = data_version(reader)
                if seen != version:
                    self._changes.tell(self._news(reader))
                version = seen
            except Outage:
                self._changes.deaf()
            else:
                self._changes.heard(started)

    def _news(self, reader: apsw.Connection) -> Sequence[tuple[str, str]]:
        """What the table of changes holds after the last line that was told; everything, where lines are missing."""
        known, last = self._last_change, execute(reader, _LAST_CHANGE)[0][0]
        if last == known:
            return ()
        lines = execute(reader, _CHANGES_SINCE, (known, last)) if last - known < _TOLD_ONE_BY_ONE else ()
        self._last_change = last  # earlier than before, when somebody restored a backup into the file
        return [(line[0], line[1]) for line in lines] if 0 < len(lines) == last - known else [ALL_CHANGED]


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
        return execute(self.connection, sql, arguments)

    async def _insert_each(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
        self.check_standing()
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours
        return execute_many(self.connection, sql, rows)

    def keep_changes(self) -> int:
        """See `GroupTransaction.keep_changes`."""
        if not self.changed:
            return 0
        self.changed = list(dict.fromkeys(self.changed)) if len(self.changed) < _TOLD_ONE_BY_ONE else [ALL_CHANGED]
        for change in self.changed:
            execute(self.connection, _APPEND_CHANGE, change)
        last = self.connection.last_insert_rowid()
        execute(self.connection, _TRIM_CHANGES, (last - _KEPT_CHANGES,))
        return last - len(self.changed) + 1


def scratch_transaction() -> GroupTransaction:
    """A transaction over an empty store of its own, which is gone with it: a place for a rehearsal's writes."""
    return _SqliteTransaction(scratch())
