"""`GET /contacts/{id}/history`: how a record came to be. An extension: Intercom has nothing like it.

Newest first. A merged record's id leads to its own lines; of a deleted one the facts are left, and no personal data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.errors import ContactNotFound
from gateway.web.admin.endpoints import AdminEndpoints, answer, contact_id_of
from gateway.web.admin.errors import AdminError
from gateway.web.admin.paging import page_size

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LAST_PAGE = 1_000


class HistoryApi(AdminEndpoints):
    """The lines of one record's history."""

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/contacts/{contact_id}/history", self.history, methods=["GET"])]

    async def history(self, request: Request) -> Response:
        """A page of lines: what happened, when, by whom, and the values before and after."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        contact_id, size, page = contact_id_of(request), page_size(request), _page(request)
        events = await self.store.events(workspace, contact_id, limit=size + 1, skip=size * (page - 1))
        if not events and page == 1:
            raise ContactNotFound
        following = {"page": page + 1} if len(events) > size else None
        pages: dict[str, Any] = {"type": "pages", "page": page, "per_page": size, "next": following}
        data = [{"type": "history", **msgspec.to_builtins(event)} for event in events[:size]]
        return answer({"type": "list", "data": data, "pages": pages})


def _page(request: Request) -> int:
    text = request.query_params.get("page", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LAST_PAGE):
        raise AdminError(400, "parameter_invalid", f"page must be a number from 1 to {LAST_PAGE}", field="page")
    return int(text)
