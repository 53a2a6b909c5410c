"""A store whose writes are seen by what follows them and reach nobody else: for rehearsals of any length.

Reading goes to the store itself; what is written lies in a scratch store, and hides the record that it replaces. So the
very code that changes records can be rehearsed, without a transaction that keeps everybody else from writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.contact import Role, State
from gateway.contacts.database.sqlite import scratch_transaction
from gateway.contacts.editing import conflict_with

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.attributes import DataAttribute
    from gateway.contacts.bulk import Identifier
    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactReader, Event, T, Work


class Rehearsal:
    """The part of `ContactTransaction` that editors use to create, update and declare, and `write` over it.

    It deletes and merges nothing: no record that the store holds ever goes away in it.
    """

    def __init__(self, store: ContactReader) -> None:
        self._store = store
        self._written = scratch_transaction()

    async def write(self, work: Work[T]) -> T:
        """Run work as `ContactStore.write` does, without its locks, and keep what it wrote to this rehearsal."""
        result: T = await work(self)  # type: ignore[arg-type]  # all of a transaction that such works use
        return result

    async def lock(self, workspace_id: str, *identifiers: str) -> None:
        """Nobody else writes here."""

    async def record(self, event: Event) -> None:
        """A rehearsal leaves no history."""

    async def record_all(self, events: Sequence[Event]) -> None:
        """A rehearsal leaves no history."""

    async def insert(self, contact: Contact) -> None:
        """See `ContactTransaction.insert`."""
        await self.insert_all([contact])

    async def insert_all(self, contacts: Sequence[Contact]) -> None:
        """See `BulkTransaction.insert_all`."""
        workspace_id = contacts[0].workspace_id
        external_ids = [contact.external_id for contact in contacts if contact.external_id is not None]
        for holder in await self.find_each(workspace_id, "external_id", external_ids):
            raise conflict_with(holder, "external_id")
        await self._written.insert_all(contacts)

    async def update(self, contact: Contact) -> None:
        """See `ContactTransaction.update`."""
        holders = [] if contact.external_id is None else [contact.external_id]
        for holder in await self.find_each(contact.workspace_id, "external_id", holders):
            if holder.id != contact.id:
                raise conflict_with(holder, "external_id")
        if await self._written.find(contact.workspace_id, contact.id):
            await self._written.update(contact)
        else:
            await self._written.insert(contact)

    async def data_attributes(self, workspace_id: str) -> Sequence[DataAttribute]:
        """See `AttributeReader.data_attributes`."""
        written = await self._written.data_attributes(workspace_id)
        return [*await self._store.data_attributes(workspace_id), *written]

    async def insert_data_attribute(self, attribute: DataAttribute) -> bool:
        """See `AttributeTransaction.insert_data_attribute`; the caller has looked for its name and id."""
        return await self._written.insert_data_attribute(attribute)

    async def find(self, workspace_id: str, contact_id: str) -> Contact | None:
        """See `ContactReader.find`."""
        return await self._as_written(await self._store.find(workspace_id, contact_id)) or await self._written.find(
            workspace_id, contact_id
        )

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        """See `ContactReader.find_by_external_id`."""
        written = await self._written.find_by_external_id(workspace_id, external_id)
        if written is not None:
            return written
        found = await self._store.find_by_external_id(workspace_id, external_id)
        now = await self._as_written(found)
        if found is None or now is None:
            return None
        let_go = found.external_id == external_id != now.external_id
        return None if let_go else now

    async def find_by_email(
        self, workspace_id: str, email: str, *, limit: int = 3, proven: bool = False
    ) -> Sequence[Contact]:
        """See `ContactReader.find_by_email`."""
        written = await self._written.find_by_email(workspace_id, email, limit=limit, proven=proven)
        asked = limit
        while True:
            found = await self._store.find_by_email(workspace_id, email, limit=asked, proven=proven)
            kept = [one for one in found if not await self._written.find(workspace_id, one.id)]
            if len(found) < asked or len(kept) >= limit:
                return sorted([*kept, *written], key=lambda one: (one.created_at, one.id))[:limit]
            asked *= 4

    async def user_with_email(self, workspace_id: str, email: str, *, but: str) -> Contact | None:
        """See `PutAwayReader.user_with_email`."""
        holders = [
            one
            for one in await self.find_each(workspace_id, "email", [email])
            if one.role is Role.USER and one.id != but
        ]
        return min(holders, key=lambda one: (one.state is not State.LIVE, one.created_at, one.id), default=None)

    async def find_each(self, workspace_id: str, field: Identifier, values: Sequence[str]) -> Sequence[Contact]:
        """See `BulkReader.find_each`."""
        written = await self._written.find_each(workspace_id, field, values)
        found = await self._store.find_each(workspace_id, field, values)
        hidden = {one.id for one in await self._written.find_each(workspace_id, "id", [one.id for one in found])}
        return [*(one for one in found if one.id not in hidden), *written]

    async def _as_written(self, contact: Contact | None) -> Contact | None:
        if contact is None:
            return None
        return await self._written.find(contact.workspace_id, contact.id) or contact
