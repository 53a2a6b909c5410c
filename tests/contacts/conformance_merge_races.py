"""Merges at the same time as other merges, logins and edits, through two doors, for any back end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.resolver import Identity
from gateway.errors import ChangeRefused, ContactMerged
from gateway.identity.principal import Proof
from tests.contacts.merges import edit, merge, stored, unmerge
from tests.contacts.people import person, principal, resolver_of
from tests.contacts.records import WORKSPACE, insert

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.contacts.store import ContactStore

PHONE = "+49 30 123456"
ROUNDS = 15


async def at_once(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """The outcomes of steps that run side by side; an exception that nobody expects is raised."""
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, ContactMerged | ChangeRefused):
            raise outcome
    return outcomes


async def everybody(store: ContactStore, user_ids: list[str]) -> set[str]:
    """Who answers for these external ids."""
    found = [await store.find_by_external_id(WORKSPACE, user_id) for user_id in user_ids]
    return {one.id if one else "nobody" for one in found}


class MergeRacesConformance:
    """Nothing is lost, nobody is made twice, and everything comes to its end."""

    async def test_merges_crosswise_and_in_rings(self, store: ContactStore, other: ContactStore) -> None:
        """A into B into C into A, in both directions, all at once: one survivor, and every identifier leads to it."""
        for turn in range(ROUNDS):
            names = [f"u-{turn}-{n}" for n in range(3)]
            people = [person(external_id=name, phone=PHONE) for name in names]
            await insert(store, *people)
            one, two, three = (each.id for each in people)
            ring = [(one, two), (two, three), (three, one)]
            outcomes = await at_once(
                *(merge(store, *pair) for pair in ring), *(merge(other, into, source) for source, into in ring)
            )
            assert 1 <= sum(isinstance(each, Contact) for each in outcomes) <= 2
            await at_once(*(merge(store, *pair) for pair in ring))
            assert len(await everybody(other, names)) == 1
        assert await store.check() == []

    @pytest.mark.parametrize("by_email", [True, False])
    async def test_a_login_beside_a_merge_makes_nobody(
        self, store: ContactStore, other: ContactStore, by_email: bool
    ) -> None:
        """The identifiers move from one record to the other: a login at that moment finds either, never neither."""
        for turn in range(ROUNDS):
            email = f"ada-{turn}@example.com"
            external_id = None if by_email else f"u-{turn}"
            source = person(external_id=external_id, email=email, email_proof=Proof.SIGNED, phone=PHONE)
            into = person(phone=PHONE)
            await insert(store, source, into)
            who = principal(external_id, email, attributes={"name": "Ada"})
            outcomes = await at_once(
                merge(store, source.id, into.id),
                *(resolver_of(door).resolve(who) for door in (store, other) for _ in range(3)),
            )
            survivor = await other.find(WORKSPACE, source.id)
            assert survivor is not None
            assert (survivor.id, survivor.email, survivor.external_id) == (into.id, email, external_id)
            for identity in outcomes[1:]:
                assert isinstance(identity, Identity)
                assert identity.contact.id in {source.id, into.id}
                assert not identity.created
            assert survivor.name == "Ada"
            assert (await unmerge(other, source.id)).source.email == email
        assert await store.check() == []

    async def test_an_edit_beside_a_merge_is_not_lost(self, store: ContactStore, other: ContactStore) -> None:
        """What was acknowledged stands: on the survivor, and on the source when the merge is undone."""
        for _ in range(ROUNDS):
            source, into = person(role=Role.LEAD, phone=PHONE, email="a@example.com"), person(phone=PHONE)
            await insert(store, source, into)
            _, on_source, on_into = await at_once(
                merge(store, source.id, into.id),
                edit(other, source.id, owner_id="7"),
                edit(other, into.id, name="Written"),
            )
            assert isinstance(on_into, Contact)
            survivor = await store.find(WORKSPACE, into.id)
            assert survivor is not None
            assert (survivor.name, survivor.email) == ("Written", "a@example.com")
            assert survivor.owner_id == ("7" if isinstance(on_source, Contact) else None)
            undone = await unmerge(store, source.id)
            assert undone.source == (on_source if isinstance(on_source, Contact) else source)
            assert (undone.survivor.name, undone.survivor.email) == ("Written", None)

    async def test_an_edit_beside_an_undo_is_not_lost(self, store: ContactStore, other: ContactStore) -> None:
        """The survivor keeps what was written while the merge was undone; of two undos one happens."""
        for _ in range(ROUNDS):
            source, into = person(role=Role.LEAD, phone=PHONE, email="a@example.com"), person(phone=PHONE)
            await insert(store, source, into)
            await merge(store, source.id, into.id)
            written, *undone = await at_once(
                edit(other, into.id, name="Written"), unmerge(store, source.id), unmerge(other, source.id)
            )
            assert isinstance(written, Contact)
            assert sum(isinstance(one, ChangeRefused) for one in undone) == 1
            found = await stored(store, (source.id, into.id))
            assert found[source.id] == source
            assert found[into.id] == replace(into, name="Written", updated_at=written.updated_at)

    async def test_merges_and_undos_of_one_person_all_end(self, store: ContactStore, other: ContactStore) -> None:
        """Whatever order they come in, the chains stay whole and every record is live, or merged into one that is."""
        people = [person(external_id=f"u-{n}", phone=PHONE) for n in range(4)]
        await insert(store, *people)
        ids = [one.id for one in people]
        for turn in range(ROUNDS):
            door = (store, other)[turn % 2]
            await at_once(
                *(merge(door, source, into) for source in ids for into in ids if source != into),
                *(unmerge(other, each) for each in ids),
            )
            records = await stored(store, ids)
            for one in records.values():
                assert one is not None
                survivor = records[one.merged_into or one.id]
                assert survivor is not None
                assert survivor.state is State.LIVE
        assert await store.check() == []
