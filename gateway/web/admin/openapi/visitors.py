"""Visitors (`visitors_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.fields import TEXT_LIMIT
from gateway.web.admin.openapi.parts import CONTACT_ID, TIME, Json, Noun, Operation, closed, nullable, query_parameter

_TEXT = nullable("string")
_MAYBE_TIME = nullable("integer")
_PLACES = ("city_name", "continent_code", "country_code", "country_name", "postal_code", "region_name", "timezone")
_CAMPAIGN = ("referrer", "utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term")


def _empty(kind: str, member: str) -> Json:
    return closed({"type": {"const": f"{kind}.list"}, member: {"type": "array", "maxItems": 0}})


_VISITOR = closed(
    {
        "type": {"const": "visitor"},
        "id": CONTACT_ID,
        "user_id": _TEXT | {"description": "the lead's external_id"},
        "anonymous": {"const": True},
        "email": _TEXT,
        "phone": _TEXT,
        "name": _TEXT,
        "pseudonym": _TEXT,
        "avatar": closed({"type": {"const": "avatar"}, "image_url": _TEXT}),
        "app_id": {"type": "string"},
        "companies": _empty("company", "companies"),
        "location_data": closed({"type": {"const": "location_data"}, **dict.fromkeys(_PLACES, _TEXT)}),
        "last_request_at": _MAYBE_TIME,
        "created_at": TIME,
        "remote_created_at": TIME,
        "signed_up_at": _MAYBE_TIME,
        "updated_at": TIME,
        "session_count": _MAYBE_TIME,
        "social_profiles": _empty("social_profile", "social_profiles"),
        "owner_id": _TEXT,
        "unsubscribed_from_emails": {"type": "boolean"},
        "marked_email_as_spam": {"type": "boolean"},
        "has_hard_bounced": {"type": "boolean"},
        "tags": _empty("tag", "tags"),
        "segments": _empty("segment", "segments"),
        "custom_attributes": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        **dict.fromkeys(_CAMPAIGN, _TEXT),
        "do_not_track": nullable("boolean"),
    }
)
_ID_OR_USER_ID = [
    {"required": ["id"], "properties": {"id": {"type": "string"}}},
    {"required": ["user_id"], "properties": {"user_id": {"type": "string"}}},
]
_WHO: Json = {"id": _TEXT, "user_id": _TEXT}
_CONVERTED: Json = {"type": "object", "properties": _WHO, "anyOf": _ID_OR_USER_ID}
_USER: Json = {
    "type": "object",
    "description": "the first of id, user_id and email that is present decides",
    "properties": {
        "id": _TEXT,
        "user_id": {"type": ["string", "integer", "null"], "maxLength": 255},
        "email": nullable("string", maxLength=254),
    },
    "anyOf": [
        {"required": ["id"], "properties": {"id": {"type": "string"}}},
        {"required": ["user_id"], "properties": {"user_id": {"type": ["string", "integer"]}}},
        {"required": ["email"], "properties": {"email": {"type": "string"}}},
    ],
}

VISITORS = Noun(
    tag="visitors",
    description="Live leads, under the name and in the shape that older clients know.",
    paths={
        "/visitors": {
            "get": Operation(
                name="find_visitor",
                summary="The visitor with this user_id, which is the lead's external_id",
                scope=Scope.CONTACTS_READ,
                query=(query_parameter("user_id", "The visitor's user_id.", {"type": "string"}, required=True),),
                answer="Visitor",
                refusals=(404,),
            ).json(),
            "put": Operation(
                name="update_visitor",
                summary="Write the name and custom attributes of a visitor",
                scope=Scope.CONTACTS_WRITE,
                body="VisitorUpdate",
                answer="Visitor",
                refusals=(404,),
            ).json(),
        },
        "/visitors/convert": {
            "post": Operation(
                name="convert_visitor",
                summary="Merge a visitor into the user that stands, or make it that user",
                scope=Scope.CONTACTS_WRITE,
                body="VisitorConvert",
                answer="Contact",
                refusals=(404, 409, 410, 422),
            ).json()
        },
    },
    schemas={
        "Visitor": _VISITOR,
        "VisitorUpdate": {
            "type": "object",
            "properties": {
                **_WHO,
                "name": nullable("string", maxLength=TEXT_LIMIT, pattern="^[^\\u0000]*$"),
                "custom_attributes": nullable(
                    "object",
                    description="declared ones, one by one; null and the empty text remove an attribute",
                    additionalProperties={"type": ["string", "number", "boolean", "null"], "maxLength": TEXT_LIMIT},
                ),
            },
            "anyOf": _ID_OR_USER_ID,
        },
        "VisitorConvert": {
            "oneOf": [
                {
                    "type": "object",
                    "required": ["type", "visitor", "user"],
                    "properties": {"type": {"const": "user"}, "visitor": _CONVERTED, "user": _USER},
                },
                {
                    "type": "object",
                    "required": ["type", "visitor"],
                    "properties": {"type": {"const": "lead"}, "visitor": _CONVERTED},
                },
            ]
        },
    },
)
