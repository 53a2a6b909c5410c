"""R33 and R31: nothing that a client stores makes a later read fail, and none of its text is more than a value."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.contacts.fields import TEXT_LIMIT
from gateway.identity.claims import LAST_SECOND
from gateway.identity.principal import is_storable
from tests.web.conftest import STORES, command, gateway_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.web.conftest import Server

SPECIAL = [
    *(
        "%",
        "_",
        "\\",
        "'",
        '"',
        "''",
        "a%b",
        "a_b",
        "a\\",
        "\\%",
        "$",
        "$.a",
        "[0]",
        "a.b",
        "*",
        "?",
        "[a-z]",
        "^a",
        "a$",
    ),
    *(
        "'; DROP TABLE contacts; --",
        "' OR '1'='1",
        "1; SELECT pg_sleep(9)",
        "$1",
        "?1",
        ":name",
        "%s",
        "{0}",
        "${jndi:x}",
    ),
    *(
        "=1+1",
        "+1",
        "-1+2",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "a,b",
        "a;b",
        'a"b',
        "a\nb",
        "a\r\nb",
        "<script>alert(1)</script>",
    ),
    *(
        "\u0130stanbul",
        "stra\u00dfe",
        "\ufb01",
        "\u202eabc",
        "a\u200bb",
        "e\u0301",
        "\U0001f600",
        "\u5f20",
        "\u0000",
        "\ud800",
    ),
    *("x" * 255, "x" * 256, "\U0001f600" * 255, "", " ", " a "),
]
TEXT = st.one_of(st.sampled_from(SPECIAL), st.text(min_size=1, max_size=20), st.text(min_size=250, max_size=256))
KEPT = TEXT.filter(lambda text: len(text) <= TEXT_LIMIT and is_storable(text))
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 1e308, 5e-324]),
)
ANYTHING = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ATTRIBUTES = {
    "text": ("string", KEPT),
    "whole": ("integer", st.integers(-(2**63), 2**63 - 1)),
    "number": ("float", st.floats(allow_nan=False, allow_infinity=False)),
    "flag": ("boolean", st.booleans()),
    "day": ("date", st.integers(0, LAST_SECOND)),
}
GOOD: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("external_id", "phone", "name", "avatar", "language_override", "owner_id"), KEPT),
    **dict.fromkeys(("signed_up_at", "last_seen_at"), st.integers(0, LAST_SECOND)),
    "email": st.emails(),
    "role": st.sampled_from(["user", "lead"]),
    "unsubscribed_from_emails": st.booleans(),
    "custom_attributes": st.fixed_dictionaries({}, optional={name: good for name, (_, good) in ATTRIBUTES.items()}),
}
STRANGE = st.dictionaries(st.sampled_from([*GOOD, "email_verified", "id", "state", "created_at"]), ANYTHING, max_size=1)
BODY = st.builds(lambda good, strange: {**good, **strange}, st.fixed_dictionaries({}, optional=GOOD), STRANGE)
"""What may well be kept, with at most one member that is anything."""


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway over each store, with a custom attribute of each type."""
    with gateway_on(request.param, request, tmp_path_factory.mktemp("gateway")) as running:
        for name, (data_type, _) in ATTRIBUTES.items():
            body = {"name": name, "model": "contact", "data_type": data_type}
            assert running.admin("POST", "/data_attributes", body).status == 200
        yield running


def sent(server: Server, method: str, path: str, body: Any) -> Any:
    """The answer to a body: 200 and an object, or 4xx and an `error.list`."""
    reply = server.admin(method, path, body)
    assert reply.status == 200 or 400 <= reply.status < 500, (reply.status, reply.body)
    answer = reply.json()
    if reply.status != 200:
        assert answer["type"] == "error.list"
        return None
    return answer


def search(server: Server, query: Any) -> Any:
    return sent(server, "POST", "/contacts/search", {"query": query, "pagination": {"per_page": 150}})


def merged_and_parted_again(server: Server, contact: Any) -> None:
    """Merge a lead into somebody, look at what came of it, and undo it: the record is what it was."""
    if contact["role"] != "lead":
        return
    survivor = sent(server, "POST", "/contacts", {"email": "r33-survivor@example.com", "name": "S"})
    pair = {"from": contact["id"], "into": survivor["id"], "skip_duplicate_validation": True}
    try:
        assert sent(server, "POST", "/contacts/merge/preview", pair)["allowed"] is True
        merged = sent(server, "POST", "/contacts/merge", pair)
        assert sent(server, "GET", f"/contacts/{survivor['id']}?include_merge_history=true", None)["id"] == merged["id"]
        assert sent(server, "GET", f"/contacts/{survivor['id']}/history", None)["data"]
        undone = sent(server, "POST", f"/contacts/{contact['id']}/unmerge", None)
        for name, before in (("contact", contact), ("survivor", survivor)):
            assert undone[name] | {"updated_at": 0} == before | {"updated_at": 0}
    finally:
        assert sent(server, "DELETE", f"/contacts/{survivor['id']}", None)["deleted"] is True


@given(body=BODY, change=BODY)
@example(
    body={"external_id": "r33-\U0001f600", "name": "\u202e=cmd|' /C calc'!A0"}, change={"name": '"', "phone": "\\"}
)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_r33_what_was_stored_can_be_read(server: Server, body: Any, change: Any) -> None:
    """Whatever a body says: refused with its place, or kept and then served by every way of reading."""
    contact = sent(server, "POST", "/contacts", body)
    if contact is None:
        contact = sent(server, "POST", "/contacts", {"role": "lead"})
    path = f"/contacts/{contact['id']}"
    contact = sent(server, "PUT", path, change) or contact
    try:
        assert sent(server, "GET", path, None) == contact
        if contact["external_id"] and contact["role"] == "user":
            by_key = f"/contacts/find_by_external_id/{quote(contact['external_id'], safe='')}"
            assert sent(server, "GET", by_key, None) == contact
        listed = sent(server, "GET", "/contacts?per_page=150", None)
        assert contact in listed["data"]
        for field in ("id", "external_id", "email", "phone", "name", "avatar", "role", "language_override"):
            if contact[field] is not None:
                value = contact[field]["image_url"] if field == "avatar" else contact[field]
                found = search(server, {"field": field, "operator": "=", "value": value})
                assert contact in found["data"], field
        assert sent(server, "GET", "/contacts/duplicates", None) is not None
        assert sent(server, "GET", f"{path}/history", None)["data"]
        merged_and_parted_again(server, contact)
        assert sent(server, "POST", f"{path}/archive", None)["archived"] is True
        assert contact["id"] in {one["id"] for one in sent(server, "GET", "/contacts/archived", None)["data"]}
    finally:
        assert sent(server, "DELETE", path, None)["deleted"] is True


def test_r41_what_was_stored_is_exported_and_comes_back_as_it_was(server: Server, tmp_path: Path) -> None:
    """Every special text in every field: an export that no spreadsheet runs, and whose import changes nothing."""
    made = []
    for number, text in enumerate(SPECIAL):
        for field in ("external_id", "name", "phone", "avatar", "owner_id", "language_override", "custom"):
            body: dict[str, Any] = {"role": "lead", "signed_up_at": number}
            body |= {"custom_attributes": {"text": text, "number": 0.1}} if field == "custom" else {field: text}
            contact = sent(server, "POST", "/contacts", body)
            made += [contact] if contact else []
    command(server, "contacts", "export", "--output", str(tmp_path / "all.csv"))
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {contact["id"] for contact in made} <= {row["id"] for row in rows}
    for row in rows:
        assert not any(value[:1] in {*"=+-@\t\r\uff1d\uff0b\uff0d\uff20"} for value in row.values())
    report = json.loads(command(server, "contacts", "import", str(tmp_path / "all.csv"), "--match", "id", "--json"))
    assert (report["unchanged"], report["rows"]) == (len(rows), len(rows))
    for contact in made:
        assert sent(server, "GET", f"/contacts/{contact['id']}", None) == contact
        sent(server, "DELETE", f"/contacts/{contact['id']}", None)


@given(query=st.one_of(ANYTHING, st.dictionaries(st.sampled_from(["field", "operator", "value"]), ANYTHING)))
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_r33_any_query_has_an_answer(server: Server, query: Any) -> None:
    """A list or an `error.list`, never a fault."""
    search(server, query)
    sent(server, "POST", "/contacts/search", {"query": {"field": "id", "operator": "=", "value": "x"}, "sort": query})
    sent(
        server,
        "POST",
        "/contacts/search",
        {"query": {"field": "id", "operator": "=", "value": "x"}, "pagination": query},
    )


@pytest.mark.parametrize("operator", ["=", "~", "^", "$", "!=", "!~", "IN", "NIN"])
@pytest.mark.parametrize("field", ["name", "phone", "external_id", "custom_attributes.text"])
def test_r31_a_value_is_nothing_but_a_value(server: Server, field: str, operator: str) -> None:
    """Wildcards, quotes, JSON paths, placeholders of drivers: found as they stand, and only where they stand."""
    stored: dict[str, str] = {}
    for text in SPECIAL:
        body: dict[str, Any] = {"role": "lead"}
        body |= {"custom_attributes": {"text": text}} if field.startswith("custom") else {field: text}
        contact = sent(server, "POST", "/contacts", body)
        if contact is not None:
            stored[contact["id"]] = text
    oracle: Callable[[str, str], bool] = {
        "=": lambda text, sought: text == sought,
        "!=": lambda text, sought: text != sought,
        "IN": lambda text, sought: text == sought,
        "NIN": lambda text, sought: text != sought,
        "~": lambda text, sought: sought.casefold() in text.casefold(),
        "!~": lambda text, sought: sought.casefold() not in text.casefold(),
        "^": lambda text, sought: text.casefold().startswith(sought.casefold()),
        "$": lambda text, sought: text.casefold().endswith(sought.casefold()),
    }[operator]
    try:
        for sought in (
            "%",
            "_",
            "\\",
            "'",
            '"',
            "a_b",
            "' OR '1'='1",
            "$.a",
            "[0]",
            "?1",
            "*",
            "\u5f20",
            "<script>alert(1)</script>",
        ):
            value: Any = [sought] if operator in {"IN", "NIN"} else sought
            found = search(server, {"field": field, "operator": operator, "value": value})
            ids = {contact["id"] for contact in found["data"]} & stored.keys()
            assert ids == {contact_id for contact_id, text in stored.items() if oracle(text, sought)}, (
                operator,
                sought,
            )
    finally:
        for contact_id in stored:
            sent(server, "DELETE", f"/contacts/{contact_id}", None)


@pytest.mark.parametrize("text", SPECIAL)
def test_r31_a_name_is_never_part_of_a_statement(server: Server, text: str) -> None:
    """A field, an operator, a sort field and an order that are not known are refused, whatever they say."""
    good = {"field": "name", "operator": "=", "value": "x"}
    assert search(server, {**good, "field": text}) is None
    if text not in {"$", "^"}:
        assert search(server, {**good, "operator": text}) is None
    undeclared = search(server, {**good, "field": f"custom_attributes.{text}"})
    assert undeclared is None or undeclared["data"] == []
    for sort in ({"field": text, "order": "ascending"}, {"field": "name", "order": text}):
        assert sent(server, "POST", "/contacts/search", {"query": good, "sort": sort}) is None, json.dumps(sort)
