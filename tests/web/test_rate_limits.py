"""The budget of an access token, and what a client accepts (facts: Intercom 2.11)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gateway.contacts.access_token import Scope
from gateway.web.admin.accept import accepts
from gateway.web.admin.rate_limits import RateLimits
from tests.web.conftest import access_token, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Reply, Server


def left(reply: Reply) -> tuple[int, int, int]:
    """Limit, remaining and reset, as the headers have them."""
    limit, remaining, reset = (int(reply.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))
    return limit, remaining, reset


def test_a_slice_is_spent_request_by_request() -> None:
    """10,000 a minute are 1,666 in ten seconds; each token has its own; the next slice begins anew."""
    now = [1_700_000_003.5]
    limits = RateLimits(10_000, lambda: now[0])
    for spent in range(1, 1667):
        allowance = limits.take("one")
        assert (allowance.granted, allowance.limit, allowance.remaining) == (True, 1666, 1666 - spent)
    assert (allowance.reset, allowance.retry_after) == (1_700_000_010, 7)
    assert not limits.take("one").granted
    assert limits.take("other").granted
    now[0] = 1_700_000_010.0
    assert limits.take("one").remaining == 1665


def test_workers_spend_one_budget(tmp_path: Path) -> None:
    """Two workers, a connection for each request: 20 in ten seconds are 20, whoever answers."""
    with running_gateway(tmp_path, workers=2, requests_per_minute=120) as server:
        while True:
            token = access_token(server, *Scope)
            replies = [server.admin("GET", "/contacts/1", token=token) for _ in range(30)]
            if len({left(reply)[2] for reply in replies}) == 1:
                break
        assert [reply.status for reply in replies] == [404] * 20 + [429] * 10
        assert [left(reply)[1] for reply in replies] == [*range(19, -1, -1), *[0] * 10]


def test_every_answer_says_what_is_left(server: Server) -> None:
    """Success, every kind of refusal, an unknown address and a missing credential."""
    replies = [
        server.admin("POST", "/contacts", {"role": "lead"}),
        server.admin("POST", "/contacts", {}),
        server.admin("GET", f"/contacts/{'0' * 24}"),
        server.admin("GET", "/nowhere"),
        server.admin("PATCH", "/contacts", {}),
        server.admin("GET", "/contacts/1", token="gwa_wrong"),
        server.admin("DELETE", f"/contacts/{'0' * 24}", token=access_token(server, Scope.CONTACTS_READ)),
        server.request("GET", "/contacts/1", admin=True),
        server.request("GET", "/contacts/1", server.access_token, headers={"Accept": "text/html"}, admin=True),
    ]
    assert [reply.status for reply in replies] == [200, 400, 404, 404, 404, 401, 403, 401, 406]
    for reply in replies:
        limit, remaining, reset = left(reply)
        assert 0 < remaining < limit
        assert 0 < reset - time.time() <= 11
        if reply.status != 200:
            assert reply.json()["request_id"]


def test_a_spent_budget_is_429_for_its_own_token_alone(tmp_path: Path) -> None:
    """`rate_limit_exceeded` with `Retry-After`, nothing is written; other tokens go on, a wrong one stays 401."""
    with running_gateway(tmp_path, requests_per_minute=12) as server:
        replies, made = spend_within_a_slice(server)
        assert [reply.status for reply in replies] == [200, 200, 429, 429]
        assert [left(reply)[:2] for reply in replies] == [(2, 1), (2, 0), (2, 0), (2, 0)]
        assert replies[2].json()["errors"][0]["code"] == "rate_limit_exceeded"
        assert 1 <= int(replies[2].headers["retry-after"]) <= 10
        assert {server.admin("GET", "/contacts/1", token="gwa_wrong").status for _ in range(4)} == {401}
        assert made == {reply.json()["id"] for reply in replies[:2]}


def spend_within_a_slice(server: Server) -> tuple[list[Reply], set[str]]:
    """Four creates by a token of their own, of which no slice ended in the midst, and the contacts that they made."""
    while True:
        before = server.contacts()
        token = access_token(server, *Scope)
        replies = [server.admin("POST", "/contacts", {"external_id": f"{token}-{n}"}, token=token) for n in range(4)]
        if len({left(reply)[2] for reply in replies}) == 1:
            return replies, server.contacts() - before


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 404),
        ("*/*", 404),
        ("text/html, application/*;q=0.1", 404),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("application/xml;q=0.9", 406),
    ],
)
def test_406_when_json_is_excluded(server: Server, accept: str, status: int) -> None:
    """For reads and writes alike, in the shape of every refusal."""
    headers = {"Accept": accept, "Content-Type": "application/json"}
    for method in ("GET", "PUT", "DELETE"):
        path = f"/contacts/{'0' * 24}"
        reply = server.request(method, path, server.access_token, headers=headers, body=b"{}", admin=True)
        assert (reply.status, reply.json()["type"]) == (status, "error.list")


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, True),
        ("", True),
        ("TEXT/CSV", True),
        ("text/*", True),
        ("text/*;q=0", False),
        ("text/csv;q=0.000, text/*", False),
        ("text/csv; charset=utf-8; q=1", True),
        ("text/csv;q=much", True),
        ("nonsense", False),
        (",,;", False),
    ],
)
def test_the_most_specific_range_decides(header: str | None, accepted: bool) -> None:
    """RFC 9110 section 12.5.1."""
    assert accepts(header, "text/csv") is accepted
