"""The SQL of the journal of merges; see `merging/journal.py` for what it promises.

What a merge kept lies in one column as JSON, each record by the names of its columns, so that erasing it is one write.
"""

# ruff: noqa: S608 - every statement is made of the constants above it

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Role
from gateway.contacts.database.fetching import Fetching
from gateway.contacts.database.rows import COLUMNS, check_storable, contact_of, row_of
from gateway.contacts.merging.journal import Kept, Merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.database.rows import Row

ERASED = "{}"

_MERGES = "SELECT seq, workspace_id, source_id, source_role, into_id, actor, merged_at"
_INTO = "FROM contact_merges WHERE workspace_id = $1 AND into_id = $2 AND undone_at IS NULL"
MERGES_INTO = f"{_MERGES} {_INTO} AND seq < $3 ORDER BY seq DESC LIMIT $4"
MERGES_INTO_OLDEST_FIRST = f"{_MERGES} {_INTO} AND seq > $3 ORDER BY seq LIMIT $4"
LAST_MERGE_INTO = f"{_MERGES}, kept {_INTO} ORDER BY seq DESC LIMIT 1"
KEEP_MERGE = (
    "INSERT INTO contact_merges (workspace_id, source_id, source_role, into_id, actor, merged_at, kept) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7)"
)
FORGET_MERGE = f"UPDATE contact_merges SET undone_at = $1, kept = '{ERASED}' WHERE workspace_id = $2 AND seq = $3"
FORGET_OLD = (
    f"UPDATE contact_merges SET kept = '{ERASED}' WHERE workspace_id = $1 AND merged_at < $2 AND kept <> '{ERASED}'"
)
ERASE_KEPT = [
    f"UPDATE contact_merges SET kept = '{ERASED}' WHERE workspace_id = $1 AND {side} = $2"
    for side in ("source_id", "into_id")
]
ABSORBED = "SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into = $2"
REPOINT_ONE = (
    "UPDATE contacts SET merged_into = $1 WHERE workspace_id = $2 AND id = $3 AND merged_into = $4 RETURNING id"
)

_LAST = 2**63 - 1


class SqlMergeReader(Fetching):
    """The questions of `MergeReader`."""

    async def merges_into(
        self, workspace_id: str, contact_id: str, *, limit: int, after: int | None = None, oldest_first: bool = False
    ) -> Sequence[Merge]:
        """See `MergeReader.merges_into`."""
        if oldest_first:
            sql, bound = MERGES_INTO_OLDEST_FIRST, 0 if after is None else after
        else:
            sql, bound = MERGES_INTO, _LAST if after is None else after
        check_storable((workspace_id, contact_id, bound))
        return [_merge_of(row) for row in await self._fetch(sql, workspace_id, contact_id, bound, limit)]

    async def last_merge_into(self, workspace_id: str, contact_id: str) -> Merge | None:
        """See `MergeReader.last_merge_into`."""
        rows = await self._fetch(LAST_MERGE_INTO, workspace_id, contact_id)
        return _merge_of(rows[0], kept=rows[0][7]) if rows else None

    async def absorbed(self, workspace_id: str, contact_id: str) -> Sequence[str]:
        """See `MergeReader.absorbed`."""
        return [row[0] for row in await self._fetch(ABSORBED, workspace_id, contact_id)]


class SqlMergeWriter(SqlMergeReader):
    """The steps of `MergeWriter`."""

    changed: list[tuple[str, str]]

    async def keep_merge(self, merge: Merge) -> None:
        """See `MergeWriter.keep_merge`."""
        row = (
            merge.workspace_id,
            merge.source_id,
            merge.source_role.value,
            merge.into_id,
            merge.actor,
            merge.merged_at,
            _text_of(merge.kept),
        )
        check_storable(row)
        await self._fetch(KEEP_MERGE, *row)

    async def forget_merge(self, merge: Merge, *, now: int) -> None:
        """See `MergeWriter.forget_merge`."""
        await self._fetch(FORGET_MERGE, now, merge.workspace_id, merge.seq)

    async def forget_old_merges(self, workspace_id: str, before: int) -> None:
        """See `MergeWriter.forget_old_merges`."""
        await self._fetch(FORGET_OLD, workspace_id, before)

    async def repoint(self, workspace_id: str, contact_ids: Sequence[str], old_id: str, new_id: str) -> None:
        """See `MergeWriter.repoint`. In order, so that two of them never wait for each other."""
        for contact_id in sorted(contact_ids):
            if await self._fetch(REPOINT_ONE, new_id, workspace_id, contact_id, old_id):
                self.changed.append((workspace_id, contact_id))

    async def _erase_kept(self, workspace_id: str, contact_id: str) -> None:
        """Erase what merges of a record, in either part, kept."""
        for sql in ERASE_KEPT:
            await self._fetch(sql, workspace_id, contact_id)


def _merge_of(row: Row, kept: str = ERASED) -> Merge:
    return Merge(
        seq=row[0],
        workspace_id=row[1],
        source_id=row[2],
        source_role=Role(row[3]),
        into_id=row[4],
        actor=row[5],
        merged_at=row[6],
        kept=_kept_of(kept),
    )


def _text_of(kept: Kept | None) -> str:
    if kept is None:
        return ERASED
    values = {
        "source": _columns_of(kept.source),
        "into": _columns_of(kept.into),
        "after": _columns_of(kept.after),
        "absorbed": kept.absorbed,
        "holders": kept.holders,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _kept_of(text: str) -> Kept | None:
    if text == ERASED:
        return None
    values = json.loads(text)
    return Kept(
        source=_contact_of(values["source"]),
        into=_contact_of(values["into"]),
        after=_contact_of(values["after"]),
        absorbed=tuple(values["absorbed"]),
        holders=tuple(values["holders"]),
    )


def _columns_of(contact: Contact) -> dict[str, Any]:
    return dict(zip(COLUMNS, row_of(contact), strict=True))


def _contact_of(columns: dict[str, Any]) -> Contact:
    """A record as its columns were; a column that the program got since then is blank."""
    return contact_of([columns.get(column) for column in COLUMNS])
