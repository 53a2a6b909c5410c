"""Refusals of the admin listener, in the shape that Intercom's clients know: `error.list` (facts: Intercom 2.11)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from gateway.errors import Code, ContactConflict, ContactNotFound, Outage, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class AdminError(Exception):
    """A refusal of the admin listener: HTTP status, code of Intercom's vocabulary, message, field."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field


def error_list(error: AdminError, headers: dict[str, str] | None = None) -> Response:
    """`{type: "error.list", request_id, errors: [{code, message, field}]}`."""
    problem = {"code": error.code, "message": error.message, "field": error.field}
    body = {"type": "error.list", "request_id": os.urandom(8).hex(), "errors": [problem]}
    return JSONResponse(body, error.status, headers={"cache-control": "no-store", **(headers or {})})


async def admin_error(_request: Request, error: Exception) -> Response:
    """Answer an `AdminError`."""
    if not isinstance(error, AdminError):
        raise error
    challenge = {"www-authenticate": 'Bearer realm="identity-gateway-admin"'} if error.status == 401 else None
    return error_list(error, challenge)


async def contact_not_found(_request: Request, _error: Exception) -> Response:
    """404: no record stands under that id."""
    return error_list(AdminError(404, "not_found", "User Not Found"))


async def contact_conflict(_request: Request, error: Exception) -> Response:
    """409 naming the other record; clients read the id at the end of the message (facts: Intercom 2.5)."""
    if not isinstance(error, ContactConflict):
        raise error
    known = "An archived contact" if error.archived else "A contact"
    message = f"{known} matching those details already exists with id={error.contact_id}"
    return error_list(AdminError(409, "conflict", message, field=error.field))


async def identifier_refused(_request: Request, error: Exception) -> Response:
    """422 for an identifier that cannot be kept, with the gateway's own code in the message."""
    if not isinstance(error, Refusal):
        raise error
    status, code = (409, "conflict") if error.code is Code.IDENTITY_CONFLICT else (422, "parameter_invalid")
    return error_list(AdminError(status, code, f"{error.code}: {error.reason}", field=error.field))


async def outage(_request: Request, error: Exception) -> Response:
    """503 with `Retry-After`."""
    if not isinstance(error, Outage):
        raise error
    unavailable = AdminError(503, "service_unavailable", "The contact store cannot answer now; try again.")
    return error_list(unavailable, {"retry-after": str(error.retry_after)})


async def http_error(_request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405 in the same shape; Intercom answers an unsupported method with 404, too."""
    allow = getattr(error, "headers", None) or {}
    return error_list(AdminError(404, "not_found", "The requested resource was not found"), dict(allow))


HANDLERS = {
    AdminError: admin_error,
    ContactNotFound: contact_not_found,
    ContactConflict: contact_conflict,
    Refusal: identifier_refused,
    Outage: outage,
    404: http_error,
    405: http_error,
}
