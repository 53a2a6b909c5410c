"""Reading a query as JSON has it (facts: Intercom 2.9) into the tree of a search.

A query is one filter, `{field, operator, value}`, or a group, `{operator: "AND" | "OR", value: [...]}`, which holds
filters and groups. At most two levels of groups, 15 members in a group, 100 values in a list: no query can be large
(R32). A problem says what and where, with a path such as `query.value[2].operator`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.contacts.search.tree import FieldType, Filter, Group, Operator, Sort, Value
from gateway.errors import Refusal, SearchProblem, SearchRefused
from gateway.identity.principal import ascii_lower, is_storable, normalise_email

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GROUP_LIMIT = 15
DEPTH_LIMIT = 2
LIST_LIMIT = 100
TEXT_LIMIT = 1_000

_ATTRIBUTE = "custom_attributes."
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)

_TEXT_FIELDS = (
    *("id", "role", "name", "avatar", "owner_id", "email", "email_domain", "phone", "formatted_phone", "external_id"),
    *("language_override", "browser", "browser_version", "browser_language", "os"),
    *("location.country", "location.region", "location.city", "segment_id"),
    *("ios_app_version", "ios_device", "ios_app_device", "ios_os_version", "ios_app_name", "ios_sdk_version"),
    *("android_app_version", "android_device", "android_os_version", "android_app_name"),
    *("android_sdk_version", "andoid_sdk_version"),  # the second is how Intercom spells it
    *("utm_campaign", "utm_content", "utm_medium", "utm_source", "utm_term", "referrer"),
)
_TIME_FIELDS = (
    *("created_at", "updated_at", "signed_up_at", "last_seen_at", "last_contacted_at", "last_replied_at"),
    *("last_email_opened_at", "last_email_clicked_at", "ios_last_seen_at", "android_last_seen_at"),
)
FIELDS: dict[str, FieldType] = {
    **dict.fromkeys(_TEXT_FIELDS, FieldType.TEXT),
    **dict.fromkeys(_TIME_FIELDS, FieldType.TIME),
    **dict.fromkeys(("unsubscribed_from_emails", "marked_email_as_spam", "has_hard_bounced"), FieldType.BOOLEAN),
    "tag_id": FieldType.TAG,
}
"""The standard fields that a query can name, and what they hold."""

_SAMENESS = (Operator.EQUAL, Operator.NOT_EQUAL)
_LISTS = (Operator.IN, Operator.NOT_IN)
_ORDER = (Operator.LESS, Operator.GREATER, Operator.AT_MOST, Operator.AT_LEAST)
_PARTS = (Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS, Operator.ENDS)
OPERATORS: dict[FieldType, tuple[Operator, ...]] = {
    FieldType.TEXT: (*_SAMENESS, *_LISTS, *_PARTS),
    FieldType.NUMBER: (*_SAMENESS, *_LISTS, *_ORDER),
    FieldType.BOOLEAN: (*_SAMENESS, *_LISTS),
    FieldType.TIME: (*_SAMENESS, *_ORDER),
    FieldType.DAY: (*_SAMENESS, *_ORDER),
    FieldType.TAG: _SAMENESS,
}
"""What each type can be compared by (facts: Intercom 2.9)."""

_DECLARED_TYPES = {
    "string": FieldType.TEXT,
    "options": FieldType.TEXT,
    "integer": FieldType.NUMBER,
    "float": FieldType.NUMBER,
    "boolean": FieldType.BOOLEAN,
    "date": FieldType.DAY,
    "datetime": FieldType.TIME,
}
_ORDERS = {"ascending": False, "descending": True}
_SORTED_AS_STORED = {name for name, held in FIELDS.items() if held is not FieldType.TAG}


def read_query(query: object, declared: Mapping[str, str]) -> Filter | Group:
    """The tree of a query as JSON has it; `declared` are the types of custom attributes, by name.

    Raises `SearchRefused` naming the place of the first problem.
    """
    return _node(query, "query", DEPTH_LIMIT, declared)


def read_sort(sort: object) -> Sort:
    """The order of a search as JSON has it; raises `SearchRefused`."""
    if sort is None:
        return Sort()
    known = members_of(sort, "sort", ("field", "order"))
    field, order = known.get("field"), known.get("order", "descending")
    if not isinstance(field, str) or field not in _SORTED_AS_STORED:
        raise _invalid("sort.field", f"must be a standard field, not {_shown(field)}")
    if not isinstance(order, str) or order not in _ORDERS:
        text = f"{_shown(order)} is no order: ascending or descending"
        raise SearchRefused(SearchProblem.SORT_ORDER_INVALID, text, field="sort.order")
    return Sort(field=field, descending=_ORDERS[order])


def _node(node: object, path: str, depth: int, declared: Mapping[str, str]) -> Filter | Group:
    known = members_of(node, path, ("field", "operator", "value"))
    if "field" in known:
        return _filter(known, path, declared)
    if known.get("operator") not in ("AND", "OR"):
        if "operator" not in known or isinstance(known.get("value"), list):
            text = "a group needs the operator AND or OR, a filter needs a field"
            raise _invalid(f"{path}.operator", text)
        raise _invalid(f"{path}.field", "is missing")
    if depth == 0:
        raise _invalid(path, f"groups are nested more than {DEPTH_LIMIT} levels deep")
    members = known.get("value")
    if not isinstance(members, list) or not 1 <= len(members) <= GROUP_LIMIT:
        raise _invalid(f"{path}.value", f"must be a list of 1 to {GROUP_LIMIT} filters or groups")
    read = tuple(_node(member, f"{path}.value[{index}]", depth - 1, declared) for index, member in enumerate(members))
    return Group(every=known["operator"] == "AND", members=read)


def _filter(known: Mapping[str, Any], path: str, declared: Mapping[str, str]) -> Filter:
    for name in ("operator", "value"):
        if name not in known:
            raise _invalid(f"{path}.{name}", "is missing")
    written = known["field"]
    custom = isinstance(written, str) and written.startswith(_ATTRIBUTE)
    field, held = _field(written, known["value"], path, declared)
    try:
        operator = Operator(known["operator"])
    except ValueError:
        operator = None
    if operator not in OPERATORS[held]:
        allowed = " ".join(OPERATORS[held])
        text = f"{_shown(known['operator'])} does not compare a {held}; these do: {allowed}"
        raise _invalid(f"{path}.operator", text)
    return Filter(
        field=field,
        custom=custom,
        type=held,
        operator=operator,
        value=_operand(known["value"], operator, held, f"{path}.value", _SPELLINGS.get(written, str)),
    )


def _field(written: object, value: object, path: str, declared: Mapping[str, str]) -> tuple[str, FieldType]:
    """The name of a field and what it holds; a custom attribute that is not declared holds what it is compared with."""
    if isinstance(written, str) and written in FIELDS:
        return written, FIELDS[written]
    if not isinstance(written, str) or not written.startswith(_ATTRIBUTE):
        raise _invalid(f"{path}.field", f"there is no field {_shown(written)}")
    name = written.removeprefix(_ATTRIBUTE)
    if not name or len(name) > 255 or not is_storable(name):
        raise _invalid(f"{path}.field", "a custom attribute's name has 1 to 255 characters")
    if name in declared:
        return name, _DECLARED_TYPES.get(declared[name], FieldType.TEXT)
    one = value[0] if isinstance(value, list) and value else value
    if isinstance(one, bool):
        return name, FieldType.BOOLEAN
    return name, FieldType.NUMBER if isinstance(one, int | float) else FieldType.TEXT


def _operand(
    value: object, operator: Operator, held: FieldType, path: str, spelling: Callable[[str], str]
) -> Value | tuple[Value, ...] | None:
    if operator in _LISTS:
        if not isinstance(value, list) or not 1 <= len(value) <= LIST_LIMIT:
            raise _invalid(path, f"{operator} needs a list of 1 to {LIST_LIMIT} values")
        return tuple(_value(one, held, f"{path}[{index}]", spelling) for index, one in enumerate(value))
    if value is None and operator in _SAMENESS:
        return None
    if operator in _PARTS:
        return ascii_lower(_text(value, path))
    return _value(value, held, path, spelling)


def _value(value: object, held: FieldType, path: str, spelling: Callable[[str], str]) -> Value:
    if held in (FieldType.TEXT, FieldType.TAG):
        return spelling(_text(value, path))
    if held is FieldType.BOOLEAN:
        if not isinstance(value, bool) and value not in ("true", "false"):
            raise _invalid(path, "must be true or false")
        return int(value in (True, "true"))
    if held is FieldType.NUMBER:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _invalid(path, "must be a number")
        return float(value)
    return _seconds(value, path)


def _seconds(value: object, path: str) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**62) <= value < 2**62:
        raise _invalid(path, "must be Unix time in whole seconds")
    return value


def _text(value: object, path: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _invalid(path, "must be text")
    if len(value) > TEXT_LIMIT or not is_storable(value):
        raise _invalid(path, f"must be text of at most {TEXT_LIMIT} characters, without NUL")
    return value


def _email(text: str) -> str:
    """The spelling in which an email is kept; what is no email is on no record, in whatever spelling."""
    try:
        return normalise_email(text)
    except Refusal:
        return ascii_lower(text)


_SPELLINGS: dict[str, Callable[[str], str]] = {"email": _email, "email_domain": ascii_lower}


def members_of(value: object, path: str, known: Sequence[str]) -> Mapping[str, Any]:
    """An object without unknown keys: a key that is ignored would let a search find others than those asked for."""
    if not isinstance(value, dict):
        raise _invalid(path, "must be an object")
    for key in value:
        if key not in known:
            raise _invalid(path, f"has an unknown key {_shown(key)}; known are {', '.join(known)}")
    return value


def _shown(value: object) -> str:
    """What a client wrote, short enough to be said back to it."""
    return repr(value)[:60] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def _invalid(path: str, message: str) -> SearchRefused:
    return SearchRefused(SearchProblem.QUERY_INVALID, message, field=path)
