"""The store's SQL, written once in the subset that SQLite and PostgreSQL both speak, and what it means.

A back end gives `_fetch`: run one statement with positional `$n` parameters and return its rows. Parameters first
occur in their order, so that a sequence binds them in either engine. Where an engine differs, its class overrides a
method.

`merged_into` always names a record that is not merged itself: every write that could make a chain longer shortens it
again. So one join finds the survivor, however many merges led to it.
"""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.contacts.contact import Contact, State
from gateway.contacts.database.attributes import SqlAttributeReader, SqlAttributeTransaction
from gateway.contacts.database.bulk import SqlBulkReader, SqlBulkTransaction
from gateway.contacts.database.duplicates import SqlDuplicateReader
from gateway.contacts.database.imports import SqlImportReader, SqlImportWriter
from gateway.contacts.database.mentions import SqlMentions
from gateway.contacts.database.merges import SqlMergeReader, SqlMergeWriter
from gateway.contacts.database.put_away import SqlPutAwayReader
from gateway.contacts.database.revocations import SqlRevocationReader, SqlRevocationWriter
from gateway.contacts.database.rollout import SqlRolloutReader, SqlRolloutWriter
from gateway.contacts.database.rows import (
    ACCESS_TOKEN_COLUMNS,
    COLUMNS,
    EVENT_COLUMNS,
    access_token_of,
    answer_of,
    check_storable,
    contact_of,
    event_of,
    row_of,
    row_of_access_token,
    row_of_event,
)
from gateway.contacts.database.searches import SqlSearch
from gateway.errors import Code, ContactConflict, ContactNotFound, Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.access_token import AccessToken
    from gateway.contacts.store import Event


def _list(columns: Sequence[str], prefix: str = "") -> str:
    return ", ".join(prefix + column for column in columns)


def _places(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


_ANSWER = (
    f"SELECT {_list(COLUMNS, 'c.')}, {_list(COLUMNS, 's.')} FROM contacts c "
    "LEFT JOIN contacts s ON s.workspace_id = c.workspace_id AND s.id = c.merged_into WHERE c.workspace_id = $1"
)
FIND = f"{_ANSWER} AND c.id = $2"
FIND_BY_EXTERNAL_ID = f"{_ANSWER} AND c.external_id = $2"
RECORD_OF_ID = f"SELECT {_list(COLUMNS)} FROM contacts WHERE workspace_id = $1 AND id = $2"
HOLDER = f"SELECT {_list(COLUMNS)} FROM contacts WHERE workspace_id = $1 AND external_id = $2"
_HOLDERS = f"SELECT {_list(COLUMNS)} FROM contacts WHERE workspace_id = $1 AND email = $2 AND state = 'live'"
FIND_BY_EMAIL = f"{_HOLDERS} ORDER BY created_at, id LIMIT $3"
FIND_BY_PROVEN_EMAIL = (
    f"{_HOLDERS} AND email_proof IN ('signed', 'hashed', 'imported') ORDER BY created_at, id LIMIT $3"
)
INSERT = f"INSERT INTO contacts ({_list(COLUMNS)}) VALUES ({_places(len(COLUMNS))}) ON CONFLICT DO NOTHING RETURNING id"
_WORKSPACE, _ID = f"${len(COLUMNS) - 1}", f"${len(COLUMNS)}"
UPDATE = (
    f"UPDATE contacts SET {', '.join(f'{column} = ${n}' for n, column in enumerate(COLUMNS[2:], start=1))} "
    f"WHERE workspace_id = {_WORKSPACE} AND id = {_ID} AND NOT EXISTS (SELECT 1 FROM contacts other "
    f"WHERE other.workspace_id = {_WORKSPACE} AND other.external_id = $1 AND other.id <> {_ID}) RETURNING id"
)
MERGED_INTO = "SELECT merged_into FROM contacts WHERE workspace_id = $1 AND id = $2"
REPOINT = "UPDATE contacts SET merged_into = $1 WHERE workspace_id = $2 AND merged_into = $3 RETURNING id"
MERGE = (
    "UPDATE contacts SET merged_into = $1, state = 'merged', updated_at = $2 "
    "WHERE workspace_id = $3 AND id = $4 RETURNING id"
)
DELETE = "DELETE FROM contacts WHERE workspace_id = $1 AND id = $2 RETURNING id"
_EVENTS = f"SELECT {_list(EVENT_COLUMNS)} FROM contact_events WHERE workspace_id = $1 AND contact_id = $2"
EVENTS = f"{_EVENTS} ORDER BY seq DESC LIMIT $3 OFFSET $4"
EVENTS_OF_KIND = f"{_EVENTS} AND kind = $3 AND kind <> 'created' ORDER BY seq DESC LIMIT $4 OFFSET $5"
RECORD = f"INSERT INTO contact_events ({_list(EVENT_COLUMNS)}) VALUES ({_places(len(EVENT_COLUMNS))}) RETURNING seq"
FIND_ACCESS_TOKEN = f"SELECT {_list(ACCESS_TOKEN_COLUMNS)} FROM access_tokens WHERE digest = $1"
ACCESS_TOKENS = f"SELECT {_list(ACCESS_TOKEN_COLUMNS)} FROM access_tokens ORDER BY created_at, id"
INSERT_ACCESS_TOKEN = (
    f"INSERT INTO access_tokens ({_list(ACCESS_TOKEN_COLUMNS)}, digest) "
    f"VALUES ({_places(len(ACCESS_TOKEN_COLUMNS) + 1)}) ON CONFLICT DO NOTHING RETURNING id"
)
REVOKE_ACCESS_TOKEN = "UPDATE access_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING id"  # noqa: S105 - SQL

BROKEN_PROMISES = {
    "an external_id stands on several records": (
        "SELECT workspace_id, min(id) FROM contacts WHERE external_id IS NOT NULL "
        "GROUP BY workspace_id, external_id HAVING count(*) > 1 LIMIT 100"
    ),
    "its survivor is missing, or merged itself": (
        "SELECT c.workspace_id, c.id FROM contacts c "
        "LEFT JOIN contacts s ON s.workspace_id = c.workspace_id AND s.id = c.merged_into "
        "WHERE c.merged_into IS NOT NULL AND (s.id IS NULL OR s.merged_into IS NOT NULL) LIMIT 100"
    ),
    "its state and its survivor contradict each other": (
        "SELECT workspace_id, id FROM contacts WHERE (merged_into IS NOT NULL) <> (state = 'merged') LIMIT 100"
    ),
    "a state, role or proof that this program does not know": (
        "SELECT workspace_id, id FROM contacts WHERE state NOT IN ('live', 'archived', 'blocked', 'merged') "
        "OR role NOT IN ('user', 'lead') OR email_proof NOT IN ('signed', 'hashed', 'imported', 'claimed') LIMIT 100"
    ),
}
"""What would break a promise of the store, and how the records are found that do; at most 100 of each."""


_ATTEMPTS = 3  # a holder can vanish between the statement that met it and the one that names it
_LOST = Outage(Code.STORE_UNAVAILABLE, "an identifier was taken and released over and over")


class SqlReader(
    SqlAttributeReader,
    SqlBulkReader,
    SqlImportReader,
    SqlMergeReader,
    SqlPutAwayReader,
    SqlRevocationReader,
    SqlRolloutReader,
    SqlSearch,
    SqlDuplicateReader,
):
    """The look-ups of `ContactReader` over one way to run a statement."""

    async def find(self, workspace_id: str, contact_id: str) -> Contact | None:
        """See `ContactReader.find`."""
        check_storable((workspace_id, contact_id))
        return answer_of(await self._fetch(FIND, workspace_id, contact_id))

    async def stored(self, workspace_id: str, contact_id: str) -> Contact | None:
        """See `ContactReader.stored`."""
        check_storable((workspace_id, contact_id))
        rows = await self._fetch(RECORD_OF_ID, workspace_id, contact_id)
        return contact_of(rows[0]) if rows else None

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        """See `ContactReader.find_by_external_id`."""
        check_storable((workspace_id, external_id))
        return answer_of(await self._fetch(FIND_BY_EXTERNAL_ID, workspace_id, external_id))

    async def find_by_email(
        self, workspace_id: str, email: str, *, limit: int = 3, proven: bool = False
    ) -> Sequence[Contact]:
        """See `ContactReader.find_by_email`."""
        check_storable((workspace_id, email))
        sql = FIND_BY_PROVEN_EMAIL if proven else FIND_BY_EMAIL
        return [contact_of(row) for row in await self._fetch(sql, workspace_id, email, limit)]

    async def events(
        self, workspace_id: str, contact_id: str, *, limit: int = 100, skip: int = 0, kind: str | None = None
    ) -> Sequence[Event]:
        """See `ContactReader.events`."""
        check_storable((workspace_id, contact_id, kind))
        if kind is None:
            rows = await self._fetch(EVENTS, workspace_id, contact_id, limit, skip)
        else:
            rows = await self._fetch(EVENTS_OF_KIND, workspace_id, contact_id, kind, limit, skip)
        return [event_of(row) for row in rows]

    async def find_access_token(self, digest: bytes) -> AccessToken | None:
        """See `ContactReader.find_access_token`."""
        rows = await self._fetch(FIND_ACCESS_TOKEN, digest.hex())
        return access_token_of(rows[0]) if rows else None

    async def access_tokens(self) -> Sequence[AccessToken]:
        """See `ContactReader.access_tokens`."""
        return [access_token_of(row) for row in await self._fetch(ACCESS_TOKENS)]

    async def _broken_promises(self) -> list[str]:
        """A line per record that breaks a promise of the store; it names ids of ours, nothing personal."""
        return [
            f"{workspace_id}/{contact_id}: {problem}"
            for problem, sql in BROKEN_PROMISES.items()
            for workspace_id, contact_id in await self._fetch(sql)
        ]


class SqlTransaction(
    SqlReader,
    SqlAttributeTransaction,
    SqlBulkTransaction,
    SqlImportWriter,
    SqlMergeWriter,
    SqlMentions,
    SqlRevocationWriter,
    SqlRolloutWriter,
):
    """The writes of `ContactTransaction`; `changed` collects what the subscribers must hear after the commit.

    A new record is no change: nobody was ever told anything about it. A step that fails may leave its record there,
    which costs a look-up and nothing else.
    """

    merged_into_of = MERGED_INTO
    """The statement that finds a record's survivor and, in an engine where works run side by side, holds the record."""

    def __init__(self) -> None:
        self.changed: list[tuple[str, str]] = []

    async def lock(self, workspace_id: str, *identifiers: str) -> None:
        """See `ContactTransaction.lock`."""

    async def insert(self, contact: Contact) -> None:
        """See `ContactTransaction.insert`."""
        contact = await self._with_last_survivor(contact)
        row = row_of(contact)
        for _ in range(_ATTEMPTS):
            if await self._fetch(INSERT, *row):
                return
            await self._raise_conflict(contact, HOLDER, "external_id", contact.external_id)
            await self._raise_conflict(contact, RECORD_OF_ID, "id", contact.id)
        raise _LOST

    async def update(self, contact: Contact) -> None:
        """See `ContactTransaction.update`."""
        contact = await self._with_last_survivor(contact)
        workspace_id, contact_id, *values = row_of(contact)
        await self._changes_answer_of(workspace_id, contact_id)
        for _ in range(_ATTEMPTS):
            if await self._fetch(UPDATE, *values, workspace_id, contact_id):
                break
            await self._raise_conflict(contact, HOLDER, "external_id", contact.external_id)
        else:
            raise _LOST
        if contact.merged_into is not None:
            await self._repoint(workspace_id, contact_id, contact.merged_into)

    async def delete(self, workspace_id: str, contact_id: str) -> None:
        """See `ContactTransaction.delete`."""
        check_storable((workspace_id, contact_id))
        absorbed = await self.absorbed(workspace_id, contact_id)
        for gone in (contact_id, *absorbed):
            await self._changes_answer_of(workspace_id, gone)
            await self._forget(workspace_id, gone)
            await self._fetch(DELETE, workspace_id, gone)
            await self._erase_kept(workspace_id, gone)

    async def merge(self, workspace_id: str, source_id: str, into_id: str, *, now: int) -> None:
        """See `ContactTransaction.merge`. Each id stands for the record that answers for it.

        `ContactNotFound` when one is missing, `ContactConflict` when both are the same record already.
        """
        check_storable((now,))
        source, into = await self.find(workspace_id, source_id), await self.find(workspace_id, into_id)
        if source is None or into is None:
            raise ContactNotFound(into_id if source else source_id)
        if source.id == into.id:
            raise ContactConflict(into.id, "id")
        await self._fetch(MERGE, into.id, now, workspace_id, source.id)
        await self._repoint(workspace_id, source.id, into.id)
        self.changed += [(workspace_id, source.id), (workspace_id, into.id)]

    async def record(self, event: Event) -> None:
        """See `ContactTransaction.record`."""
        ((seq,),) = await self._fetch(RECORD, *row_of_event(event))
        await self._mention(event, seq)

    async def insert_access_token(self, token: AccessToken, digest: bytes) -> None:
        """See `ContactTransaction.insert_access_token`; `ContactConflict` when its id is taken."""
        if not await self._fetch(INSERT_ACCESS_TOKEN, *row_of_access_token(token), digest.hex()):
            raise ContactConflict(token.id, "id")

    async def revoke_access_token(self, token_id: str, *, now: int) -> bool:
        """See `ContactTransaction.revoke_access_token`."""
        check_storable((token_id, now))
        return bool(await self._fetch(REVOKE_ACCESS_TOKEN, now, token_id))

    async def _changes_answer_of(self, workspace_id: str, contact_id: str) -> None:
        """Let be heard that a record, held from now on, is to change, and with it what its survivor answered for.

        `ContactNotFound` when it is gone.
        """
        rows = await self._fetch(self.merged_into_of, workspace_id, contact_id)
        if not rows:
            raise ContactNotFound(contact_id)
        self.changed.append((workspace_id, contact_id))
        survivor = rows[0][0]
        if survivor is not None:
            self.changed.append((workspace_id, survivor))

    async def _with_last_survivor(self, contact: Contact) -> Contact:
        """A merged record pointing at the end of its chain."""
        if contact.merged_into is None:
            return contact
        into = await self.find(contact.workspace_id, contact.merged_into)
        if into is None:
            raise ContactNotFound(contact.merged_into)
        if into.id == contact.id:
            raise ValueError("a record cannot be merged into itself")
        return replace(contact, merged_into=into.id)

    async def _repoint(self, workspace_id: str, old_id: str, new_id: str) -> None:
        """What was merged into the one record is now merged into the other."""
        for (absorbed,) in await self._fetch(REPOINT, new_id, workspace_id, old_id):
            self.changed.append((workspace_id, absorbed))

    async def _raise_conflict(self, contact: Contact, sql: str, field: str, value: str | None) -> None:
        """`ContactConflict` naming the record that holds a value, unless it let go of it meanwhile."""
        rows = await self._fetch(sql, contact.workspace_id, value) if value is not None else ()
        if rows:
            holder = contact_of(rows[0])
            archived, blocked = holder.state is State.ARCHIVED, holder.state is State.BLOCKED
            raise ContactConflict(holder.id, field, archived=archived, blocked=blocked)
