"""Many records at once, in SQL: one statement where there would be a thousand."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from gateway.contacts.bulk import EACH_LIMIT
from gateway.contacts.contact import State
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, EVENT_COLUMNS, check_storable, contact_of, row_of, row_of_event
from gateway.errors import Code, ContactConflict, Outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.bulk import Identifier
    from gateway.contacts.contact import Contact
    from gateway.contacts.database.rows import Row
    from gateway.contacts.store import Event

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM contacts WHERE workspace_id = $1"  # noqa: S608 - constants
_AFTER = f"{_SELECT} AND id > $2 AND state = 'live' ORDER BY id LIMIT $3"
_CONDITIONS = {
    "id": ("",),
    "external_id": ("",),
    # An index of its own for each: records that were put away keep their emails.
    "email": (" AND state = 'live'", " AND email IS NOT NULL AND state IN ('archived', 'blocked')"),
}


class SqlBulkReader(Fetching):
    """The look-ups of `BulkReader` over one way to run a statement."""

    among = "IN (SELECT value FROM json_each($2))"
    """Whether a value is among those of `$2`, as `_listed` hands them over; PostgreSQL has other words."""

    def _listed(self, values: Sequence[str]) -> Any:
        return json.dumps(values, ensure_ascii=False)

    async def find_each(self, workspace_id: str, field: Identifier, values: Sequence[str]) -> Sequence[Contact]:
        """See `BulkReader.find_each`."""
        if not values:
            return ()
        check_storable((workspace_id, *values))
        found: list[Contact] = []
        for condition in _CONDITIONS[field]:
            sql = f"{_SELECT} AND {field} {self.among}{condition} LIMIT {EACH_LIMIT}"
            found += [contact_of(row) for row in await self._fetch(sql, workspace_id, self._listed(values))]
        return found

    async def live_contacts_after(self, workspace_id: str, contact_id: str, *, limit: int) -> Sequence[Contact]:
        """See `BulkReader.live_contacts_after`."""
        check_storable((workspace_id, contact_id))
        return [contact_of(row) for row in await self._scan(_AFTER, workspace_id, contact_id, limit)]


class SqlBulkTransaction(SqlBulkReader):
    """The writes of `BulkTransaction`; each back end has its own way to run one statement for many rows."""

    @abstractmethod
    async def _insert_each(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
        """Insert rows unless a unique index forbids one; return how many were inserted."""

    async def insert_all(self, contacts: Sequence[Contact]) -> None:
        """See `BulkTransaction.insert_all`; none of them is merged."""
        inserted = await self._insert_each("contacts", COLUMNS, [row_of(contact) for contact in contacts])
        if inserted != len(contacts):
            await self._raise_taken(contacts)

    async def record_all(self, events: Sequence[Event]) -> None:
        """See `BulkTransaction.record_all`."""
        await self._insert_each("contact_events", EVENT_COLUMNS, [row_of_event(event) for event in events])

    async def _raise_taken(self, contacts: Sequence[Contact]) -> None:
        """`ContactConflict` naming a record that holds what one of these asked for."""
        workspace_id = contacts[0].workspace_id
        by_id = {contact.id: contact for contact in contacts}
        by_external_id = {contact.external_id: contact for contact in contacts if contact.external_id is not None}
        for holder in await self.find_each(workspace_id, "external_id", list(by_external_id)):
            if holder.id != by_external_id[str(holder.external_id)].id:
                raise ContactConflict(holder.id, "external_id", archived=holder.state is State.ARCHIVED)
        for holder in await self.find_each(workspace_id, "id", list(by_id)):
            if holder != by_id[holder.id]:
                raise ContactConflict(holder.id, "id")
        raise Outage(Code.STORE_UNAVAILABLE, "an identifier was taken and released at once")
