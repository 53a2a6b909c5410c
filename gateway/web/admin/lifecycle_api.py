"""The life of a record over the API: archive, bring back, block, unblock, and what was put away (facts: Intercom 2.7).

`POST /contacts/{id}/archive|unarchive|block`, each without a body, as Intercom has it. Extensions, since Intercom
offers no way to find or free such records: `POST /contacts/{id}/unblock`, and `GET /contacts/archived`, which lists the
archived and blocked ones. Their identifiers stay reserved; a login restores an archived contact (policy
`archived_login`), never a blocked one. Each step may be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import Contact, State, is_contact_id
from gateway.errors import ContactMerged
from gateway.identity.principal import normalise_email
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.endpoints import AdminEndpoints, answer, contact_id_of
from gateway.web.admin.errors import AdminError
from gateway.web.admin.paging import foreign_position, page_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.contacts.editing import Editor
    from gateway.contacts.store import ContactTransaction


class LifecycleApi(AdminEndpoints):
    """From live to archived or blocked, and back."""

    def routes(self) -> list[Route]:
        """The list stands before the routes with a contact id in their path."""
        return [
            Route("/contacts/archived", self.archived, methods=["GET"]),
            Route("/contacts/{contact_id}/archive", self.archive, methods=["POST"]),
            Route("/contacts/{contact_id}/unarchive", self.unarchive, methods=["POST"]),
            Route("/contacts/{contact_id}/block", self.block, methods=["POST"]),
            Route("/contacts/{contact_id}/unblock", self.unblock, methods=["POST"]),
        ]

    async def archive(self, request: Request) -> Response:
        """Put a contact away; one that is blocked stays blocked."""
        contact = await self._changed(request, lambda editor, who: editor.set_state(who, State.ARCHIVED))
        return _reference(contact, archived=True)

    async def unarchive(self, request: Request) -> Response:
        """Bring an archived contact back: 400 `bad_request` for a merged one, `not_restorable` for a blocked one."""
        try:
            contact = await self._changed(request, lambda editor, who: editor.set_state(who, State.LIVE))
        except ContactMerged as error:
            text = "the contact was merged into another one and cannot be restored"
            raise AdminError(400, "bad_request", text) from error
        return _reference(contact, archived=False)

    async def block(self, request: Request) -> Response:
        """Put a contact away for good: it cannot log in, and nobody takes its identifiers."""
        contact = await self._changed(request, lambda editor, who: editor.set_state(who, State.BLOCKED))
        return _reference(contact, blocked=True)

    async def unblock(self, request: Request) -> Response:
        """Lift a block: the contact is live again."""
        contact = await self._changed(request, lambda editor, who: editor.unblock(who))
        return _reference(contact, blocked=False)

    async def archived(self, request: Request) -> Response:
        """The archived and blocked contacts by id, with `archived` and `blocked` in each; `email` picks by email."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        query = request.query_params
        size = page_size(request)
        email = query.get("email")
        email = None if email is None else normalise_email(email)
        after = query.get("starting_after")
        if after is not None and not is_contact_id(after):
            raise foreign_position("starting_after")
        found = await self.store.put_away(workspace, email=email, after=after or "", limit=size + 1)
        total = await self.store.count_put_away(workspace, email=email)
        pages: dict[str, Any] = {"type": "pages", "per_page": size, "next": None}
        if len(found) > size:
            pages["next"] = {"per_page": size, "starting_after": found[size - 1].id}
        data = [_as_put_away(contact) for contact in found[:size]]
        return answer({"type": "list", "data": data, "total_count": total, "pages": pages})

    async def _changed(self, request: Request, step: Callable[[Editor, str], Awaitable[Contact]]) -> Contact:
        self.permitted(request, Scope.CONTACTS_WRITE)
        contact_id = contact_id_of(request)

        async def work(transaction: ContactTransaction) -> Contact:
            return await step(self.editor(transaction, request), contact_id)

        return await self.store.write(work)


def _reference(contact: Contact, **state: bool) -> Response:
    return answer({"type": "contact", "id": contact.id, "external_id": contact.external_id, **state})


def _as_put_away(contact: Contact) -> dict[str, Any]:
    states = {"archived": contact.state is State.ARCHIVED, "blocked": contact.state is State.BLOCKED}
    return {**contact_json(contact), **states}
