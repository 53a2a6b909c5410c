"""Which record of a group is proposed as the survivor, and why; and which merges need an operator's word."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.contact import Role
from gateway.contacts.merging.duplicates import WORDS, Because, Doubt, Proposal, folded_id, propose
from gateway.identity.principal import Proof
from tests.contacts.people import person
from tests.contacts.records import NOW

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact


def known(**fields: Any) -> Contact:
    return person(**{"email": "a@example.com", **fields})


BEST = {"external_id": "u-1", "email_proof": Proof.SIGNED, "last_seen_at": NOW + 9, "created_at": NOW}


@pytest.mark.parametrize(
    ("worse", "because"),
    [
        ({"external_id": None, "last_seen_at": NOW + 99, "created_at": NOW - 9}, Because.IDENTIFIED),
        ({"external_id": None, "role": Role.LEAD, "last_seen_at": NOW + 99}, Because.IDENTIFIED),
        ({"external_id": "u-2", "email_proof": Proof.IMPORTED, "last_seen_at": NOW + 99}, Because.PROVEN_EMAIL),
        ({"external_id": "u-2", "email_proof": Proof.CLAIMED, "created_at": NOW - 9}, Because.PROVEN_EMAIL),
        ({"external_id": "u-2", "email": None, "email_proof": None}, Because.PROVEN_EMAIL),
        ({"external_id": "u-2", "last_seen_at": NOW + 8, "created_at": NOW - 9}, Because.LAST_SEEN),
        ({"external_id": "u-2", "last_seen_at": None, "identified_at": NOW + 8}, Because.LAST_SEEN),
        ({"external_id": "u-2", "created_at": NOW + 1}, Because.OLDEST),
    ],
)
def test_the_survivor_and_why(worse: dict[str, Any], because: Because) -> None:
    """Identified over not, proven email over claimed, seen last, oldest; in whatever order they come."""
    best, other = known(**BEST), known(**{**BEST, **worse})
    for contacts in itertools.permutations([best, other]):
        proposal = propose(contacts)
        assert isinstance(proposal, Proposal)
        assert (proposal.into, proposal.because) == (best.id, because)


def test_s7_two_identified_contacts_need_a_word() -> None:
    """Whatever else they share, each of them."""
    into, second, third = known(**BEST), known(external_id="u-2"), known(external_id="u-3")
    plain = known(external_id=None)
    proposal = propose([third, plain, into, second])
    assert isinstance(proposal, Proposal)
    assert (proposal.into, proposal.doubts) == (
        into.id,
        {second.id: Doubt.IDENTIFIED, third.id: Doubt.IDENTIFIED},
    )


def test_c02_an_email_that_was_merely_claimed_needs_a_word() -> None:
    """A lead that typed somebody's address is not proposed to be that person without one."""
    user = known(external_id="u-1")
    claimed, proven = known(role=Role.LEAD, email_proof=Proof.CLAIMED), known(role=Role.LEAD)
    proposal = propose([user, claimed, proven])
    assert isinstance(proposal, Proposal)
    assert (proposal.into, proposal.doubts) == (user.id, {claimed.id: Doubt.CLAIMED_EMAIL})


def test_leads_alone_have_no_survivor() -> None:
    """A merge goes into a user."""
    assert propose([known(role=Role.LEAD), known(role=Role.LEAD, external_id="u-1")]) is Doubt.ONLY_LEADS


def test_a_user_goes_before_a_lead_with_a_user_id() -> None:
    """The survivor is a user, whatever a lead has."""
    user = known()
    proposal = propose([known(role=Role.LEAD, external_id="u-1"), user])
    assert isinstance(proposal, Proposal)
    assert proposal.into == user.id


def test_every_reason_has_words() -> None:
    """For the report."""
    assert WORDS.keys() == {*Because, *Doubt}


@pytest.mark.parametrize("text", ["Jos\u00c9 1", "jos\u00e9\u20091", " JOS\u00c9\t1 "])
def test_a_folded_id_has_neither_case_nor_white_space(text: str) -> None:
    """Of any script."""
    assert folded_id(text) == "jos\u00e91"
