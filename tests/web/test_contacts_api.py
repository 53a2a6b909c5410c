"""The first part of the Contacts API over real sockets (facts: Intercom 2.2 to 2.5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.web.conftest import Server


def error(reply: Any) -> Any:
    """The one error of an `error.list`."""
    body = reply.json()
    assert body["type"] == "error.list"
    (one,) = body["errors"]
    return one


def test_create_retrieve_update_delete(server: Server) -> None:
    """The life of a record; every success is 200, the id never changes, deletion frees the identifiers."""
    created = server.admin("POST", "/contacts", {"external_id": "crud", "email": "Crud@Example.com", "name": "C"})
    assert created.status == 200
    contact = created.json()
    assert (contact["external_id"], contact["email"], contact["role"]) == ("crud", "crud@example.com", "user")
    path = f"/contacts/{contact['id']}"
    assert server.admin("GET", path).json() == contact
    assert server.admin("GET", "/contacts/find_by_external_id/crud").json() == contact
    updated = server.admin("PUT", path, {"id": "0" * 24, "external_id": "crud-2", "name": None})
    assert (updated.json()["id"], updated.json()["name"]) == (contact["id"], None)
    assert server.admin("GET", "/contacts/find_by_external_id/crud").status == 404
    deleted = server.admin("DELETE", path)
    assert deleted.json() == {"type": "contact", "id": contact["id"], "external_id": "crud-2", "deleted": True}
    assert server.admin("GET", path).status == 404
    assert server.admin("POST", "/contacts", {"external_id": "crud-2"}).status == 200


@pytest.mark.parametrize("key", ["external_id", "email"])
def test_r34_an_identifier_that_is_taken_is_a_conflict(server: Server, key: str) -> None:
    """409 whose message ends in the other record's id: clients read it there."""
    value = {"external_id": "taken", "email": "taken@example.com"}[key]
    body = {"external_id": f"holder-{key}", key: value}
    holder = server.admin("POST", "/contacts", body).json()
    reply = server.admin("POST", "/contacts", {"external_id": f"second-{key}", key: value})
    assert (reply.status, error(reply)["code"]) == (409, "conflict")
    assert error(reply)["message"].endswith(f"already exists with id={holder['id']}")
    other = server.admin("POST", "/contacts", {"external_id": f"third-{key}"}).json()
    assert server.admin("PUT", f"/contacts/{other['id']}", {key: value}).status == 409


def test_leads_may_share_an_email(server: Server) -> None:
    """The uniqueness of emails holds for users; leads are never found by external id."""
    bodies = [{"role": "lead", "email": "lead@example.com"}] * 2
    assert [server.admin("POST", "/contacts", body).status for body in bodies] == [200, 200]


def test_a_user_never_becomes_a_lead(server: Server) -> None:
    """User to lead is 400; lead to user is done."""
    user = server.admin("POST", "/contacts", {"external_id": "was-user"}).json()
    assert server.admin("PUT", f"/contacts/{user['id']}", {"role": "lead"}).status == 400
    lead = server.admin("POST", "/contacts", {"role": "lead"}).json()
    promoted = server.admin("PUT", f"/contacts/{lead['id']}", {"role": "user", "external_id": "promoted"})
    assert promoted.json()["role"] == "user"


def test_s10_a_missing_user_id_is_added_later(server: Server) -> None:
    """A record known by its email gets its external_id through the API, keeps its id, and the login meets it."""
    contact = server.admin("POST", "/contacts", {"email": "later@example.com"}).json()
    server.admin("PUT", f"/contacts/{contact['id']}", {"external_id": "later"})
    assert server.login(server.token("later")).json()["contact"]["id"] == contact["id"]


def test_s13_a_correction_acts_on_the_next_login(server: Server) -> None:
    """A corrected external_id is what the next request of a remembered token resolves by."""
    token = server.token("wrong")
    before = server.login(token).json()["contact"]["id"]
    assert server.login(token).json()["contact"]["id"] == before
    server.admin("PUT", f"/contacts/{before}", {"external_id": "right"})
    assert server.login(token).json()["contact"]["id"] != before
    assert server.login(server.token("right")).json()["contact"]["id"] == before


@pytest.mark.parametrize("external_id", ["a/b", "a?b", "a#b", "100%", "../x", "a b", "caf\u00e9", "a%2Fb"])
def test_an_odd_external_id_is_found(server: Server, external_id: str) -> None:
    """Percent-encoded once, decoded once: slashes, dots and percent signs stay part of the id."""
    created = server.admin("POST", "/contacts", {"external_id": external_id}).json()
    found = server.admin("GET", f"/contacts/find_by_external_id/{quote(external_id, safe='')}")
    assert found.json() == created


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, None),
        ({"name": "nobody"}, 400, None),
        ({"external_id": "undefined"}, 422, "external_id"),
        ({"external_id": " blank"}, 422, "external_id"),
        ({"external_id": True}, 422, "external_id"),
        ({"external_id": "x" * 300}, 422, "external_id"),
        ({"external_id": "nul\0"}, 422, "external_id"),
        ({"email": "a@b@c.example"}, 422, "email"),
        ({"external_id": "x1", "name": 5}, 400, "name"),
        ({"external_id": "x2", "name": "n\0"}, 400, "name"),
        ({"external_id": "x3", "signed_up_at": "soon"}, 400, "signed_up_at"),
        ({"external_id": "x4", "signed_up_at": 1e400}, 400, None),
        ({"external_id": "x5", "custom_attributes": {"a": {"b": 1}}}, 400, "custom_attributes.a"),
        ({"external_id": "x6", "email_verified": True}, 400, "email_verified"),
    ],
)
def test_r33_a_bad_body_is_refused_with_its_place(server: Server, body: Any, status: int, field: str | None) -> None:
    """4xx in the shape `error.list`, naming the field; nothing is written."""
    reply = server.admin("POST", "/contacts", body)
    assert reply.status == status
    assert error(reply)["field"] == field
    if "external_id" in body:
        path = f"/contacts/find_by_external_id/{quote(str(body['external_id']), safe='')}"
        found = server.admin("GET", path)
        assert (found.status, error(found)["code"]) == (404, "not_found")


def test_s8_the_same_rules_guard_the_api(server: Server) -> None:
    """A placeholder is refused with the same code as at login."""
    reply = server.admin("POST", "/contacts", {"external_id": "null"})
    assert "user_id_placeholder" in error(reply)["message"]


@pytest.mark.parametrize("path", ["/contacts/1", "/contacts/" + "0" * 24, "/nowhere", "/contacts/find_by_external_id/"])
def test_nobody_is_not_found(server: Server, path: str) -> None:
    """404 not_found in the same shape."""
    reply = server.admin("GET", path)
    assert (reply.status, error(reply)["code"]) == (404, "not_found")


def test_r30_every_address_needs_an_access_token(server: Server) -> None:
    """No token, a wrong one, and an end user's own are all 401 (B13)."""
    for token in ("gwa_wrong", server.token("user")):
        reply = server.admin("GET", "/contacts/1", token=token)
        assert (reply.status, error(reply)["code"]) == (401, "unauthorized")
    assert server.request("GET", "/contacts/1", admin=True).status == 401


def test_an_access_token_is_no_login_token(server: Server) -> None:
    """The operator's token opens nothing on the public listener (B13)."""
    assert server.login(server.access_token).code == "token_malformed"


def test_a22_a_large_body_is_cut(server: Server) -> None:
    """A body past the limit is 413."""
    reply = server.admin("POST", "/contacts", {"external_id": "large", "name": "x" * 2_000_000})
    assert reply.status == 413


def test_not_json_is_a_bad_request(server: Server) -> None:
    """What is not a JSON object is 400."""
    for body in (b"not json", b"[]", b"[" * 100_000, json.dumps("text").encode()):
        reply = server.request("POST", "/contacts", server.access_token, body=body, admin=True)
        assert (reply.status, error(reply)["code"]) == (400, "parameter_invalid")
