"""What a store keeps and finds, for any back end: its test inherits this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.contacts.access_token import digest_of
from gateway.contacts.contact import Role, State
from gateway.errors import ContactConflict, ContactNotFound
from gateway.identity.principal import Proof
from tests.contacts.records import NOW, WORKSPACE, contact, do, insert, merge

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction

FULL = {
    "external_id": "Ünïcode 名前 🦊",
    "role": Role.LEAD,
    "email": "a@example.com",
    "email_proof": Proof.IMPORTED,
    "phone": "+49 30 1",
    "name": "Ada \"quoted\" 'Lovelace' \\ %s $1",
    "avatar": "https://example.com/a.png",
    "owner_id": "7",
    "language_override": "de",
    "unsubscribed_from_emails": True,
    "signed_up_at": 253_402_300_799,
    "last_seen_at": 0,
    "updated_at": NOW + 1,
    "identified_at": NOW + 2,
    "custom_attributes": {"plan": "pro", "seats": 10**30, "rate": 1.5, "paid": True, "naïve": "é", "gone": None},
}


class FindingConformance:
    """Look-ups and uniqueness."""

    async def test_every_field_comes_back(self, store: ContactStore) -> None:
        """What is found equals what was inserted, by every identifier."""
        known = contact(**FULL)
        await insert(store, known)
        assert await store.find(WORKSPACE, known.id) == known
        assert await store.find_by_external_id(WORKSPACE, known.external_id or "") == known
        assert await store.find_by_email(WORKSPACE, "a@example.com") == [known]

    async def test_nobody_is_none(self, store: ContactStore) -> None:
        """What does not stand is None, or nothing, never an exception."""
        assert await store.find(WORKSPACE, "0" * 24) is None
        assert await store.find_by_external_id(WORKSPACE, "nobody") is None
        assert await store.find_by_email(WORKSPACE, "nobody@example.com") == []
        assert await store.events(WORKSPACE, "0" * 24) == []
        assert await store.find_access_token(digest_of("nothing")) is None

    @pytest.mark.parametrize(
        ("one", "other"), [("user", "User"), ("a", "a "), ("1", "01"), ("1", "1.0"), ("\u00e9", "e\u0301"), ("ß", "ss")]
    )
    async def test_values_compare_byte_by_byte(self, store: ContactStore, one: str, other: str) -> None:
        """Two spellings are two ids: no case folding, no trimming, no numbers, no normal forms (R20)."""
        first, second = contact(external_id=one), contact(external_id=other)
        await insert(store, first, second)
        assert await store.find_by_external_id(WORKSPACE, one) == first
        assert await store.find_by_external_id(WORKSPACE, other) == second

    @pytest.mark.parametrize("state", [State.LIVE, State.ARCHIVED, State.BLOCKED])
    async def test_an_external_id_is_taken_in_every_state(self, store: ContactStore, state: State) -> None:
        """A second holder is a conflict that names the first and says whether it is archived; nothing is written."""
        holder, late = contact(external_id="u-1", state=state), contact(external_id="u-1")
        await insert(store, holder)
        with pytest.raises(ContactConflict) as conflict:
            await insert(store, contact(external_id="u-2"), late)
        raised = conflict.value
        assert (raised.contact_id, raised.field, raised.archived) == (holder.id, "external_id", state is State.ARCHIVED)
        assert await store.find(WORKSPACE, late.id) is None
        assert await store.find_by_external_id(WORKSPACE, "u-2") is None

    async def test_a_merged_record_keeps_its_external_id(self, store: ContactStore) -> None:
        """The external id of a record that was merged away stays taken, by that record."""
        source, into = contact(external_id="u-1"), contact(external_id="u-2")
        await insert(store, source, into)
        await merge(store, source, into)
        with pytest.raises(ContactConflict) as conflict:
            await insert(store, contact(external_id="u-1"))
        assert conflict.value.contact_id == source.id

    async def test_a_contact_id_is_taken_once(self, store: ContactStore) -> None:
        """A second record with one contact id is a conflict."""
        known = contact()
        await insert(store, known)
        with pytest.raises(ContactConflict) as conflict:
            await insert(store, contact(id=known.id, external_id="u-1"))
        assert (conflict.value.contact_id, conflict.value.field) == (known.id, "id")

    async def test_c04_a_workspace_is_a_world_of_its_own(self, store: ContactStore) -> None:
        """One id, external id and email in two workspaces are two records that never meet."""
        here = contact(external_id="u-1", email="a@example.com")
        there = replace(here, workspace_id="other", name="There")
        await insert(store, here, there)
        assert await store.find(WORKSPACE, here.id) == here
        assert await store.find_by_external_id("other", "u-1") == there
        assert await store.find_by_email("other", "a@example.com") == [there]
        await do(store, lambda transaction: transaction.delete(WORKSPACE, here.id))
        assert await store.find("other", here.id) == there

    async def test_holders_of_an_email_come_oldest_first(self, store: ContactStore) -> None:
        """Only live records, by age, then by id, at most `limit`."""
        holders = [contact(email="a@example.com", created_at=NOW - age) for age in (1, 3, 2, 2)]
        hidden = [
            contact(email="a@example.com", created_at=1, state=state) for state in (State.ARCHIVED, State.BLOCKED)
        ]
        await insert(store, *holders, *hidden)
        expected = sorted(holders, key=lambda holder: (holder.created_at, holder.id))
        assert await store.find_by_email(WORKSPACE, "a@example.com", limit=10) == expected
        assert await store.find_by_email(WORKSPACE, "a@example.com") == expected[:3]

    async def test_claims_can_be_left_out(self, store: ContactStore) -> None:
        """`proven` finds signed and imported emails only, behind however many claims."""
        crowd = [contact(email="a@example.com", email_proof=Proof.CLAIMED, created_at=1) for _ in range(20)]
        unknown = contact(email="a@example.com", created_at=1)
        proven = [
            contact(email="a@example.com", email_proof=proof, created_at=NOW + n)
            for n, proof in enumerate((Proof.SIGNED, Proof.IMPORTED))
        ]
        await insert(store, *crowd, unknown, *proven)
        assert await store.find_by_email(WORKSPACE, "a@example.com", proven=True) == proven
        assert await store.find_by_email(WORKSPACE, "a@example.com", proven=True, limit=1) == proven[:1]

        async def work(transaction: ContactTransaction) -> None:
            assert await transaction.find_by_email(WORKSPACE, "a@example.com", proven=True) == proven

        await store.write(work)

    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfffx"], ids=["nul", "high", "low"])
    async def test_a_text_that_cannot_be_kept_is_a_value_error(self, store: ContactStore, text: str) -> None:
        """NUL and halves of surrogate pairs are a ValueError before anything is written, and the store goes on."""
        broken = [contact(external_id=text), contact(name=text), contact(custom_attributes={"a": text, "b": {text: 1}})]
        for one in broken[: 3 if text != "a\0b" else 2]:  # JSON has its own spelling of NUL
            with pytest.raises(ValueError, match=r".+"):
                await insert(store, contact(external_id="before"), one)
        for look_up in (store.find, store.find_by_external_id, store.find_by_email):
            with pytest.raises(ValueError, match=r".+"):
                await look_up(WORKSPACE, text)
        assert await store.find_by_external_id(WORKSPACE, "before") is None
        await insert(store, contact(external_id="before"))

    @pytest.mark.parametrize(
        "fields",
        [
            {"signed_up_at": 2**63},
            {"custom_attributes": {"a": float("nan")}},
            {"state": State.MERGED},
            {"merged_into": "x"},
        ],
        ids=["65-bits", "nan", "merged-into-nobody", "not-merged"],
    )
    async def test_a_record_that_makes_no_sense_is_a_value_error(
        self, store: ContactStore, fields: dict[str, object]
    ) -> None:
        """An integer beyond 64 bits, NaN, and a state and a survivor that contradict each other are not kept."""
        broken = contact(**fields)
        with pytest.raises((ValueError, ContactNotFound)):
            await insert(store, broken)
        assert await store.find(WORKSPACE, broken.id) is None
