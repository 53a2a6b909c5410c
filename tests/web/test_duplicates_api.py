"""`GET /contacts/duplicates` over real sockets (S6, S18)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import access_token, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Server


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway with duplicates of every kind but the alarm."""
    folder = tmp_path_factory.mktemp("duplicates")
    with running_gateway(folder, others=other_workspace(folder)) as server:
        for number in range(3):
            server.login(server.token(f"user-{number}", email=f"p{number}@example.com"), {"app_id": "acme"})
            server.login(server.token(f"User-{number}", email=f"p{number}@example.com"), {"app_id": "acme"})
            server.admin("POST", "/contacts", {"role": "lead", "phone": "+49 30 1234567"})
        yield server


def test_s6_a_pair_that_a_login_flagged_is_reported(crowd: Server) -> None:
    """Both contacts, when it was flagged, who should stay and why."""
    group = crowd.admin("GET", "/contacts/duplicates").json()["data"][0]
    assert (group["type"], group["id"], group["total_count"]) == ("duplicate_group", "email:p0@example.com", 2)
    assert {one["external_id"] for one in group["contacts"]} == {"user-0", "User-0"}
    assert group["flagged_at"] >= group["contacts"][0]["created_at"]
    assert group["proposal"]["into"] in {one["id"] for one in group["contacts"]}
    assert {one["doubt"]["code"] for one in group["contacts"] if one["doubt"]} == {"identified"}


def test_pages_hold_every_group_once(crowd: Server) -> None:
    """In the order of one large page."""
    whole = crowd.admin("GET", "/contacts/duplicates?per_page=150").json()
    assert whole["pages"]["next"] is None
    assert [group["kind"] for group in whole["data"]] == ["email"] * 3 + ["phone"] + ["user_id"] * 3
    paged: list[Any] = []
    query = ""
    while True:
        page = crowd.admin("GET", f"/contacts/duplicates?per_page=2{query}").json()
        paged += page["data"]
        if page["pages"]["next"] is None:
            break
        query = f"&starting_after={page['pages']['next']['starting_after']}"
    assert paged == whole["data"]
    only = crowd.admin("GET", "/contacts/duplicates?kind=user_id").json()["data"]
    assert only == whole["data"][4:]


def test_c04_a_workspace_sees_its_own_duplicates(crowd: Server) -> None:
    """Another workspace's access token sees none of them, and reading needs contacts:read."""
    foreign = access_token(crowd, *Scope, workspace="other")
    assert crowd.admin("GET", "/contacts/duplicates", token=foreign).json()["data"] == []
    writer = access_token(crowd, Scope.CONTACTS_WRITE)
    assert crowd.admin("GET", "/contacts/duplicates", token=writer).status == 403


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=nothing", "kind"),
        ("per_page=1000", "per_page"),
        ("starting_after=", "starting_after"),
        ("starting_after=%00", "starting_after"),
        (f"starting_after={encoded(b'[]')}", "starting_after"),
        (f"starting_after={encoded(b'[1,2]')}", "starting_after"),
        (f"starting_after={encoded(bytes([255]))}", "starting_after"),
        ("starting_after=" + encoded(b'["nothing","x"]'), "starting_after"),
        ("starting_after=" + encoded(b'["email","\\u0000"]'), "starting_after"),
        ("starting_after=" + encoded(b'["email","\\ud800"]'), "starting_after"),
    ],
)
def test_r33_a_bad_query_is_refused_with_its_place(crowd: Server, query: str, field: str) -> None:
    """400 in the shape `error.list`."""
    reply = crowd.admin("GET", f"/contacts/duplicates?{query}")
    assert (reply.status, reply.json()["errors"][0]["field"]) == (400, field)


def test_r31_a_cursor_is_a_bound_value(crowd: Server) -> None:
    """SQL in a cursor's key finds what stands behind that text, no more."""
    cursor = encoded(b'["email","z\' OR 1=1 --"]')
    page = crowd.admin("GET", f"/contacts/duplicates?starting_after={cursor}").json()
    assert {group["kind"] for group in page["data"]} == {"phone", "user_id"}


def test_s18_a_merge_takes_the_group_out_of_the_report(tmp_path: Path) -> None:
    """What the report proposes is carried out by a merge; delete frees the identifiers."""
    with running_gateway(tmp_path) as server:
        user = server.admin("POST", "/contacts", {"external_id": "u", "email": "a@example.com"}).json()
        lead = server.admin("POST", "/contacts", {"role": "lead", "email": "a@example.com"}).json()
        (group,) = server.admin("GET", "/contacts/duplicates").json()["data"]
        assert (group["proposal"]["into"], group["proposal"]["because"]) == (user["id"], "identified")
        merged = server.admin("POST", "/contacts/merge", {"from": lead["id"], "into": user["id"]})
        assert merged.status == 200
        assert server.admin("GET", "/contacts/duplicates").json()["data"] == []
