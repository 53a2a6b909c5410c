"""Merging two records and undoing it, for any back end: its test inherits this."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Role, State
from gateway.contacts.merging.rules import Because
from gateway.contacts.resolver import MatchedBy
from gateway.errors import ChangeProblem, ContactMerged, ContactNotFound
from gateway.identity.principal import Proof
from tests.contacts.conformance_finding import FULL
from tests.contacts.merges import ADA, merge, merger, pair, preview, refused, set_state, stored, unmerge
from tests.contacts.people import kinds, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction


class MergingConformance:
    """Who is merged into whom, what leads to the survivor, and the way back."""

    async def test_s18_a_lead_is_merged_into_a_user(self, store: ContactStore) -> None:
        """The survivor keeps its id and values and adopts what it lacks; every identifier of both leads to it."""
        lead, user = await pair(
            store,
            {
                **FULL,
                "role": Role.LEAD,
                "external_id": "lead-1",
                "email": ADA,
                "custom_attributes": {"a": 1, "b": True},
            },
            {"external_id": "u-1", "email": ADA, "name": "Own", "custom_attributes": {"a": 2}},
        )
        survivor = await merge(store, lead.id, user.id, now=NOW + 5)
        assert survivor == replace(
            user,
            phone=lead.phone,
            avatar=lead.avatar,
            owner_id=lead.owner_id,
            language_override=lead.language_override,
            unsubscribed_from_emails=lead.unsubscribed_from_emails,
            signed_up_at=lead.signed_up_at,
            last_seen_at=lead.last_seen_at,
            identified_at=lead.identified_at,
            custom_attributes={"a": 2, "b": True},
            updated_at=NOW + 5,
        )
        for found in (
            await store.find(WORKSPACE, lead.id),
            await store.find(WORKSPACE, user.id),
            await store.find_by_external_id(WORKSPACE, "lead-1"),
            await store.find_by_external_id(WORKSPACE, "u-1"),
        ):
            assert found == survivor
        assert await store.find_by_email(WORKSPACE, ADA) == [survivor]
        assert (await resolver_of(store).resolve(principal("lead-1"))).contact.id == user.id
        assert await store.check() == []

    async def test_a_survivor_without_an_external_id_adopts_one(self, store: ContactStore) -> None:
        """An external id stands on one record at a time: it moves, and comes back with the undo."""
        lead, user = await pair(store, {"role": Role.LEAD, "external_id": "u-1", "email": ADA}, {"email": ADA})
        survivor = await merge(store, lead.id, user.id)
        assert survivor.external_id == "u-1"
        identity = await resolver_of(store).resolve(principal("u-1"))
        assert (identity.contact.id, identity.matched_by) == (user.id, MatchedBy.EXTERNAL_ID)
        assert await store.check() == []
        undone = await unmerge(store, lead.id)
        assert (undone.source, undone.survivor) == (lead, user)
        assert await store.find_by_external_id(WORKSPACE, "u-1") == lead

    async def test_c02_a_user_is_merged_only_by_what_both_prove(self, store: ContactStore) -> None:
        """Two users need the same email with proof on both sides, or the same phone; a claimed email joins nobody."""
        for proof, into in ((Proof.CLAIMED, {}), (None, {}), (Proof.SIGNED, {"email_proof": Proof.CLAIMED})):
            one, two = await pair(store, {"email": ADA, "email_proof": proof}, {"email": ADA, **into})
            assert [reason.code for reason in (await preview(store, one.id, two.id)).reasons] == [
                Because.USERS_NOT_SHARED
            ]
            problem, _ = await refused(merge(store, one.id, two.id))
            assert problem is ChangeProblem.MERGE_NOT_DUPLICATES
        one, two = await pair(store, {"email": ADA, "email_proof": Proof.SIGNED}, {"email": ADA})
        assert (await merge(store, one.id, two.id)).id == two.id

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("+49 30 123-456", "+49(30)123456", True),
            ("+49 30 123-456", "0049 30 123456", False),
            ("1234", "1234", False),
            ("unknown", "unknown", False),
            ("", "", False),
            (None, None, False),
        ],
    )
    async def test_users_who_share_a_phone(
        self, store: ContactStore, one: str | None, other: str | None, same: bool
    ) -> None:
        """What people put between the digits makes no other number; what is no number is shared by nobody."""
        left, right = await pair(store, {"phone": one}, {"phone": other})
        assert (not (await preview(store, left.id, right.id)).reasons) is same

    async def test_what_cannot_be_merged(self, store: ContactStore) -> None:
        """R34: nothing into a lead, nothing into itself, a lead only with a shared identifier, or unchecked."""
        lead, user = await pair(store, {"role": Role.LEAD, "email": "b@example.com"}, {"email": ADA})
        other = person(role=Role.LEAD, email=ADA)
        await insert(store, other)
        for source, into, because in (
            (user, lead, Because.ROLE_PAIR),
            (other, lead, Because.ROLE_PAIR),
            (user, user, Because.SAME_CONTACT),
            (lead, user, Because.NOT_SHARED),
        ):
            assert (await preview(store, source.id, into.id)).reasons[0].code is because
            problem, _ = await refused(merge(store, source.id, into.id))
            assert problem is ChangeProblem.MERGE_INVALID
        for missing in ((user.id, "0" * 24), ("0" * 24, user.id)):
            with pytest.raises(ContactNotFound):
                await merge(store, *missing)
        assert (await merge(store, lead.id, user.id, unchecked=True)).id == user.id
        with pytest.raises(ContactMerged) as merged:
            await merge(store, lead.id, user.id)
        assert merged.value.contact_id == user.id

    async def test_the_check_cannot_be_skipped_for_two_users(self, store: ContactStore) -> None:
        """Two identified people are never joined on somebody's word alone."""
        one, two = await pair(store, {"email": ADA}, {"email": ADA})
        for step in (merge, preview):
            problem, _ = await refused(step(store, one.id, two.id, unchecked=True))
            assert problem is ChangeProblem.MERGE_UNCHECKED

    @pytest.mark.parametrize("state", [State.BLOCKED, State.ARCHIVED])
    @pytest.mark.parametrize("which", ["from", "into"])
    async def test_a_merge_unblocks_nobody(self, store: ContactStore, state: State, which: str) -> None:
        """Who is blocked or archived, on either side, is not merged, and stays as it is."""
        one, two = await pair(store, {"email": ADA, "external_id": "u-1"}, {"email": ADA})
        away = one if which == "from" else two
        await set_state(store, away.id, state)
        before = await stored(store, (one.id, two.id))
        problem, message = await refused(merge(store, one.id, two.id))
        assert problem is ChangeProblem.MERGE_INVALID
        assert f"`{which}` is {state}" in message
        assert await stored(store, (one.id, two.id)) == before

    async def test_an_email_of_a_third_user_is_not_adopted(self, store: ContactStore) -> None:
        """C07: a merge makes no second user with one email; the preview says that the value is discarded."""
        lead, user = await pair(
            store, {"role": Role.LEAD, "email": ADA, "phone": "+49 30 1234"}, {"phone": "+49301234"}
        )
        third = person(email=ADA)
        await insert(store, third)
        outcomes = {one.field: one.outcome for one in (await preview(store, lead.id, user.id)).outcomes}
        assert outcomes["email"] == "discarded"
        assert (await merge(store, lead.id, user.id)).email is None
        assert await store.find_by_email(WORKSPACE, ADA) == [third]
        assert (await unmerge(store, lead.id)).source == lead

    async def test_a_merge_leaves_a_line_on_both(self, store: ContactStore) -> None:
        """Who, when, and the values before and after, for the merge and for its undo."""
        lead, user = await pair(store, {"role": Role.LEAD, "email": ADA, "name": "Lead"}, {"email": ADA})
        await merge(store, lead.id, user.id)
        await unmerge(store, lead.id)
        assert await kinds(store, lead.id) == await kinds(store, user.id) == ["merged", "unmerged"]
        undone, merged = await store.events(WORKSPACE, user.id)
        assert (merged.actor, merged.before, merged.after) == (
            "access_token:t1",
            {"name": None},
            {"source": lead.id, "name": "Lead"},
        )
        assert (undone.before, undone.after) == ({"name": "Lead"}, {"source": lead.id, "name": None})
        assert (await store.events(WORKSPACE, lead.id))[0].after == {"survivor": user.id}

    async def test_merges_into_comes_in_pages(self, store: ContactStore) -> None:
        """Newest or oldest first, from behind any line; what was undone is not told."""
        people = [person(email=ADA) for _ in range(5)]
        await insert(store, *people)
        for n, one in enumerate(people[1:]):
            await merge(store, one.id, people[0].id, now=NOW + n)
        newest = await store.merges_into(WORKSPACE, people[0].id, limit=10)
        assert [one.source_id for one in newest] == [one.id for one in people[:0:-1]]
        assert [one.merged_at for one in newest] == [NOW + 3, NOW + 2, NOW + 1, NOW]
        assert await store.merges_into(WORKSPACE, people[0].id, limit=2, after=newest[1].seq) == newest[2:]
        oldest = await store.merges_into(WORKSPACE, people[0].id, limit=10, oldest_first=True)
        assert oldest == newest[::-1]
        after = oldest[0].seq
        assert await store.merges_into(WORKSPACE, people[0].id, limit=1, after=after, oldest_first=True) == [oldest[1]]
        await unmerge(store, people[4].id)
        assert await store.merges_into(WORKSPACE, people[0].id, limit=10) == newest[1:]
        assert await store.merges_into("other", people[0].id, limit=10) == []

    async def test_whoever_answered_is_heard_of(self, store: ContactStore) -> None:
        """B14: source, survivor and everything merged into the source before, at the merge and at its undo."""
        people = [person(email=ADA, external_id=f"u-{n}") for n in range(3)]
        ids = [one.id for one in people]
        await insert(store, *people)
        await merge(store, ids[0], ids[1])
        heard: set[str] = set()
        store.subscribe(lambda _, contact_id: heard.add(contact_id))
        await merge(store, ids[1], ids[2])
        assert heard == set(ids)
        heard.clear()
        await unmerge(store, ids[1])
        assert heard == set(ids)

    async def test_c11_a_chain_of_a_thousand_merges(self, store: ContactStore) -> None:
        """Every id, external id and token of a thousand merged people leads to the survivor in one look-up."""
        people = [person(external_id=f"u-{n}", phone="+49 30 123456") for n in range(1_001)]
        await insert(store, *people)
        steps = list(pairwise(one.id for one in people))

        async def some(transaction: ContactTransaction, start: int) -> None:
            for source, into in steps[start : start + 20]:
                await merger(transaction).merge(source, into)

        for start in range(0, 1_000, 20):
            await store.write(lambda transaction, start=start: some(transaction, start))  # type: ignore[misc]  # a default
        survivor = await store.find(WORKSPACE, people[-1].id)
        for one in people:
            assert await store.find(WORKSPACE, one.id) == survivor
            assert await store.find_by_external_id(WORKSPACE, one.external_id or "") == survivor
            record = await store.stored(WORKSPACE, one.id)
            assert record is not None
            assert record.merged_into == (None if one is people[-1] else people[-1].id)
        identity = await resolver_of(store).resolve(principal("u-0"))
        assert (identity.contact.id, identity.matched_by) == (people[-1].id, MatchedBy.EXTERNAL_ID)
        undone = await unmerge(store, people[999].id)
        assert undone.source == people[999]
        for one in (people[0], people[500], people[999]):
            assert await store.find(WORKSPACE, one.id) == people[999]
