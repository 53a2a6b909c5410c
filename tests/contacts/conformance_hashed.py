"""Whom a `user_hash` leads to, on any store: each back end's test inherits this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import State
from gateway.contacts.editing import Editor
from gateway.contacts.resolver import MatchedBy
from gateway.errors import Code
from gateway.identity.principal import Principal, Proof
from tests.contacts.people import kinds, person, principal, refused, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction

ADA = "a@example.com"


def hashed(user_id: str | None, email: str | None = None) -> Principal:
    """Whom a hash proves: over the email, where nothing else was sent."""
    return by_hash(principal(user_id, email, Proof.HASHED if user_id is None else Proof.CLAIMED))


def by_hash(who: Principal) -> Principal:
    return replace(who, proof=Proof.HASHED)


class HashedConformance:
    """It identifies its one value; it never links, and never overwrites what was signed."""

    async def test_it_finds_and_makes_the_contact_of_a_user_id(self, store: ContactStore) -> None:
        """As a token does, and a token finds the same."""
        resolver = resolver_of(store)
        first, second = await resolver.resolve(hashed("u-1")), await resolver.resolve(hashed("u-1"))
        assert (first.created, second.created, second.matched_by) == (True, False, MatchedBy.EXTERNAL_ID)
        signed = await resolver.resolve(principal("u-1"))
        assert {first.contact.id, second.contact.id, signed.contact.id} == {first.contact.id}

    async def test_c02_it_never_links(self, store: ContactStore) -> None:
        """The email beside a user_id leads to nobody, whoever holds it: it is another contact, and merely claims it."""
        known = person(email=ADA, email_proof=Proof.SIGNED)
        await insert(store, known)
        identity = await resolver_of(store).resolve(hashed("u-1", ADA))
        assert (identity.created, identity.linked) == (True, False)
        assert identity.contact.id != known.id
        assert identity.contact.email_proof is Proof.CLAIMED
        assert await store.find(WORKSPACE, known.id) == known

    async def test_c02_an_email_in_both_fields_never_links_either(self, store: ContactStore) -> None:
        """It is proven, and the contact that holds it alone is still not given a user_id."""
        known = person(email=ADA)
        await insert(store, known)
        both = by_hash(principal(ADA, ADA, Proof.HASHED))
        identity = await resolver_of(store).resolve(both)
        assert (identity.created, identity.linked, identity.contact.email_proof) == (True, False, Proof.HASHED)
        assert await store.find(WORKSPACE, known.id) == known

    async def test_over_the_email_it_finds_the_one_who_holds_it(self, store: ContactStore) -> None:
        """By the email as its id, else as the only one who holds it with proof, whose record it leaves alone."""
        known = person(external_id="u-1", email=ADA, email_proof=Proof.SIGNED)
        await insert(store, known, person(external_id="u-2", email=ADA, email_proof=Proof.CLAIMED))
        identity = await resolver_of(store).resolve(hashed(None, ADA))
        assert (identity.contact, identity.matched_by, identity.linked) == (known, MatchedBy.EMAIL, False)
        assert await kinds(store, known.id) == []

    async def test_over_the_email_of_several_it_finds_nobody(self, store: ContactStore) -> None:
        """409, as for the messenger's email-only users (facts: Intercom 1.3)."""
        await insert(store, person(external_id="u-1", email=ADA), person(external_id="u-2", email=ADA))
        assert await refused(resolver_of(store), hashed(None, ADA)) is Code.EMAIL_AMBIGUOUS

    async def test_over_the_email_of_nobody_it_makes_a_contact(self, store: ContactStore) -> None:
        """The email is its user_id; a token that signs the email and a user_id takes it over: the way out of hashes."""
        resolver = resolver_of(store)
        made = (await resolver.resolve(hashed(None, ADA))).contact
        assert (made.external_id, made.email, made.email_proof) == (ADA, ADA, Proof.HASHED)
        assert (await resolver.resolve(hashed(None, ADA))).contact == made
        signed = await resolver.resolve(principal("u-1", ADA))
        assert (signed.contact.id, signed.linked) == (made.id, True)
        assert (signed.contact.external_id, signed.contact.email_proof) == ("u-1", Proof.SIGNED)

    @pytest.mark.parametrize(
        ("standing", "written"),
        [(Proof.SIGNED, False), (Proof.HASHED, True), (Proof.IMPORTED, True), (Proof.CLAIMED, True), (None, True)],
        ids=["signed", "hashed", "imported", "claimed", "unknown"],
    )
    async def test_what_was_signed_it_never_overwrites(
        self, store: ContactStore, standing: Proof | None, written: bool
    ) -> None:
        """A proven email replaces one that is proven less; signed is more than hashed, hashed more than imported."""
        await insert(store, person(external_id=ADA, email="b@example.com", email_proof=standing))
        found = (await resolver_of(store).resolve(hashed(None, ADA))).contact
        kept = (ADA, Proof.HASHED) if written else ("b@example.com", standing)
        assert (found.email, found.email_proof) == kept

    @pytest.mark.parametrize(
        ("standing", "proof"),
        [(Proof.SIGNED, Proof.SIGNED), (Proof.IMPORTED, Proof.HASHED), (Proof.CLAIMED, Proof.HASHED)],
    )
    async def test_the_same_email_is_never_proven_less(
        self, store: ContactStore, standing: Proof, proof: Proof
    ) -> None:
        """Nor does a claim beside a user_id take away what was proven."""
        await insert(store, person(external_id=ADA, email=ADA, email_proof=standing))
        resolver = resolver_of(store)
        assert (await resolver.resolve(hashed(None, ADA))).contact.email_proof is proof
        claims = by_hash(principal(ADA, ADA, Proof.CLAIMED))
        assert (await resolver.resolve(claims)).contact.email_proof is proof

    async def test_c01_a_claim_beside_it_overwrites_no_proven_email(self, store: ContactStore) -> None:
        """Whoever holds a hash of their own id can write any email beside it: it fills a blank, and no more."""
        for number, proof in enumerate((Proof.SIGNED, Proof.HASHED, Proof.IMPORTED)):
            await insert(store, person(external_id=f"u-{number}", email=ADA, email_proof=proof))
            found = (await resolver_of(store).resolve(hashed(f"u-{number}", "evil@example.com"))).contact
            assert (found.email, found.email_proof) == (ADA, proof)

    async def test_an_operator_proves_it_no_less(self, store: ContactStore) -> None:
        """A copy of the same email through the API leaves the better proof."""
        known = person(external_id=ADA, email=ADA, email_proof=Proof.HASHED)
        await insert(store, known)

        async def work(transaction: ContactTransaction) -> None:
            editor = Editor(transaction, WORKSPACE, actor="command", now=NOW, random_bytes=bytes)
            await editor.update(known.id, {"email": ADA, "email_proof": Proof.IMPORTED, "name": "Ada"})

        await store.write(work)
        found = await store.find(WORKSPACE, known.id)
        assert found is not None
        assert (found.name, found.email_proof) == ("Ada", Proof.HASHED)

    async def test_who_is_blocked_is_blocked(self, store: ContactStore) -> None:
        """Whatever proves it, also over the email."""
        await insert(
            store, person(external_id="u-1", state=State.BLOCKED), person(external_id=ADA, state=State.BLOCKED)
        )
        for who in (hashed("u-1"), hashed(None, ADA)):
            assert await refused(resolver_of(store), who) is Code.CONTACT_BLOCKED

    async def test_a_contact_id_is_nobodys_user_id(self, store: ContactStore) -> None:
        """However well it is hashed (facts: Intercom 1.10 f)."""
        known = person(external_id="u-1")
        await insert(store, known)
        assert await refused(resolver_of(store), hashed(known.id)) is Code.USER_ID_IS_CONTACT_ID

    async def test_no_promise_is_broken_by_it(self, store: ContactStore) -> None:
        """The store knows this proof."""
        await resolver_of(store).resolve(hashed(None, ADA))
        assert await store.check() == []
