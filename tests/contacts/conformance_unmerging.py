"""Undoing a merge, and what the journal remembers of people, for any back end: its test inherits this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Role, State
from gateway.contacts.merging.rules import UNDO_SECONDS
from gateway.errors import ChangeProblem, ContactConflict, ContactNotFound
from gateway.identity.principal import Proof
from tests.contacts.merges import ADA, edit, merge, merger, pair, refused, set_state, stored, unmerge
from tests.contacts.people import person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction


class UnmergingConformance:
    """The way back, when there is none, and what stays of it."""

    async def test_an_undo_unblocks_nobody(self, store: ContactStore) -> None:
        """A survivor that was blocked after the merge stays blocked with all that it answers for."""
        one, two = await pair(store, {"email": ADA, "external_id": "u-1"}, {"email": ADA, "external_id": "u-2"})
        await merge(store, one.id, two.id)
        await set_state(store, two.id, State.BLOCKED)
        problem, message = await refused(unmerge(store, one.id))
        assert problem is ChangeProblem.NOT_UNDONE
        assert "blocked" in message
        found = await store.find_by_external_id(WORKSPACE, "u-1")
        assert found is not None
        assert found.state is State.BLOCKED

    async def test_later_writes_stay_on_the_survivor(self, store: ContactStore) -> None:
        """The undo gives back what nobody wrote since, keeps what somebody did, and says so."""
        lead, user = await pair(
            store,
            {"role": Role.LEAD, "email": ADA, "name": "Lead", "phone": "1", "custom_attributes": {"plan": "a", "x": 1}},
            {"email": ADA, "custom_attributes": {"own": True, "x": True}},
        )
        await merge(store, lead.id, user.id, now=NOW + 10)
        resolver = resolver_of(store)
        signed = principal("u-9", ADA, custom_attributes={"plan": "b", "own": 1})
        assert (await resolver.resolve(signed)).linked
        written = await edit(store, user.id, now=NOW + 20, name="Later")
        undone = await unmerge(store, lead.id, now=NOW + 30)
        assert undone.source == lead == await store.stored(WORKSPACE, lead.id)
        assert undone.survivor == await store.stored(WORKSPACE, user.id)
        assert undone.survivor == replace(
            user,
            external_id="u-9",
            email_proof=Proof.SIGNED,
            name="Later",
            custom_attributes={"own": 1, "x": True, "plan": "b"},
            updated_at=written.updated_at,
            identified_at=written.identified_at,
        )
        changes = {one.field: (one.before_merge, one.after_merge, one.value) for one in undone.kept_changes}
        assert changes["name"] == (None, "Lead", "Later")
        assert changes["external_id"] == (None, None, "u-9")
        assert changes["custom_attributes.plan"] == (None, "a", "b")
        assert changes["custom_attributes.own"] == (True, True, 1)
        assert set(changes) == {"name", "external_id", "email", "custom_attributes.plan", "custom_attributes.own"}

    async def test_an_attribute_that_was_removed_later_stays_removed(self, store: ContactStore) -> None:
        """Clearing a value is a write like any other."""
        lead, user = await pair(
            store, {"role": Role.LEAD, "email": ADA, "custom_attributes": {"a": 1}}, {"email": ADA, "name": "Own"}
        )
        await merge(store, lead.id, user.id)

        async def clear(transaction: ContactTransaction) -> None:
            found = await transaction.find(WORKSPACE, user.id)
            assert found is not None
            await transaction.update(replace(found, name=None, custom_attributes={}))

        await store.write(clear)
        undone = await unmerge(store, lead.id)
        assert (undone.survivor.name, undone.survivor.custom_attributes) == (None, {})
        assert {one.field for one in undone.kept_changes} == {"name", "custom_attributes.a"}

    async def test_an_identifier_that_was_taken_is_a_conflict(self, store: ContactStore) -> None:
        """Who took the external id or the email since keeps it; the undo names the holder, and nothing is half done."""
        one, two = await pair(
            store, {"email": ADA, "external_id": "u-1", "phone": "+4930123456"}, {"phone": "+4930123456"}
        )
        await merge(store, one.id, two.id)
        await edit(store, two.id, external_id="u-2", email="b@example.com", email_proof=Proof.IMPORTED)
        for field, fields in (("external_id", {"external_id": "u-1"}), ("email", {"external_id": "u-3", "email": ADA})):
            thief = person(**fields)
            await insert(store, thief)
            before = await stored(store, (one.id, two.id, thief.id))
            with pytest.raises(ContactConflict) as conflict:
                await unmerge(store, one.id)
            assert (conflict.value.contact_id, conflict.value.field) == (thief.id, field)
            assert await stored(store, (one.id, two.id, thief.id)) == before
            await store.write(lambda transaction, thief=thief: transaction.delete(WORKSPACE, thief.id))  # type: ignore[misc]  # a default
        assert (await unmerge(store, one.id)).source == one
        assert await store.check() == []

    async def test_who_shared_the_email_before_stops_no_undo(self, store: ContactStore) -> None:
        """Three records of one person, two of them merged: the third took nothing."""
        one, two = await pair(store, {"email": ADA, "external_id": "u-1"}, {"email": ADA, "external_id": "u-2"})
        await insert(store, person(email=ADA, external_id="u-3"))
        await merge(store, one.id, two.id)
        undone = await unmerge(store, one.id)
        assert (undone.source, undone.survivor) == (one, two)

    async def test_merges_are_undone_last_one_first(self, store: ContactStore) -> None:
        """A merge on top of another, into the survivor or of it, is named; undone in order, all stand as before."""
        people = [person(email=ADA, external_id=f"u-{n}", created_at=NOW + n) for n in range(5)]
        first, second, third, fourth, fifth = (one.id for one in people)
        await insert(store, *people)
        steps = [(first, second), (third, second), (second, fourth), (fifth, fourth)]
        for source, into in steps:
            await merge(store, source, into)
        for source, _ in steps[:-1]:
            problem, message = await refused(unmerge(store, source))
            assert problem is ChangeProblem.NOT_UNDONE
            assert fifth in message
        for source, into in reversed(steps):
            assert (await store.merges_into(WORKSPACE, into, limit=1))[0].source_id == source
            await unmerge(store, source)
        assert list((await stored(store, [one.id for one in people])).values()) == people

    async def test_what_was_merged_before_goes_along_and_comes_back(self, store: ContactStore) -> None:
        """C05: after the undo every old id leads where it led before."""
        people = [person(email=ADA, external_id=f"u-{n}") for n in range(4)]
        ids = [one.id for one in people]
        await insert(store, *people)
        await merge(store, ids[0], ids[2])
        await merge(store, ids[1], ids[2])
        before = await stored(store, ids)
        await merge(store, ids[2], ids[3])
        assert {(await store.find(WORKSPACE, each) or people[0]).id for each in ids} == {ids[3]}
        await unmerge(store, ids[2])
        assert await stored(store, ids) == before
        assert {(await store.find(WORKSPACE, each) or people[0]).id for each in ids} == {ids[2], ids[3]}

    async def test_an_undo_has_thirty_days(self, store: ContactStore) -> None:
        """To the second; afterwards it is refused in words, and the fact stays."""
        one, two = await pair(store, {"email": ADA}, {"email": ADA})
        await merge(store, one.id, two.id, now=NOW)
        problem, message = await refused(unmerge(store, one.id, now=NOW + UNDO_SECONDS + 1))
        assert problem is ChangeProblem.NOT_UNDONE
        assert "30 days" in message
        assert (await unmerge(store, one.id, now=NOW + UNDO_SECONDS)).source == one

    async def test_what_was_not_merged_is_not_undone(self, store: ContactStore) -> None:
        """Nobody, a survivor and a record whose merge was undone: each in words of its own."""
        one, two = await pair(store, {"email": ADA}, {"email": ADA})
        with pytest.raises(ContactNotFound):
            await unmerge(store, "0" * 24)
        await merge(store, one.id, two.id)
        _, message = await refused(unmerge(store, two.id))
        assert f"not merged into another contact; the last one merged into it is {one.id}" in message
        await unmerge(store, one.id)
        _, message = await refused(unmerge(store, one.id))
        assert message.endswith("was not merged into another contact")
        with pytest.raises(ContactNotFound):
            await store.write(lambda transaction: merger(transaction, workspace="other").unmerge(one.id))

    @pytest.mark.parametrize("end", ["deleted", "source deleted", "undone", "undone and deleted"])
    async def test_the_journal_forgets_a_person(self, store: ContactStore, end: str) -> None:
        """Deleting either, or the undo, erases what the journal kept; who was merged into whom stays."""
        lead, user = await pair(
            store,
            {"role": Role.LEAD, "email": ADA, "name": "Secret Name"},
            {"email": ADA, "custom_attributes": {"k": "Secret Value"}},
        )
        await merge(store, lead.id, user.id)
        assert any("Secret" in line for line in await journal(store))
        if end.startswith("undone"):
            await unmerge(store, lead.id)
        if end != "undone":
            gone = user.id if end == "deleted" else lead.id
            await store.write(lambda transaction: transaction.delete(WORKSPACE, gone))
        lines = await journal(store)
        assert lines
        assert not any("Secret" in line or "example.com" in line for line in lines)
        if end == "undone and deleted":
            lines = [str(line) for line in await store.events(WORKSPACE, user.id)]
            assert len(lines) == 2
            assert not any("Secret Name" in line for line in lines)

    async def test_what_is_too_late_is_forgotten(self, store: ContactStore) -> None:
        """After thirty days the journal keeps nobody's values for an undo that can never come; facts stay."""
        one, two = await pair(store, {"email": ADA, "name": "Secret Name"}, {"email": ADA})
        third, fourth = await pair(store, {"phone": "+49 30 123456"}, {"phone": "+49 30 123456"})
        await merge(store, one.id, two.id)
        await merge(store, third.id, fourth.id, now=NOW + UNDO_SECONDS)
        assert any("Secret" in line for line in await journal(store))
        await unmerge(store, third.id, now=NOW + UNDO_SECONDS)
        await merge(store, third.id, fourth.id, now=NOW + UNDO_SECONDS + 1)
        assert not any("Secret" in line for line in await journal(store))
        _, message = await refused(unmerge(store, one.id, now=NOW + UNDO_SECONDS + 1))
        assert "30 days" in message
        assert [line.source_id for line in await store.merges_into(WORKSPACE, two.id, limit=9)] == [one.id]
        assert (await unmerge(store, third.id, now=NOW + UNDO_SECONDS + 1)).source == third

    async def test_what_was_erased_is_not_undone(self, store: ContactStore) -> None:
        """A chain whose first source was deleted behind the survivor: the rest can still be told from it."""
        one, two = await pair(store, {"email": ADA}, {"email": ADA})
        await merge(store, one.id, two.id)
        await store.write(lambda transaction: transaction.delete(WORKSPACE, one.id))
        with pytest.raises(ContactNotFound):
            await unmerge(store, one.id)
        await store.write(lambda transaction: transaction.delete(WORKSPACE, two.id))
        assert await store.check() == []


async def journal(store: ContactStore) -> list[str]:
    """The lines of the journal as they lie in the table."""
    return [str(tuple(row)) for row in await store._fetch("SELECT * FROM contact_merges")]  # type: ignore[attr-defined]  # SQL's
