"""The one table from codes to HTTP: status, challenge and body of every refusal.

The public side answers `application/problem+json` (RFC 9457) with a stable `code` and a `request_id`, and challenges
as RFC 6750 section 3 wants. Every text stands in this table: no exception's words, no claim's value leave the process
(advisories B20, B25, A17). `/auth` speaks only the statuses that proxies understand: 200, 401, 403, 503.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.errors import Code, Outage, RateLimited, Refusal
from gateway.web.headers import IDENTITY_ERROR
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("gateway.refusals")

_TABLE: dict[Code, tuple[int, str]] = {
    Code.REQUEST_INVALID: (400, "The request is not one that this address understands."),
    Code.CREDENTIALS_CONFLICT: (400, "The request carries two credentials; send one."),
    Code.CREDENTIALS_MISSING: (401, "Present a signed token as a Bearer credential."),
    Code.TOKEN_MALFORMED: (401, "The token is not a well-formed signed JWT."),
    Code.TOKEN_TOO_LARGE: (401, "The token is larger than 8 KiB."),
    Code.ALG_NOT_ALLOWED: (401, "The token's algorithm is not allowed for its issuer."),
    Code.ISSUER_UNKNOWN: (401, "The token's issuer is not trusted here."),
    Code.KID_UNKNOWN: (401, "The token names a key that its issuer does not have."),
    Code.SIGNATURE_INVALID: (401, "The token's signature does not verify."),
    Code.CRIT_UNSUPPORTED: (401, "The token demands a header extension that is not supported."),
    Code.TOKEN_EXPIRED: (401, "The token has expired."),
    Code.TOKEN_NOT_YET_VALID: (401, "The token is not valid yet."),
    Code.ISSUED_IN_FUTURE: (401, "The token was issued in the future; check the signer's clock."),
    Code.LIFETIME_TOO_LONG: (401, "The token lives longer than its issuer may allow."),
    Code.AUDIENCE_MISMATCH: (401, "The token is meant for another audience."),
    Code.CLAIM_MISSING: (401, "The token lacks a required claim."),
    Code.CLAIM_TYPE: (401, "A claim of the token has the wrong type."),
    Code.TOKEN_REVOKED: (401, "The token has been revoked."),
    Code.USER_ID_MISSING: (422, "The token names nobody: send user_id, or a proven email in its place."),
    Code.USER_ID_PLACEHOLDER: (422, "The user_id is a placeholder; send the person's own id."),
    Code.USER_ID_INVALID: (422, "The user_id is not one that can be kept: 1 to 255 plain characters."),
    Code.USER_ID_IS_CONTACT_ID: (422, "The user_id is the id of another contact; send your own key."),
    Code.EMAIL_INVALID: (422, "The email is not a valid address."),
    Code.EMAIL_MISMATCH: (422, "The user_id looks like an email and differs from the email claim."),
    Code.EMAIL_AMBIGUOUS: (409, "Several contacts hold this email; send the user_id."),
    Code.IDENTITY_CONFLICT: (409, "The email belongs to a contact with another user_id."),
    Code.CONTACT_UNKNOWN: (403, "Nobody with this identity is known here."),
    Code.CONTACT_BLOCKED: (403, "This contact is blocked."),
    Code.CONTACT_ARCHIVED: (403, "This contact is archived."),
    Code.PAYLOAD_TOO_LARGE: (413, "The request is larger than this address takes."),
    Code.RATE_LIMITED: (429, "Too many requests; slow down."),
    Code.OVERLOADED: (503, "The gateway has more to do than it can; try again."),
    Code.KEYS_UNAVAILABLE: (503, "No keys are at hand to verify with; try again."),
    Code.STORE_UNAVAILABLE: (503, "The contact store cannot answer now; try again."),
    Code.UPSTREAM_UNAVAILABLE: (502, "The upstream cannot be reached."),
    Code.UPSTREAM_TIMEOUT: (504, "The upstream did not answer in time."),
}
_REALM = b'Bearer realm="identity-gateway"'
_HEADERS = ((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))


def status_of(code: Code) -> int:
    """The HTTP status of a code on the public listener."""
    return _TABLE[code][0]


def text_of(code: Code) -> str:
    """The one public sentence of a code."""
    return _TABLE[code][1]


class Problems:
    """Turns what was raised into an answer and a line in the log, under one request id."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def answer(self, error: Refusal | Outage, *, forward_auth: bool = False, allow: bytes = b"") -> Answer:
        """The refusal as a client meets it; `allow` makes it the 405 of a method that the path does not have."""
        field = error.field if isinstance(error, Refusal) else None
        request_id = self._noted(error.code, error.reason, field)
        status = 405 if allow else status_of(error.code)
        if forward_auth:
            status = forward_auth_status(status)
        headers = [*_HEADERS]
        if status == 401 or error.code is Code.CREDENTIALS_CONFLICT:
            headers.append((b"www-authenticate", _challenge(error.code)))
        if allow:
            headers.append((b"allow", allow))
        if isinstance(error, Outage | RateLimited):
            headers.append((b"retry-after", b"%d" % error.retry_after))
        if forward_auth:
            headers.append((IDENTITY_ERROR.lower().encode(), error.code.value.encode()))
        body = _problem(status, text_of(error.code), request_id, code=error.code, field=field)
        return Answer(status, tuple(headers), msgspec.json.encode(body))

    def failure(self, error: Exception, *, forward_auth: bool = False) -> Answer:
        """500 for a fault of our own, 503 to a proxy; what it was stands in the log under the same request id."""
        request_id = self._random_bytes(8).hex()
        _log.error("failed", exc_info=error, extra={"request_id": request_id})
        status = 503 if forward_auth else 500
        body = _problem(status, "The gateway failed to answer; its log says why.", request_id)
        return Answer(status, _HEADERS, msgspec.json.encode(body))

    async def not_found(self, _request: object, error: Exception) -> Response:
        """Starlette's 404 and 405 as a problem; no credential was looked at."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = {name.decode(): value.decode() for name, value in _HEADERS}
        allow = (error.headers if isinstance(error, HTTPException) else None) or {}
        return Response(self._nothing(status), status, headers={**headers, **allow})

    def nothing_here(self) -> Answer:
        """The same 404 for a request whose address was taken away while it came in."""
        return Answer(404, _HEADERS, self._nothing(404))

    def _nothing(self, status: int) -> bytes:
        text = "There is nothing at this address." if status == 404 else "The address does not have this method."
        request_id = self._noted(Code.REQUEST_INVALID, text, None)
        return msgspec.json.encode(_problem(status, text, request_id, code=Code.REQUEST_INVALID))

    def would_be_refused(self, refusal: Refusal) -> str:
        """Log a refusal that is not enforced, as those are that are; the request id of its line."""
        return self._noted(refusal.code, refusal.reason, refusal.field, "would be refused")

    def _noted(self, code: Code, reason: str, field: str | None, event: str = "refused") -> str:
        request_id = self._random_bytes(8).hex()
        noted = {"request_id": request_id, "code": code.value, "reason": reason, "field": field}
        _log.info(event, extra=noted)
        return request_id


def _problem(
    status: int, detail: str, request_id: str, *, code: Code | None = None, field: str | None = None
) -> dict[str, Any]:
    """The members of RFC 9457, then our own; `field` names what was refused, never its value."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    own = {"code": code, "field": field, "request_id": request_id}
    return body | {name: value for name, value in own.items() if value is not None}


def forward_auth_status(status: int) -> int:
    """The status at `/auth`: 409 and 422, a good token with a bad identity, are 403 there, a bad request is 401."""
    if status in {403, 409, 422}:
        return 403
    return 503 if status >= 500 or status == 429 else 401


def _challenge(code: Code) -> bytes:
    """RFC 6750 section 3.1: no error code when no credential was presented."""
    if code is Code.CREDENTIALS_MISSING:
        return _REALM
    error = b"invalid_request" if status_of(code) in {400, 413} else b"invalid_token"
    return _REALM + b', error="%b", error_description="%b"' % (error, text_of(code).encode("ascii"))
