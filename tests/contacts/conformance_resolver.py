"""The table of design section 5, row by row, for any store: each back end's test inherits this."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.contact import Role, State
from gateway.contacts.resolver import EmailConflict, MatchedBy, ResolutionPolicy, Resolver
from gateway.errors import Code
from gateway.identity.principal import Proof
from tests.contacts.people import Clock, kinds, person, principal, refused, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert, merge

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction


class ResolverConformance:
    """Every row of the table; `store` is an open, empty store."""

    async def test_a_known_user_id_is_its_contact(self, store: ContactStore) -> None:
        """user_id U, a contact with external_id U: that contact, matched by external_id, nothing made."""
        known = person(external_id="u-1")
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal("u-1"))
        assert (identity.contact, identity.matched_by) == (known, MatchedBy.EXTERNAL_ID)
        assert not identity.created
        assert not identity.linked

    async def test_nobody_is_created_and_then_found(self, store: ContactStore) -> None:
        """Nobody: created; the second login finds the same contact id (S1, S5)."""
        resolver = resolver_of(store)
        first = await resolver.resolve(principal("u-1", "a@example.com"))
        second = await resolver.resolve(principal("u-1", "a@example.com"))
        assert (first.created, first.matched_by) == (True, MatchedBy.FIRST_SIGHT)
        assert (second.created, second.matched_by) == (False, MatchedBy.EXTERNAL_ID)
        assert first.contact == second.contact
        assert await kinds(store, first.contact.id) == ["created"]

    @pytest.mark.parametrize("external_id", [None, "a@example.com"], ids=["without-id", "email-as-id"])
    async def test_an_email_without_a_user_id_is_linked(self, store: ContactStore, external_id: str | None) -> None:
        """U and proven E, nobody with U, one live contact with E and no id of its own: linked (S10)."""
        known = person(email="a@example.com", external_id=external_id)
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert (identity.contact.id, identity.linked, identity.matched_by) == (known.id, True, MatchedBy.EMAIL)
        found = await store.find_by_external_id(WORKSPACE, "u-1")
        assert found is not None
        assert found.id == known.id
        assert await kinds(store, known.id) == ["linked"]

    @pytest.mark.parametrize("proof", [Proof.CLAIMED, None], ids=["claimed", "unknown"])
    async def test_c06_an_unproven_email_of_the_token_links_nothing(
        self, store: ContactStore, proof: Proof | None
    ) -> None:
        """U and an E that the token does not prove: a contact of its own."""
        known = person(email="a@example.com")
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com", email_proof=proof))
        assert identity.created
        assert identity.contact.id != known.id

    async def test_c02_a_claimed_email_of_the_record_links_nothing(self, store: ContactStore) -> None:
        """A record whose email somebody merely claimed is not handed to the address's owner."""
        claimed = person(email="a@example.com", email_proof=Proof.CLAIMED)
        await insert(store, claimed)
        by_both = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert by_both.contact.id != claimed.id
        assert by_both.created

    async def test_c02_no_policy_hands_over_a_record_with_another_id(self, store: ContactStore) -> None:
        """Two identified contacts are never merged, nor does one get the other's user_id, whatever the policy."""
        known = person(email="a@example.com", external_id="other")
        await insert(store, known)
        for policy in EmailConflict:
            user_id = f"u-{policy}"
            resolver = resolver_of(store, email_conflict=policy)
            if policy is EmailConflict.REJECT:
                await refused(resolver, principal(user_id, "a@example.com"))
            else:
                await resolver.resolve(principal(user_id, "a@example.com"))
        assert await store.find(WORKSPACE, known.id) == known

    @pytest.mark.parametrize("user_id", [None, "u-1"], ids=["email-only", "with-user-id"])
    async def test_c01_claims_hide_nobody(self, store: ContactStore, user_id: str | None) -> None:
        """However many older records merely claim the email: its proven holder is found, and linked."""
        crowd = [person(email="a@example.com", email_proof=Proof.CLAIMED, created_at=NOW - 9) for _ in range(30)]
        known = person(email="a@example.com")
        await insert(store, *crowd, known)
        identity = await resolver_of(store).resolve(principal(user_id, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (known.id, MatchedBy.EMAIL)
        assert identity.linked is (user_id is not None)

    async def test_a_lead_that_is_linked_becomes_a_user(self, store: ContactStore) -> None:
        """The backfill makes a user of a lead, keeps its data, and is on record with both values."""
        lead = person(email="a@example.com", role=Role.LEAD, name="Ada", custom_attributes={"kept": 1})
        await insert(store, lead)
        await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        found = await store.find(WORKSPACE, lead.id)
        assert found is not None
        assert (found.role, found.name, found.custom_attributes) == (Role.USER, "Ada", {"kept": 1})
        (event,) = await store.events(WORKSPACE, lead.id)
        assert event.before == {"external_id": None, "role": "lead", "email_proof": "imported"}
        assert event.after == {"external_id": "u-1", "role": "user", "email_proof": "signed"}

    @pytest.mark.parametrize("state", [State.ARCHIVED, State.BLOCKED])
    async def test_an_email_links_live_records_only(self, store: ContactStore, state: State) -> None:
        """U and proven E, the one holder of E is not live: a contact of its own."""
        await insert(store, person(email="a@example.com", state=state))
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert (identity.created, identity.linked) == (True, False)

    @pytest.mark.parametrize(
        ("policy", "code"),
        [(EmailConflict.FLAG, None), (EmailConflict.ALLOW, None), (EmailConflict.REJECT, Code.IDENTITY_CONFLICT)],
    )
    @pytest.mark.parametrize("holders", [1, 2])
    async def test_another_id_on_the_email_follows_the_policy(
        self, store: ContactStore, policy: EmailConflict, code: Code | None, holders: int
    ) -> None:
        """U and E, E held by others: flag and allow make another contact, flag notes the pair, reject is a 409 (S6)."""
        await insert(store, *(person(external_id=f"other-{n}", email="a@example.com") for n in range(holders)))
        resolver = resolver_of(store, email_conflict=policy)
        who = principal("u-1", "a@example.com")
        if code is not None:
            assert await refused(resolver, who) == code
            assert await store.find_by_external_id(WORKSPACE, "u-1") is None
            return
        identity = await resolver.resolve(who)
        assert identity.created
        expected = ["created", "email_conflict"] if policy is EmailConflict.FLAG else ["created"]
        assert await kinds(store, identity.contact.id) == expected

    async def test_two_holders_without_ids_are_never_linked(self, store: ContactStore) -> None:
        """U and E, E held by two: none of them is guessed."""
        await insert(store, person(email="a@example.com"), person(email="a@example.com"))
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert identity.created
        assert not identity.linked

    async def test_an_email_alone_is_its_external_id(self, store: ContactStore) -> None:
        """E only, a contact with external_id E: that contact (S16)."""
        known = person(external_id="a@example.com")
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (known.id, MatchedBy.EXTERNAL_ID)

    async def test_an_email_alone_finds_its_one_holder(self, store: ContactStore) -> None:
        """E only, exactly one live contact with E: that contact, matched by email."""
        known = person(external_id="u-1", email="a@example.com")
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (known.id, MatchedBy.EMAIL)
        assert (identity.created, identity.linked) == (False, False)
        assert await store.find_by_external_id(WORKSPACE, "a@example.com") is None

    async def test_an_email_alone_prefers_its_external_id(self, store: ContactStore) -> None:
        """E only, one contact with external_id E and another that holds E: the first, by its external_id."""
        by_id, by_email = person(external_id="a@example.com"), person(external_id="u-1", email="a@example.com")
        await insert(store, by_id, by_email)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (by_id.id, MatchedBy.EXTERNAL_ID)

    async def test_an_email_alone_with_two_holders_is_ambiguous(self, store: ContactStore) -> None:
        """E only, two or more: 409 email_ambiguous, nothing written (S7)."""
        await insert(store, person(external_id="u-1", email="a@example.com"), person(email="a@example.com"))
        assert await refused(resolver_of(store), principal(None, "a@example.com")) == Code.EMAIL_AMBIGUOUS
        assert await store.find_by_external_id(WORKSPACE, "a@example.com") is None

    async def test_an_email_alone_never_meets_a_claimed_holder(self, store: ContactStore) -> None:
        """E only, the one holder merely claimed it: the owner of the address gets a contact of their own."""
        claimed = person(external_id="u-1", email="a@example.com", email_proof=Proof.CLAIMED)
        await insert(store, claimed)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert identity.created
        assert identity.contact.external_id == "a@example.com"

    async def test_first_sight_can_be_refused(self, store: ContactStore) -> None:
        """Nobody, and the workspace says reject: 403 contact_unknown, nothing written."""
        resolver = resolver_of(store, create_on_first_sight=False)
        assert await refused(resolver, principal("u-1")) == Code.CONTACT_UNKNOWN
        assert await refused(resolver, principal(None, "a@example.com")) == Code.CONTACT_UNKNOWN
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None
        assert await store.find_by_external_id(WORKSPACE, "a@example.com") is None

    async def test_first_sight_refused_still_links(self, store: ContactStore) -> None:
        """`first_sight = "reject"` is about nobody: who is known by an email is linked all the same."""
        known = person(email="a@example.com")
        await insert(store, known)
        resolver = resolver_of(store, create_on_first_sight=False)
        assert (await resolver.resolve(principal("u-1", "a@example.com"))).linked
        assert (await resolver.resolve(principal("u-1"))).contact.id == known.id

    async def test_an_archived_contact_is_restored(self, store: ContactStore) -> None:
        """Archived: restored and audited, with all its data."""
        known = person(external_id="u-1", name="Ada", state=State.ARCHIVED)
        await insert(store, known)
        identity = await resolver_of(store).resolve(principal("u-1"))
        assert (identity.contact.id, identity.contact.state, identity.contact.name) == (known.id, State.LIVE, "Ada")
        assert await kinds(store, known.id) == ["restored"]

    async def test_an_archived_contact_can_be_refused(self, store: ContactStore) -> None:
        """Archived, and the workspace says reject: 403 contact_archived."""
        await insert(store, person(external_id="u-1", state=State.ARCHIVED))
        assert await refused(resolver_of(store, restore_archived=False), principal("u-1")) == Code.CONTACT_ARCHIVED

    async def test_a_blocked_contact_is_refused(self, store: ContactStore) -> None:
        """Blocked: 403 contact_blocked."""
        known = person(external_id="u-1", state=State.BLOCKED)
        await insert(store, known)
        assert await refused(resolver_of(store), principal("u-1", "a@example.com")) == Code.CONTACT_BLOCKED
        assert await store.find(WORKSPACE, known.id) == known

    @pytest.mark.parametrize(
        ("state", "code"), [(State.BLOCKED, Code.CONTACT_BLOCKED), (State.ARCHIVED, Code.CONTACT_ARCHIVED)]
    )
    async def test_a_merge_is_no_way_around_a_block(self, store: ContactStore, state: State, code: Code) -> None:
        """Merged away into a blocked or archived contact: what holds for the survivor."""
        source, into = person(external_id="u-1"), person(external_id="u-2", state=state)
        await insert(store, source, into)
        await merge(store, source, into)
        assert await refused(resolver_of(store, restore_archived=False), principal("u-1")) == code

    async def test_c11_a_merged_contact_is_its_survivor(self, store: ContactStore) -> None:
        """Merged away, through a chain of fifty: the survivor."""
        chain = [person(external_id=f"u-{n}") for n in range(50)]
        await insert(store, *chain)

        async def work(transaction: ContactTransaction) -> None:
            for source, into in pairwise(chain):
                await transaction.merge(WORKSPACE, source.id, into.id, now=NOW)

        await store.write(work)
        identity = await resolver_of(store).resolve(principal("u-0"))
        assert identity.contact.id == chain[-1].id

    async def test_a_user_id_that_is_a_contact_id_is_refused(self, store: ContactStore) -> None:
        """The id of a standing contact is nobody's user_id; 24 hex digits that are none may be one (leak (f))."""
        known = person(external_id="u-1")
        await insert(store, known)
        assert await refused(resolver_of(store), principal(known.id)) == Code.USER_ID_IS_CONTACT_ID
        assert (await resolver_of(store).resolve(principal("0" * 23 + "1"))).created

    async def test_a_contact_id_is_not_linked_either(self, store: ContactStore) -> None:
        """Neither by an email that would link it, nor when the record with that id was merged away."""
        source, into = person(external_id="u-1"), person(external_id="u-2")
        lead = person(email="a@example.com")
        await insert(store, source, into, lead)
        await merge(store, source, into)
        for taken in (lead.id, source.id):
            who = principal(taken, "a@example.com")
            assert await refused(resolver_of(store), who) == Code.USER_ID_IS_CONTACT_ID
        assert await store.find(WORKSPACE, lead.id) == lead

    async def test_c04_workspaces_never_meet(self, store: ContactStore) -> None:
        """The same user_id and email in two workspaces are two contacts."""
        policies = {WORKSPACE: ResolutionPolicy(), "other": ResolutionPolicy()}
        resolver = Resolver(store, policies, Clock(), os.urandom)
        here = await resolver.resolve(principal("u-1", "a@example.com"))
        there = await resolver.resolve(principal("u-1", "a@example.com", workspace="other"))
        assert here.contact.id != there.contact.id
        assert there.created
