"""Visitors and who they turn out to be, for any store: each back end's test inherits this."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.visitors import Named, Visitors, find_visitor
from gateway.errors import (
    ChangeProblem,
    ChangeRefused,
    Code,
    ContactConflict,
    ContactNotFound,
    Refusal,
    VisitorNotFound,
)
from gateway.identity.principal import Proof
from tests.contacts.people import kinds, person
from tests.contacts.records import NOW, WORKSPACE, insert, merge

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction


def visitor(user_id: str | None = "made-up-1", **fields: Any) -> Contact:
    """A live lead with the id that somebody's page made up for it."""
    return person(**{"role": Role.LEAD, "external_id": user_id, **fields})


async def convert(store: ContactStore, who: Named, user: Named) -> Contact:
    """Say who a visitor is."""

    async def work(transaction: ContactTransaction) -> Contact:
        visitors = Visitors(transaction, WORKSPACE, actor="test", now=NOW + 9, random_bytes=os.urandom)
        return await visitors.convert(who, user)

    return await store.write(work)


class VisitorsConformance:
    """Leads by another name."""

    async def test_a_visitor_is_a_live_lead(self, store: ContactStore) -> None:
        """Found by its id or its user_id; the id decides when both are given. Nobody else is a visitor."""
        lead, nameless = visitor(), visitor(None)
        others = [person(external_id="user"), visitor("archived", state=State.ARCHIVED)]
        gone = visitor("merged")
        await insert(store, lead, nameless, *others, gone)
        await merge(store, gone, others[0])
        assert await find_visitor(store, WORKSPACE, Named(user_id="made-up-1")) == lead
        assert await find_visitor(store, WORKSPACE, Named(id=nameless.id, user_id="made-up-1")) == nameless
        missing = [Named(user_id=one.external_id) for one in (*others, gone)]
        missing += [Named(id=one.id) for one in (*others, gone)]
        missing += [Named(user_id="nobody"), Named(id="f" * 24, user_id="made-up-1"), Named(email="a@example.com")]
        for who in missing:
            with pytest.raises(VisitorNotFound):
                await find_visitor(store, WORKSPACE, who)
        with pytest.raises(VisitorNotFound):
            await find_visitor(store, "other", Named(user_id="made-up-1"))

    async def test_a_visitor_is_merged_into_the_user_that_stands(self, store: ContactStore) -> None:
        """By id, by user_id or by a proven email; the visitor's ids answer with the user from then on."""
        user = person(external_id="u-1", email="a@example.com", name="Ada")
        await insert(store, user)
        for number, who in enumerate((Named(id=user.id), Named(user_id="u-1"), Named(email="a@example.com"))):
            lead = visitor(f"made-up-{number}", phone="1", custom_attributes={f"n{number}": 1})
            await insert(store, lead)
            converted = await convert(store, Named(user_id=f"made-up-{number}"), who)
            assert (converted.id, converted.external_id, converted.name) == (user.id, "u-1", "Ada")
            assert (converted.phone, converted.custom_attributes[f"n{number}"]) == ("1", 1)
            assert await store.find(WORKSPACE, lead.id) == converted
            with pytest.raises(VisitorNotFound):
                await convert(store, Named(user_id=f"made-up-{number}"), who)

    async def test_a_visitor_becomes_a_user_that_is_new(self, store: ContactStore) -> None:
        """With the identifiers given in place of its own; its email is kept unless another is given (S21)."""
        await insert(store, visitor("v-1", email="a@example.com", email_proof=Proof.CLAIMED), visitor("v-2"))
        kept = await convert(store, Named(user_id="v-1"), Named(user_id="u-1"))
        assert (kept.role, kept.external_id, kept.email, kept.email_proof) == (
            Role.USER,
            "u-1",
            "a@example.com",
            Proof.CLAIMED,
        )
        given = await convert(store, Named(user_id="v-2"), Named(email="b@example.com"))
        assert (given.external_id, given.email, given.email_proof) == (None, "b@example.com", Proof.IMPORTED)
        assert await store.find_by_external_id(WORKSPACE, "v-2") is None
        assert await kinds(store, given.id) == ["updated"]

    async def test_the_first_identifier_decides(self, store: ContactStore) -> None:
        """An unknown user_id never falls through to the email's holder: 409 naming who holds it."""
        holder = person(external_id="u-1", email="a@example.com")
        await insert(store, holder, visitor("v-1"))
        for who in (Named(user_id="u-2", email="a@example.com"),):
            with pytest.raises(ContactConflict) as conflict:
                await convert(store, Named(user_id="v-1"), who)
            assert (conflict.value.contact_id, conflict.value.field) == (holder.id, "email")
        with pytest.raises(ContactNotFound):
            await convert(store, Named(user_id="v-1"), Named(id="f" * 24, user_id="u-1"))
        assert (await find_visitor(store, WORKSPACE, Named(user_id="v-1"))).role is Role.LEAD

    async def test_c01_a_claimed_email_leads_to_nobody(self, store: ContactStore) -> None:
        """A user who merely claims the address does not get the visitor; of two who proved it none is guessed."""
        claims = person(external_id="u-1", email="a@example.com", email_proof=Proof.CLAIMED)
        proven = [person(external_id=f"p-{number}", email="b@example.com") for number in range(2)]
        await insert(store, claims, *proven, visitor("v-1"))
        with pytest.raises(ContactConflict):
            await convert(store, Named(user_id="v-1"), Named(email="a@example.com"))
        with pytest.raises(Refusal) as refusal:
            await convert(store, Named(user_id="v-1"), Named(email="b@example.com"))
        assert refusal.value.code is Code.EMAIL_AMBIGUOUS
        assert (await find_visitor(store, WORKSPACE, Named(user_id="v-1"))).role is Role.LEAD

    async def test_nobody_is_brought_back_by_a_visitor(self, store: ContactStore) -> None:
        """An archived or blocked user, or another lead, is refused, and the visitor stays one."""
        away = [person(external_id=state.value, state=state) for state in (State.ARCHIVED, State.BLOCKED)]
        lead, another = visitor("v-1"), visitor("v-2")
        await insert(store, *away, lead, another)
        for user in away:
            for who in (Named(id=user.id), Named(user_id=user.external_id)):
                with pytest.raises(ChangeRefused):
                    await convert(store, Named(user_id="v-1"), who)
        with pytest.raises(ChangeRefused) as refused:
            await convert(store, Named(user_id="v-1"), Named(id=another.id))
        assert refused.value.problem is ChangeProblem.MERGE_INVALID
        with pytest.raises(ContactConflict):
            await convert(store, Named(user_id="v-1"), Named(user_id="v-2"))
        with pytest.raises(ChangeRefused) as nameless:
            await convert(store, Named(id=lead.id), Named(id=lead.id))
        assert nameless.value.problem is ChangeProblem.IDENTIFIER_MISSING
        assert await find_visitor(store, WORKSPACE, Named(user_id="v-1")) == lead

    async def test_its_own_user_id_may_become_the_users(self, store: ContactStore) -> None:
        """When the page's id was the customer's own key all along."""
        lead = visitor("v-1")
        await insert(store, lead)
        converted = await convert(store, Named(user_id="v-1"), Named(user_id="v-1"))
        assert (converted.id, converted.role, converted.external_id) == (lead.id, Role.USER, "v-1")

    async def test_parallel_conversions_make_one_user(self, store: ContactStore, other: ContactStore) -> None:
        """Ten visitors turn out to be one person who is new, through two doors at once: one user, in one record."""
        leads = [visitor(f"v-{number}") for number in range(10)]
        await insert(store, *leads)
        doors = [store, other] * 5
        made = await asyncio.gather(
            *(convert(door, Named(id=lead.id), Named(user_id="u-1")) for door, lead in zip(doors, leads, strict=True))
        )
        assert len({one.id for one in made}) == 1
        for lead in leads:
            found = await store.find(WORKSPACE, lead.id)
            assert found is not None
            assert found.id == made[0].id
