"""What becomes of each field in a merge, and what speaks against one, without a store."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role
from gateway.contacts.merging.journal import Kept
from gateway.contacts.merging.rules import Because, FieldOutcome, Outcome, Plan, plan_of, restored
from tests.contacts.people import person
from tests.contacts.records import NOW

ADA = "ada@example.com"


def plan(source: dict[str, Any], into: dict[str, Any], *, email_taken: bool = False) -> Plan:
    """What a merge of a lead into a user would do."""
    lead, user = person(role=Role.LEAD, **source), person(**into)
    return plan_of(lead, user, unchecked=True, email_taken=email_taken, now=NOW + 1)


def outcomes(of: Plan) -> dict[str, FieldOutcome]:
    return {one.field: one for one in of.outcomes}


@pytest.mark.parametrize("field", ["external_id", "email", "phone", "name", "avatar", "owner_id", "language_override"])
def test_a_text_is_adopted_discarded_or_agreed_on(field: str) -> None:
    """The survivor takes what it lacks and keeps what it has; what both have alike is no outcome."""
    adopted = plan({field: "theirs"}, {})
    assert outcomes(adopted)[field] == FieldOutcome(
        field=field, outcome=Outcome.ADOPTED, from_value="theirs", into_value=None, new_into_value="theirs"
    )
    assert getattr(adopted.merged, field) == "theirs"
    kept = plan({field: "theirs"}, {field: "own"})
    assert outcomes(kept)[field].outcome is Outcome.DISCARDED
    assert getattr(kept.merged, field) == "own"
    for source in ({}, {field: "own"}):
        alike = plan(source, {field: "own"})
        assert field not in outcomes(alike)
        assert getattr(alike.merged, field) == "own"


def test_an_email_comes_with_its_proof() -> None:
    """C03: the proof is that of the email's own record, and proves no other address."""
    lead = {"email": ADA, "email_proof": "claimed"}
    assert plan(lead, {}).merged.email_proof == "claimed"
    assert plan(lead, {"email": "b@example.com", "email_proof": "signed"}).merged.email_proof == "signed"
    assert plan(
        {"email": ADA, "email_proof": "signed"}, {"email": ADA, "email_proof": "claimed"}
    ).merged.email_proof == ("claimed")
    assert plan({"email": ADA}, {}, email_taken=True).merged.email_proof is None


def test_who_opted_out_of_emails_stays_out() -> None:
    """The one field that is made of both."""
    merged = plan({"unsubscribed_from_emails": True}, {"unsubscribed_from_emails": False})
    assert merged.merged.unsubscribed_from_emails
    assert outcomes(merged)["unsubscribed_from_emails"].outcome is Outcome.MERGED
    assert plan({}, {"unsubscribed_from_emails": True}).merged.unsubscribed_from_emails


def test_custom_attributes_are_united() -> None:
    """One by one; to JSON, true and 1 are two values."""
    united = plan(
        {"custom_attributes": {"a": 1, "b": True, "c": "x"}}, {"custom_attributes": {"b": 1, "c": "x", "d": 0.5}}
    )
    assert united.merged.custom_attributes == {"a": 1, "b": 1, "c": "x", "d": 0.5}
    assert united.merged.custom_attributes["b"] is not True
    found = {name: one.outcome for name, one in outcomes(united).items()}
    assert found == {"custom_attributes.a": Outcome.ADOPTED, "custom_attributes.b": Outcome.DISCARDED}


def test_more_attributes_than_a_contact_holds() -> None:
    """Nothing is dropped silently: the merge is refused."""
    half = [{f"{side}-{n}": n for n in range(126)} for side in "ab"]
    refused = plan({"custom_attributes": half[0]}, {"custom_attributes": half[1]})
    assert [reason.code for reason in refused.reasons] == [Because.TOO_MANY_ATTRIBUTES]
    assert plan({"custom_attributes": half[0]}, {"custom_attributes": half[0]}).reasons == ()


def test_an_older_token_of_either_brings_nothing_back() -> None:
    """B14: the survivor remembers the newest token of both."""
    assert plan({"identified_at": 7}, {"identified_at": 5}).merged.identified_at == 7
    assert plan({"identified_at": 5}, {"identified_at": 7}).merged.identified_at == 7
    assert plan({}, {}).merged.identified_at is None


def test_an_undo_without_later_writes_is_exact() -> None:
    """To the last field; a value that was written again as it stood is no change."""
    merged = plan({"name": "Lead", "custom_attributes": {"b": 1}}, {"external_id": "u", "custom_attributes": {"a": 1}})
    kept = Kept(source=merged.source, into=merged.into, after=merged.merged)
    assert restored(kept, merged.merged) == (merged.into, ())


def test_what_was_written_and_taken_back_leaves_its_time() -> None:
    """No value differs, but somebody was there."""
    merged = plan({"name": "Lead"}, {})
    kept = Kept(source=merged.source, into=merged.into, after=merged.merged)
    survivor, changes = restored(kept, replace(merged.merged, updated_at=NOW + 9))
    assert (survivor, changes) == (replace(merged.into, updated_at=NOW + 9), ())


def test_a_write_in_the_second_of_the_merge_keeps_its_time() -> None:
    """The time of a change is not older than the change."""
    merged = plan({"name": "Lead"}, {})
    kept = Kept(source=merged.source, into=merged.into, after=merged.merged)
    written: Contact = replace(merged.merged, phone="1")
    survivor, (change,) = restored(kept, written)
    assert survivor == replace(merged.into, phone="1", updated_at=NOW + 1)
    assert (change.field, change.before_merge, change.after_merge, change.value) == ("phone", None, None, "1")
