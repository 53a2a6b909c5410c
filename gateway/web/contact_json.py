"""The contact object of the API, key by key, and what a body may write (facts: Intercom 2.3 and 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contacts.contact import Contact, Role
from gateway.identity.claims import LAST_SECOND
from gateway.identity.principal import IdRules, Proof, is_storable, normalise_email, normalise_user_id
from gateway.web.admin_errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEXT_LIMIT = 255
ATTRIBUTES_LIMIT = 250
"""How many custom attributes a contact holds at most."""

_UNKNOWN_TIMES = ("last_replied_at", "last_contacted_at", "last_email_opened_at", "last_email_clicked_at")
_UNKNOWN_DEVICE = (
    *("browser", "browser_version", "browser_language", "os"),
    *("android_app_name", "android_app_version", "android_device", "android_last_seen_at"),
    *("android_os_version", "android_sdk_version"),
    *(
        "ios_app_name",
        "ios_app_version",
        "ios_device",
        "ios_last_seen_at",
        "ios_os_version",
        "ios_sdk_version",
    ),
    *("utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term", "referrer"),
)
_LISTS = {
    "tags": "tags",
    "notes": "notes",
    "companies": "companies",
    "opted_out_subscription_types": "subscriptions",
    "opted_in_subscription_types": "subscriptions",
}


def contact_json(contact: Contact) -> dict[str, Any]:
    """The object as served: every key stands, with null for what is not known; times in seconds UTC."""
    location = dict.fromkeys(("country", "region", "city", "country_code", "continent_code"))
    return {
        "type": "contact",
        "id": contact.id,
        "workspace_id": contact.workspace_id,
        "external_id": contact.external_id,
        "role": contact.role,
        "email": contact.email,
        "email_domain": contact.email.rpartition("@")[2] if contact.email else None,
        "phone": contact.phone,
        "name": contact.name,
        "avatar": {"type": "avatar", "image_url": contact.avatar} if contact.avatar else None,
        "owner_id": contact.owner_id,
        "social_profiles": {"type": "list", "data": []},
        "has_hard_bounced": False,
        "marked_email_as_spam": False,
        "unsubscribed_from_emails": contact.unsubscribed_from_emails,
        "created_at": contact.created_at,
        "updated_at": contact.updated_at,
        "signed_up_at": contact.signed_up_at,
        "last_seen_at": contact.last_seen_at,
        **dict.fromkeys(_UNKNOWN_TIMES),
        "language_override": contact.language_override,
        **dict.fromkeys(_UNKNOWN_DEVICE),
        "location": {"type": "location", **location},
        "custom_attributes": contact.custom_attributes,
        **{name: _empty_list(f"/contacts/{contact.id}/{path}") for name, path in _LISTS.items()},
        "enabled_push_messaging": None,
    }


def written_fields(body: Mapping[str, Any], rules: IdRules) -> dict[str, Any]:
    """The fields of a `Contact` that a create or update body writes; other keys are ignored, `id` among them (S2).

    Raises `AdminError` for a wrong type and `Refusal` for an identifier that cannot be kept; both name the field.
    """
    fields: dict[str, Any] = {name: read(name, body[name]) for name, read in _READERS.items() if name in body}
    if body.get("role") in list(Role):
        fields["role"] = Role(body["role"])
    if "external_id" in body:
        external_id = body["external_id"]
        cleared = external_id is None or external_id == ""
        fields["external_id"] = None if cleared else normalise_user_id(external_id, rules, field="external_id")
    if "email" in body:
        email = body["email"]
        fields["email"] = None if email is None or email == "" else normalise_email(email)
        fields["email_proof"] = None if fields["email"] is None else _proof(body)
    elif "email_verified" in body:
        raise AdminError(400, "parameter_invalid", "email_verified needs email beside it", field="email_verified")
    if "custom_attributes" in body:
        fields["custom_attributes"] = _custom_attributes(body["custom_attributes"])
    return fields


def _proof(body: Mapping[str, Any]) -> Proof:
    verified = body.get("email_verified", True)
    if not isinstance(verified, bool):
        raise AdminError(400, "parameter_invalid", "must be true or false", field="email_verified")
    return Proof.IMPORTED if verified else Proof.CLAIMED


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT or not is_storable(value):
        raise AdminError(400, "parameter_invalid", f"must be text of at most {_TEXT_LIMIT} characters", field=name)
    return value


def _owner(name: str, value: object) -> str | None:
    return _text(name, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _seconds(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_SECOND:
        raise AdminError(400, "parameter_invalid", "must be Unix time in seconds", field=name)
    return int(value)


def _flag(name: str, value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise AdminError(400, "parameter_invalid", "must be true or false", field=name)
    return value


def _custom_attributes(value: object) -> dict[str, Any]:
    """A flat object of text, numbers, booleans and null; null and the empty text clear."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AdminError(400, "parameter_invalid", "must be a flat object", field="custom_attributes")
    attributes = {}
    for name, one in value.items():
        field = f"custom_attributes.{name}"[:300]
        if not name or len(name) > _TEXT_LIMIT or not is_storable(name):
            raise AdminError(400, "parameter_invalid", "a name has 1 to 255 characters", field="custom_attributes")
        attributes[name] = one if isinstance(one, bool | int | float) else _text(field, one)
    return attributes


def _empty_list(url: str) -> dict[str, Any]:
    return {"type": "list", "data": [], "url": url, "total_count": 0, "has_more": False}


_READERS: dict[str, Callable[[str, object], Any]] = {
    "phone": _text,
    "name": _text,
    "avatar": _text,
    "language_override": _text,
    "owner_id": _owner,
    "signed_up_at": _seconds,
    "last_seen_at": _seconds,
    "unsubscribed_from_emails": _flag,
}
