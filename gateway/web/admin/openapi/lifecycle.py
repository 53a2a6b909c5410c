"""The life of a record (`lifecycle_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.web.admin.openapi.contacts import CONTACT_SCHEMA, REFERENCE
from gateway.web.admin.openapi.parts import CONTACT_ID, Json, Noun, Operation, closed, list_of, query_parameter
from gateway.web.admin.paging import LARGEST_PAGE


def _step(name: str, summary: str, answer: str) -> dict[str, Json]:
    described = Operation(
        name=f"{name}_contact", summary=summary, scope=Scope.CONTACTS_WRITE, answer=answer, refusals=(404, 410)
    )
    return {"post": described.json()}


PER_PAGE = query_parameter("per_page", "How many a page.", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE})

_PUT_AWAY = closed({**CONTACT_SCHEMA["properties"], "archived": {"type": "boolean"}, "blocked": {"type": "boolean"}})
_PAGES = closed(
    {
        "type": {"const": "pages"},
        "per_page": {"type": "integer"},
        "next": {
            "anyOf": [{"type": "null"}, closed({"per_page": {"type": "integer"}, "starting_after": CONTACT_ID})],
        },
    }
)

LIFECYCLE = Noun(
    tag="life cycle",
    description="Archived and blocked contacts keep their identifiers. Each step may be repeated.",
    paths={
        "/contacts/archived": {
            "get": Operation(
                name="list_archived_contacts",
                summary="The archived and blocked contacts (an extension: Intercom lists none)",
                scope=Scope.CONTACTS_READ,
                answer="PutAway",
                query=(
                    PER_PAGE,
                    query_parameter("starting_after", "Where the page before ended.", CONTACT_ID),
                    query_parameter("email", "Only those with this email.", {"type": "string", "format": "email"}),
                ),
                refusals=(422,),
            ).json()
        },
        "/contacts/{contact_id}/archive": _step(
            "archive", "Put a contact away; one that is blocked stays blocked", "ContactArchived"
        ),
        "/contacts/{contact_id}/unarchive": _step(
            "unarchive",
            "Bring an archived contact back; 400 `bad_request` when it was merged, `not_restorable` when it is blocked",
            "ContactUnarchived",
        ),
        "/contacts/{contact_id}/block": _step("block", "Put a contact away for good", "ContactBlocked"),
        "/contacts/{contact_id}/unblock": _step(
            "unblock", "Lift a block (an extension: Intercom lifts none)", "ContactUnblocked"
        ),
    },
    schemas={
        "PutAway": list_of(_PUT_AWAY, total_count={"type": "integer", "minimum": 0}, pages=_PAGES),
        "ContactArchived": closed({**REFERENCE, "archived": {"const": True}}),
        "ContactUnarchived": closed({**REFERENCE, "archived": {"const": False}}),
        "ContactBlocked": closed({**REFERENCE, "blocked": {"const": True}}),
        "ContactUnblocked": closed({**REFERENCE, "blocked": {"const": False}}),
    },
)
