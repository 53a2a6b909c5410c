"""The SQL of the duplicates report: one statement a kind, which groups in the engine and gives a page of keys.

Emails and phones are read from an index in the order of the answer, so a page costs what it holds. Folded user_ids are
in no index, which every login would pay for: each page reads all of them once.
"""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, check_storable, contact_of
from gateway.contacts.database.schema.lifecycle import PHONE_KEY
from gateway.contacts.merging.duplicates import DuplicateKind, FoundGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.database.rows import Row

_AT_ONCE = 100
_PLACES = ", ".join(f"${number}" for number in range(2, _AT_ONCE + 2))
STORED_CONTACTS = f"SELECT {', '.join(COLUMNS)} FROM contacts WHERE workspace_id = $1 AND id IN ({_PLACES})"
# The list of kinds stands as in the index of these few lines, so that both engines see that it serves.
_ALARMS = "FROM contact_events WHERE workspace_id = $1 AND kind IN ('email_conflict', 'shared_user_id')"
FLAGGED = (
    f"SELECT contact_id, max(at) {_ALARMS} AND kind = 'email_conflict' AND contact_id IN ({_PLACES}) "
    "GROUP BY contact_id"
)
_LIVE = "FROM contacts WHERE workspace_id = $1 AND state = 'live'"
_SHARED = "HAVING count(*) > 1"


class SqlDuplicateReader(Fetching):
    """The questions of `DuplicateReader`."""

    folded_id: ClassVar[str] = "folded_id(external_id)"
    """`duplicates.folded_id` in the engine's words."""

    async def duplicate_groups(
        self, workspace_id: str, kind: DuplicateKind, *, after: str = "", limit: int, key: str | None = None
    ) -> Sequence[FoundGroup]:
        """See `DuplicateReader.duplicate_groups`."""
        check_storable((workspace_id, after, key))
        bound = "> $2" if key is None else "= $2"
        statement = f"{self._statement(kind, bound)} LIMIT $3"
        rows = await self._scan(statement, workspace_id, after if key is None else key, limit)
        return [FoundGroup(row[0], tuple(_ids(kind, row))) for row in rows]

    async def stored_contacts(self, workspace_id: str, contact_ids: Sequence[str]) -> Sequence[Contact]:
        """See `DuplicateReader.stored_contacts`."""
        return [
            contact_of(row)
            for some in _parts(contact_ids)
            for row in await self._fetch(STORED_CONTACTS, workspace_id, *some)
        ]

    async def flagged(self, workspace_id: str, contact_ids: Sequence[str]) -> Mapping[str, int]:
        """See `DuplicateReader.flagged`."""
        return {
            row[0]: row[1] for some in _parts(contact_ids) for row in await self._fetch(FLAGGED, workspace_id, *some)
        }

    def _statement(self, kind: DuplicateKind, bound: str) -> str:
        """Rows of (key, what tells the ids), in the order of the keys."""
        match kind:
            case DuplicateKind.EMAIL:
                return (
                    f"SELECT email, string_agg(id, ',') {_LIVE} AND email {bound} "
                    f"GROUP BY email {_SHARED} ORDER BY email"
                )
            case DuplicateKind.PHONE:  # what is shorter is a placeholder, not a number
                return (
                    f"SELECT {PHONE_KEY}, string_agg(id, ',') {_LIVE} AND phone IS NOT NULL AND {PHONE_KEY} {bound} "
                    f"AND length({PHONE_KEY}) >= 5 GROUP BY {PHONE_KEY} {_SHARED} ORDER BY {PHONE_KEY}"
                )
            case DuplicateKind.USER_ID:
                # Most are in ASCII alone, where no white space but the blank is taken, and both engines are fast.
                ascii_alone = "octet_length(external_id) = length(external_id)"
                key = f"CASE WHEN {ascii_alone} THEN replace(lower(external_id), ' ', '') ELSE {self.folded_id} END"
                folded = f"SELECT {key} AS key, id {_LIVE} AND external_id IS NOT NULL"
                return (
                    f"WITH folded AS MATERIALIZED ({folded}) SELECT key, string_agg(id, ',') FROM folded "
                    f"WHERE key {bound} GROUP BY key {_SHARED} ORDER BY key"
                )
            case DuplicateKind.EMAIL_AS_USER_ID:
                return (  # the order of a CROSS JOIN stands in SQLite: for each user_id with an @, one look-up
                    "SELECT e.email, string_agg(u.id || ',' || e.id, ',') FROM contacts u CROSS JOIN contacts e "
                    "WHERE u.workspace_id = $1 AND u.state = 'live' AND u.external_id LIKE '%@%' "
                    "AND e.workspace_id = u.workspace_id AND e.state = 'live' AND e.email = lower(u.external_id) "
                    f"AND e.id <> u.id AND (u.email IS NULL OR u.email <> e.email) AND e.email {bound} "
                    "GROUP BY e.email ORDER BY e.email"
                )
            case DuplicateKind.EMAIL_CONFLICT | DuplicateKind.SHARED_USER_ID:
                return (
                    f"SELECT contact_id, string_agg(after, ',') {_ALARMS} AND kind = '{kind}' "
                    f"AND contact_id {bound} GROUP BY contact_id ORDER BY contact_id"
                )


def _ids(kind: DuplicateKind, row: Row) -> Iterator[str]:
    """The ids of a group: in a list, or in the values of the lines that flagged the first of them."""
    if kind in {DuplicateKind.EMAIL_CONFLICT, DuplicateKind.SHARED_USER_ID}:
        yield row[0]
        for values in msgspec.json.decode(f"[{row[1]}]"):
            yield from values.get("held_by", ())
    else:
        yield from row[1].split(",")


def _parts(contact_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in lots of one size, the last one filled up, so that one statement serves all."""
    for begin in range(0, len(contact_ids), _AT_ONCE):
        some = list(contact_ids[begin : begin + _AT_ONCE])
        yield some + some[:1] * (_AT_ONCE - len(some))
