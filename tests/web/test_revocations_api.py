"""`/revocations` on the admin listener: what is revoked, by whom, until when; and who may."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import access_token, other_workspace, running_gateway
from tests.web.test_logout import es256, logout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server


def revoked(server: Server, **body: Any) -> dict[str, Any]:
    """The first of what `POST /revocations` says it revoked."""
    reply = server.admin("POST", "/revocations", body)
    assert reply.status == 200, reply.body
    first: dict[str, Any] = reply.json()["data"][0]
    return first


def test_one_token(server: Server) -> None:
    """Refused from the next request on; the list tells of it, and holds nothing of it."""
    token, other = server.token("api-one", jti="other"), server.token("api-one")
    assert server.login(token).status == 200
    line = revoked(server, kind="token", token=token)
    assert (line["kind"], line["subject"], line["issued_before"]) == ("token", "messenger", None)
    assert line["actor"].startswith("access_token:")
    assert line["until"] > time.time() + 600
    assert server.login(token).code == "token_revoked"
    assert server.login(other).status == 200
    listed = server.admin("GET", "/revocations")
    assert line in listed.json()["data"]
    assert not any(segment.encode() in listed.body for segment in token.split("."))
    assert token.encode() not in server.log().encode()


def test_what_was_revoked_can_be_lifted(server: Server) -> None:
    """By the body that revoked it; the next request passes again, and a second time there is nothing to lift."""
    token = server.token("api-lifted")
    line = revoked(server, kind="token", token=token)
    assert server.login(token).code == "token_revoked"
    assert revoked(server, kind="token", token=token, lift=True) == line
    assert server.login(token).status == 200
    again = server.admin("POST", "/revocations", {"kind": "token", "token": token, "lift": True})
    assert again.json() == {"type": "list", "data": []}


def test_a_jti_a_person_an_issuer(server: Server) -> None:
    """Each kind, on tokens that the gateway remembers."""
    by_id = server.token("api-jti", jti="api-1")
    person, somebody = server.token("api-person"), server.token("api-somebody")
    contact_id = server.login(person).json()["contact"]["id"]
    assert {server.login(token).status for token in (by_id, somebody)} == {200}

    assert revoked(server, kind="jti", jti="api-1", issuer="messenger")["until"] is None
    assert server.login(by_id).code == "token_revoked"
    for identifier in (contact_id, "api-person"):
        assert revoked(server, kind="contact", id=identifier)["subject"] == contact_id
    assert server.login(person).code == "token_revoked"
    assert server.login(server.token("api-person", iat=int(time.time()) + 20)).status == 200

    other_issuers = es256(server, "api-login")
    assert server.login(other_issuers).status == 200
    line = revoked(server, kind="issuer", issuer="login")
    assert line["until"] is None, "without a session, tokens need no iat, and nobody knows when the last one is dead"
    assert server.login(other_issuers).code == "token_revoked"
    assert server.login(somebody).status == 200


def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    """Every revocation once, in the order in which they were made, those of logouts among them."""
    with running_gateway(tmp_path) as server:
        for number in range(5):
            assert logout(server, server.token(f"page-{number}")).status == 200
        revoked(server, kind="workspace", issued_before=1)
        seen: list[dict[str, Any]] = []
        path = "/revocations?per_page=4"
        while True:
            page = server.admin("GET", path).json()
            seen += page["data"]
            if page["pages"]["next"] is None:
                break
            path = f"/revocations?per_page=4&starting_after={page['pages']['next']['starting_after']}"
        assert [line["actor"] for line in seen[:5]] == ["logout"] * 5
        assert (len(seen), seen[-1]["kind"], seen[-1]["issued_before"]) == (6, "workspace", 1)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "kind"),
        ({"kind": "user_id"}, 400, "kind"),
        ({"kind": ["token"]}, 400, "kind"),
        ({"kind": "token"}, 400, "token"),
        ({"kind": "token", "token": 1}, 400, "token"),
        ({"kind": "token", "token": "a.b.c"}, 422, "token"),
        ({"kind": "jti", "jti": "a"}, 400, "issuer"),
        ({"kind": "jti", "jti": "a", "issuer": "nobody"}, 422, "issuer"),
        ({"kind": "jti", "jti": "\u0000", "issuer": "messenger"}, 400, "jti"),
        ({"kind": "contact", "id": ""}, 400, "id"),
        ({"kind": "contact", "id": "nobody"}, 404, None),
        ({"kind": "workspace", "issued_before": 1_790_000_000_000}, 422, "issued_before"),
        ({"kind": "workspace", "issued_before": -1}, 422, "issued_before"),
        ({"kind": "workspace", "issued_before": True}, 400, "issued_before"),
        ({"kind": "workspace", "issued_before": "now"}, 400, "issued_before"),
        ({"kind": "workspace", "issued_before": 1.5}, 400, "issued_before"),
        ({"kind": "workspace", "issued_before": 1, "lift": "true"}, 400, "lift"),
    ],
    ids=str,
)
def test_what_cannot_be_revoked(server: Server, body: dict[str, Any], status: int, field: str | None) -> None:
    """Named, and nothing is kept of it."""
    before = server.admin("GET", "/revocations").json()["data"]
    reply = server.admin("POST", "/revocations", body)
    assert (reply.status, reply.json()["errors"][0]["field"]) == (status, field)
    assert server.admin("GET", "/revocations").json()["data"] == before


@pytest.mark.parametrize("cursor", ["x", "WzFd!", "WyJhIl0=", "W10=", "WzEsMl0="])
def test_a_cursor_of_another_list_is_refused(server: Server, cursor: str) -> None:
    """400, whatever it is."""
    assert server.admin("GET", f"/revocations?starting_after={cursor}").status == 400


def test_it_needs_its_scopes(server: Server) -> None:
    """Reading does not revoke, and writing does not read."""
    reader, writer = access_token(server, Scope.CONTACTS_READ), access_token(server, Scope.CONTACTS_WRITE)
    body = {"kind": "workspace", "issued_before": 1}
    assert server.admin("POST", "/revocations", body, token=reader).status == 403
    assert server.admin("GET", "/revocations", token=writer).status == 403
    assert server.admin("GET", "/revocations", token=server.token("api-user")).status == 401


def test_c04_another_workspace_revokes_nothing_here(tmp_path: Path) -> None:
    """The same jti, issuer name and user_id in two workspaces: neither is touched by the other, nor seen."""
    with running_gateway(tmp_path, others=other_workspace(tmp_path)) as server:
        token = server.token("both", jti="both")
        assert server.login(token, {"app_id": "acme"}).status == 200
        theirs = access_token(server, *Scope, workspace="other")
        contact_id = server.login(token, {"app_id": "acme"}).json()["contact"]["id"]
        for body in (
            {"kind": "jti", "jti": "both", "issuer": "messenger"},
            {"kind": "issuer", "issuer": "messenger"},
            {"kind": "workspace"},
            {"kind": "token", "token": token},
        ):
            assert server.admin("POST", "/revocations", body, token=theirs).status == 200
        for identifier in (contact_id, "both"):
            body = {"kind": "contact", "id": identifier}
            assert server.admin("POST", "/revocations", body, token=theirs).status == 404
        assert server.login(token, {"app_id": "acme"}).status == 200
        assert server.admin("GET", "/revocations").json()["data"] == []
