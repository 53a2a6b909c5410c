"""The Contacts API in Intercom's shape (facts: Intercom 2.2 to 2.5), behind access tokens.

`POST /contacts`, `GET|PUT|DELETE /contacts/{id}` and `GET /contacts/find_by_external_id/{external_id}`. What an
operator writes is proven as `imported`: less than a signed token, more than somebody's claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import Role
from gateway.contacts.fields import written_fields
from gateway.errors import ContactNotFound
from gateway.identity.principal import is_storable
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.endpoints import AdminEndpoints, answer, contact_id_of, json_object, standing_contact
from gateway.web.admin.errors import AdminError
from gateway.web.admin.merge_api import contact_with_history
from gateway.web.carrier import path_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.contacts.contact import Contact

_BY_EXTERNAL_ID = b"/contacts/find_by_external_id/"


class ContactsApi(AdminEndpoints):
    """One contact at a time."""

    def routes(self) -> list[Route]:
        """The routes, most exact first; ids are matched as sent, so `%2F` in an external id stays part of it."""
        return [
            Route("/contacts", self.create, methods=["POST"]),
            Route("/contacts/find_by_external_id/{external_id:path}", self.find_by_external_id, methods=["GET"]),
            Route("/contacts/{contact_id}", self.retrieve, methods=["GET"]),
            Route("/contacts/{contact_id}", self.update, methods=["PUT"]),
            Route("/contacts/{contact_id}", self.delete, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """Make a contact: 200 and the record, or 409 naming the one that holds an identifier already."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        fields = written_fields(await json_object(request), self.rules[workspace])
        if not fields.keys() & {"email", "external_id", "role"}:
            raise AdminError(400, "parameter_missing", "one of email, external_id and role is needed")
        contact = await self.store.write(lambda transaction: self.editor(transaction, request).create(fields))
        return answer(contact_json(contact))

    async def retrieve(self, request: Request) -> Response:
        """The live contact with this id."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        contact_id = contact_id_of(request)
        contact = await self.store.find(workspace, contact_id)
        contact = standing_contact(contact, id=contact_id)
        return answer(await contact_with_history(self.store, request, contact))

    async def find_by_external_id(self, request: Request) -> Response:
        """The live user with this external id; leads never match (facts: Intercom 2.2)."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        raw = path_of(request.scope).partition(_BY_EXTERNAL_ID)[2]
        try:
            external_id = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError as error:
            raise ContactNotFound from error
        if not is_storable(external_id):
            raise ContactNotFound
        contact = await self.store.find_by_external_id(workspace, external_id)
        contact = standing_contact(contact, external_id=external_id)
        if contact.role is not Role.USER:
            raise ContactNotFound
        return answer(await contact_with_history(self.store, request, contact))

    async def update(self, request: Request) -> Response:
        """Change the fields that the body names: absent stays, null clears."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        fields = written_fields(await json_object(request), self.rules[workspace])
        contact_id = contact_id_of(request)
        contact = await self.store.write(
            lambda transaction: self.editor(transaction, request).update(contact_id, fields)
        )
        return answer(contact_json(contact))

    async def delete(self, request: Request) -> Response:
        """Remove a contact for ever, archived and blocked ones too; its identifiers become free."""
        self.permitted(request, Scope.CONTACTS_WRITE)
        contact_id = contact_id_of(request)
        contact = await self.store.write(lambda transaction: self.editor(transaction, request).delete(contact_id))
        return answer({**_reference(contact), "deleted": True})


def _reference(contact: Contact) -> dict[str, Any]:
    return {"type": "contact", "id": contact.id, "external_id": contact.external_id}
