"""The table of design section 5, row by row, for any store: each back end's test inherits this."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.contact import Contact, Role, State, mint_contact_id
from gateway.contacts.resolver import EmailConflict, Identity, MatchedBy, ResolutionPolicy, Resolver
from gateway.errors import Code, Refusal
from gateway.identity.principal import Principal, Proof

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction

WORKSPACE = "acme"
NOW = 1_700_000_000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


def principal(user_id: str | None, email: str | None = None, proof: Proof = Proof.SIGNED, **fields: Any) -> Principal:
    """What a verified token said; without a user_id the email stands in, as the normaliser does it."""
    return Principal(
        **{
            "workspace": WORKSPACE,
            "issuer": "messenger",
            "user_id": user_id or email,
            "by_email": user_id is None,
            "email": email,
            "email_proof": proof if email else None,
            "attributes": {},
            "custom_attributes": {},
            "token_id": None,
            "issued_at": None,
            "expires_at": None,
            **fields,
        }
    )


def contact(**fields: Any) -> Contact:
    """A record as somebody left it in the store; its email is proven unless said otherwise."""
    proven = {"email_proof": Proof.IMPORTED} if fields.get("email") else {}
    return Contact(
        **{
            "workspace_id": WORKSPACE,
            "id": mint_contact_id(NOW, os.urandom),
            "role": Role.USER,
            "created_at": NOW,
            "updated_at": NOW,
            **proven,
            **fields,
        }
    )


async def keep(store: ContactStore, *contacts: Contact) -> None:
    """Put records into the store."""

    async def work(transaction: ContactTransaction) -> None:
        for one in contacts:
            await transaction.insert(one)

    await store.write(work)


def resolver_of(store: ContactStore, clock: Clock | None = None, **policy: Any) -> Resolver:
    """A resolver with these choices for the workspace."""
    return Resolver(store, {WORKSPACE: ResolutionPolicy(**policy)}, clock or Clock(), os.urandom)


async def kinds(store: ContactStore, contact_id: str) -> list[str]:
    """The kinds of the events of a record, oldest first."""
    return [event.kind for event in reversed(await store.events(WORKSPACE, contact_id))]


async def refused(resolver: Resolver, who: Principal) -> Code:
    """The code with which a principal is refused."""
    with pytest.raises(Refusal) as refusal:
        await resolver.resolve(who)
    return refusal.value.code


class ResolverConformance:
    """Every row of the table; `store` is an open, empty store."""

    async def test_a_known_user_id_is_its_contact(self, store: ContactStore) -> None:
        """user_id U, a contact with external_id U: that contact, matched by external_id, nothing made."""
        known = contact(external_id="u-1")
        await keep(store, known)
        identity = await resolver_of(store).resolve(principal("u-1"))
        assert (identity.contact, identity.matched_by) == (known, MatchedBy.EXTERNAL_ID)
        assert not identity.created
        assert not identity.linked

    async def test_signed_attributes_that_changed_are_written(self, store: ContactStore) -> None:
        """A fresh token's name, custom attribute and email win at once (B14)."""
        known = contact(external_id="u-1", name="Old", custom_attributes={"plan": "free", "kept": 1})
        await keep(store, known)
        who = principal("u-1", "new@example.com", attributes={"name": "New"}, custom_attributes={"plan": "pro"})
        await resolver_of(store).resolve(who)
        found = await store.find(WORKSPACE, known.id)
        assert found is not None
        assert (found.name, found.email, found.email_proof) == ("New", "new@example.com", Proof.SIGNED)
        assert found.custom_attributes == {"plan": "pro", "kept": 1}

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
        known = contact(email="a@example.com", external_id=external_id)
        await keep(store, known)
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
        known = contact(email="a@example.com")
        await keep(store, known)
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com", email_proof=proof))
        assert identity.created
        assert identity.contact.id != known.id

    async def test_c02_a_claimed_email_of_the_record_links_nothing(self, store: ContactStore) -> None:
        """A record whose email somebody merely claimed is not handed to the address's owner."""
        claimed = contact(email="a@example.com", email_proof=Proof.CLAIMED)
        await keep(store, claimed)
        by_both = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert by_both.contact.id != claimed.id
        assert by_both.created

    @pytest.mark.parametrize(
        ("policy", "code"),
        [(EmailConflict.FLAG, None), (EmailConflict.ALLOW, None), (EmailConflict.REJECT, Code.IDENTITY_CONFLICT)],
    )
    @pytest.mark.parametrize("holders", [1, 2])
    async def test_another_id_on_the_email_follows_the_policy(
        self, store: ContactStore, policy: EmailConflict, code: Code | None, holders: int
    ) -> None:
        """U and E, E held by others: flag and allow make another contact, flag notes the pair, reject is a 409 (S6)."""
        await keep(store, *(contact(external_id=f"other-{n}", email="a@example.com") for n in range(holders)))
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
        await keep(store, contact(email="a@example.com"), contact(email="a@example.com"))
        identity = await resolver_of(store).resolve(principal("u-1", "a@example.com"))
        assert identity.created
        assert not identity.linked

    async def test_an_email_alone_is_its_external_id(self, store: ContactStore) -> None:
        """E only, a contact with external_id E: that contact (S16)."""
        known = contact(external_id="a@example.com")
        await keep(store, known)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (known.id, MatchedBy.EXTERNAL_ID)

    async def test_an_email_alone_finds_its_one_holder(self, store: ContactStore) -> None:
        """E only, exactly one live contact with E: that contact, matched by email."""
        known = contact(external_id="u-1", email="a@example.com")
        await keep(store, known)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert (identity.contact.id, identity.matched_by) == (known.id, MatchedBy.EMAIL)

    async def test_an_email_alone_with_two_holders_is_ambiguous(self, store: ContactStore) -> None:
        """E only, two or more: 409 email_ambiguous, nothing written (S7)."""
        await keep(store, contact(external_id="u-1", email="a@example.com"), contact(email="a@example.com"))
        assert await refused(resolver_of(store), principal(None, "a@example.com")) == Code.EMAIL_AMBIGUOUS

    async def test_an_email_alone_never_meets_a_claimed_holder(self, store: ContactStore) -> None:
        """E only, the one holder merely claimed it: the owner of the address gets a contact of their own."""
        claimed = contact(external_id="u-1", email="a@example.com", email_proof=Proof.CLAIMED)
        await keep(store, claimed)
        identity = await resolver_of(store).resolve(principal(None, "a@example.com"))
        assert identity.created
        assert identity.contact.external_id == "a@example.com"

    async def test_first_sight_can_be_refused(self, store: ContactStore) -> None:
        """Nobody, and the workspace says reject: 403 contact_unknown, nothing written."""
        resolver = resolver_of(store, create_on_first_sight=False)
        assert await refused(resolver, principal("u-1")) == Code.CONTACT_UNKNOWN
        assert await store.find_by_external_id(WORKSPACE, "u-1") is None

    async def test_an_archived_contact_is_restored(self, store: ContactStore) -> None:
        """Archived: restored and audited, with all its data."""
        known = contact(external_id="u-1", name="Ada", state=State.ARCHIVED)
        await keep(store, known)
        identity = await resolver_of(store).resolve(principal("u-1"))
        assert (identity.contact.id, identity.contact.state, identity.contact.name) == (known.id, State.LIVE, "Ada")
        assert await kinds(store, known.id) == ["restored"]

    async def test_an_archived_contact_can_be_refused(self, store: ContactStore) -> None:
        """Archived, and the workspace says reject: 403 contact_archived."""
        await keep(store, contact(external_id="u-1", state=State.ARCHIVED))
        assert await refused(resolver_of(store, restore_archived=False), principal("u-1")) == Code.CONTACT_ARCHIVED

    async def test_a_blocked_contact_is_refused(self, store: ContactStore) -> None:
        """Blocked: 403 contact_blocked."""
        await keep(store, contact(external_id="u-1", state=State.BLOCKED))
        assert await refused(resolver_of(store), principal("u-1")) == Code.CONTACT_BLOCKED

    async def test_c11_a_merged_contact_is_its_survivor(self, store: ContactStore) -> None:
        """Merged away, through a chain of fifty: the survivor."""
        chain = [contact(external_id=f"u-{n}") for n in range(50)]
        await keep(store, *chain)

        async def work(transaction: ContactTransaction) -> None:
            for source, into in pairwise(chain):
                await transaction.merge(WORKSPACE, source.id, into.id, now=NOW)

        await store.write(work)
        identity = await resolver_of(store).resolve(principal("u-0"))
        assert identity.contact.id == chain[-1].id

    async def test_a_user_id_that_is_a_contact_id_is_refused(self, store: ContactStore) -> None:
        """The id of a standing contact is nobody's user_id; 24 hex digits that are none may be one (leak (f))."""
        known = contact(external_id="u-1")
        await keep(store, known)
        assert await refused(resolver_of(store), principal(known.id)) == Code.USER_ID_IS_CONTACT_ID
        assert (await resolver_of(store).resolve(principal("0" * 23 + "1"))).created

    async def test_c04_workspaces_never_meet(self, store: ContactStore) -> None:
        """The same user_id and email in two workspaces are two contacts."""
        policies = {WORKSPACE: ResolutionPolicy(), "other": ResolutionPolicy()}
        resolver = Resolver(store, policies, Clock(), os.urandom)
        here = await resolver.resolve(principal("u-1", "a@example.com"))
        there = await resolver.resolve(principal("u-1", "a@example.com", workspace="other"))
        assert here.contact.id != there.contact.id
        assert there.created

    async def test_200_parallel_first_logins_make_one_contact(self, store: ContactStore) -> None:
        """However many first logins of one user_id run at once: one contact, 200 equal answers (R35)."""
        resolver = resolver_of(store)
        who = principal("u-1", "a@example.com")
        identities: list[Identity] = await asyncio.gather(*(resolver.resolve(who) for _ in range(200)))
        assert len({identity.contact.id for identity in identities}) == 1
        assert sum(identity.created for identity in identities) == 1
        assert len(await store.find_by_email(WORKSPACE, "a@example.com", limit=10)) == 1

    async def test_parallel_first_logins_with_one_email_respect_reject(self, store: ContactStore) -> None:
        """Under `reject`, different user_ids that arrive at once with one email: exactly one is made (S6)."""
        resolver = resolver_of(store, email_conflict=EmailConflict.REJECT)
        logins = [resolver.resolve(principal(f"u-{n}", "a@example.com")) for n in range(20)]
        outcomes = await asyncio.gather(*logins, return_exceptions=True)
        assert sum(isinstance(outcome, Identity) for outcome in outcomes) == 1
        assert len(await store.find_by_email(WORKSPACE, "a@example.com", limit=10)) == 1

    async def test_c09_one_user_id_with_many_emails_raises_an_alarm(self, store: ContactStore) -> None:
        """A third email on one user_id within the window is noted once; outside the window it is not (S9)."""
        clock = Clock()
        resolver = resolver_of(store, clock, alarm_emails=3, alarm_window=3600)
        emails = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"]
        alarms = [(await resolver.resolve(principal("u-1", email))).alarmed for email in emails]
        assert alarms == [False, False, True, False]
        for email in ("a@example.com", "b@example.com", "c@example.com"):
            clock.now += 4000
            assert not (await resolver.resolve(principal("u-2", email))).alarmed

    async def test_an_email_that_flips_back_raises_an_alarm(self, store: ContactStore) -> None:
        """A, B, A on one user_id: two people share it (S9)."""
        resolver = resolver_of(store, alarm_emails=10)
        for email in ("a@example.com", "b@example.com"):
            await resolver.resolve(principal("u-1", email))
        identity = await resolver.resolve(principal("u-1", "a@example.com"))
        assert identity.alarmed
        assert (await kinds(store, identity.contact.id))[-1] == "shared_user_id"

    async def test_an_unproven_email_never_overwrites_a_proven_one(self, store: ContactStore) -> None:
        """A claimed email fills a blank, and replaces another claim, nothing more."""
        resolver = resolver_of(store)
        await resolver.resolve(principal("u-1", "proven@example.com"))
        identity = await resolver.resolve(principal("u-1", "claim@example.com", Proof.CLAIMED))
        assert identity.contact.email == "proven@example.com"

    async def test_nothing_is_written_when_nothing_changed(self, store: ContactStore) -> None:
        """A hundred logins with the same token leave one line of history and the same updated_at."""
        clock = Clock()
        resolver = resolver_of(store, clock)
        first = await resolver.resolve(principal("u-1", "a@example.com", attributes={"name": "Ada"}))
        clock.now += 100
        for _ in range(100):
            last = await resolver.resolve(principal("u-1", "a@example.com", attributes={"name": "Ada"}))
        assert last.contact == first.contact
        assert await kinds(store, first.contact.id) == ["created"]
