"""The scale-out store: PostgreSQL through asyncpg.

Unique indexes decide races: work that lost one runs again from its beginning. Changes travel by NOTIFY; a connection
that only listens is asked for a sign of life five times a second, so that a silent loss is noticed within a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from gateway.contacts.database.changes import ALL_CHANGED, Changes, TellsChanges
from gateway.contacts.database.postgres_connections import PATIENCE, Connections, Held, RunAgain, own_connection
from gateway.contacts.database.rows import INTEGER_COLUMNS, check_storable, contact_of
from gateway.contacts.database.schema.migrations import (
    CREATE_MIGRATIONS,
    INSERT_MIGRATION,
    SELECT_MIGRATIONS,
    check_current,
    pending,
)
from gateway.contacts.database.statements import (
    FIND_BY_EMAIL,
    FIND_BY_PROVEN_EMAIL,
    HOLDER,
    MERGED_INTO,
    RECORD_OF_ID,
    SqlReader,
    SqlTransaction,
)
from gateway.contacts.search.compiling import POSTGRES
from gateway.errors import Code, Outage, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import asyncpg

    from gateway.contacts.contact import Contact
    from gateway.contacts.database.rows import Row
    from gateway.contacts.store import T, Work

CHANNEL = "gateway_contacts"
SIGN_OF_LIFE_SECONDS = 0.2
_LONGEST_BACK_OFF = 5.0
_ATTEMPTS = 5
_TOLD_ONE_BY_ONE = 1_000
_PAYLOAD_LIMIT = 7_900  # bytes; NOTIFY takes less than 8,000
_MIGRATION_LOCK = 0x67776964

_HOLDS_ATTRIBUTE = "jsonb_exists(custom_attributes::jsonb, $2)"
_LOCK = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key"
_AMONG = "= ANY($2::text[])"
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', payload) FROM unnest($1::text[]) AS payload"  # noqa: S608 - a constant


class PostgresStore(TellsChanges, SqlReader):
    """See `ContactStore`; `url` is a libpq URL, `connections` the most that are held for look-ups and writes."""

    embedded = False
    # Letters as the database's own locale knows them; the order of bytes, as everywhere else.
    folded_id = (
        r"""regexp_replace(lower(external_id COLLATE "default"), """
        r"""'[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]', '', 'g') COLLATE "C" """
    )
    dialect = POSTGRES
    holds_attribute = _HOLDS_ATTRIBUTE
    among = _AMONG

    def __init__(self, url: str, connections: int = 16) -> None:
        self._url = url
        self._connections = Connections(url, connections)
        self._searches = asyncio.Semaphore(max(1, connections // 4))  # the others are left to logins and look-ups
        self._changes = Changes(time.monotonic)
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See `ContactStore.open`; `Outage` when the server cannot be reached."""
        if self._listening is not None:
            return
        async with own_connection(self._url) as connection:
            check_current(await _applied(connection))
        self._connections.open()
        listening = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(listening))
        try:
            async with asyncio.timeout(PATIENCE):
                await listening.wait()
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise Outage(Code.STORE_UNAVAILABLE, "the store's changes cannot be heard") from error
            raise

    async def close(self) -> None:
        """See `ContactStore.close`."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        self._changes.deaf()
        await self._connections.close()

    async def migrate(self) -> Sequence[str]:
        """See `ContactStore.migrate`."""
        names: list[str] = []
        async with own_connection(self._url) as connection:
            while name := await _migrate_once(connection):
                names.append(name)
        return names

    async def check(self) -> Sequence[str]:
        """See `ContactStore.check`. Whether its files are whole is the server's to say (pg_amcheck, checksums)."""
        async with own_connection(self._url) as connection:
            check_current(await _applied(connection))
            return await _PostgresTransaction(Held(connection), set())._broken_promises()  # noqa: SLF001 - of a base class

    async def write(self, work: Work[T]) -> T:
        """See `ContactStore.write`."""
        keys: set[int] = set()
        lost = False
        for _ in range(_ATTEMPTS):
            held = await self._connections.take(fresh=lost)
            try:
                result, changed = await self._attempt(held, work, keys)
            except RunAgain:
                lost = held.lost
                continue
            finally:
                self._connections.give_back(held)
            self._changes.tell(changed)
            return result
        raise Outage(Code.STORE_UNAVAILABLE, f"the work lost {_ATTEMPTS} races or connections in a row")

    async def _attempt(self, held: Held, work: Work[T], keys: set[int]) -> tuple[T, Sequence[tuple[str, str]]]:
        """Run the work once; `keys` are the locks of earlier attempts, taken first so that no deadlock comes twice."""
        transaction = _PostgresTransaction(held, keys)
        try:
            await held.command("BEGIN ISOLATION LEVEL READ COMMITTED")
            if keys:
                await transaction.hold()
            result = await work(transaction)
            await transaction.notify()
        except Exception:
            await held.roll_back()
            raise
        except BaseException:
            held.drop()
            raise
        try:
            status = await held.command("COMMIT")
        except BaseException as error:  # it may have been kept: to run it again could do it twice
            self._changes.tell(transaction.changed)
            if isinstance(error, RunAgain):
                raise Outage(Code.STORE_UNAVAILABLE, "the connection was lost at the commit") from error
            raise
        if status != "COMMIT":
            raise Outage(Code.STORE_UNAVAILABLE, "the transaction had failed before its end")
        return result, transaction.changed

    def _listed(self, values: Sequence[str]) -> Sequence[str]:
        return values

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        return await self._on_a_connection(lambda held: held.fetch(sql, *arguments))

    async def _search(self, seconds: float, sql: str, *arguments: Any) -> Sequence[Row]:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with asyncio.timeout_at(end):
            await self._searches.acquire()
        try:
            return await self._on_a_connection(lambda held: held.fetch_once(end - loop.time(), sql, *arguments))
        finally:
            self._searches.release()

    async def _on_a_connection(self, fetch: Callable[[Held], Awaitable[Sequence[Row]]]) -> Sequence[Row]:
        lost = False
        for _ in range(_ATTEMPTS):
            held = await self._connections.take(fresh=lost)
            try:
                return await fetch(held)
            except RunAgain:
                lost = held.lost
            finally:
                self._connections.give_back(held)
        raise Outage(Code.STORE_UNAVAILABLE, f"{_ATTEMPTS} connections were lost in a row")

    async def _listen(self, listening: asyncio.Event) -> None:
        """Hear what other processes change, until `close`; come back after each loss, ever more patiently."""
        back_off = SIGN_OF_LIFE_SECONDS
        while True:
            try:
                async with own_connection(self._url) as connection:
                    connection.add_termination_listener(lambda _: self._changes.deaf())
                    await connection.add_listener(CHANNEL, self._notified)
                    back_off = SIGN_OF_LIFE_SECONDS
                    while True:
                        started = self._changes.now()
                        # What was notified before it has been delivered once this is answered.
                        await connection.execute("SELECT 1", timeout=4 * SIGN_OF_LIFE_SECONDS)
                        self._changes.heard(started)
                        listening.set()
                        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
            except (Outage, StoreUnusable):
                self._changes.deaf()
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, _LONGEST_BACK_OFF)

    def _notified(self, _connection: object, pid: int, _channel: str, payload: object) -> None:
        """What this process changed was told already, when it was committed."""
        if self._connections.has(pid):
            return
        try:
            workspace_id, contact_id = json.loads(str(payload))
        except (ValueError, TypeError):  # somebody else's words on our channel
            workspace_id, contact_id = ALL_CHANGED
        self._changes.tell([(workspace_id, contact_id)])


class _PostgresTransaction(SqlTransaction):
    """A transaction on one connection. What it finds it holds, so that nobody else changes it before this work does."""

    merged_into_of = f"{MERGED_INTO} FOR UPDATE"
    dialect = POSTGRES
    holds_attribute = _HOLDS_ATTRIBUTE
    among = _AMONG

    def __init__(self, held: Held, keys: set[int]) -> None:
        super().__init__()
        self._held = held
        self._keys = keys

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        return await self._held.fetch(sql, *arguments)

    def _listed(self, values: Sequence[str]) -> Sequence[str]:
        return values

    async def _insert_each(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
        types = ("bigint" if column in INTEGER_COLUMNS else "text" for column in columns)
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, start=1))
        names = ", ".join(columns)
        sql = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING RETURNING 1"  # noqa: S608 - names of ours
        return len(await self._fetch(sql, *map(list, zip(*rows, strict=True))))

    async def find(self, workspace_id: str, contact_id: str) -> Contact | None:
        """See `ContactReader.find`."""
        return await self._standing(RECORD_OF_ID, workspace_id, contact_id)

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        """See `ContactReader.find_by_external_id`."""
        return await self._standing(HOLDER, workspace_id, external_id)

    async def find_by_email(
        self, workspace_id: str, email: str, *, limit: int = 3, proven: bool = False
    ) -> Sequence[Contact]:
        """See `ContactReader.find_by_email`."""
        check_storable((workspace_id, email))
        sql = FIND_BY_PROVEN_EMAIL if proven else FIND_BY_EMAIL
        rows = await self._fetch(f"{sql} FOR UPDATE", workspace_id, email, limit)
        return [contact_of(row) for row in rows]

    async def _standing(self, sql: str, workspace_id: str, value: str) -> Contact | None:
        """Without the join: what changes while its lock is awaited comes back as it then is, a joined row does not."""
        check_storable((workspace_id, value))
        rows = await self._fetch(f"{sql} FOR UPDATE", workspace_id, value)
        while rows:
            contact = contact_of(rows[0])
            if contact.merged_into is None:
                return contact
            rows = await self._fetch(f"{RECORD_OF_ID} FOR UPDATE", workspace_id, contact.merged_into)
        return None

    async def merge(self, workspace_id: str, source_id: str, into_id: str, *, now: int) -> None:
        """See `ContactTransaction.merge`. Both are held in order, so that merges crosswise do not deadlock."""
        for contact_id in sorted((source_id, into_id)):
            await self.find(workspace_id, contact_id)
        await super().merge(workspace_id, source_id, into_id, now=now)

    async def lock(self, workspace_id: str, *identifiers: str) -> None:
        """See `ContactTransaction.lock`. In order, so that two works that lock at once never wait for each other."""
        keys = {_lock_key(workspace_id, identifier) for identifier in identifiers}
        self._keys |= keys
        await self._fetch(_LOCK, sorted(keys))

    async def hold(self) -> None:
        """Take all locks that earlier attempts of this work took."""
        await self._fetch(_LOCK, sorted(self._keys))

    async def notify(self) -> None:
        """Let the other processes hear, at the commit, what changed."""
        if not self.changed:
            return
        self.changed = list(dict.fromkeys(self.changed))
        payloads = {json.dumps(change) for change in self.changed}
        if len(payloads) > _TOLD_ONE_BY_ONE or max(map(len, payloads)) > _PAYLOAD_LIMIT:
            payloads = {json.dumps(ALL_CHANGED)}
        await self._fetch(_NOTIFY, sorted(payloads))


def _lock_key(workspace_id: str, identifier: str) -> int:
    """64 bits that stand for an identifier; two that share them merely wait for each other."""
    workspace = workspace_id.encode()
    text = len(workspace).to_bytes(4, "big") + workspace + identifier.encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


async def _applied(connection: asyncpg.Connection[Any]) -> int:
    """How many migrations the database has seen."""
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreUnusable("the database's encoding is not UTF8")
    if await connection.fetchval("SELECT to_regclass('migrations')") is None:
        return 0
    return len(await connection.fetch(SELECT_MIGRATIONS))


async def _migrate_once(connection: asyncpg.Connection[Any]) -> str | None:
    """Apply the next migration together with its record; return its name, or None when there is none."""
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        applied = await _applied(connection)
        steps = pending(applied)
        if not steps:
            return None
        number, migration = steps[0]
        if not applied:
            await connection.execute(CREATE_MIGRATIONS)
        for statement in migration.postgres:
            await connection.execute(statement)
        await connection.execute(INSERT_MIGRATION, number, migration.name)
    return migration.name
