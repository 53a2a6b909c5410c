"""All live records of a workspace as CSV, which an import takes back unchanged. Memory holds one page of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.csv.cells import guarded, moment, spelled
from gateway.contacts.csv.layout import COLUMNS, CUSTOM
from gateway.contacts.csv.report import csv_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.contacts.bulk import BulkReader
    from gateway.contacts.contact import Contact

_PAGE = 1000


async def exported(reader: BulkReader, workspace: str) -> AsyncIterator[tuple[str, int]]:
    """Pieces of the file, each with the number of records in it; a spreadsheet finds no formula there (R41).

    The records are read twice: first for the names of their custom attributes, which are columns.
    """
    names: set[str] = set()
    async for page in _pages(reader, workspace):
        names.update(*(contact.custom_attributes for contact in page))
    columns = sorted(names)
    yield csv_text([(*COLUMNS, *(CUSTOM + name for name in columns))]), 0
    async for page in _pages(reader, workspace):
        yield csv_text(_row(contact, columns) for contact in page), len(page)


async def _pages(reader: BulkReader, workspace: str) -> AsyncIterator[Sequence[Contact]]:
    after = ""
    while page := await reader.live_contacts_after(workspace, after, limit=_PAGE):
        yield page
        after = page[-1].id


def _row(contact: Contact, attributes: Sequence[str]) -> Sequence[str]:
    texts = (
        contact.id,
        contact.external_id or "",
        contact.email or "",
        contact.name or "",
        contact.phone or "",
        contact.role.value,
        moment(contact.signed_up_at),
        contact.owner_id or "",
        contact.language_override or "",
        spelled(contact.unsubscribed_from_emails),
        *(spelled(contact.custom_attributes.get(name)) for name in attributes),
    )
    return [guarded(text) for text in texts]
