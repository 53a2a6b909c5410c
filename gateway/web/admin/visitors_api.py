"""Visitors in Intercom's shape (facts: Intercom 2.10): `GET|PUT /visitors`, `POST /visitors/convert`.

A visitor is a live lead (`contacts/visitors.py`), so each of them is a contact, too, with the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.contact import Contact, Role, is_contact_id
from gateway.contacts.fields import written_fields
from gateway.contacts.visitors import Named, Visitors, find_visitor
from gateway.errors import ContactNotFound, VisitorNotFound
from gateway.identity.principal import is_storable, normalise_email, normalise_user_id
from gateway.web.admin.contact_json import contact_json
from gateway.web.admin.endpoints import AdminEndpoints, answer, json_object
from gateway.web.admin.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.identity.principal import IdRules

_WRITABLE = ("name", "custom_attributes")


class VisitorsApi(AdminEndpoints):
    """Leads as visitors."""

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/visitors", self.find, methods=["GET"]),
            Route("/visitors", self.update, methods=["PUT"]),
            Route("/visitors/convert", self.convert, methods=["POST"]),
        ]

    async def find(self, request: Request) -> Response:
        """The visitor with this user_id."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        who = _visitor(request.query_params, at="")
        return answer(visitor_json(await find_visitor(self.store, workspace, who)))

    async def update(self, request: Request) -> Response:
        """Write the name and custom attributes of the visitor with this id, or else this user_id."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        body = await json_object(request)
        who = _visitor(body, at="")
        written = {name: body[name] for name in _WRITABLE if name in body}
        fields = written_fields(written, self.rules[workspace])
        visitor = await self.store.write(
            lambda transaction: self.acting(Visitors, transaction, request).update_visitor(who, fields)
        )
        return answer(visitor_json(visitor))

    async def convert(self, request: Request) -> Response:
        """Say who a visitor really is: 200 and the contact. Each visitor is a lead already."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        body = await json_object(request)
        kind = body.get("type")
        if kind not in list(Role):
            raise AdminError(400, "parameter_invalid", "type must be user or lead", field="type")
        who = _visitor(_member(body, "visitor"), at="visitor.")
        if kind == Role.LEAD:
            return answer(contact_json(await find_visitor(self.store, workspace, who)))
        user = _user(_member(body, "user"), self.rules[workspace])
        contact = await self.store.write(
            lambda transaction: self.acting(Visitors, transaction, request).convert(who, user)
        )
        return answer(contact_json(contact))


def visitor_json(visitor: Contact) -> dict[str, Any]:
    """A lead as the visitor that clients know, with null for what is not known; times in seconds UTC."""
    places = ("city_name", "continent_code", "country_code", "country_name", "postal_code", "region_name", "timezone")
    campaign = ("referrer", "utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term")
    return {
        "type": "visitor",
        "id": visitor.id,
        "user_id": visitor.external_id,
        "anonymous": True,
        "email": visitor.email,
        "phone": visitor.phone,
        "name": visitor.name,
        "pseudonym": None,
        "avatar": {"type": "avatar", "image_url": visitor.avatar},
        "app_id": visitor.workspace_id,
        "companies": {"type": "company.list", "companies": []},
        "location_data": {"type": "location_data", **dict.fromkeys(places)},
        "last_request_at": visitor.last_seen_at,
        "created_at": visitor.created_at,
        "remote_created_at": visitor.created_at,
        "signed_up_at": visitor.signed_up_at,
        "updated_at": visitor.updated_at,
        "session_count": None,
        "social_profiles": {"type": "social_profile.list", "social_profiles": []},
        "owner_id": visitor.owner_id,
        "unsubscribed_from_emails": visitor.unsubscribed_from_emails,
        "marked_email_as_spam": False,
        "has_hard_bounced": False,
        "tags": {"type": "tag.list", "tags": []},
        "segments": {"type": "segment.list", "segments": []},
        "custom_attributes": visitor.custom_attributes,
        **dict.fromkeys(campaign),
        "do_not_track": None,
    }


def _member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = body.get(name)
    if member is None:
        raise AdminError(400, "parameter_missing", f"{name} is needed", field=name)
    if not isinstance(member, dict):
        raise AdminError(400, "parameter_invalid", f"{name} must be an object", field=name)
    return member


def _visitor(values: Mapping[str, Any], *, at: str) -> Named:
    """Which visitor is meant; `VisitorNotFound` for what no record could have."""
    contact_id, user_id = _text(values, "id", at), _text(values, "user_id", at)
    if contact_id is None and user_id is None:
        raise AdminError(400, "parameter_missing", "id or user_id of the visitor is needed", field=f"{at}user_id")
    if contact_id is not None and not is_contact_id(contact_id):
        raise VisitorNotFound
    if user_id is not None and not is_storable(user_id):
        raise VisitorNotFound
    return Named(id=contact_id, user_id=user_id)


def _user(values: Mapping[str, Any], rules: IdRules) -> Named:
    """Which user is meant, with identifiers that can be kept; raises `Refusal` for those that cannot."""
    contact_id, user_id, email = values.get("id"), values.get("user_id"), values.get("email")
    if contact_id is None and user_id is None and email is None:
        raise AdminError(400, "parameter_missing", "id, user_id or email of the user is needed", field="user")
    if contact_id is not None and not is_contact_id(_text(values, "id", "user.") or ""):
        raise ContactNotFound
    return Named(
        id=contact_id,
        user_id=None if user_id is None else normalise_user_id(user_id, rules, field="user.user_id"),
        email=None if email is None else normalise_email(email, field="user.email"),
    )


def _text(values: Mapping[str, Any], name: str, at: str) -> str | None:
    value = values.get(name)
    if value is None or isinstance(value, str):
        return value
    raise AdminError(400, "parameter_invalid", "must be text", field=f"{at}{name}")
