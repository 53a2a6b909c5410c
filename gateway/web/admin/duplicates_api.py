"""`GET /contacts/duplicates`: which contacts are probably one person. An extension: Intercom has nothing like it.

Groups by email, phone, user_id but for case and white space, an email used as user_id, and what logins flagged, each
with a proposed survivor and why. `kind` picks one kind. Groups come in a stable order, in pages; nothing is changed.
`POST /contacts/merge` carries a proposal out, and `gateway contacts duplicates` reviews many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.merging.duplicates import DuplicateKind, DuplicatesReport, Position
from gateway.identity.principal import is_storable
from gateway.web.admin.duplicate_json import group_json
from gateway.web.admin.endpoints import AdminEndpoints, answer
from gateway.web.admin.errors import AdminError
from gateway.web.admin.paging import foreign_position, page_size, read_position, written_position

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class DuplicatesApi(AdminEndpoints):
    """The duplicates report."""

    def routes(self) -> list[Route]:
        """The one route; it stands before those with a contact id in their path."""
        return [Route("/contacts/duplicates", self.report, methods=["GET"])]

    async def report(self, request: Request) -> Response:
        """A page of groups; `pages.next.starting_after` leads to the next one."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        size, kinds, after = page_size(request), _kinds(request), _after(request)
        groups, end = await DuplicatesReport(self.store, workspace).page(after, limit=size, kinds=kinds)
        following = None if end is None else {"per_page": size, "starting_after": written_position(end.kind, end.key)}
        pages: dict[str, Any] = {"type": "pages", "per_page": size, "next": following}
        return answer({"type": "list", "data": [group_json(group) for group in groups], "pages": pages})


def _kinds(request: Request) -> tuple[DuplicateKind, ...]:
    asked = request.query_params.get("kind")
    if asked is None:
        return tuple(DuplicateKind)
    if asked not in set(DuplicateKind):
        raise AdminError(400, "parameter_invalid", f"kind must be one of {', '.join(DuplicateKind)}", field="kind")
    return (DuplicateKind(asked),)


def _after(request: Request) -> Position | None:
    text = request.query_params.get("starting_after")
    if text is None:
        return None
    kind, key = read_position(text, tuple[DuplicateKind, str], field="starting_after")
    if not is_storable(key):
        raise foreign_position("starting_after")
    return Position(kind, key)
