"""`GET /contacts/{id}/history`: how a record came to be, over real sockets (issue 3, history; S3, S13)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import access_token, other_workspace, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server


def lines(server: Server, contact_id: str) -> list[Any]:
    """The history, oldest first."""
    reply = server.admin("GET", f"/contacts/{contact_id}/history?per_page=150")
    assert reply.status == 200
    data: list[Any] = reply.json()["data"]
    return data[::-1]


def kinds(server: Server, contact_id: str) -> list[str]:
    return [line["kind"] for line in lines(server, contact_id)]


def test_every_change_has_its_line(server: Server) -> None:
    """Creation, link, edit, archive, restore by a login, block, unblock, merge, undo: who, when, which values."""
    began = int(time.time())
    contact = server.admin("POST", "/contacts", {"role": "lead", "email": "life@example.com", "name": "L"}).json()
    path = f"/contacts/{contact['id']}"
    linked = server.login(server.token("life", email="life@example.com")).json()
    assert (linked["contact"]["id"], linked["identity"]["linked"]) == (contact["id"], True)
    server.admin("PUT", path, {"external_id": "life-2", "name": "M"})
    server.admin("POST", f"{path}/archive")
    server.login(server.token("life-2"))
    for step in ("archive", "unarchive", "block", "unblock"):
        server.admin("POST", f"{path}/{step}")
    lead = server.admin(
        "POST", "/contacts", {"role": "lead", "email": "life@example.com", "phone": "+4930123456"}
    ).json()
    assert server.admin("POST", "/contacts/merge", {"from": lead["id"], "into": contact["id"]}).status == 200
    assert server.admin("POST", f"/contacts/{lead['id']}/unmerge").status == 200

    history = lines(server, contact["id"])
    assert [line["kind"] for line in history] == [
        *("created", "linked", "updated", "archived", "restored"),
        *("archived", "restored", "blocked", "unblocked", "merged", "unmerged"),
    ]
    token, issuer = history[0]["actor"], history[1]["actor"]
    assert (token.partition(":")[0], issuer) == ("access_token", "issuer:messenger")
    assert {line["actor"] for line in history if line not in (history[1], history[4])} == {token}
    assert history[4]["actor"] == issuer
    assert all(began <= line["at"] <= time.time() for line in history)
    created, linked_line, updated, archived, restored = history[:5]
    assert (created["before"], created["after"]["email"]) == ({}, "life@example.com")
    assert (linked_line["before"]["external_id"], linked_line["after"]["external_id"]) == (None, "life")
    assert (linked_line["before"]["role"], linked_line["after"]["role"]) == ("lead", "user")
    assert updated["before"] == {"external_id": "life", "name": "L"}
    assert updated["after"] == {"external_id": "life-2", "name": "M"}
    assert (archived["before"], archived["after"]) == ({"state": "live"}, {"state": "archived"})
    assert (restored["before"], restored["after"]) == ({"state": "archived"}, {"state": "live"})
    assert history[7]["after"] == {"state": "blocked"}
    assert history[8]["before"] == {"state": "blocked"}
    assert history[9]["after"]["source"] == lead["id"]
    assert history[9]["after"]["phone"] == "+4930123456"
    assert kinds(server, lead["id"]) == ["created", "merged", "unmerged"]


def test_a_login_that_says_nothing_new_leaves_no_line(server: Server) -> None:
    """The first one does; the same step twice is told once."""
    contact_id = server.login(server.token("quiet", email="quiet@example.com")).json()["contact"]["id"]
    server.login(server.token("quiet", email="quiet@example.com"))
    for step in ("archive", "archive", "unarchive", "unarchive"):
        server.admin("POST", f"/contacts/{contact_id}/{step}")
    assert kinds(server, contact_id) == ["created", "archived", "restored"]
    (first, *_) = lines(server, contact_id)
    assert (first["actor"], first["after"]) == (
        "issuer:messenger",
        {"external_id": "quiet", "email": "quiet@example.com"},
    )


def test_s3_s13_a_user_id_is_set_and_corrected(server: Server) -> None:
    """The old value stops resolving and is free, the new one resolves; 409 when taken; each change is on record."""
    contact_id = server.admin("POST", "/contacts", {"email": "s3@example.com"}).json()["id"]
    taken = server.admin("POST", "/contacts", {"external_id": "s3-taken"}).json()["id"]
    path = f"/contacts/{contact_id}"
    for external_id in ("s3-wrong", "s3-right"):
        assert server.admin("PUT", path, {"external_id": external_id}).status == 200
    assert server.admin("GET", "/contacts/find_by_external_id/s3-right").json()["id"] == contact_id
    assert server.admin("GET", "/contacts/find_by_external_id/s3-wrong").status == 404
    conflict = server.admin("PUT", path, {"external_id": "s3-taken"})
    assert (conflict.status, conflict.json()["errors"][0]["message"].endswith(f"id={taken}")) == (409, True)
    assert server.admin("POST", "/contacts", {"external_id": "s3-wrong"}).json()["id"] != contact_id
    values = [(line["before"], line["after"]) for line in lines(server, contact_id)[1:]]
    assert values == [
        ({"external_id": None}, {"external_id": "s3-wrong"}),
        ({"external_id": "s3-wrong"}, {"external_id": "s3-right"}),
    ]


def test_a_deleted_person_leaves_the_facts(server: Server) -> None:
    """The lines with who and when, and no values; the record itself is 404."""
    contact_id = server.login(server.token("leaves", email="leaves@example.com", name="Leaves")).json()["contact"]["id"]
    server.admin("PUT", f"/contacts/{contact_id}", {"name": "Left"})
    server.admin("DELETE", f"/contacts/{contact_id}")
    history = lines(server, contact_id)
    assert [line["kind"] for line in history] == ["created", "updated", "deleted"]
    assert all((line["before"], line["after"]) == ({}, {}) for line in history)
    assert server.admin("GET", f"/contacts/{contact_id}").status == 404


def test_pages_of_a_history(server: Server) -> None:
    """Newest first, each line once; behind the last page there is nothing."""
    contact_id = server.admin("POST", "/contacts", {"external_id": "pages"}).json()["id"]
    for number in range(6):
        server.admin("PUT", f"/contacts/{contact_id}", {"name": f"N{number}"})
    address = f"/contacts/{contact_id}/history?per_page=3"
    pages = [server.admin("GET", f"{address}&page={page}").json() for page in (1, 2, 3, 4)]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert [page["pages"]["next"] for page in pages] == [{"page": 2}, {"page": 3}, None, None]
    names = [line["after"].get("name") for page in pages for line in page["data"]]
    assert names == ["N5", "N4", "N3", "N2", "N1", "N0", None]


@pytest.mark.parametrize(
    ("query", "field"), [("page=0", "page"), ("page=1001", "page"), ("page=x", "page"), ("per_page=0", "per_page")]
)
def test_r33_a_bad_query_is_refused_with_its_place(server: Server, query: str, field: str) -> None:
    """400 naming the parameter."""
    reply = server.admin("GET", f"/contacts/{'0' * 24}/history?{query}")
    assert (reply.status, reply.json()["errors"][0]["field"]) == (400, field)


def test_c04_a_history_is_its_workspaces_own(tmp_path: Path) -> None:
    """404 for another workspace's access token, and for an id that never was."""
    with running_gateway(tmp_path, others=other_workspace(tmp_path)) as server:
        contact_id = server.admin("POST", "/contacts", {"external_id": "own"}).json()["id"]
        foreign = access_token(server, *Scope, workspace="other")
        for one, token in ((contact_id, foreign), ("0" * 24, None), ("x", None)):
            assert server.admin("GET", f"/contacts/{one}/history", token=token).status == 404
