"""Searching and listing contacts (facts: Intercom 2.8, 2.9): `POST /contacts/search` and `GET /contacts`.

Live contacts alone, newest first unless a search says otherwise. `total_count` is exact for the first page, and its
cursors carry it on, so that a later page costs no more than its own rows. A search that takes longer than
`SEARCH_SECONDS` is given up: 422 `request_timeout` (R32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.attributes import Model
from gateway.contacts.search.query import members_of, read_query, read_sort
from gateway.contacts.search.tree import Search
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.endpoints import AdminEndpoints, answer, json_object
from gateway.web.admin.errors import AdminError
from gateway.web.admin.paging import LARGEST_PAGE, USUAL_PAGE, Cursor, Cursors, page_size, pages_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SEARCH_SECONDS = 3.0

_LIST_PARAMETERS = ("per_page", "starting_after", "page")  # `page` has no effect, and clients send it


class SearchApi(AdminEndpoints):
    """Many contacts at a time."""

    def routes(self) -> list[Route]:
        """They stand before the routes with a contact id in their path."""
        return [
            Route("/contacts/search", self.search, methods=["POST"]),
            Route("/contacts", self.list, methods=["GET"]),
        ]

    async def search(self, request: Request) -> Response:
        """The contacts that match a query; 400 says what is wrong with it, and where."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        body = members_of(await json_object(request), "body", ("query", "pagination", "sort"))
        declared = {
            attribute.name: str(attribute.data_type)
            for attribute in await self.store.data_attributes(workspace)
            if attribute.model is Model.CONTACT
        }
        if "query" not in body:
            raise AdminError(400, "parameter_missing", "is missing", field="query")
        search = Search(where=read_query(body["query"], declared), sort=read_sort(body.get("sort")))
        pagination = body.get("pagination")
        pagination = {} if pagination is None else members_of(pagination, "pagination", _LIST_PARAMETERS)
        per_page = pagination.get("per_page")
        if per_page is None:
            per_page = USUAL_PAGE
        if isinstance(per_page, float) and per_page.is_integer():
            per_page = int(per_page)  # to JSON Schema 59.0 is an integer like 59
        if isinstance(per_page, bool) or not isinstance(per_page, int) or not 1 <= per_page <= LARGEST_PAGE:
            message = f"per_page must be a number from 1 to {LARGEST_PAGE}"
            raise AdminError(400, "parameter_invalid", message, field="pagination.per_page")
        return await self._page(workspace, search, per_page, pagination.get("starting_after"), "pagination.")

    async def list(self, request: Request) -> Response:
        """All contacts, newest first."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        query = request.query_params
        for name, _ in query.multi_items():
            if name not in _LIST_PARAMETERS or len(query.getlist(name)) > 1:
                known = ", ".join(_LIST_PARAMETERS)
                text = f"the query takes {known}, each once: POST /contacts/search picks contacts"
                raise AdminError(400, "parameter_invalid", text)
        return await self._page(workspace, Search(), page_size(request), query.get("starting_after"))

    async def _page(
        self, workspace: str, search: Search, per_page: int, starting_after: object, place: str = ""
    ) -> Response:
        cursors = Cursors(await self.store.cursor_key(), workspace, search)
        cursor = None
        if starting_after not in (None, ""):
            cursor = cursors.read(str(starting_after), field=f"{place}starting_after")
        end = self.clock() + SEARCH_SECONDS
        after = None if cursor is None else cursor.after
        found = await self.store.search(workspace, search, after=after, limit=per_page + 1, seconds=SEARCH_SECONDS)
        page = 1 if cursor is None else cursor.page
        hits, more = found[:per_page], len(found) > per_page
        if cursor is not None:
            total = cursor.total
        elif more:
            total = await self.store.count(workspace, search, seconds=max(0.0, end - self.clock()))
        else:
            total = len(hits)
        following = None
        if more:
            following = cursors.written(Cursor(after=hits[-1].position, page=page + 1, total=total))
        return answer(
            {
                "type": "list",
                "data": [contact_json(hit.contact) for hit in hits],
                "total_count": total,
                "pages": pages_json(page=page, per_page=per_page, total=total, following=following),
            }
        )
