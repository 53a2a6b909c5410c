"""Data attributes (`data_attributes_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.attribute_editing import FEWEST_OPTIONS, MOST_OPTIONS
from gateway.contacts.attributes import TEXT_LIMIT, DataType, Model
from gateway.contacts.standard_attributes import STANDARD_NAMES
from gateway.web.admin.openapi.parts import TIME, Json, Noun, Operation, closed, list_of, nullable, query_parameter

ATTRIBUTE_ID: Json = {"type": "integer", "minimum": 1, "maximum": 999_999_999}

_TYPE: Json = {"enum": [str(kind) for kind in DataType]}
_MODEL: Json = {"enum": [str(model) for model in Model]}
_KEPT_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT, "pattern": "^[^\\u0000]*$"}

_SHARED: dict[str, Json] = {
    "type": {"const": "data_attribute"},
    "model": _MODEL,
    "name": {"type": "string"},
    "full_name": {"type": "string", "description": "for a custom attribute `custom_attributes.<name>`"},
    "label": {"type": "string"},
    "description": nullable("string"),
    "data_type": _TYPE,
    "api_writable": {"type": "boolean"},
    "ui_writable": {"const": False},
    "messenger_writable": {
        "type": "boolean",
        "description": "whether `user_data` of a login, which nobody signed, may write it; of the standard ones, "
        "whether it may fill a blank",
    },
    "custom": {"type": "boolean"},
    "archived": {"type": "boolean"},
}
_CUSTOM: dict[str, Json] = {
    **_SHARED,
    "id": ATTRIBUTE_ID,
    "custom": {"const": True},
    "options": {"type": "array", "items": {"type": "string"}, "description": "of type options"},
    "created_at": TIME,
    "updated_at": TIME,
}
_STANDARD = closed({**_SHARED, "name": {"enum": sorted(STANDARD_NAMES)}, "custom": {"const": False}})
_WARNING = closed(
    {"count": {"type": "integer", "minimum": 1}, "message": {"type": "string"}},
) | {
    "description": "Our own key, beside an archived attribute: that many live contacts hold a value in it and have no "
    "external_id. Archiving copies nothing; the message names the way out."
}
_WRITABLE: dict[str, Json] = {
    "description": nullable("string", maxLength=TEXT_LIMIT, pattern="^[^\\u0000]*$"),
    "messenger_writable": {"type": "boolean"},
}
_OPTIONS: Json = {
    "type": "array",
    "minItems": FEWEST_OPTIONS,
    "maxItems": MOST_OPTIONS,
    "uniqueItems": True,
    "items": closed({"value": _KEPT_TEXT}),
}
_UNLISTED: Json = {"enum": [str(kind) for kind in DataType if kind is not DataType.OPTIONS]}

DATA_ATTRIBUTES = Noun(
    tag="data_attributes",
    description="What a workspace declares of its custom attributes; a value is written in its declared type.",
    paths={
        "/data_attributes": {
            "get": Operation(
                name="list_data_attributes",
                summary="All data attributes: standard ones, which have no id, and custom ones",
                scope=Scope.CONTACTS_READ,
                query=(
                    query_parameter("model", "Those of one model.", _MODEL),
                    query_parameter("include_archived", "Archived ones, too.", {"type": "boolean"}),
                ),
                answer="DataAttributeList",
                refusals=(422,),
            ).json(),
            "post": Operation(
                name="create_data_attribute",
                summary="Declare a custom attribute; its name is used once in a workspace, archived ones included",
                scope=Scope.CONTACTS_WRITE,
                body="DataAttributeCreate",
                answer="DataAttribute",
            ).json(),
        },
        "/data_attributes/{attribute_id}": {
            "put": Operation(
                name="update_data_attribute",
                summary="Change or archive a custom attribute; its name, model and type never change",
                scope=Scope.CONTACTS_WRITE,
                body="DataAttributeUpdate",
                answer="DataAttributeUpdated",
                refusals=(404,),
            ).json()
        },
    },
    schemas={
        "DataAttribute": closed(_CUSTOM, optional=("options",)),
        "DataAttributeUpdated": closed({**_CUSTOM, "warning": _WARNING}, optional=("options", "warning")),
        "DataAttributeList": list_of({"oneOf": [_STANDARD, {"$ref": "#/components/schemas/DataAttribute"}]}),
        "DataAttributeCreate": {
            "type": "object",
            "required": ["name", "model", "data_type"],
            "properties": {
                **_WRITABLE,
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": TEXT_LIMIT,
                    "description": "letters, digits, _, -, currency signs and blanks within, composed (NFC)",
                },
                "model": _MODEL,
            },
            "oneOf": [
                {"properties": {"data_type": _UNLISTED, "options": {"type": "null"}}},
                {"required": ["options"], "properties": {"data_type": {"const": "options"}, "options": _OPTIONS}},
            ],
        },
        "DataAttributeUpdate": {
            "type": "object",
            "properties": {
                **_WRITABLE,
                "archived": {"type": "boolean"},
                "options": _OPTIONS | {"description": "of type options"},
            },
        },
    },
)
