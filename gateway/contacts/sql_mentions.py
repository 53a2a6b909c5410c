"""Which lines of a record's history name another record, so that a deleted person is forgotten there, too.

A line such as `email_conflict` stands in the history of one record and holds values that it shares with another. The
contact ids in its values say with whom; when one of these is deleted, the values go, and the line stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import is_contact_id
from gateway.contacts.fetching import Fetching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contacts.store import Event

MENTION = "INSERT INTO contact_mentions (workspace_id, mentioned_id, seq) VALUES ($1, $2, $3)"
FORGET_LINES = (
    "UPDATE contact_events SET before = '{}', after = '{}' WHERE workspace_id = $1 "
    "AND seq IN (SELECT seq FROM contact_mentions WHERE workspace_id = $1 AND mentioned_id = $2)"
)
FORGET_MENTIONS = "DELETE FROM contact_mentions WHERE workspace_id = $1 AND mentioned_id = $2"


class SqlMentions(Fetching):
    """Keeps the mentions of a transaction's lines, and forgets by them."""

    async def _mention(self, event: Event, seq: int) -> None:
        for contact_id in sorted(mentioned_in(event)):
            await self._fetch(MENTION, event.workspace_id, contact_id, seq)

    async def _forget_mentions(self, workspace_id: str, contact_id: str) -> None:
        await self._fetch(FORGET_LINES, workspace_id, contact_id)
        await self._fetch(FORGET_MENTIONS, workspace_id, contact_id)


def mentioned_in(event: Event) -> set[str]:
    """The contact ids in an event's values, without its own. An id of another kind in that shape does no harm."""
    return {text for text in _texts([event.before, event.after]) if is_contact_id(text)} - {event.contact_id}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
