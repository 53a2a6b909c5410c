"""The Contacts API in Intercom's shape (facts: Intercom 2.2 to 2.5), behind access tokens.

`POST /contacts`, `GET|PUT|DELETE /contacts/{id}` and `GET /contacts/find_by_external_id/{external_id}`. What an
operator writes is proven as `imported`: less than a signed token, more than somebody's claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec.structs import asdict, replace
from starlette.responses import Response
from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import Contact, Role, State, is_contact_id, mint_contact_id
from gateway.contacts.store import Event
from gateway.errors import Code, ContactConflict, ContactNotFound, Refusal
from gateway.identity.principal import Proof, is_storable
from gateway.identity.unverified import strict_json_object
from gateway.web.admin_errors import AdminError
from gateway.web.carrier import path_of, read_body
from gateway.web.contact_json import ATTRIBUTES_LIMIT, contact_json, written_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.principal import IdRules

BODY_LIMIT = 1024 * 1024
_BY_EXTERNAL_ID = b"/contacts/find_by_external_id/"
_NOT_WRITTEN = {"workspace_id", "id", "created_at", "updated_at", "identified_at", "state", "merged_into"}
"""The fields of a contact that no body writes; the history keeps all others."""


class ContactsApi:
    """The endpoints, over one store. Requests arrive with `request.user`: the access token that was presented."""

    def __init__(
        self,
        store: ContactStore,
        rules: Mapping[str, IdRules],
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._random_bytes = random_bytes

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
        workspace = self._permitted(request, Scope.CONTACTS_WRITE)
        fields = written_fields(await _json_object(request), self._rules[workspace])
        if not fields.keys() & {"email", "external_id", "role"}:
            raise AdminError(400, "parameter_missing", "one of email, external_id and role is needed")
        now = int(self._clock())
        contact = Contact(
            workspace_id=workspace,
            id=mint_contact_id(now, self._random_bytes),
            created_at=now,
            updated_at=now,
            **{"role": Role.USER, **fields, "custom_attributes": _merged({}, fields)},
        )
        if contact.role is Role.USER and contact.external_id is None and contact.email is None:
            raise AdminError(400, "parameter_missing", "a user needs an email or an external_id")

        async def work(transaction: ContactTransaction) -> None:
            await _hold(transaction, contact)
            await self._check_identifiers(transaction, contact, standing=None)
            await transaction.insert(contact)
            await transaction.record(self._event(request, "created", contact, after=_changed({}, contact)))

        await self._store.write(work)
        return _answer(contact_json(contact))

    async def retrieve(self, request: Request) -> Response:
        """The live contact with this id."""
        workspace = self._permitted(request, Scope.CONTACTS_READ)
        contact_id = _contact_id(request)
        contact = await self._store.find(workspace, contact_id)
        return _answer(contact_json(_standing(contact, id=contact_id)))

    async def find_by_external_id(self, request: Request) -> Response:
        """The live user with this external id; leads never match (facts: Intercom 2.2)."""
        workspace = self._permitted(request, Scope.CONTACTS_READ)
        raw = path_of(request.scope).partition(_BY_EXTERNAL_ID)[2]
        try:
            external_id = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError as error:
            raise ContactNotFound from error
        if not is_storable(external_id):
            raise ContactNotFound
        contact = await self._store.find_by_external_id(workspace, external_id)
        contact = _standing(contact, external_id=external_id)
        if contact.role is not Role.USER:
            raise ContactNotFound
        return _answer(contact_json(contact))

    async def update(self, request: Request) -> Response:
        """Change the fields that the body names: absent stays, null clears."""
        workspace = self._permitted(request, Scope.CONTACTS_WRITE)
        fields = written_fields(await _json_object(request), self._rules[workspace])
        contact_id = _contact_id(request)

        async def work(transaction: ContactTransaction) -> Contact:
            standing = _standing(await transaction.find(workspace, contact_id), id=contact_id)
            if standing.role is Role.USER and fields.get("role") is Role.LEAD:
                raise AdminError(400, "client_error", "a user cannot become a lead", field="role")
            merged = {**fields, "custom_attributes": _merged(standing.custom_attributes, fields)}
            written_again = fields.get("email") == standing.email and fields.get("email_proof") is Proof.IMPORTED
            if written_again and standing.email_proof is Proof.SIGNED:
                del merged["email_proof"]  # what a token signed is not proven less by an operator's copy of it
            contact = replace(standing, **merged)
            if contact == standing:
                return standing
            contact = replace(contact, updated_at=int(self._clock()))
            await _hold(transaction, contact)
            await self._check_identifiers(transaction, contact, standing=standing)
            await transaction.update(contact)
            before, after = _changed(asdict(contact), standing), _changed(asdict(standing), contact)
            await transaction.record(self._event(request, "updated", contact, before=before, after=after))
            return contact

        return _answer(contact_json(await self._store.write(work)))

    async def delete(self, request: Request) -> Response:
        """Remove a contact for ever, archived and blocked ones too; its identifiers become free."""
        workspace = self._permitted(request, Scope.CONTACTS_WRITE)
        contact_id = _contact_id(request)

        async def work(transaction: ContactTransaction) -> Contact:
            contact = await transaction.find(workspace, contact_id)
            if contact is None or contact.id != contact_id:
                raise ContactNotFound
            await transaction.delete(workspace, contact_id)
            await transaction.record(self._event(request, "deleted", contact))
            return contact

        contact = await self._store.write(work)
        reference = {"type": "contact", "id": contact.id, "external_id": contact.external_id, "deleted": True}
        return _answer(reference)

    def _permitted(self, request: Request, scope: Scope) -> str:
        """The workspace of the access token; 403 when the token lacks the scope, or its workspace stands no more."""
        if scope not in request.user.scopes:
            raise AdminError(403, "forbidden", f"the access token lacks the scope {scope}")
        workspace: str = request.user.workspace_id
        if workspace not in self._rules:
            raise AdminError(403, "forbidden", "the access token's workspace is not configured")
        return workspace

    async def _check_identifiers(
        self, transaction: ContactTransaction, contact: Contact, *, standing: Contact | None
    ) -> None:
        """Refuse identifiers that are another record's: 409, or 422 for a user_id that is a contact id (S4, R34)."""
        external_id, email = contact.external_id, contact.email
        if external_id and (standing is None or standing.external_id != external_id):
            holder = await transaction.find_by_external_id(contact.workspace_id, external_id)
            if holder is not None:
                raise ContactConflict(holder.id, "external_id", archived=holder.state is State.ARCHIVED)
            if is_contact_id(external_id) and await transaction.find(contact.workspace_id, external_id):
                raise Refusal(Code.USER_ID_IS_CONTACT_ID, "this is the id of a contact", field="external_id")
        known = standing is not None and (standing.email, standing.role) == (email, contact.role)
        if email and contact.role is Role.USER and not known:
            holders = await transaction.find_by_email(contact.workspace_id, email)
            for holder in holders:
                if holder.role is Role.USER and holder.id != contact.id:
                    raise ContactConflict(holder.id, "email")

    def _event(
        self,
        request: Request,
        kind: str,
        contact: Contact,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> Event:
        return Event(
            workspace_id=contact.workspace_id,
            contact_id=contact.id,
            kind=kind,
            actor=f"access_token:{request.user.id}",
            at=int(self._clock()),
            before=before or {},
            after=after or {},
        )


async def _json_object(request: Request) -> dict[str, Any]:
    body = await read_body(request.receive, BODY_LIMIT)
    if body is None:
        raise AdminError(400, "bad_request", "the body did not arrive")
    if len(body) > BODY_LIMIT:
        raise AdminError(413, "client_error", f"the body takes more than {BODY_LIMIT} bytes")
    try:
        return strict_json_object(body)
    except ValueError as error:
        raise AdminError(400, "parameter_invalid", f"the body is not one strict JSON object: {error}") from error


def _contact_id(request: Request) -> str:
    contact_id: str = request.path_params["contact_id"]
    if not is_contact_id(contact_id):
        raise ContactNotFound
    return contact_id


def _standing(contact: Contact | None, **asked: str) -> Contact:
    """The live contact that was asked for; 410 and a link when it was merged into another (facts: Intercom 2.6)."""
    if contact is None:
        raise ContactNotFound
    if any(getattr(contact, name) != value for name, value in asked.items()):
        link = {"link": f'</contacts/{contact.id}>; rel="canonical"'}
        raise AdminError(410, "contact_merged", "merged into another contact; follow the Link header", headers=link)
    if contact.state is not State.LIVE:
        raise ContactNotFound
    return contact


async def _hold(transaction: ContactTransaction, contact: Contact) -> None:
    """Take the same locks as a login does, so that both decide on the same ground."""
    held = {"user_id": contact.external_id, "email": contact.email}
    names = [f"{kind}:{value}" for kind, value in held.items() if value]
    await transaction.lock(contact.workspace_id, *names)


def _merged(standing: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Custom attributes are updated one by one; null removes one."""
    custom = {**standing, **fields.get("custom_attributes", {})}
    custom = {name: value for name, value in custom.items() if value is not None}
    if len(custom) > ATTRIBUTES_LIMIT:
        text = f"a contact has at most {ATTRIBUTES_LIMIT} custom attributes"
        raise AdminError(400, "parameter_invalid", text, field="custom_attributes")
    return custom


def _changed(other: Mapping[str, Any], contact: Contact) -> dict[str, Any]:
    """The fields in which a contact differs from another's, as the history keeps them."""
    fields = {name: value for name, value in asdict(contact).items() if name not in _NOT_WRITTEN}
    return {name: value for name, value in fields.items() if value != other.get(name)}


def _answer(body: Mapping[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json", headers={"cache-control": "no-store"})
