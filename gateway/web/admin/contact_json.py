"""The contact object of the API, key by key (facts: Intercom 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact

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


def _empty_list(url: str) -> dict[str, Any]:
    return {"type": "list", "data": [], "url": url, "total_count": 0, "has_more": False}
