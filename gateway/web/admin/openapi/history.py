"""The history of a record (`history_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.web.admin.history_api import LAST_PAGE
from gateway.web.admin.openapi.lifecycle import PER_PAGE
from gateway.web.admin.openapi.parts import CONTACT_ID, TIME, Noun, Operation, closed, list_of, query_parameter

_LINE = closed(
    {
        "type": {"const": "history"},
        "workspace_id": {"type": "string"},
        "contact_id": CONTACT_ID,
        "kind": {"type": "string", "description": "created, linked, updated, merged, deleted, ..."},
        "actor": {"type": "string", "description": "`issuer:<name>`, `access_token:<id>` or `command`"},
        "at": TIME,
        "before": {"type": "object"},
        "after": {"type": "object"},
    }
)
_PAGES = closed(
    {
        "type": {"const": "pages"},
        "page": {"type": "integer"},
        "per_page": {"type": "integer"},
        "next": {"anyOf": [{"type": "null"}, closed({"page": {"type": "integer"}})]},
    }
)

HISTORY = Noun(
    tag="history",
    description="How a record came to be (an extension: Intercom has nothing like it).",
    paths={
        "/contacts/{contact_id}/history": {
            "get": Operation(
                name="list_history_of_contact",
                summary="What happened to a contact, newest first; of a deleted one no personal data are left",
                scope=Scope.CONTACTS_READ,
                answer="History",
                query=(
                    PER_PAGE,
                    query_parameter("page", "Which page.", {"type": "integer", "minimum": 1, "maximum": LAST_PAGE}),
                ),
                refusals=(404,),
            ).json()
        }
    },
    schemas={"History": list_of(_LINE, pages=_PAGES)},
)
