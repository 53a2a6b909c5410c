"""Merging two records in one transaction, and undoing it.

`rules.py` says what is allowed and what comes of it; the journal keeps what an undo needs. Old ids, external ids and
tokens of the merged record lead to the survivor by the store's own pointers, in one look-up. A merge is never made but
by somebody's explicit word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict, replace

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.editing import Editor, changed_fields, conflict_with, identifiers_of
from gateway.contacts.merging.journal import Kept, Merge
from gateway.contacts.merging.rules import UNDO_SECONDS, Because, KeptChange, Plan, plan_of, restored
from gateway.errors import ChangeProblem, ChangeRefused, ContactNotFound

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_HOLDERS = 1_000  # of one email, that a merge looks at


class Undone(Struct, frozen=True, kw_only=True):
    """An undone merge: both records as they stand now, and the later changes that stay on the survivor."""

    source: Contact
    survivor: Contact
    kept_changes: tuple[KeptChange, ...]


class Merger(Editor):
    """An `Editor` that also merges."""

    async def preview(self, source_id: str, into_id: str, *, unchecked: bool = False) -> Plan:
        """What `merge` would do now; both records are held, so that it stays true to the end of the transaction.

        Raises `ContactNotFound` and `ContactMerged`, and `ChangeRefused` when `unchecked` is asked for two users.
        """
        await self._hold(source_id, into_id)
        source, into = await self.standing(source_id), await self.standing(into_id)
        if unchecked and source.role is Role.USER and into.role is Role.USER:
            text = "the check for duplicates cannot be skipped for two users"
            raise ChangeRefused(ChangeProblem.MERGE_UNCHECKED, text, field="skip_duplicate_validation")
        others = await self._holders(source, besides=into)
        return plan_of(
            source,
            into,
            unchecked=unchecked,
            email_taken=any(other.role is Role.USER for other in others),
            now=self._now,
        )

    async def merge(self, source_id: str, into_id: str, *, unchecked: bool = False) -> Contact:
        """Merge one record into another and return the survivor; raises as `preview`, and `ChangeRefused`."""
        plan = await self.preview(source_id, into_id, unchecked=unchecked)
        for reason in plan.reasons:
            raise ChangeRefused(_PROBLEMS.get(reason.code, ChangeProblem.MERGE_INVALID), reason.message)
        source, into, merged = plan.source, plan.into, plan.merged
        kept = Kept(
            source=source,
            into=into,
            after=merged,
            absorbed=tuple(await self._transaction.absorbed(self._workspace, source.id)),
            holders=tuple(holder.id for holder in await self._holders(source, besides=into)),
        )
        if merged.external_id is not None and merged.external_id == source.external_id:
            await self._transaction.update(replace(source, external_id=None))  # it stands on one record at a time
        await self._transaction.merge(self._workspace, source.id, into.id, now=self._now)
        await self._transaction.update(merged)
        await self._transaction.keep_merge(
            Merge(
                workspace_id=self._workspace,
                source_id=source.id,
                source_role=source.role,
                into_id=into.id,
                actor=self._actor,
                merged_at=self._now,
                kept=kept,
            )
        )
        await self._transaction.forget_old_merges(self._workspace, self._now - UNDO_SECONDS)
        await self._note_both("merged", source, into, merged)
        return merged

    async def unmerge(self, source_id: str) -> Undone:
        """Give a merged record its place back, and the survivor what it had; later writes stay on the survivor.

        Raises `ContactNotFound`, `ChangeRefused` when the merge cannot be undone, or not yet, and `ContactConflict`
        naming who took one of the record's identifiers since.
        """
        merge, kept, standing = await self._undoable(source_id)
        source = kept.source
        if standing.state is State.BLOCKED:
            raise _not_undone(f"the survivor {standing.id} was blocked since: unblock it first, then unmerge")
        if source.role is Role.USER:
            for holder in await self._holders(source, besides=standing):
                if holder.role is Role.USER and holder.id not in kept.holders:
                    raise conflict_with(holder, "email")
        survivor, changes = restored(kept, standing)
        await self._transaction.update(survivor)  # first, so that what it had adopted is free
        await self._transaction.update(source)
        await self._transaction.repoint(self._workspace, kept.absorbed, survivor.id, source.id)
        await self._transaction.forget_merge(merge, now=self._now)
        await self._note_both("unmerged", source, standing, survivor)
        return Undone(source=source, survivor=survivor, kept_changes=changes)

    async def _undoable(self, source_id: str) -> tuple[Merge, Kept, Contact]:
        """The merge of a record, what it kept, and the survivor, all held."""
        stored = await self._transaction.stored(self._workspace, source_id)
        if stored is None:
            raise ContactNotFound(source_id)
        survivor_id = stored.merged_into or source_id
        line = await self._transaction.last_merge_into(self._workspace, survivor_id)
        await self._hold(source_id, survivor_id, identifiers=_identifiers_kept(line))
        standing = await self._transaction.find(self._workspace, source_id)
        if standing is None:
            raise ContactNotFound(source_id)
        merge = await self._transaction.last_merge_into(self._workspace, standing.id)
        last = "" if merge is None else f"; the last one merged into it is {merge.source_id}"
        if standing.id == source_id:
            raise _not_undone(f"{source_id} was not merged into another contact{last}")
        if merge is None or merge.source_id != source_id:
            raise _not_undone(f"merges are undone last one first{last}: unmerge that first")
        if self._now - merge.merged_at > UNDO_SECONDS:
            raise _not_undone(f"a merge can be undone for {UNDO_SECONDS // 86_400} days")
        if merge.kept is None:
            raise _not_undone("what the merge had kept was erased")
        await self._transaction.lock(self._workspace, *_identifiers_kept(merge))  # held, but for a race just now
        return merge, merge.kept, standing

    async def _hold(self, *contact_ids: str, identifiers: AbstractSet[str] = frozenset()) -> None:
        """Hold identifiers, those of records among them, and then the records, in order.

        A login holds them in the same order, so that nobody waits for somebody who waits for him.
        """
        held, records = set(identifiers), set(contact_ids)
        for contact_id in contact_ids:
            stored = await self._transaction.stored(self._workspace, contact_id)
            if stored is not None:
                held |= identifiers_of(stored.external_id, stored.email)
                records.add(stored.merged_into or contact_id)  # who looks for it is led there
        await self._transaction.lock(self._workspace, *held)
        for contact_id in sorted(records):
            await self._transaction.find(self._workspace, contact_id)

    async def _holders(self, contact: Contact, *, besides: Contact) -> list[Contact]:
        """The other records with a contact's email, also those that are put away: they keep what is theirs."""
        if contact.email is None:
            return []
        holders = [
            *await self._transaction.find_by_email(self._workspace, contact.email, limit=_HOLDERS),
            *await self._transaction.put_away(self._workspace, email=contact.email, limit=_HOLDERS),
        ]
        return [holder for holder in holders if holder.id not in {contact.id, besides.id}]

    async def _note_both(self, kind: str, source: Contact, before: Contact, survivor: Contact) -> None:
        """A line on each record. Each names the other: when one is deleted, its values go from both."""
        changed = changed_fields(asdict(survivor), before), changed_fields(asdict(before), survivor)
        await self._note(kind, source, after={"survivor": survivor.id})
        await self._note(kind, survivor, before=changed[0], after={"source": source.id, **changed[1]})


_PROBLEMS = {Because.USERS_NOT_SHARED: ChangeProblem.MERGE_NOT_DUPLICATES}


def _identifiers_kept(merge: Merge | None) -> set[str]:
    """The identifiers that the source will have again."""
    kept = merge.kept if merge else None
    return identifiers_of(kept.source.external_id, kept.source.email) if kept else set()


def _not_undone(message: str) -> ChangeRefused:
    return ChangeRefused(ChangeProblem.NOT_UNDONE, message)
