"""Reading queries: what is accepted as what, and what is refused with which place."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.contacts.search.query import FIELDS, GROUP_LIMIT, OPERATORS, read_query, read_sort
from gateway.contacts.search.tree import FieldType, Filter, Group, Operator, Sort
from gateway.errors import SearchProblem, SearchRefused


def one(field: str = "name", operator: str = "=", value: Any = "Ada") -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def refusal(query: object, declared: dict[str, str] | None = None) -> SearchRefused:
    with pytest.raises(SearchRefused) as refused:
        read_query(query, declared or {})
    assert refused.value.problem is SearchProblem.QUERY_INVALID
    return refused.value


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_takes_its_operators_and_no_others(field: str) -> None:
    """The table of Intercom's fields and operators (facts: Intercom 2.9), field by field."""
    values: dict[FieldType, Any] = {FieldType.BOOLEAN: True, FieldType.TIME: 1}
    value = values.get(FIELDS[field], "a")
    for operator in Operator:
        wanted = [value] if operator in {Operator.IN, Operator.NOT_IN} else value
        query = one(field, operator.value, wanted)
        if operator in OPERATORS[FIELDS[field]]:
            read = read_query(query, {})
            assert isinstance(read, Filter)
            assert (read.field, read.operator, read.custom) == (field, operator, False)
        else:
            assert refusal(query).field == "query.operator"


def test_all_fields_of_the_documentation_are_known() -> None:
    """None of Intercom's fields is refused, its misspelled one included."""
    names = """id role name avatar owner_id email email_domain phone formatted_phone external_id created_at signed_up_at
    updated_at last_seen_at last_contacted_at last_replied_at last_email_opened_at last_email_clicked_at
    language_override browser browser_language os location.country location.region location.city
    unsubscribed_from_emails marked_email_as_spam has_hard_bounced ios_last_seen_at ios_app_version ios_device
    ios_app_device ios_os_version ios_app_name ios_sdk_version android_last_seen_at android_app_version android_device
    android_app_name andoid_sdk_version segment_id tag_id"""
    assert set(names.split()) <= FIELDS.keys()


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("created_at", "1306054154", 1_306_054_154),
        ("created_at", -5, -5),
        ("unsubscribed_from_emails", "true", 1),
        ("unsubscribed_from_emails", False, 0),
        ("owner_id", 321, "321"),
        ("email", "Ada@EXAMPLE.com", "ada@example.com"),
        ("email", "NoAddress", "noaddress"),
        ("email_domain", "EXAMPLE.com", "example.com"),
        ("name", "Ada", "Ada"),
        ("custom_attributes.plan", "pro", "pro"),
        ("custom_attributes.seats", "5", 5.0),
        ("custom_attributes.free", "5", "5"),
        ("custom_attributes.free", 5, 5.0),
        ("custom_attributes.free", True, 1),
        ("custom_attributes.born", "86400", 86_400),
    ],
)
def test_values_are_read_in_the_type_of_their_field(field: str, written: Any, read: Any) -> None:
    """Numbers, times and booleans may come as text; an email in any case; an undeclared attribute as its value is."""
    tree = read_query(one(field, "=", written), {"plan": "string", "seats": "integer", "born": "date"})
    assert isinstance(tree, Filter)
    assert tree.value == read
    assert type(tree.value) is type(read)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        (None, "query"),
        ([], "query"),
        ("name = 'Ada'", "query"),
        ({}, "query.operator"),
        ({**one(), "extra": 1}, "query"),
        ({"field": "name", "value": "Ada"}, "query.operator"),
        ({"field": "name", "operator": "="}, "query.value"),
        ({"operator": "=", "value": "Ada"}, "query.field"),
        ({"operator": "XOR", "value": [one()]}, "query.operator"),
        ({"operator": "and", "value": [one()]}, "query.operator"),
        ({"operator": ["AND"], "value": [one()]}, "query.operator"),
        ({"operator": "AND"}, "query.value"),
        ({"operator": "AND", "value": []}, "query.value"),
        ({"operator": "AND", "value": one()}, "query.value"),
        ({"operator": "AND", "value": ["x"]}, "query.value[0]"),
        (one("emal"), "query.field"),
        (one("'; DROP TABLE contacts; --"), "query.field"),
        (one("custom_attributes."), "query.field"),
        (one("custom_attributes.\0"), "query.field"),
        (one("custom_attributes." + "x" * 256), "query.field"),
        ({**one(), "field": 5}, "query.field"),
        ({**one(), "field": None}, "query.field"),
        (one(operator="LIKE"), "query.operator"),
        ({**one(), "operator": {}}, "query.operator"),
        ({**one(), "operator": None}, "query.operator"),
        (one(value=1.5), "query.value"),
        (one(value=True), "query.value"),
        (one(value=["Ada"]), "query.value"),
        (one(value={"$ne": 1}), "query.value"),
        (one(value="a\0b"), "query.value"),
        (one(value="\ud800"), "query.value"),
        (one(value="x" * 1_001), "query.value"),
        (one(operator="~", value=None), "query.value"),
        (one(operator="IN", value="Ada"), "query.value"),
        (one(operator="IN", value=[]), "query.value"),
        (one(operator="IN", value=["a", None]), "query.value[1]"),
        (one(operator="IN", value=["a"] * 101), "query.value"),
        (one("created_at", ">", "yesterday"), "query.value"),
        (one("created_at", ">", 1.5), "query.value"),
        (one("created_at", ">", True), "query.value"),
        (one("created_at", ">", 2**63), "query.value"),
        (one("created_at", ">", None), "query.value"),
        (one("created_at", ">", "٣"), "query.value"),
        (one("unsubscribed_from_emails", "=", 1), "query.value"),
        (one("unsubscribed_from_emails", "=", "yes"), "query.value"),
        (one("custom_attributes.x", "<", "text"), "query.operator"),
        (one("custom_attributes.x", "IN", [1, "a"]), "query.value[1]"),
    ],
)
def test_a_bad_query_is_refused_with_its_place(query: Any, place: str) -> None:
    """The place is a path into the body."""
    assert refusal(query).field == place


def test_the_place_of_a_nested_problem() -> None:
    """Through both levels, to the key."""
    query = {"operator": "AND", "value": [one(), one(), {"operator": "OR", "value": [one(), one(operator="?")]}]}
    refused = refusal(query)
    assert refused.field == "query.value[2].value[1].operator"
    assert "'?' does not compare a string; these do: = != IN NIN ~ !~ ^ $" in refused.message


def test_groups_nest_two_levels_and_no_more() -> None:
    """Two levels of groups, as Intercom has it."""
    inner = {"operator": "OR", "value": [one()]}
    tree = read_query({"operator": "AND", "value": [inner]}, {})
    assert isinstance(tree, Group)
    assert isinstance(tree.members[0], Group)
    deep = {"operator": "AND", "value": [{"operator": "AND", "value": [inner]}]}
    assert refusal(deep).field == "query.value[0].value[0]"


def test_a_group_has_fifteen_members_at_most() -> None:
    """One more is refused, and 10,000 are refused without being read (R32)."""
    assert isinstance(read_query({"operator": "AND", "value": [one()] * GROUP_LIMIT}, {}), Group)
    assert refusal({"operator": "AND", "value": [one()] * (GROUP_LIMIT + 1)}).field == "query.value"
    assert refusal({"operator": "OR", "value": [one(operator="?")] * 10_000}).field == "query.value"


def test_the_order_of_an_answer() -> None:
    """Newest first unless the client says otherwise; a bad order names itself and the two that there are."""
    assert read_sort(None) == Sort(field="created_at", descending=True)
    assert read_sort({"field": "name"}) == Sort(field="name", descending=True)
    assert read_sort({"field": "name", "order": "ascending"}) == Sort(field="name", descending=False)
    with pytest.raises(SearchRefused) as refused:
        read_sort({"field": "name", "order": "up"})
    assert (refused.value.problem, refused.value.field) == (SearchProblem.SORT_ORDER_INVALID, "sort.order")
    assert refused.value.message == "'up' is no order: ascending or descending"


@pytest.mark.parametrize(
    ("sort", "place"),
    [
        ("name", "sort"),
        ({}, "sort.field"),
        ({"field": "name; DROP TABLE contacts"}, "sort.field"),
        ({"field": "custom_attributes.x"}, "sort.field"),
        ({"field": "tag_id"}, "sort.field"),
        ({"field": ["name"]}, "sort.field"),
        ({"field": "name", "direction": "ascending"}, "sort"),
    ],
)
def test_a_bad_order_is_refused_with_its_place(sort: Any, place: str) -> None:
    """As a bad query is."""
    with pytest.raises(SearchRefused) as refused:
        read_sort(sort)
    assert refused.value.field == place
