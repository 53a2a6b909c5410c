"""Refusals of the admin listener, in the shape that Intercom's clients know: `error.list` (facts: Intercom 2.11)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from gateway.errors import (
    ChangeProblem,
    ChangeRefused,
    Code,
    ContactConflict,
    ContactMerged,
    ContactNotFound,
    Outage,
    Refusal,
    SearchProblem,
    SearchRefused,
    StoreUnusable,
    VisitorNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

_log = logging.getLogger("gateway.refusals")
_CHALLENGE = {"www-authenticate": 'Bearer realm="identity-gateway-admin"'}


class AdminError(Exception):
    """A refusal of the admin listener: HTTP status, code of Intercom's vocabulary, message, field, headers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = headers or {}


def unauthorized() -> AdminError:
    """401: no access token, or none that stands."""
    return AdminError(401, "unauthorized", "Access Token Invalid", headers=_CHALLENGE)


def error_list(error: AdminError) -> Response:
    """`{type: "error.list", request_id, errors: [{code, message, field}]}`; the request id stands in the log, too."""
    request_id = os.urandom(8).hex()
    # Below its first dot a field is a custom attribute's name, which a client wrote.
    field = error.field and error.field.partition(".")[0]
    _log.info("refused", extra={"request_id": request_id, "status": error.status, "code": error.code, "field": field})
    problem = {"code": error.code, "message": error.message, "field": error.field}
    body = {"type": "error.list", "request_id": request_id, "errors": [problem]}
    return JSONResponse(body, error.status, headers={"cache-control": "no-store", **error.headers})


async def admin_error(_request: object, error: Exception) -> Response:
    """Answer an `AdminError`."""
    if not isinstance(error, AdminError):
        raise error
    return error_list(error)


async def contact_not_found(_request: object, _error: Exception) -> Response:
    """404: no record stands under that id."""
    return error_list(AdminError(404, "not_found", "User Not Found"))


async def visitor_not_found(_request: object, _error: Exception) -> Response:
    """404 in the words that visitors have (facts: Intercom 2.10)."""
    return error_list(AdminError(404, "not_found", "Visitor Not Found"))


async def contact_merged(_request: object, error: Exception) -> Response:
    """410 and a link to the record that answers now (facts: Intercom 2.6)."""
    if not isinstance(error, ContactMerged):
        raise error
    link = {"link": f'</contacts/{error.contact_id}>; rel="canonical"'}
    return error_list(
        AdminError(410, "contact_merged", "merged into another contact; follow the Link header", headers=link)
    )


async def change_refused(_request: object, error: Exception) -> Response:
    """The status and code of the vocabulary that a problem has there."""
    if not isinstance(error, ChangeRefused):
        raise error
    status, code = _CHANGE_PROBLEMS[error.problem]
    return error_list(AdminError(status, code, error.message, field=error.field))


async def search_refused(_request: object, error: Exception) -> Response:
    """The status and code of the vocabulary, and the place in the query (facts: Intercom 2.8, 2.9)."""
    if not isinstance(error, SearchRefused):
        raise error
    status, code = _SEARCH_PROBLEMS[error.problem]
    return error_list(AdminError(status, code, error.message, field=error.field))


async def contact_conflict(_request: object, error: Exception) -> Response:
    """409 naming the other record; clients read the id at the end of the message (facts: Intercom 2.5).

    `not_restorable` says that it is blocked: the person is not to be made anew.
    """
    if not isinstance(error, ContactConflict):
        raise error
    known = "An archived contact" if error.archived else "A blocked contact" if error.blocked else "A contact"
    message = f"{known} matching those details already exists with id={error.contact_id}"
    return error_list(AdminError(409, "not_restorable" if error.blocked else "conflict", message, field=error.field))


async def identifier_refused(_request: object, error: Exception) -> Response:
    """422 for an identifier that cannot be kept, with the gateway's own code in the message."""
    if not isinstance(error, Refusal):
        raise error
    status, code = (409, "conflict") if error.code in _CONFLICTS else (422, "parameter_invalid")
    return error_list(AdminError(status, code, f"{error.code}: {error.reason}", field=error.field))


async def outage(_request: object, error: Exception) -> Response:
    """503 with `Retry-After`; a store that became unusable is an outage, too."""
    retry_after = error.retry_after if isinstance(error, Outage) else 5
    text = "The contact store cannot answer now; try again."
    return error_list(AdminError(503, "service_unavailable", text, headers={"retry-after": str(retry_after)}))


async def http_error(_request: object, _error: Exception) -> Response:
    """Starlette's own 404 and 405 in the same shape; Intercom answers an unsupported method with 404, too.

    Starlette's `Allow` is left out: it names the methods of one route, and a path may have several.
    """
    return error_list(AdminError(404, "not_found", "The requested resource was not found"))


async def failure(_request: object, _error: Exception) -> Response:
    """500; the server logs what it was."""
    return error_list(AdminError(500, "server_error", "The gateway failed to answer; its log says why."))


_CONFLICTS = {Code.IDENTITY_CONFLICT, Code.EMAIL_AMBIGUOUS}
_CHANGE_PROBLEMS = {
    ChangeProblem.VALUE_INVALID: (400, "parameter_invalid"),
    ChangeProblem.IDENTIFIER_MISSING: (400, "parameter_missing"),
    ChangeProblem.USER_STAYS_USER: (400, "client_error"),
    ChangeProblem.NOT_RESTORABLE: (400, "not_restorable"),
    ChangeProblem.MERGE_INVALID: (400, "invalid_merge"),
    ChangeProblem.MERGE_UNCHECKED: (400, "parameter_not_allowed"),
    ChangeProblem.MERGE_NOT_DUPLICATES: (422, "unprocessable_entity"),
    ChangeProblem.NOT_UNDONE: (422, "unprocessable_entity"),
    ChangeProblem.ATTRIBUTE_UNKNOWN: (400, "parameter_invalid"),
    ChangeProblem.ATTRIBUTE_NOT_FOUND: (404, "field_not_found"),
}
_SEARCH_PROBLEMS = {
    SearchProblem.QUERY_INVALID: (400, "parameter_invalid"),
    SearchProblem.SORT_ORDER_INVALID: (400, "invalid_sort_order"),
    SearchProblem.CURSOR_INVALID: (400, "client_error"),
    SearchProblem.TOO_SLOW: (422, "request_timeout"),
}
HANDLERS = {
    AdminError: admin_error,
    ChangeRefused: change_refused,
    SearchRefused: search_refused,
    ContactNotFound: contact_not_found,
    VisitorNotFound: visitor_not_found,
    ContactMerged: contact_merged,
    ContactConflict: contact_conflict,
    Refusal: identifier_refused,
    Outage: outage,
    StoreUnusable: outage,
    404: http_error,
    405: http_error,
    500: failure,
}
