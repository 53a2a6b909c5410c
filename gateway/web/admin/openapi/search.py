"""Many contacts at a time (`search_api.py`): what a query may say, as precisely as a schema can."""

from __future__ import annotations

from gateway.contacts.access_token import Scope
from gateway.contacts.search.query import FIELDS, GROUP_LIMIT, LIST_LIMIT, OPERATORS, TEXT_LIMIT
from gateway.contacts.search.tree import FieldType, Operator
from gateway.web.admin.openapi.contacts import CONTACT_SCHEMA
from gateway.web.admin.openapi.parts import Json, Noun, Operation, closed, list_of, query_parameter, ref
from gateway.web.admin.paging import LARGEST_PAGE, USUAL_PAGE

_TEXT: Json = {"type": "string", "maxLength": TEXT_LIMIT, "pattern": "^[^\\u0000]*$"}
_WHOLE_TEXT: Json = {"type": "string", "pattern": "^-?[0-9]{1,18}$"}
_WHOLE: Json = {"type": "integer", "minimum": -(2**62), "maximum": 2**62 - 1}
_VALUES: dict[FieldType, list[Json]] = {
    FieldType.TEXT: [_TEXT, {"type": "integer"}],
    FieldType.TAG: [_TEXT, {"type": "integer"}],
    FieldType.BOOLEAN: [{"type": "boolean"}, {"enum": ["true", "false"]}],
    FieldType.TIME: [_WHOLE, _WHOLE_TEXT],
}
_ATTRIBUTE: Json = {
    "type": "string",
    "pattern": "^custom_attributes\\.[^\\u0000]{1,255}$",
    "description": "compared as it is declared, else as the type of the value",
}
_ATTRIBUTE_VALUES: dict[FieldType, list[Json]] = {
    FieldType.TEXT: [_TEXT],
    FieldType.NUMBER: [{"type": "number"}],
    FieldType.BOOLEAN: [{"type": "boolean"}],
}
_LISTS = [Operator.IN, Operator.NOT_IN]
_SAMENESS = [Operator.EQUAL, Operator.NOT_EQUAL]


def _or_null(schema: Json) -> Json:
    return {"anyOf": [{"type": "null"}, schema]}


def _filters(field: Json, held: FieldType, values: list[Json]) -> list[Json]:
    """What can be asked of fields that hold one type."""
    value: Json = {"anyOf": values}
    lists: Json = {"type": "array", "minItems": 1, "maxItems": LIST_LIMIT, "items": value}
    offered = set(OPERATORS[held])
    ways = [
        ([one for one in OPERATORS[held] if one not in (*_LISTS, *_SAMENESS)], value),
        ([one for one in _LISTS if one in offered], lists),
        (_SAMENESS, _or_null(value)),
    ]
    return [closed({"field": field, "operator": {"enum": words}, "value": how}) for words, how in ways if words]


def _all_filters() -> list[Json]:
    standard = [
        one
        for held, values in _VALUES.items()
        for one in _filters({"enum": [name for name, its in FIELDS.items() if its is held]}, held, values)
    ]
    return standard + [one for held, values in _ATTRIBUTE_VALUES.items() for one in _filters(_ATTRIBUTE, held, values)]


def _group(member: Json) -> Json:
    members: Json = {"type": "array", "minItems": 1, "maxItems": GROUP_LIMIT, "items": member}
    return closed({"operator": {"enum": ["AND", "OR"]}, "value": members})


_PER_PAGE: Json = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": USUAL_PAGE}
_CURSOR: Json = {"type": "string", "description": "`pages.next.starting_after` of the page before"}
_NEXT = closed({"page": {"type": "integer"}, "per_page": {"type": "integer"}, "starting_after": {"type": "string"}})
_PAGES = closed(
    {
        "type": {"const": "pages"},
        "page": {"type": "integer", "minimum": 1},
        "per_page": {"type": "integer"},
        "total_pages": {"type": "integer", "minimum": 0},
        "next": _or_null(_NEXT),
    }
)
_COUNT: Json = {"type": "integer", "minimum": 0, "description": "as the first page counted"}
_SORT = closed(
    {
        "field": {"enum": [name for name, held in FIELDS.items() if held is not FieldType.TAG]},
        "order": {"enum": ["ascending", "descending"], "default": "descending"},
    },
    optional=("order",),
)
_PAGINATION = closed(
    {"per_page": _or_null(_PER_PAGE), "starting_after": _or_null(_CURSOR), "page": {"description": "has no effect"}},
    optional=("per_page", "starting_after", "page"),
)

SEARCH = Noun(
    tag="search",
    description="Live contacts only; every write is seen at once.",
    paths={
        "/contacts": {
            "get": Operation(
                name="list_contacts",
                summary="All contacts, newest first",
                scope=Scope.CONTACTS_READ,
                answer="ContactList",
                query=(
                    query_parameter("per_page", "How many a page.", _PER_PAGE),
                    query_parameter("starting_after", "Where the page before ended.", _CURSOR),
                    query_parameter("page", "Has no effect.", {"type": "string"}),
                ),
                refusals=(422,),
            ).json()
        },
        "/contacts/search": {
            "post": Operation(
                name="search_contacts",
                summary="The contacts that match a query; 422 `request_timeout` when that takes too long",
                scope=Scope.CONTACTS_READ,
                answer="ContactList",
                body="Search",
                refusals=(422,),
            ).json()
        },
    },
    schemas={
        "ContactList": list_of(CONTACT_SCHEMA, total_count=_COUNT, pages=_PAGES),
        "Filter": {"anyOf": _all_filters()},
        "Group": _group({"anyOf": [ref("Filter"), _group(ref("Filter"))]}),
        "Search": closed(
            {
                "query": {"anyOf": [ref("Filter"), ref("Group")]},
                "pagination": _or_null(_PAGINATION),
                "sort": _or_null(_SORT),
            },
            optional=("pagination", "sort"),
        ),
    },
)
