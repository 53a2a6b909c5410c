"""Revocations (`revocations_api.py`)."""

from __future__ import annotations

from typing import Any

from gateway.contacts.access_token import Scope
from gateway.web.admin.openapi.lifecycle import PER_PAGE
from gateway.web.admin.openapi.parts import TIME, Noun, Operation, closed, list_of, nullable, query_parameter
from gateway.web.admin.revocations_api import KINDS

_NULL = {"type": "null"}
_REVOCATION = closed(
    {
        "kind": {"enum": [kind.value for kind in KINDS]},
        "subject": nullable("string", description="the contact's id, or the issuer's name"),
        "issued_before": nullable("integer", description="Unix time in seconds; null where it does not matter"),
        "revoked_at": TIME,
        "until": nullable("integer", description="when it is forgotten, for the tokens are dead by then; null: never"),
        "actor": {"type": "string", "description": "`logout`, `command` or `access_token:<id>`"},
    }
)
_TEXT = {"type": "string", "minLength": 1}
_BEFORE = nullable("integer", minimum=0, description="Unix seconds, none of the future; now, unless it is given")
_LIFT = {"type": "boolean", "description": "take back what the same body revoked; the answer is what that was"}
_NEXT = closed({"per_page": {"type": "integer"}, "starting_after": {"type": "string"}})
_PAGES = closed({"type": {"const": "pages"}, "per_page": {"type": "integer"}, "next": {"anyOf": [_NULL, _NEXT]}})


def _asked(kind: str, **members: Any) -> dict[str, Any]:
    """What a body of a kind holds; `issued_before` and `lift` may be left out."""
    required = ["kind", *(name for name in members if name != "issued_before")]
    properties = {"kind": {"const": kind}, **members, "lift": _LIFT}
    return {"type": "object", "properties": properties, "required": required}


REVOCATIONS = Noun(
    tag="revocations",
    description="Which tokens are refused although they verify (an extension). No list names a token.",
    paths={
        "/revocations": {
            "post": Operation(
                name="revoke",
                summary="Revoke a token, the tokens of a person, or what was issued before a moment",
                scope=Scope.CONTACTS_WRITE,
                body="ToRevoke",
                answer="Revoked",
                refusals=(404, 422),
            ).json(),
            "get": Operation(
                name="list_revocations",
                summary="What is revoked, oldest first",
                scope=Scope.CONTACTS_READ,
                answer="Revocations",
                query=(
                    PER_PAGE,
                    query_parameter(
                        "starting_after",
                        "Where the page before ended: `pages.next.starting_after` of its answer.",
                        {"type": "string"},
                    ),
                ),
            ).json(),
        }
    },
    schemas={
        "ToRevoke": {
            "oneOf": [
                _asked("token", token={**_TEXT, "description": "the whole token; its signature is not looked at"}),
                _asked("jti", jti=_TEXT, issuer=_TEXT),
                _asked("contact", id={**_TEXT, "description": "a contact id or a user_id"}, issued_before=_BEFORE),
                _asked("issuer", issuer=_TEXT, issued_before=_BEFORE),
                _asked("workspace", issued_before=_BEFORE),
            ]
        },
        "Revoked": list_of(_REVOCATION),
        "Revocations": list_of(_REVOCATION, pages=_PAGES),
    },
)
