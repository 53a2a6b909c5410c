"""Many records at once, for what works through a file or through all records: look-ups, new records, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import Event

Identifier = Literal["id", "external_id", "email"]

EACH_LIMIT = 20_000
"""How many records one look-up for many values reads at most."""


class BulkReader(Protocol):
    """The look-ups."""

    async def find_each(self, workspace_id: str, field: Identifier, values: Sequence[str]) -> Sequence[Contact]:
        """The records that hold one of the values, in no order; for emails without those that were merged away.

        A merged record comes itself, not the one that answers for it. With `EACH_LIMIT` records or more some may be
        missing.
        """

    async def live_contacts_after(self, workspace_id: str, contact_id: str, *, limit: int) -> Sequence[Contact]:
        """The live records whose ids follow this one, in the order of their ids, at most `limit`."""


class BulkTransaction(BulkReader, Protocol):
    """The writes."""

    async def insert_all(self, contacts: Sequence[Contact]) -> None:
        """Add records, all or none; `ContactConflict` when an id or external_id of one is taken."""

    async def record_all(self, events: Sequence[Event]) -> None:
        """Append lines to the history; they name no other record."""
