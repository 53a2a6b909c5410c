"""Visitors over HTTP, in Intercom's shape (facts: Intercom 2.10)."""

from __future__ import annotations

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


def lead(server: Server, user_id: str, **fields: Any) -> Any:
    """A visitor, made as the lead that it is."""
    return server.admin("POST", "/contacts", {"role": "lead", "external_id": user_id, **fields}).json()


def test_a_visitor_as_served(server: Server) -> None:
    """The lead's values under the visitor's names, and the keys that clients read."""
    server.declare(plan="string")
    made = lead(server, "v-served", email="v@example.com", name="V", custom_attributes={"plan": "x"}, last_seen_at=7)
    visitor = server.admin("GET", "/visitors?user_id=v-served").json()
    assert (visitor["type"], visitor["id"], visitor["user_id"]) == ("visitor", made["id"], "v-served")
    assert (visitor["app_id"], visitor["email"], visitor["name"]) == ("acme", "v@example.com", "V")
    assert (visitor["custom_attributes"], visitor["last_request_at"]) == ({"plan": "x"}, 7)
    assert visitor["companies"] == {"type": "company.list", "companies": []}
    assert visitor["tags"] == {"type": "tag.list", "tags": []}
    assert visitor["segments"] == {"type": "segment.list", "segments": []}
    assert {"anonymous", "pseudonym", "session_count", "location_data"} <= visitor.keys()


def test_an_update_writes_name_and_custom_attributes(server: Server) -> None:
    """By id or by user_id; nothing else of the body is written."""
    server.declare(plan="string")
    made = lead(server, "v-updated")
    body: dict[str, Any] = {
        "user_id": "v-updated",
        "name": "New",
        "email": "eve@example.com",
        "role": "user",
        "external_id": "x",
    }
    updated = server.admin("PUT", "/visitors", body).json()
    assert (updated["name"], updated["email"], updated["user_id"]) == ("New", None, "v-updated")
    body = {"id": made["id"], "custom_attributes": {"plan": "pro"}}
    assert server.admin("PUT", "/visitors", body).json()["custom_attributes"] == {"plan": "pro"}
    assert server.admin("GET", f"/contacts/{made['id']}").json()["role"] == "lead"
    odd = server.admin("PUT", "/visitors", {"id": made["id"], "custom_attributes": {"undeclared": 1}})
    assert (odd.status, error(odd)["field"]) == (400, "custom_attributes.undeclared")


def test_converting(server: Server) -> None:
    """Into a user that stands, into one that is new, and into the lead that it is already."""
    user = server.admin("POST", "/contacts", {"external_id": "converted-user"}).json()
    merged, fresh = lead(server, "v-merged"), lead(server, "v-fresh")
    body: dict[str, Any] = {"type": "lead", "visitor": {"user_id": "v-merged"}}
    assert server.admin("POST", "/visitors/convert", body).json() == merged
    body = {"type": "user", "visitor": {"user_id": "v-merged"}, "user": {"user_id": "converted-user"}}
    assert server.admin("POST", "/visitors/convert", body).json()["id"] == user["id"]
    assert server.admin("GET", f"/contacts/{merged['id']}").status == 410
    assert server.admin("GET", "/visitors?user_id=v-merged").status == 404
    body = {"type": "user", "visitor": {"id": fresh["id"]}, "user": {"user_id": 77, "email": "Fresh@Example.com"}}
    converted = server.admin("POST", "/visitors/convert", body).json()
    assert (converted["id"], converted["role"]) == (fresh["id"], "user")
    assert (converted["external_id"], converted["email"]) == ("77", "fresh@example.com")


V: dict[str, Any] = {"visitor": {"user_id": "v-bad"}}
U: dict[str, Any] = {"user": {"user_id": "u"}}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**V, **U}, 400, "type"),
        ({"type": "visitor", **V, **U}, 400, "type"),
        ({"type": ["user"], **V, **U}, 400, "type"),
        ({"type": "user", **V}, 400, "user"),
        ({"type": "user", **U}, 400, "visitor"),
        ({"type": "user", **V, "user": {}}, 400, "user"),
        ({"type": "user", **V, "user": {"user_id": None}}, 400, "user"),
        ({"type": "user", **V, "user": "u"}, 400, "user"),
        ({"type": "user", **U, "visitor": {"email": "a@example.com"}}, 400, "visitor.user_id"),
        ({"type": "user", **U, "visitor": {"id": 1}}, 400, "visitor.id"),
        ({"type": "user", **V, "user": {"id": 1}}, 400, "user.id"),
        ({"type": "user", **V, "user": {"user_id": "undefined"}}, 422, "user.user_id"),
        ({"type": "user", **V, "user": {"user_id": True}}, 422, "user.user_id"),
        ({"type": "user", **V, "user": {"email": "nonsense"}}, 422, "user.email"),
        ({"type": "user", **V, "user": {"id": "abc"}}, 404, None),
        ({"type": "user", **V, "user": {"id": "f" * 24}}, 404, None),
        ({"type": "user", **U, "visitor": {"user_id": "nobody"}}, 404, None),
        ({"type": "user", **U, "visitor": {"user_id": "a\u0000"}}, 404, None),
        ({"type": "lead", "visitor": {"id": "abc"}}, 404, None),
    ],
)
def test_a_bad_conversion_is_refused_with_its_field(server: Server, body: Any, status: int, field: str | None) -> None:
    """S8 among others: 400 for the form, 422 for an identifier, 404 for nobody; the visitor stays as it is."""
    made = lead(server, "v-bad")
    reply = server.admin("POST", "/visitors/convert", body)
    assert (reply.status, error(reply)["field"]) == (status, field)
    made = made if "id" in made else server.admin("GET", "/visitors?user_id=v-bad").json()
    assert server.admin("GET", f"/contacts/{made['id']}").json()["role"] == "lead"


def test_nobody_is_404_in_its_own_words(server: Server) -> None:
    """`Visitor Not Found`; a user is no visitor, and without an id nothing is asked."""
    server.admin("POST", "/contacts", {"external_id": "is-a-user"})
    for user_id in ("nobody", "is-a-user", "", "%00"):
        reply = server.admin("GET", f"/visitors?user_id={user_id}")
        assert (reply.status, error(reply)["code"]) == (404, "not_found")
        assert error(reply)["message"] == "Visitor Not Found"
    for reply in (server.admin("GET", "/visitors"), server.admin("PUT", "/visitors", {"name": "x"})):
        assert (reply.status, error(reply)["code"], error(reply)["field"]) == (400, "parameter_missing", "user_id")


def test_scopes_are_enforced(server: Server) -> None:
    """Finding needs contacts:read, writing and converting contacts:write."""
    lead(server, "v-scoped")
    reads, writes = access_token(server, Scope.CONTACTS_READ), access_token(server, Scope.CONTACTS_WRITE)
    convert = {"type": "lead", "visitor": {"user_id": "v-scoped"}}
    for method, path, body, token in (
        ("GET", "/visitors?user_id=v-scoped", None, writes),
        ("PUT", "/visitors", {"user_id": "v-scoped", "name": "x"}, reads),
        ("POST", "/visitors/convert", convert, reads),
    ):
        assert server.admin(method, path, body, token=token).status == 403
        assert server.admin(method, path, body, token="nobody").status == 401
