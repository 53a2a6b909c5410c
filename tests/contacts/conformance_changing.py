"""What a store changes, merges, forgets and remembers, for any back end: its test inherits this."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from gateway.contacts.access_token import AccessToken, Scope, digest_of
from gateway.contacts.contact import Contact, State
from gateway.contacts.store import ContactStore, ContactTransaction, Event
from gateway.errors import ContactConflict, ContactNotFound, Outage
from tests.contacts.conformance_finding import FULL
from tests.contacts.records import NOW, WORKSPACE, contact, do, insert, merge, update


def event(of: Contact, kind: str, **fields: object) -> Event:
    """A line of history."""
    return Event(workspace_id=of.workspace_id, contact_id=of.id, kind=kind, actor="test", at=NOW, **fields)  # type: ignore[arg-type]


class ChangingConformance:
    """Updates, deletions, merges, history, access tokens."""

    async def test_an_update_writes_every_field(self, store: ContactStore) -> None:
        """The whole record is replaced, blanks included; identifiers that it let go of are free."""
        known = contact(**FULL)
        await insert(store, known)
        changed = replace(contact(id=known.id), external_id="u-2", state=State.BLOCKED)
        await update(store, changed)
        assert await store.find(WORKSPACE, known.id) == changed
        assert await store.find_by_external_id(WORKSPACE, known.external_id or "") is None
        assert await store.find_by_email(WORKSPACE, "a@example.com") == []

    async def test_an_update_keeps_external_ids_unique(self, store: ContactStore) -> None:
        """An external id that another record holds is a conflict naming it, and nothing changes."""
        holder, late = contact(external_id="u-1", state=State.ARCHIVED), contact(external_id="u-2")
        await insert(store, holder, late)
        with pytest.raises(ContactConflict) as conflict:
            await update(store, replace(late, external_id="u-1", name="New"))
        assert (conflict.value.contact_id, conflict.value.archived) == (holder.id, True)
        assert await store.find(WORKSPACE, late.id) == late

    async def test_what_does_not_stand_is_not_changed(self, store: ContactStore) -> None:
        """Update, delete and merge of a missing record are ContactNotFound."""
        known, missing = contact(), contact()
        await insert(store, known)
        for step in (
            lambda transaction: transaction.update(missing),
            lambda transaction: transaction.delete(WORKSPACE, missing.id),
            lambda transaction: transaction.merge(WORKSPACE, missing.id, known.id, now=NOW),
            lambda transaction: transaction.merge(WORKSPACE, known.id, missing.id, now=NOW),
            lambda transaction: transaction.merge("other", known.id, known.id, now=NOW),
        ):
            with pytest.raises(ContactNotFound):
                await do(store, step)
        assert await store.find(WORKSPACE, known.id) == known

    async def test_a_deleted_person_is_gone(self, store: ContactStore) -> None:
        """With what was merged into it, and with the values in its history; the identifiers are free again."""
        source, into = contact(external_id="u-1"), contact(external_id="u-2", email="a@example.com")
        await insert(store, source, into)

        async def work(transaction: ContactTransaction) -> None:
            await transaction.merge(WORKSPACE, source.id, into.id, now=NOW)
            await transaction.record(event(source, "created", after={"email": "a@example.com"}))
            await transaction.record(event(into, "email_changed", before={"email": "b@example.com"}))
            await transaction.delete(WORKSPACE, into.id)

        await store.write(work)
        for gone in (source, into):
            assert await store.find(WORKSPACE, gone.id) is None
            (line,) = await store.events(WORKSPACE, gone.id)
            assert (line.before, line.after) == ({}, {})
        await insert(store, source, into)
        assert await store.find_by_external_id(WORKSPACE, "u-1") == source

    async def test_c11_every_link_of_a_chain_answers_with_the_survivor(self, store: ContactStore) -> None:
        """Merges in any order and of any length: every identifier leads to the one record that is left."""
        chain = [contact(external_id=f"u-{n}", email="a@example.com") for n in range(12)]
        await insert(store, *chain)

        async def work(transaction: ContactTransaction) -> None:
            for source, into in pairwise(chain[:6]):
                await transaction.merge(WORKSPACE, source.id, into.id, now=NOW + 1)
            for into, source in pairwise(chain[11:5:-1]):
                await transaction.merge(WORKSPACE, source.id, into.id, now=NOW + 1)
            await transaction.merge(WORKSPACE, chain[0].id, chain[6].id, now=NOW + 1)

        await store.write(work)
        for link in chain:
            assert await store.find(WORKSPACE, link.id) == chain[11]
            assert await store.find_by_external_id(WORKSPACE, link.external_id or "") == chain[11]
        assert await store.find_by_email(WORKSPACE, "a@example.com", limit=20) == [chain[11]]
        assert await store.check() == []

    async def test_a_merge_of_one_person_is_a_conflict(self, store: ContactStore) -> None:
        """Into itself, or into what it was merged into before."""
        source, into = contact(), contact()
        await insert(store, source, into)
        await merge(store, source, into)
        for one, other in ((into, into), (source, into), (into, source)):
            with pytest.raises(ContactConflict):
                await merge(store, one, other)
        assert await store.find(WORKSPACE, source.id) == into

    async def test_a_merge_can_be_undone(self, store: ContactStore) -> None:
        """Writing the record as it was brings it back, with its identifiers."""
        source, into = contact(external_id="u-1"), contact()
        await insert(store, source, into)
        await merge(store, source, into)
        await update(store, source)
        assert await store.find_by_external_id(WORKSPACE, "u-1") == source

    async def test_a_record_can_be_written_as_merged(self, store: ContactStore) -> None:
        """An update may name a survivor; chains stay one step long, and nothing is merged into itself."""
        first, second, third = contact(external_id="u-1"), contact(), contact()
        await insert(store, first, second, third)
        for source, into in ((first, second), (second, third)):
            merged = replace(source, state=State.MERGED, merged_into=into.id)
            await update(store, merged)
        assert await store.find_by_external_id(WORKSPACE, "u-1") == third
        into_itself = replace(third, state=State.MERGED, merged_into=first.id)
        with pytest.raises(ValueError, match="itself"):
            await update(store, into_itself)
        assert await store.check() == []

    async def test_history_comes_newest_first(self, store: ContactStore) -> None:
        """The lines of one record, the last one first, at most `limit`, with their values."""
        known, other = contact(), contact()
        lines = [event(known, f"kind-{n}", before={"n": n}, after={"é": [None, n]}) for n in range(5)]

        async def work(transaction: ContactTransaction) -> None:
            for line in lines:
                await transaction.record(line)
                await transaction.record(event(other, "noise"))

        await store.write(work)
        assert await store.events(WORKSPACE, known.id) == lines[::-1]
        assert await store.events(WORKSPACE, known.id, limit=2) == [lines[4], lines[3]]

    async def test_history_of_one_kind(self, store: ContactStore) -> None:
        """The lines of one kind, newest first, behind however many others."""
        known, other = contact(), contact()
        rare = [event(known, "rare", after={"n": n}) for n in range(3)]

        async def work(transaction: ContactTransaction) -> None:
            for line in rare:
                await transaction.record(line)
                await transaction.record(event(other, "rare"))
                for _ in range(150):
                    await transaction.record(event(known, "noise"))

        await store.write(work)
        assert await store.events(WORKSPACE, known.id, kind="rare") == rare[::-1]
        assert await store.events(WORKSPACE, known.id, kind="rare", limit=1) == [rare[2]]
        assert await store.events(WORKSPACE, known.id, kind="none") == []

    async def test_access_tokens_are_kept_by_digest(self, store: ContactStore) -> None:
        """Found by the digest alone, listed oldest first, revoked once, and still found afterwards."""
        tokens = [
            AccessToken(id=f"t{n}", workspace_id=WORKSPACE, name="n", scopes=frozenset(Scope), created_at=NOW - n)
            for n in range(2)
        ]

        async def work(transaction: ContactTransaction) -> None:
            for token in tokens:
                await transaction.insert_access_token(token, digest_of(token.id))

        await store.write(work)
        assert await store.find_access_token(digest_of("t0")) == tokens[0]
        assert await store.access_tokens() == tokens[::-1]
        with pytest.raises(ContactConflict):
            await store.write(work)
        revoke = [await do(store, lambda transaction: transaction.revoke_access_token("t0", now=NOW)) for _ in range(2)]
        assert revoke == [True, False]
        assert await store.find_access_token(digest_of("t0")) == replace(tokens[0], revoked_at=NOW)

    async def test_a_work_that_raises_leaves_nothing(self, store: ContactStore) -> None:
        """Its exception comes out of `write`, what it did is undone, and inside it saw its own writes."""
        known, new = contact(external_id="u-1"), contact(external_id="u-2")
        await insert(store, known)
        heard: list[str] = []
        store.subscribe(lambda _, contact_id: heard.append(contact_id))

        async def work(transaction: ContactTransaction) -> None:
            await transaction.insert(new)
            await transaction.update(replace(known, name="New"))
            await transaction.record(event(known, "updated"))
            assert await transaction.find_by_external_id(WORKSPACE, "u-2") == new
            raise LookupError("on purpose")

        with pytest.raises(LookupError, match="on purpose"):
            await store.write(work)
        assert await store.find_by_external_id(WORKSPACE, "u-2") is None
        assert await store.find(WORKSPACE, known.id) == known
        assert await store.events(WORKSPACE, known.id) == []
        assert heard == []

    async def test_a_work_returns_its_result(self, store: ContactStore) -> None:
        """What the work returns comes out of `write`."""

        async def work(_transaction: ContactTransaction) -> tuple[int, str]:
            return 7, "seven"

        assert await store.write(work) == (7, "seven")

    async def test_a_closed_store_is_an_outage(self, store: ContactStore) -> None:
        """After `close` every call is `Outage(store_unavailable)`, and the store can be opened again."""
        await insert(store, contact(external_id="u-1"))
        await store.close()
        assert not store.hears_changes
        with pytest.raises(Outage):
            await store.find_by_external_id(WORKSPACE, "u-1")
        with pytest.raises(Outage):
            await store.find(WORKSPACE, "0" * 24)
        with pytest.raises(Outage):
            await insert(store, contact())
        await store.open()
        assert await store.find_by_external_id(WORKSPACE, "u-1") is not None
