"""What is attached to a contact elsewhere, and here is empty (`attached_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.web.admin.openapi.parts import Json, Noun, Operation, closed

_LIST: dict[str, Json] = {"type": {"const": "list"}, "data": {"type": "array", "maxItems": 0}}
_PAGES = closed(
    {
        "type": {"const": "pages"},
        "page": {"const": 1},
        "per_page": {"type": "integer"},
        "total_pages": {"const": 0},
        "next": {"type": "null"},
    }
)


def _get(kind: str, answer: str) -> dict[str, Json]:
    described = Operation(
        name=f"list_{kind}_of_contact",
        summary=f"The {kind} of a contact: the gateway keeps none",
        scope=Scope.CONTACTS_READ,
        answer=answer,
        refusals=(404, 410),
    )
    return {"get": described.json()}


ATTACHED = Noun(
    tag="attached",
    description="Empty lists, where official clients ask for them.",
    paths={
        **{f"/contacts/{{contact_id}}/{kind}": _get(kind, "NoPages") for kind in ("companies", "notes")},
        **{f"/contacts/{{contact_id}}/{kind}": _get(kind, "Nothing") for kind in ("segments", "subscriptions", "tags")},
    },
    schemas={
        "Nothing": closed(_LIST),
        "NoPages": closed({**_LIST, "total_count": {"const": 0}, "pages": _PAGES}),
    },
)
