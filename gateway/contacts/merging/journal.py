"""The journal of merges: what is needed to undo one, and what stays to be told of it for ever.

A line keeps both records whole as they were before, the survivor as it was right after, and everything that moved. That
is personal data: it is erased when the merge is undone, when either record is deleted, and, at the next merge in the
workspace, when it is too late for an undo. Who was merged into whom, when and by whom, stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.contacts.contact import Contact, Role

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kept(Struct, frozen=True, kw_only=True):
    """What a merge needs to be undone. `after` is the survivor right after the merge.

    `absorbed` are the records that had been merged into the source before. `holders` are the other records that held
    the source's email at the time: an undo takes nothing from them.
    """

    source: Contact
    into: Contact
    after: Contact
    absorbed: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()


class Merge(Struct, frozen=True, kw_only=True):
    """One line of the journal. `seq` grows with time; `kept` is None where it was erased."""

    seq: int = 0
    workspace_id: str
    source_id: str
    source_role: Role
    into_id: str
    actor: str
    merged_at: int
    kept: Kept | None = None


class MergeReader(Protocol):
    """What can be asked of the journal; merges that were undone are not told."""

    async def merges_into(
        self, workspace_id: str, contact_id: str, *, limit: int, after: int | None = None, oldest_first: bool = False
    ) -> Sequence[Merge]:
        """The merges into a record, newest first, at most `limit`, from behind the one whose `seq` is `after`.

        Without `kept`. What had been merged into their sources before is told by the lines of those.
        """

    async def last_merge_into(self, workspace_id: str, contact_id: str) -> Merge | None:
        """The newest merge into a record, with `kept`."""

    async def absorbed(self, workspace_id: str, contact_id: str) -> Sequence[str]:
        """The ids of all records that a record answers for besides its own."""


class MergeWriter(MergeReader, Protocol):
    """What a transaction may do to the journal."""

    async def keep_merge(self, merge: Merge) -> None:
        """Append a line; its `seq` is given by the store."""

    async def forget_merge(self, merge: Merge, *, now: int) -> None:
        """Mark a merge undone and erase what it kept."""

    async def forget_old_merges(self, workspace_id: str, before: int) -> None:
        """Erase what merges from before a moment kept."""

    async def repoint(self, workspace_id: str, contact_ids: Sequence[str], old_id: str, new_id: str) -> None:
        """Let those of these records that are merged into the one record be merged into the other."""
