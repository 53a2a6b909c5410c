"""Forgetting a person in the histories: in the record's own lines, and in those of others that tell of it.

A line such as `email_conflict` or `merged` stands in the history of one record and holds values of another. The contact
ids in its values say whose; a table finds such a line by the record that it names. When that one is deleted, the
values go from the line, and the fact stays. What else the histories of these related records hold of the person (an
address that both had for a while) goes too, unless the related record has it to this day.
"""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import is_contact_id
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, EVENT_COLUMNS, contact_of, event_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import Event

_MENTIONED = "SELECT seq FROM contact_mentions WHERE workspace_id = $1 AND mentioned_id = $2"
MENTION = "INSERT INTO contact_mentions (workspace_id, mentioned_id, seq) VALUES ($1, $2, $3)"
RELATED = f"SELECT DISTINCT contact_id FROM contact_events WHERE workspace_id = $1 AND seq IN ({_MENTIONED})"
_BLANK = "UPDATE contact_events SET before = '{}', after = '{}' WHERE workspace_id = $1"
FORGET_LINES = f"{_BLANK} AND seq IN ({_MENTIONED})"
FORGET_MENTIONS = "DELETE FROM contact_mentions WHERE workspace_id = $1 AND mentioned_id = $2"
FORGET_OWN = f"{_BLANK} AND contact_id = $2"
FORGET_VALUE = f"{_BLANK} AND contact_id = $2 AND (before LIKE $3 ESCAPE '!' OR after LIKE $3 ESCAPE '!')"
OWN_LINES = f"SELECT {', '.join(EVENT_COLUMNS)} FROM contact_events WHERE workspace_id = $1 AND contact_id = $2"
RECORD = f"SELECT {', '.join(COLUMNS)} FROM contacts WHERE workspace_id = $1 AND id = $2"

_PERSONAL = ("external_id", "user_id", "email", "phone", "name", "avatar")
"""The fields that tell who somebody is, as the records and the history name them."""


class SqlMentions(Fetching):
    """Keeps the mentions of a transaction's lines, and forgets by them."""

    async def _mention(self, event: Event, seq: int) -> None:
        for contact_id in sorted(mentioned_in(event)):
            await self._fetch(MENTION, event.workspace_id, contact_id, seq)

    async def _forget(self, workspace_id: str, contact_id: str) -> None:
        """Take a record that still stands out of all histories, its own among them."""
        events = [event_of(row) for row in await self._fetch(OWN_LINES, workspace_id, contact_id)]
        values = {value for event in events for values in (event.before, event.after) for value in _personal(values)}
        values |= await self._standing_values(workspace_id, contact_id)
        related = {row[0] for row in await self._fetch(RELATED, workspace_id, contact_id)}
        related |= {mentioned for event in events for mentioned in mentioned_in(event)}
        for other in sorted(related - {contact_id}):
            for value in sorted(values - await self._standing_values(workspace_id, other)):
                await self._fetch(FORGET_VALUE, workspace_id, other, _holding(value))
        await self._fetch(FORGET_LINES, workspace_id, contact_id)
        await self._fetch(FORGET_MENTIONS, workspace_id, contact_id)
        await self._fetch(FORGET_OWN, workspace_id, contact_id)

    async def _standing_values(self, workspace_id: str, contact_id: str) -> set[str]:
        rows = await self._fetch(RECORD, workspace_id, contact_id)
        return {value for row in rows for value in _personal(_fields(contact_of(row)))}


def mentioned_in(event: Event) -> set[str]:
    """The contact ids in an event's values, without its own. An id of another kind in that shape does no harm."""
    return {text for text in _texts([event.before, event.after]) if is_contact_id(text)} - {event.contact_id}


def _fields(contact: Contact) -> dict[str, Any]:
    return {name: getattr(contact, name, None) for name in _PERSONAL}


def _personal(values: dict[str, Any]) -> set[str]:
    return {values[name] for name in _PERSONAL if isinstance(values.get(name), str)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _holding(value: str) -> str:
    """The pattern of a text that holds this value as JSON has it."""
    text = json.dumps(value, ensure_ascii=False)
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text}%"
