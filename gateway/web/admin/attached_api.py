"""What Intercom attaches to a contact beside its identity: companies, segments, subscriptions, tags, notes.

The gateway keeps none of it (facts: Intercom 2.2). The addresses stand, since official clients ask for them and the
contact object names them: each list is empty, and nothing can be attached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.web.admin.endpoints import AdminEndpoints, answer, contact_id_of, standing_contact

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class AttachedApi(AdminEndpoints):
    """Empty lists beside a contact that stands."""

    def routes(self) -> list[Route]:
        """One address a list."""
        return [
            Route("/contacts/{contact_id}/companies", self.pages, methods=["GET"]),
            *(
                Route(f"/contacts/{{contact_id}}/{kind}", self.none, methods=["GET"])
                for kind in ("segments", "subscriptions", "tags")
            ),
            Route("/contacts/{contact_id}/notes", self.pages, methods=["GET"]),
        ]

    async def none(self, request: Request) -> Response:
        """An empty list without pages."""
        await self._check(request)
        return answer({"type": "list", "data": []})

    async def pages(self, request: Request) -> Response:
        """An empty list of one page."""
        await self._check(request)
        pages = {"type": "pages", "page": 1, "per_page": 50, "total_pages": 0, "next": None}
        return answer({"type": "list", "data": [], "total_count": 0, "pages": pages})

    async def _check(self, request: Request) -> None:
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        contact_id = contact_id_of(request)
        standing_contact(await self.store.find(workspace, contact_id), id=contact_id)
