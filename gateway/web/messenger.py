"""The messenger's addresses: `POST /messenger/login` and `GET /messenger/me`, answered with the identity as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from gateway.errors import Code, Refusal
from gateway.identity.unverified import strict_json_object
from gateway.web.decision import Presented
from gateway.web.transport import BODY_LIMIT, Answer, one_token

if TYPE_CHECKING:
    from gateway.contacts.resolver import Identity
    from gateway.web.transport import Head, Request

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Login:
    """`POST /messenger/login`: the token in the header or, as `intercom_user_jwt`, in the body.

    `app_id` stands in the body or in the query, `user_data` in the body: see `contacts/unsigned_values.py` for the
    little that it may write. Other members are ignored.
    """

    path = b"/messenger/login"
    methods: frozenset[bytes] | None = frozenset({b"POST"})
    forward_auth = False

    def presented(self, request: Request, head: Head) -> Presented:
        """Read the credential; raises `Refusal`: payload_too_large, request_invalid and the credential codes."""
        body = _body_of(request, head)
        token = _text(body, "intercom_user_jwt")
        named = {_text(body, "app_id"), _app_id(request)} - {None}
        if len(named) > 1:
            raise Refusal(Code.REQUEST_INVALID, "two different app_id", field="app_id")
        workspace = next(iter(named), None)
        return Presented(
            one_token(head.token, None if token is None else token.encode()), workspace, _object(body, "user_data")
        )

    def welcome(self, identity: Identity) -> Answer:
        """200 and the identity."""
        return Answer(200, _HEADERS, msgspec.json.encode(described(identity)))


class Me(Login):
    """`GET /messenger/me`: the same for the token in the header."""

    path = b"/messenger/me"
    methods: frozenset[bytes] | None = frozenset({b"GET"})

    def presented(self, request: Request, head: Head) -> Presented:
        """Read the credential from the header; `app_id` may stand in the query."""
        return Presented(one_token(head.token), _app_id(request))


def described(identity: Identity) -> dict[str, Any]:
    """The identity as the messenger meets it: `{type, contact, identity}`; times in whole seconds UTC."""
    contact, principal = identity.contact, identity.principal
    return {
        "type": "identity",
        "contact": {
            "type": "contact",
            "id": contact.id,
            "workspace_id": contact.workspace_id,
            "external_id": contact.external_id,
            "role": contact.role,
            "email": contact.email,
            "name": contact.name,
            "phone": contact.phone,
            "avatar": contact.avatar,
            "created_at": contact.created_at,
            "updated_at": contact.updated_at,
            "signed_up_at": contact.signed_up_at,
            "custom_attributes": contact.custom_attributes,
        },
        "identity": {
            "user_id": principal.user_id,
            "email": principal.email,
            "issuer": principal.issuer,
            "matched_by": identity.matched_by,
            "created": identity.created,
            "linked": identity.linked,
            "expires_at": None if principal.expires_at is None else int(principal.expires_at),
        },
    }


def _body_of(request: Request, head: Head) -> dict[str, Any]:
    """The JSON object in a body; an empty body is an empty object."""
    if not request.body:
        return {}
    if len(request.body) > BODY_LIMIT:
        raise Refusal(Code.PAYLOAD_TOO_LARGE, f"the body takes more than {BODY_LIMIT} bytes")
    if head.content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Refusal(Code.REQUEST_INVALID, "a body must be application/json", field="content-type")
    try:
        return strict_json_object(request.body)
    except ValueError as error:
        raise Refusal(Code.REQUEST_INVALID, "the body is not one strict JSON object", field="body") from error


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Refusal(Code.REQUEST_INVALID, "the member must be a string", field=name)


def _object(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = body.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise Refusal(Code.REQUEST_INVALID, "the member must be an object", field=name)


def _app_id(request: Request) -> str | None:
    if not request.query:
        return None
    try:
        fields = parse_qs(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Refusal(Code.REQUEST_INVALID, "the query has more than 100 fields") from error
    values = fields.get("app_id", [])
    if len(set(values)) > 1:
        raise Refusal(Code.REQUEST_INVALID, "two different app_id in the query", field="app_id")
    return values[0] if values else None
