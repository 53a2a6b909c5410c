"""The duplicates report (`duplicates_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.merging.duplicates import LISTED, Because, Doubt, DuplicateKind
from gateway.identity.principal import Proof
from gateway.web.admin.openapi.lifecycle import PER_PAGE
from gateway.web.admin.openapi.parts import (
    CONTACT_ID,
    TIME,
    Noun,
    Operation,
    closed,
    list_of,
    nullable,
    query_parameter,
)

_KIND = {"enum": [str(kind) for kind in DuplicateKind]}
_NULL = {"type": "null"}
_DOUBT = {
    "anyOf": [_NULL, closed({"code": {"enum": [str(one) for one in Doubt]}, "message": {"type": "string"}})],
    "description": "why an operator's word is needed, or why nothing is proposed",
}
_MEMBER = closed(
    {
        "type": {"const": "contact"},
        "id": CONTACT_ID,
        "external_id": nullable("string"),
        "role": {"enum": ["user", "lead"]},
        "email": nullable("string"),
        "email_proof": {"enum": [*(str(proof) for proof in Proof), None]},
        "phone": nullable("string"),
        "name": nullable("string"),
        "created_at": TIME,
        "last_seen_at": nullable("integer"),
        "doubt": _DOUBT,
    }
)
_GROUP = closed(
    {
        "type": {"const": "duplicate_group"},
        "id": {"type": "string", "description": "`kind:key`"},
        "kind": _KIND,
        "key": {"type": "string", "description": "what they share; of what a login flagged, the flagged contact's id"},
        "total_count": {"type": "integer", "minimum": 1},
        "flagged_at": nullable("integer", description="when a login flagged one of them"),
        "contacts": {"type": "array", "items": _MEMBER, "maxItems": LISTED},
        "proposal": {
            "anyOf": [
                _NULL,
                closed(
                    {
                        "into": CONTACT_ID,
                        "because": {"enum": [str(one) for one in Because]},
                        "message": {"type": "string"},
                    }
                ),
            ]
        },
        "doubt": _DOUBT,
    }
)
_NEXT = closed({"per_page": {"type": "integer"}, "starting_after": {"type": "string"}})
_PAGES = closed(
    {"type": {"const": "pages"}, "per_page": {"type": "integer"}, "next": {"anyOf": [_NULL, _NEXT]}},
)

DUPLICATES = Noun(
    tag="duplicates",
    description="Which contacts are probably one person (an extension: Intercom has nothing like it).",
    paths={
        "/contacts/duplicates": {
            "get": Operation(
                name="list_duplicates",
                summary="Groups of contacts that are probably one person, with a proposed survivor and why",
                scope=Scope.CONTACTS_READ,
                answer="Duplicates",
                query=(
                    PER_PAGE,
                    query_parameter(
                        "starting_after",
                        "Where the page before ended: `pages.next.starting_after` of its answer.",
                        {"type": "string"},
                    ),
                    query_parameter("kind", "Only groups of this kind.", _KIND),
                ),
            ).json()
        }
    },
    schemas={"Duplicates": list_of(_GROUP, pages=_PAGES)},
)
