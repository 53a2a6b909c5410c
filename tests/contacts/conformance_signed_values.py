"""What a token writes, and when, for any store: each back end's test inherits this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.contact import Contact, State
from gateway.contacts.resolver import MatchedBy
from gateway.identity.principal import Proof
from tests.contacts.people import Clock, Counted, kinds, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore
    from gateway.identity.principal import Principal


def named(name: str, issued_at: float | None, email: str = "a@example.com", **fields: Any) -> Principal:
    """The user `u-1` as a token of some moment signs it."""
    return principal("u-1", email, attributes={"name": name}, issued_at=issued_at, **fields)


async def found(store: ContactStore) -> Contact:
    """The contact of `u-1` as it stands."""
    contact = await store.find_by_external_id(WORKSPACE, "u-1")
    assert contact is not None
    return contact


class SignedValuesConformance:
    """The newest signed values stand, and a login that brings none costs no write."""

    async def test_signed_attributes_that_changed_are_written(self, store: ContactStore) -> None:
        """A fresh token's name, custom attribute and email win at once (B14)."""
        known = person(external_id="u-1", name="Old", custom_attributes={"plan": "free", "kept": 1})
        await insert(store, known)
        clock = Clock()
        clock.now += 7
        who = principal("u-1", "new@example.com", attributes={"name": "New"}, custom_attributes={"plan": "pro"})
        identity = await resolver_of(store, clock).resolve(who)
        assert identity.contact == await found(store)
        assert identity.contact.id == known.id
        assert (identity.contact.name, identity.contact.updated_at) == ("New", NOW + 7)
        assert (identity.contact.email, identity.contact.email_proof) == ("new@example.com", Proof.SIGNED)
        assert identity.contact.custom_attributes == {"plan": "pro", "kept": 1}

    @pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0), ("1", 1)])
    async def test_a_value_of_another_type_is_another_value(
        self, store: ContactStore, old: object, new: object
    ) -> None:
        """`true` is written where 1 stood, though the two are equal to Python."""
        await insert(store, person(external_id="u-1", custom_attributes={"flag": old}))
        await resolver_of(store).resolve(principal("u-1", custom_attributes={"flag": new}))
        value = (await found(store)).custom_attributes["flag"]
        assert (value, type(value)) == (new, type(new))

    async def test_an_older_token_brings_nothing_back(self, store: ContactStore) -> None:
        """A token from before the one that wrote last, valid still: its contact, but neither its name nor its email."""
        counted: Any = Counted(store)
        resolver = resolver_of(counted)
        await resolver.resolve(named("Old", NOW - 200, "old@example.com"))
        await resolver.resolve(named("New", NOW - 100, "new@example.com"))
        standing, before, writes = await found(store), await kinds(store, (await found(store)).id), counted.writes
        assert (standing.name, standing.identified_at) == ("New", NOW - 100)
        for issued_at in (NOW - 200, NOW - 100.5, 0):
            identity = await resolver.resolve(named("Old", issued_at, "old@example.com"))
            assert (identity.contact, identity.alarmed, identity.as_found) == (standing, False, True)
        assert counted.writes == writes
        assert await kinds(store, standing.id) == before

    async def test_a_token_of_the_same_second_writes(self, store: ContactStore) -> None:
        """`iat` counts seconds: of two tokens from one second neither is older."""
        resolver = resolver_of(store)
        await resolver.resolve(named("One", NOW + 0.9))
        await resolver.resolve(named("Two", NOW))
        assert ((await found(store)).name, (await found(store)).identified_at) == ("Two", NOW)

    async def test_a_newer_token_that_says_the_same_costs_one_look_up(self, store: ContactStore) -> None:
        """A hundred fresh tokens that say what stands: one look-up each, no write, the record as it was."""
        clock = Clock()
        first = await resolver_of(store, clock).resolve(named("Ada", NOW - 100))
        counted: Any = Counted(store)
        clock.now += 100
        for age in range(100):
            last = await resolver_of(counted, clock).resolve(named("Ada", NOW - age))
            assert last.contact == first.contact
        assert (counted.look_ups, counted.writes) == (100, 0)
        assert (await found(store)).identified_at == NOW - 100
        assert await kinds(store, first.contact.id) == ["created"]

    async def test_an_email_that_finds_its_holder_costs_no_write(self, store: ContactStore) -> None:
        """E only, as it stands: two look-ups, no write."""
        await insert(store, person(external_id="u-1", email="a@example.com", email_proof=Proof.SIGNED))
        counted: Any = Counted(store)
        identity = await resolver_of(counted).resolve(principal(None, "a@example.com"))
        assert identity.matched_by is MatchedBy.EMAIL
        assert (counted.look_ups, counted.writes) == (2, 0)

    async def test_a_token_without_iat_is_taken_as_it_comes(self, store: ContactStore) -> None:
        """It writes, and leaves the order as it is: a dated token puts right what it wrote."""
        resolver = resolver_of(store)
        await resolver.resolve(named("Dated", NOW - 100))
        await resolver.resolve(named("Undated", None))
        assert ((await found(store)).name, (await found(store)).identified_at) == ("Undated", NOW - 100)
        await resolver.resolve(named("Older", NOW - 101))
        assert (await found(store)).name == "Undated"
        await resolver.resolve(named("Dated", NOW - 100))
        assert (await found(store)).name == "Dated"

    async def test_a_record_that_no_dated_token_wrote_takes_any(self, store: ContactStore) -> None:
        """Imported, or written by tokens without `iat`: the first dated token writes, and its moment is kept."""
        await insert(store, person(external_id="u-1", name="Imported"))
        await resolver_of(store).resolve(named("Signed", 1.5))
        assert ((await found(store)).name, (await found(store)).identified_at) == ("Signed", 1)

    async def test_an_older_token_links_but_writes_no_values(self, store: ContactStore) -> None:
        """Who it is does not depend on the age of a valid token; what it says of them does."""
        known = person(email="a@example.com", name="New", identified_at=NOW)
        await insert(store, known)
        identity = await resolver_of(store).resolve(named("Old", NOW - 1))
        assert (identity.contact.id, identity.linked) == (known.id, True)
        assert ((await found(store)).name, (await found(store)).identified_at) == ("New", NOW)

    async def test_an_older_token_restores_but_writes_no_values(self, store: ContactStore) -> None:
        """Archived: restored, as it was."""
        known = person(external_id="u-1", name="New", identified_at=NOW, state=State.ARCHIVED)
        await insert(store, known)
        identity = await resolver_of(store).resolve(named("Old", NOW - 1))
        assert (identity.contact.state, identity.contact.name) == (State.LIVE, "New")
        assert await kinds(store, known.id) == ["restored"]

    async def test_created_and_linked_contacts_keep_the_moment(self, store: ContactStore) -> None:
        """The first values have an `iat` too."""
        await insert(store, person(email="b@example.com"))
        created = await resolver_of(store).resolve(named("Ada", NOW - 5))
        linked = await resolver_of(store).resolve(principal("u-2", "b@example.com", issued_at=NOW - 6))
        assert (created.contact.identified_at, linked.contact.identified_at) == (NOW - 5, NOW - 6)

    async def test_c01_an_unproven_email_never_overwrites_a_proven_one(self, store: ContactStore) -> None:
        """A claimed email fills a blank, and replaces another claim, nothing more; a proof replaces a claim."""
        resolver = resolver_of(store)
        for email in ("one@example.com", "two@example.com"):
            identity = await resolver.resolve(principal("u-1", email, Proof.CLAIMED))
            assert (identity.contact.email, identity.contact.email_proof) == (email, Proof.CLAIMED)
        await resolver.resolve(principal("u-1", "proven@example.com"))
        for claim in ("three@example.com", "proven@example.com"):
            await resolver.resolve(principal("u-1", claim, Proof.CLAIMED))
            assert (await found(store)).email == "proven@example.com"
            assert (await found(store)).email_proof is Proof.SIGNED
