"""The answers about merges, as the API and the commands give them (facts: Intercom 2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.web.admin.contact_json import contact_json

if TYPE_CHECKING:
    from gateway.contacts.merging.merger import Undone
    from gateway.contacts.merging.rules import FieldOutcome, Plan

_CONVERSATIONS = ("conversations", "tickets", "phone_calls", "tags", "notes")


def preview_json(plan: Plan) -> dict[str, Any]:
    """`{allowed: true, summary}` or `{allowed: false, reasons}`; values that are not there are left out."""
    if plan.reasons:
        return {"allowed": False, "reasons": [{"code": one.code, "message": one.message} for one in plan.reasons]}
    return {
        "allowed": True,
        "summary": {
            "attribute_changes": {
                "attributes": [_outcome_json(outcome) for outcome in plan.outcomes],
                "total_count": len(plan.outcomes),
            },
            "reassignments": {noun: {"from": 0, "into": 0} for noun in _CONVERSATIONS},  # the gateway keeps none
        },
    }


def unmerge_json(undone: Undone) -> dict[str, Any]:
    """Both contacts, and what was written to the survivor after the merge and stays there."""
    return {
        "type": "contact.unmerge",
        "contact": contact_json(undone.source),
        "survivor": contact_json(undone.survivor),
        "kept_changes": [
            {
                "field": change.field,
                "before_merge": change.before_merge,
                "after_merge": change.after_merge,
                "value": change.value,
            }
            for change in undone.kept_changes
        ],
    }


def _outcome_json(outcome: FieldOutcome) -> dict[str, Any]:
    values = {"from_value": outcome.from_value, "into_value": outcome.into_value}
    return {
        "field": outcome.field,
        "outcome": outcome.outcome,
        **{name: value for name, value in values.items() if value is not None},
        "new_into_value": outcome.new_into_value,
    }
