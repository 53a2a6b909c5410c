"""One contact at a time (`contacts_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.fields import TEXT_LIMIT
from gateway.identity.claims import LAST_SECOND
from gateway.web.admin.openapi.merges import INCLUDE_MERGE_HISTORY, MERGE_HISTORY_ITEM
from gateway.web.admin.openapi.parts import CONTACT_ID, TIME, Json, Noun, Operation, closed, nullable

_TEXT = nullable("string")
_MAYBE_TIME = nullable("integer")
_WRITTEN_TEXT = nullable("string", maxLength=TEXT_LIMIT, pattern="^[^\\u0000]*$")
_WRITTEN_TIME = nullable("number", minimum=0, maximum=LAST_SECOND, description="Unix time in seconds")

REFERENCE: dict[str, Json] = {"type": {"const": "contact"}, "id": CONTACT_ID, "external_id": _TEXT}


def _attached(path: str) -> Json:
    """A list beside a contact; the gateway keeps none, so all of them are empty."""
    return closed(
        {
            "type": {"const": "list"},
            "data": {"type": "array", "maxItems": 0},
            "url": {"type": "string", "pattern": f"^/contacts/[0-9a-f]{{24}}/{path}$"},
            "total_count": {"const": 0},
            "has_more": {"const": False},
        }
    )


CONTACT_SCHEMA = closed(
    {
        "type": {"const": "contact"},
        "id": CONTACT_ID | {"description": "the contact_id: minted once, never changes"},
        "workspace_id": {"type": "string"},
        "external_id": _TEXT | {"description": "the customer's own key, in tokens called user_id"},
        "role": {"enum": ["user", "lead"]},
        "email": _TEXT,
        "email_domain": _TEXT,
        "phone": _TEXT,
        "name": _TEXT,
        "avatar": {"anyOf": [{"type": "null"}, closed({"type": {"const": "avatar"}, "image_url": {"type": "string"}})]},
        "owner_id": _TEXT,
        "social_profiles": closed({"type": {"const": "list"}, "data": {"type": "array", "maxItems": 0}}),
        "has_hard_bounced": {"type": "boolean"},
        "marked_email_as_spam": {"type": "boolean"},
        "unsubscribed_from_emails": {"type": "boolean"},
        "created_at": TIME,
        "updated_at": TIME,
        **dict.fromkeys(("signed_up_at", "last_seen_at"), _MAYBE_TIME),
        **dict.fromkeys(
            ("last_replied_at", "last_contacted_at", "last_email_opened_at", "last_email_clicked_at"), _MAYBE_TIME
        ),
        "language_override": _TEXT,
        **dict.fromkeys(("browser", "browser_version", "browser_language", "os"), _TEXT),
        **{
            f"{system}_{detail}": _MAYBE_TIME if detail == "last_seen_at" else _TEXT
            for system in ("android", "ios")
            for detail in ("app_name", "app_version", "device", "last_seen_at", "os_version", "sdk_version")
        },
        **dict.fromkeys(("utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term", "referrer"), _TEXT),
        "location": closed(
            {
                "type": {"const": "location"},
                **dict.fromkeys(("country", "region", "city", "country_code", "continent_code"), _TEXT),
            }
        ),
        "custom_attributes": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "tags": _attached("tags"),
        "notes": _attached("notes"),
        "companies": _attached("companies"),
        "opted_out_subscription_types": _attached("subscriptions"),
        "opted_in_subscription_types": _attached("subscriptions"),
        "enabled_push_messaging": nullable("boolean"),
        "merge_history": {"type": "array", "items": MERGE_HISTORY_ITEM, "maxItems": 10},
    },
    optional=("merge_history",),
)

_WRITABLE: dict[str, Json] = {
    "role": {"description": "user or lead; other values are ignored, and a user never becomes a lead"},
    "external_id": {
        "description": "the customer's own key; an integer becomes its decimal text, null clears",
        "type": ["string", "integer", "null"],
        "maxLength": 255,
    },
    "email": nullable("string", maxLength=254, description="compared in lower case; null clears"),
    "email_verified": {"type": "boolean", "description": "false: the email is merely claimed, and links nothing"},
    "phone": _WRITTEN_TEXT,
    "name": _WRITTEN_TEXT,
    "avatar": _WRITTEN_TEXT | {"description": "the address of an image"},
    "owner_id": {"type": ["string", "integer", "null"], "maxLength": TEXT_LIMIT, "pattern": "^[^\\u0000]*$"},
    "language_override": _WRITTEN_TEXT,
    "signed_up_at": _WRITTEN_TIME,
    "last_seen_at": _WRITTEN_TIME,
    "unsubscribed_from_emails": nullable("boolean"),
    "custom_attributes": nullable(
        "object",
        description="declared ones, one by one; null and the empty text remove an attribute",
        additionalProperties={"type": ["string", "number", "boolean", "null"], "maxLength": TEXT_LIMIT},
    ),
}

CONTACTS = Noun(
    tag="contacts",
    description="One person each.",
    paths={
        "/contacts": {
            "post": Operation(
                name="create_contact",
                summary="Make a contact",
                scope=Scope.CONTACTS_WRITE,
                body="ContactCreate",
                answer="Contact",
                refusals=(409, 422),
            ).json()
        },
        "/contacts/{contact_id}": {
            "get": Operation(
                name="retrieve_contact",
                summary="The live contact with this id",
                scope=Scope.CONTACTS_READ,
                query=[INCLUDE_MERGE_HISTORY],
                answer="Contact",
                refusals=(404, 410),
            ).json(),
            "put": Operation(
                name="update_contact",
                summary="Change the fields that the body names: absent stays, null clears",
                scope=Scope.CONTACTS_WRITE,
                body="ContactUpdate",
                answer="Contact",
                refusals=(404, 409, 410, 422),
            ).json(),
            "delete": Operation(
                name="delete_contact",
                summary="Remove a contact for ever; its identifiers become free",
                scope=Scope.CONTACTS_WRITE,
                answer="ContactDeleted",
                refusals=(404, 410),
            ).json(),
        },
        "/contacts/find_by_external_id/{external_id}": {
            "get": Operation(
                name="find_contact_by_external_id",
                summary="The live user with this external id; leads never match",
                scope=Scope.CONTACTS_READ,
                query=[INCLUDE_MERGE_HISTORY],
                answer="Contact",
                refusals=(404, 410),
            ).json()
        },
    },
    schemas={
        "Contact": CONTACT_SCHEMA,
        "ContactCreate": {
            "type": "object",
            "properties": _WRITABLE,
            "anyOf": [  # a user needs an identifier, a lead needs nothing
                {"required": ["email"], "properties": {"email": {"type": "string", "minLength": 1}}},
                {
                    "required": ["external_id"],
                    "properties": {"external_id": {"type": ["string", "integer"], "minLength": 1}},
                },
                {"required": ["role"], "properties": {"role": {"const": "lead"}}},
            ],
            "dependentRequired": {"email_verified": ["email"]},
        },
        "ContactUpdate": {
            "type": "object",
            "properties": _WRITABLE,
            "dependentRequired": {"email_verified": ["email"]},
        },
        "ContactDeleted": closed({**REFERENCE, "deleted": {"const": True}}),
    },
)
