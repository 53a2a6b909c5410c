"""Merging in Intercom's shape (facts: Intercom 2.6), and its undo, which is our own.

`POST /contacts/merge` and `/contacts/merge/preview` take `{from, into, skip_duplicate_validation?}`;
`GET /contacts/{id}/merge_history` lists the merges into a contact. `POST /contacts/{id}/unmerge` gives the contact that
was merged away its place back: 200 `{type: "contact.unmerge", contact, survivor, kept_changes}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import is_contact_id
from gateway.contacts.merging.merger import Merger
from gateway.errors import ContactNotFound
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.endpoints import AdminEndpoints, answer, contact_id_of, json_object, standing_contact
from gateway.web.admin.errors import AdminError
from gateway.web.admin.merge_json import preview_json, unmerge_json
from gateway.web.admin.paging import foreign_position, page_size, read_position, written_position

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.contacts.contact import Contact
    from gateway.contacts.merging.journal import Merge, MergeReader

_SHOWN = 10  # in a contact; `merge_history` pages through all


class MergeApi(AdminEndpoints):
    """Two contacts at a time."""

    def routes(self) -> list[Route]:
        """The routes; they stand before `/contacts/{contact_id}`."""
        return [
            Route("/contacts/merge", self.merge, methods=["POST"]),
            Route("/contacts/merge/preview", self.preview, methods=["POST"]),
            Route("/contacts/{contact_id}/merge_history", self.history, methods=["GET"]),
            Route("/contacts/{contact_id}/unmerge", self.unmerge, methods=["POST"]),
        ]

    async def merge(self, request: Request) -> Response:
        """Merge `from` into `into`: 200 and the survivor."""
        self.permitted(request, Scope.CONTACTS_WRITE)
        source_id, into_id, unchecked = _pair(await json_object(request))
        survivor = await self.store.write(
            lambda transaction: self.acting(Merger, transaction, request).merge(source_id, into_id, unchecked=unchecked)
        )
        return answer(contact_json(survivor))

    async def preview(self, request: Request) -> Response:
        """What a merge would do, or why it is not allowed: 200 either way, and nothing changes."""
        self.permitted(request, Scope.CONTACTS_READ)
        source_id, into_id, unchecked = _pair(await json_object(request))
        plan = await self.store.write(
            lambda transaction: self.acting(Merger, transaction, request).preview(
                source_id, into_id, unchecked=unchecked
            )
        )
        return answer(preview_json(plan))

    async def unmerge(self, request: Request) -> Response:
        """Undo the merge of a contact that was merged away; later writes stay on the survivor and are named."""
        self.permitted(request, Scope.CONTACTS_WRITE)
        contact_id = contact_id_of(request)
        undone = await self.store.write(
            lambda transaction: self.acting(Merger, transaction, request).unmerge(contact_id)
        )
        return answer(unmerge_json(undone))

    async def history(self, request: Request) -> Response:
        """The merges into a contact, newest first unless `order=asc`, in pages of `per_page`."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        contact_id = contact_id_of(request)
        per_page, oldest_first = page_size(request), _oldest_first(request)
        after = _after(request, contact_id, oldest_first=oldest_first)
        standing_contact(await self.store.find(workspace, contact_id), id=contact_id)
        merges = await self.store.merges_into(
            workspace, contact_id, limit=per_page + 1, after=after, oldest_first=oldest_first
        )
        page, has_more = merges[:per_page], len(merges) > per_page
        cursor = {"next_cursor": written_position(contact_id, int(oldest_first), page[-1].seq)} if has_more else {}
        return answer({"type": "list", "data": [_item(merge) for merge in page], **cursor, "has_more": has_more})


async def contact_with_history(reader: MergeReader, request: Request, contact: Contact) -> dict[str, Any]:
    """The contact object; with `include_merge_history=true` the newest merges into it, too."""
    body = contact_json(contact)
    if request.query_params.get("include_merge_history") == "true":
        merges = await reader.merges_into(contact.workspace_id, contact.id, limit=_SHOWN)
        body["merge_history"] = [_item(merge) for merge in merges]
    return body


def _item(merge: Merge) -> dict[str, Any]:
    return {
        "type": "merge_history",
        "source_contact_id": merge.source_id,
        "source_contact_role": merge.source_role,
        "merged_at": merge.merged_at,
    }


def _pair(body: dict[str, Any]) -> tuple[str, str, bool]:
    """`from`, `into` and whether the check for duplicates is skipped."""
    for name in ("from", "into"):
        if body.get(name) is None:
            raise AdminError(400, "parameter_missing", f"{name} is needed: the id of a contact", field=name)
        if not isinstance(body[name], str):
            raise AdminError(400, "parameter_invalid", f"{name} must be the id of a contact", field=name)
    unchecked = body.get("skip_duplicate_validation", False)
    if not isinstance(unchecked, bool):
        text = "skip_duplicate_validation must be true or false"
        raise AdminError(400, "parameter_invalid", text, field="skip_duplicate_validation")
    if not is_contact_id(body["from"]) or not is_contact_id(body["into"]):
        raise ContactNotFound
    return body["from"], body["into"], unchecked


def _oldest_first(request: Request) -> bool:
    order = request.query_params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise AdminError(400, "parameter_invalid", "order must be asc or desc", field="order")
    return order == "asc"


def _after(request: Request, contact_id: str, *, oldest_first: bool) -> int | None:
    """The merge that a page ended with. A cursor names its list, so that it is refused on another one."""
    text = request.query_params.get("cursor")
    if not text:
        return None
    whose, order, seq = read_position(text, tuple[str, int, int], field="cursor")
    if (whose, order) != (contact_id, oldest_first) or not 0 <= seq < 10**18:
        raise foreign_position("cursor")
    return seq
