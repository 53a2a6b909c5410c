"""The messenger's addresses: `POST /messenger/login` and `GET /messenger/me`, answered with the identity as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from gateway.errors import Code, Refusal
from gateway.identity.platforms import Platform
from gateway.identity.unverified import strict_json_object
from gateway.identity.user_hash import UnverifiedUserHash
from gateway.web.decision import Presented
from gateway.web.transport import BODY_LIMIT, Answer

if TYPE_CHECKING:
    from gateway.contacts.resolver import Identity
    from gateway.web.enforcement import Unverified
    from gateway.web.transport import Head, Request

JSON_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Login:
    """`POST /messenger/login`: the token in the header or, as `intercom_user_jwt`, in the body.

    `app_id` and `platform` stand in the body or in the query, `user_data` in the body: see
    `contacts/unsigned_values.py` for the little that it may write. In place of a token `user_hash`, with `user_id` or
    `email`, where an issuer takes it (`identity/user_hash.py`). Other members are ignored.
    """

    path = b"/messenger/login"
    methods: frozenset[bytes] | None = frozenset({b"POST"})
    forward_auth = False

    def presented(self, request: Request, head: Head) -> Presented:
        """Read the body and the query; raises `Refusal`: payload_too_large, request_invalid."""
        body = _body_of(request, head)
        token = _text(body, "intercom_user_jwt")
        return Presented(
            head,
            _named(request, "app_id", _text(body, "app_id")),
            _platform(_named(request, "platform", _text(body, "platform"))),
            None if token is None else token.encode(),
            _object(body, "user_data"),
            _user_hash(body),
        )

    def welcome(self, identity: Identity) -> Answer:
        """200 and the identity."""
        return Answer(200, JSON_HEADERS, msgspec.json.encode(described(identity)))

    def unverified(self, unverified: Unverified) -> Answer:
        """200 and nobody, with the code for which it would be refused."""
        body = {"type": "identity", "verified": False, "contact": None, "identity": None, "code": unverified.code}
        if unverified.request_id is not None:
            body["request_id"] = unverified.request_id
        return Answer(200, JSON_HEADERS, msgspec.json.encode(body))


class Me(Login):
    """`GET /messenger/me`: the same for the token in the header."""

    path = b"/messenger/me"
    methods: frozenset[bytes] | None = frozenset({b"GET"})

    def presented(self, request: Request, head: Head) -> Presented:
        """The token stands in the header; `app_id` and `platform` may stand in the query."""
        return Presented(head, _named(request, "app_id"), _platform(_named(request, "platform")))


def described(identity: Identity) -> dict[str, Any]:
    """The identity as the messenger meets it: `{type, verified, contact, identity}`; times in whole seconds UTC."""
    contact, principal = identity.contact, identity.principal
    return {
        "type": "identity",
        "verified": True,
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
            "proof": principal.proof,
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


def _user_hash(body: dict[str, Any]) -> UnverifiedUserHash | None:
    """The older proof; an empty one is none (C01). What types it has is asked only where somebody takes it."""
    user_hash = body.get("user_hash")
    if user_hash is None or user_hash == "":
        return None
    return UnverifiedUserHash(body.get("user_id"), body.get("email"), user_hash)


def _platform(name: str | None) -> Platform | None:
    try:
        return None if name is None else Platform(name)
    except ValueError:
        raise Refusal(Code.REQUEST_INVALID, "the platform is web, ios or android", field="platform") from None


def _named(request: Request, name: str, in_body: str | None = None) -> str | None:
    """What the query names, or the body; `Refusal(request_invalid)` when they differ."""
    if not request.query:
        return in_body
    try:
        fields = parse_qs(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Refusal(Code.REQUEST_INVALID, "the query has more than 100 fields") from error
    named = {*fields.get(name, ()), in_body} - {None}
    if len(named) > 1:
        raise Refusal(Code.REQUEST_INVALID, f"two different {name}", field=name)
    return next(iter(named), None)
