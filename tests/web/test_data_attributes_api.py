"""Data attributes over HTTP, in Intercom's shape (facts: Intercom 3)."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import access_token

if TYPE_CHECKING:
    from tests.web.conftest import Reply, Server


def error(reply: Reply) -> Any:
    """The one error of an `error.list`."""
    body = reply.json()
    assert body["type"] == "error.list"
    (one,) = body["errors"]
    return one


def listed(server: Server, query: str = "") -> dict[str, Any]:
    """The data attributes of a listing by their names."""
    body = server.admin("GET", f"/data_attributes{query}").json()
    assert body.keys() == {"type", "data"}
    assert body["type"] == "list"
    return {one["name"]: one for one in body["data"]}


def declared(server: Server, name: str, data_type: str = "string", **more: Any) -> Any:
    """A custom attribute that this call declares."""
    body = {"name": name, "model": "contact", "data_type": data_type, **more}
    reply = server.admin("POST", "/data_attributes", body)
    assert reply.status == 200, reply.body
    return reply.json()


def test_a_custom_attribute_as_served(server: Server) -> None:
    """Every key of facts: Intercom 3; created writable by the API alone."""
    before = int(time.time())
    created = declared(server, "favourite colour", description="Theirs")
    assert created == {
        "type": "data_attribute",
        "id": created["id"],
        "model": "contact",
        "name": "favourite colour",
        "full_name": "custom_attributes.favourite colour",
        "label": "favourite colour",
        "description": "Theirs",
        "data_type": "string",
        "api_writable": True,
        "ui_writable": False,
        "messenger_writable": False,
        "custom": True,
        "archived": False,
        "created_at": created["created_at"],
        "updated_at": created["created_at"],
    }
    assert isinstance(created["id"], int)
    assert before <= created["created_at"] <= time.time()
    assert listed(server)["favourite colour"] == created
    assert declared(server, "next one")["id"] == created["id"] + 1


def test_standard_attributes_are_listed_without_an_id(server: Server) -> None:
    """Those of a contact; two of them may be filled in by a client, and none that says who somebody is."""
    standard = {name: one for name, one in listed(server, "?model=contact").items() if not one["custom"]}
    assert standard.keys() >= {"external_id", "email", "name", "role", "signed_up_at"}
    assert not any("id" in one for one in standard.values())
    assert {name for name, one in standard.items() if one["messenger_writable"]} == {"name", "language_override"}
    assert {name for name, one in standard.items() if not one["api_writable"]} == {"id", "created_at", "updated_at"}


def test_a_listing_is_of_one_model(server: Server) -> None:
    """Companies have their own; Intercom's former third model is 422, anything else 400."""
    declared(server, "size of company", "integer", model="company")
    assert listed(server, "?model=company").keys() == {"size of company"}
    assert "size of company" not in listed(server, "?model=contact")
    assert "size of company" in listed(server)
    for model, status in (("conversation", 422), ("ticket", 400), ("", 400)):
        reply = server.admin("GET", f"/data_attributes?model={model}")
        assert (reply.status, error(reply)["code"], error(reply)["field"]) == (status, "parameter_invalid", "model")
    odd = server.admin("GET", "/data_attributes?include_archived=maybe")
    assert (odd.status, error(odd)["field"]) == (400, "include_archived")


def test_archived_ones_are_hidden_and_can_come_back(server: Server) -> None:
    """Archiving is no deletion: listed on demand, reversible, the name stays taken."""
    created = declared(server, "comes back")
    path = f"/data_attributes/{created['id']}"
    archived = server.admin("PUT", path, {"archived": True})
    assert (archived.status, archived.json()["archived"]) == (200, True)
    assert "warning" not in archived.json()
    assert "comes back" not in listed(server)
    assert listed(server, "?include_archived=true")["comes back"] == archived.json()
    taken = server.admin("POST", "/data_attributes", {"name": "comes back", "model": "company", "data_type": "date"})
    assert (taken.status, error(taken)["field"]) == (400, "name")
    assert server.admin("PUT", path, {"archived": False}).json()["archived"] is False
    assert "comes back" in listed(server)
    assert server.admin("DELETE", path).status == 404


def test_an_update_changes_what_can_be_changed(server: Server) -> None:
    """Description, messenger_writable and options; absent stays, and the very same values change nothing."""
    created = declared(server, "shirt", "options", options=[{"value": "small"}, {"value": "large"}])
    assert created["options"] == ["small", "large"]
    path = f"/data_attributes/{created['id']}"
    body = {"description": "Size", "messenger_writable": True, "options": [{"value": "M"}, {"value": "L"}]}
    updated = server.admin("PUT", path, body).json()
    assert (updated["description"], updated["messenger_writable"], updated["options"]) == ("Size", True, ["M", "L"])
    assert server.admin("PUT", path, {}).json() == updated
    assert server.admin("PUT", path, {"name": "shirt", "data_type": "options"}).json() == updated
    assert server.admin("PUT", path, {"description": None}).json()["description"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "data_type"),
        ({"name": "x1", "data_type": "string"}, "model"),
        ({"name": "x2", "model": "contact"}, "data_type"),
        ({"name": "x3", "model": "conversation", "data_type": "string"}, "model"),
        ({"name": "x4", "model": "contact", "data_type": "text"}, "data_type"),
        ({"name": "x5", "model": "contact", "data_type": ["string"]}, "data_type"),
        *(
            ({"name": name, "model": "contact", "data_type": "string"}, "name")
            for name in (None, 1, "", " x", "a.b", "a/b", "a\n", "a\u0000", "e\u0301", "\u202e", "x" * 256)
        ),
        *(({"name": name, "model": "contact", "data_type": "string"}, "name") for name in ("email", "external_id")),
        *(
            ({"name": "x6", "model": "contact", "data_type": "options", "options": options}, "options")
            for options in (
                None,
                "a",
                ["a", "b"],
                [{"value": "a"}],
                [{"value": "a"}, {"value": "a"}],
                [{"value": "a"}, {"value": ""}],
                [{"value": "a"}, {"value": 1}],
                [{"value": "a"}, {"value": "b", "id": 1}],
                [{"value": f"{number}"} for number in range(251)],
            )
        ),
        ({"name": "x7", "model": "contact", "data_type": "string", "options": [{"value": "a"}]}, "options"),
        ({"name": "x8", "model": "contact", "data_type": "string", "description": 1}, "description"),
        ({"name": "x9", "model": "contact", "data_type": "string", "messenger_writable": "yes"}, "messenger_writable"),
    ],
)
def test_a_bad_declaration_is_refused_with_its_field(server: Server, body: Any, field: str) -> None:
    """400 parameter_invalid, and nothing is declared."""
    before = listed(server, "?include_archived=true")
    reply = server.admin("POST", "/data_attributes", body)
    assert (reply.status, error(reply)["code"], error(reply)["field"]) == (400, "parameter_invalid", field)
    assert listed(server, "?include_archived=true") == before


def test_a_bad_update_is_refused_with_its_field(server: Server) -> None:
    """Name, model and type never change; 404 field_not_found for an id that is none."""
    created = declared(server, "stays as it is", "integer")
    path = f"/data_attributes/{created['id']}"
    bad: list[dict[str, Any]] = [
        {"name": "other"},
        {"model": "company"},
        {"data_type": "string"},
        {"archived": "true"},
        {"archived": None},
        {"messenger_writable": 1},
        {"options": [{"value": "a"}, {"value": "b"}]},
        {"description": "x" * 256},
    ]
    for body in bad:
        reply = server.admin("PUT", path, body)
        (field,) = body
        assert (reply.status, error(reply)["code"], error(reply)["field"]) == (400, "parameter_invalid", field)
    assert listed(server)["stays as it is"] == created
    for attribute_id in ("999999", "0", "-1", "abc", "1e3", "9" * 30, "%D9%A1"):
        reply = server.admin("PUT", f"/data_attributes/{attribute_id}", {"archived": True})
        assert (reply.status, error(reply)["code"]) == (404, "field_not_found")


def test_parallel_declarations_of_one_name_make_one(server: Server) -> None:
    """20 at once: one 200, the others are told that the name is used."""
    body = {"name": "raced", "model": "contact", "data_type": "string"}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: server.admin("POST", "/data_attributes", body), range(20)))
    assert sorted(reply.status for reply in replies) == [200] + [400] * 19


def test_scopes_are_enforced(server: Server) -> None:
    """Listing needs contacts:read, declaring and changing contacts:write."""
    created = declared(server, "scoped")
    reads, writes = access_token(server, Scope.CONTACTS_READ), access_token(server, Scope.CONTACTS_WRITE)
    body = {"name": "by a reader", "model": "contact", "data_type": "string"}
    for method, path, sent, token in (
        ("GET", "/data_attributes", None, writes),
        ("POST", "/data_attributes", body, reads),
        ("PUT", f"/data_attributes/{created['id']}", {"archived": True}, reads),
    ):
        assert server.admin(method, path, sent, token=token).status == 403
        assert server.admin(method, path, sent, token="nobody").status == 401
    assert "by a reader" not in listed(server)


def test_a_value_is_written_in_its_declared_type(server: Server) -> None:
    """400 naming the attribute for another type, and for one that is undeclared or archived; null clears."""
    server.declare(points="integer")
    retired = declared(server, "retired")
    contact = server.admin(
        "POST", "/contacts", {"external_id": "typed", "custom_attributes": {"points": 5.0, "retired": "kept"}}
    ).json()
    assert contact["custom_attributes"] == {"points": 5, "retired": "kept"}
    server.admin("PUT", f"/data_attributes/{retired['id']}", {"archived": True})
    path = f"/contacts/{contact['id']}"
    for name, value in (("points", "5"), ("points", True), ("points", 1.5), ("undeclared", 1), ("retired", "new")):
        for method, at in (("POST", "/contacts"), ("PUT", path)):
            body = {"external_id": "typed" if method == "PUT" else "typed-2", "custom_attributes": {name: value}}
            reply = server.admin(method, at, body)
            assert (reply.status, error(reply)["code"]) == (400, "parameter_invalid")
            assert error(reply)["field"] == f"custom_attributes.{name}"
    assert server.admin("GET", path).json() == contact
    cleared = server.admin("PUT", path, {"custom_attributes": {"points": None, "retired": ""}}).json()
    assert cleared["custom_attributes"] == {}


def test_s17_archiving_says_that_it_copies_nothing(server: Server) -> None:
    """S17: archiving the attribute that holds the ids touches no contact, warns, and leaves the values readable."""
    kept = declared(server, "User ID")
    values = {"custom_attributes": {"User ID": "u-17"}}
    without = server.admin("POST", "/contacts", {"email": "s17@example.com", **values}).json()
    lead = server.admin("POST", "/contacts", {"role": "lead", **values}).json()
    server.admin("POST", "/contacts", {"external_id": "s17", **values})
    path = f"/data_attributes/{kept['id']}"
    reply = server.admin("PUT", path, {"archived": True}).json()
    assert reply["archived"] is True
    assert reply["warning"]["count"] == 2
    assert "gateway contacts backfill --from-attribute 'User ID'" in reply["warning"]["message"]
    for contact in (without, lead):
        assert server.admin("GET", f"/contacts/{contact['id']}").json() == contact
        assert contact["external_id"] is None
    query = {"field": "custom_attributes.User ID", "operator": "=", "value": "u-17"}
    assert server.admin("POST", "/contacts/search", {"query": query}).json()["total_count"] == 3
    assert "User ID" in listed(server, "?include_archived=true")
    # It warns each time it is told to archive, and no longer when nobody is left without an external_id.
    assert server.admin("PUT", path, {"archived": True}).json()["warning"] == reply["warning"]
    assert "warning" not in server.admin("PUT", path, {"description": "old"}).json()
    for contact in (without, lead):
        server.admin("PUT", f"/contacts/{contact['id']}", {"external_id": contact["id"][8:] + "-s17"})
    assert "warning" not in server.admin("PUT", path, {"archived": True}).json()
