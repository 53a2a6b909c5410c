"""Merging, its preview, its history and its undo (`merge_api.py`)."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.merging.rules import Because, Outcome
from gateway.web.admin.openapi.parts import (
    CONTACT_ID,
    TIME,
    Json,
    Noun,
    Operation,
    closed,
    list_of,
    query_parameter,
    ref,
)

_ANY: Json = {"description": "a value of the field, or null"}

MERGE_HISTORY_ITEM = closed(
    {
        "type": {"const": "merge_history"},
        "source_contact_id": CONTACT_ID,
        "source_contact_role": {"enum": ["user", "lead"]},
        "merged_at": TIME,
    }
)

INCLUDE_MERGE_HISTORY = query_parameter(
    "include_merge_history", "`true`: with the ten newest merges into the contact.", {"type": "string"}
)

_ATTRIBUTE_CHANGE = closed(
    {
        "field": {"type": "string"},
        "outcome": {"enum": list(Outcome)},
        "from_value": _ANY,
        "into_value": _ANY,
        "new_into_value": _ANY,
    },
    optional=("from_value", "into_value"),
)
_COUNTS = closed({"from": {"const": 0}, "into": {"const": 0}})

MERGES = Noun(
    tag="merges",
    description="Two records that are one person. Undoing a merge is an extension of the gateway's own.",
    paths={
        "/contacts/merge": {
            "post": Operation(
                name="merge_contacts",
                summary="Merge `from` into `into`: a lead into a user, or users that share a proven email or a phone",
                scope=Scope.CONTACTS_WRITE,
                body="Merge",
                answer="Contact",
                refusals=(404, 410, 422),
            ).json()
        },
        "/contacts/merge/preview": {
            "post": Operation(
                name="preview_merge",
                summary="What a merge would do to each field, or why it is not allowed; nothing changes",
                scope=Scope.CONTACTS_READ,
                body="Merge",
                answer="MergePreview",
                refusals=(404, 410),
            ).json()
        },
        "/contacts/{contact_id}/merge_history": {
            "get": Operation(
                name="list_merges_into_contact",
                summary="The merges into a contact; those that were undone are not told",
                scope=Scope.CONTACTS_READ,
                query=[
                    query_parameter("cursor", "The `next_cursor` of the page before.", {"type": "string"}),
                    query_parameter("per_page", "50 unless given.", {"type": "integer", "minimum": 1, "maximum": 150}),
                    query_parameter("order", "Newest first (`desc`) unless given.", {"enum": ["asc", "desc"]}),
                ],
                answer="MergeHistory",
                refusals=(404, 410),
            ).json()
        },
        "/contacts/{contact_id}/unmerge": {
            "post": Operation(
                name="unmerge_contact",
                summary="Undo the merge of this contact, within 30 days, the last merge first (an extension)",
                scope=Scope.CONTACTS_WRITE,
                answer="Unmerge",
                refusals=(404, 409, 422),
            ).json()
        },
    },
    schemas={
        "Merge": {
            "type": "object",
            "properties": {
                "from": {"type": "string", "description": "the contact that goes: its id leads to the other one"},
                "into": {"type": "string", "description": "the contact that stays"},
                "skip_duplicate_validation": {
                    "type": "boolean",
                    "description": "true: a lead that shares neither email nor phone, too; refused for two users",
                },
            },
            "required": ["from", "into"],
        },
        "MergePreview": {
            "oneOf": [
                closed(
                    {
                        "allowed": {"const": True},
                        "summary": closed(
                            {
                                "attribute_changes": closed(
                                    {
                                        "attributes": {"type": "array", "items": _ATTRIBUTE_CHANGE},
                                        "total_count": {"type": "integer"},
                                    }
                                ),
                                "reassignments": closed(
                                    dict.fromkeys(("conversations", "tickets", "phone_calls", "tags", "notes"), _COUNTS)
                                ),
                            }
                        ),
                    }
                ),
                closed(
                    {
                        "allowed": {"const": False},
                        "reasons": {
                            "type": "array",
                            "minItems": 1,
                            "items": closed({"code": {"enum": list(Because)}, "message": {"type": "string"}}),
                        },
                    }
                ),
            ]
        },
        "MergeHistory": closed(
            {
                **list_of(MERGE_HISTORY_ITEM)["properties"],
                "next_cursor": {"type": "string"},
                "has_more": {"type": "boolean"},
            },
            optional=("next_cursor",),
        ),
        "Unmerge": closed(
            {
                "type": {"const": "contact.unmerge"},
                "contact": ref("Contact"),
                "survivor": ref("Contact"),
                "kept_changes": {
                    "type": "array",
                    "description": "what was written to the survivor after the merge, and stays there",
                    "items": closed(
                        {
                            "field": {"type": "string"},
                            **dict.fromkeys(("before_merge", "after_merge", "value"), _ANY),
                        }
                    ),
                },
            }
        ),
    },
)
