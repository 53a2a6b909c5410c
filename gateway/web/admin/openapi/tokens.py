"""Explaining a token (`inspect_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.errors import Code
from gateway.identity.inspection import Outcome
from gateway.identity.platforms import Platform
from gateway.identity.principal import Proof
from gateway.web.admin.openapi.parts import CONTACT_ID, Noun, Operation, closed, nullable

_CODE = {"enum": [*(code.value for code in Code), None]}
_CHECK = closed(
    {
        "step": {"type": "integer", "description": "of the way of a request: 2 shape to 9 revocation"},
        "name": {"type": "string"},
        "outcome": {"enum": list(Outcome)},
        "expected": {"type": "string"},
        "found": {"type": "string"},
        "code": _CODE,
    }
)
_PRINCIPAL = {
    "type": "object",
    "description": "who the token says it is, in the one spelling of ids; times in Unix seconds",
    "properties": {
        "user_id": {"type": "string"},
        "email": nullable("string"),
        "email_proof": {"enum": [*list(Proof), None]},
        "issuer": {"type": "string"},
    },
    "required": ["user_id", "email", "issuer"],
}

TOKENS = Noun(
    tag="tokens",
    description="Why a token is refused, or whose it is (an extension). Nothing of it is stored or logged.",
    paths={
        "/tokens/inspect": {
            "post": Operation(
                name="inspect_token",
                summary="Every check of a token in order, expected and found, and the contact that it leads to",
                scope=Scope.CONTACTS_READ,
                body="TokenToInspect",
                answer="Inspection",
                refusals=(404,),
            ).json()
        }
    },
    schemas={
        "TokenToInspect": {
            "type": "object",
            "properties": {
                "token": {"type": "string", "description": "any text; blanks around it are no part of it"},
                "platform": {
                    "enum": [*list(Platform), None],
                    "description": "as from this platform: with the secrets that are enabled for it",
                },
                "app_id": nullable("string", description="the access token's own workspace, which is meant anyhow"),
            },
            "required": ["token"],
        },
        "Inspection": closed(
            {
                "accepted": {"type": "boolean"},
                "checks": {"type": "array", "items": _CHECK},
                "principal": {"anyOf": [{"type": "null"}, _PRINCIPAL]},
                "contact": nullable("string", description="in a sentence"),
                "contact_id": {"anyOf": [{"type": "null"}, CONTACT_ID]},
                "code": _CODE,
            }
        ),
    },
)
