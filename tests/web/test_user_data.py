"""`user_data` of a login: what a client may write unsigned, on both carriers, and what is never remembered."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server


def declare_writable(server: Server, **types: str) -> None:
    """Declare custom attributes that a client may write."""
    server.declare(**types)
    for one in server.admin("GET", "/data_attributes").json()["data"]:
        if one["name"] in types:
            body = {"messenger_writable": True}
            assert server.admin("PUT", f"/data_attributes/{one['id']}", body).json()["messenger_writable"] is True


def test_the_answer_shows_the_written_record(either: Server) -> None:
    """At the first login and at the next; the API shows the same, and the history says who wrote."""
    declare_writable(either, plan="string", seats="integer")
    either.declare(tier="string")
    token = either.token("says", tier="gold")
    said = {"name": "Ada", "plan": "pro", "seats": "many", "tier": "x", "email": "eve@example.com", "unknown": 1}
    first = either.login(token, {"user_data": said}).json()
    assert (first["contact"]["name"], first["contact"]["email"]) == ("Ada", None)
    assert (first["contact"]["custom_attributes"], first["identity"]["created"]) == ({"plan": "pro"}, True)
    second = either.login(token, {"user_data": {"name": "Eve", "seats": 3}}).json()
    assert second["contact"]["custom_attributes"] == {"plan": "pro", "seats": 3}
    assert second["contact"]["name"] == "Ada"
    stored = either.admin("GET", f"/contacts/{second['contact']['id']}").json()
    assert stored["custom_attributes"] == second["contact"]["custom_attributes"]


def test_what_was_said_is_not_remembered(either: Server) -> None:
    """A cached identity answers for the record as it stands: with what was written, and without what was only said."""
    declare_writable(either, plan="string")
    token = either.token("cached")
    plain = either.login(token).json()
    assert either.login(token, {"user_data": {"plan": "pro"}}).json()["contact"]["custom_attributes"] == {"plan": "pro"}
    assert either.login(token).json()["contact"]["custom_attributes"] == {"plan": "pro"}
    assert either.request("GET", "/messenger/me", token).json()["contact"]["custom_attributes"] == {"plan": "pro"}
    # What may not be written leaves no trace, in the answer or in the next one.
    ignored = either.login(token, {"user_data": {"email": "eve@example.com", "user_id": "root", "role": "lead"}})
    assert ignored.json() == either.login(token).json()
    assert ignored.json()["contact"]["id"] == plain["contact"]["id"]


@pytest.mark.parametrize("user_data", [1, "x", True, ["a"], [{}], 0, False, ""])
def test_another_type_is_a_bad_request(either: Server, user_data: Any) -> None:
    """400 request_invalid naming the member; nobody is created."""
    before = either.contacts()
    reply = either.login(either.token("bad-user-data"), {"user_data": user_data})
    assert (reply.status, reply.code, reply.json()["field"]) == (400, "request_invalid", "user_data")
    assert either.contacts() == before


@pytest.mark.parametrize("user_data", [None, {}])
def test_nothing_said_is_a_plain_login(either: Server, user_data: Any) -> None:
    """Null and the empty object are as good as absent."""
    token = either.token("says-nothing")
    either.login(token)
    assert either.login(token, {"user_data": user_data}).body == either.login(token).body


def test_it_is_a_members_word_only_with_a_good_token(either: Server) -> None:
    """A refused token writes nothing, whatever stands beside it."""
    declare_writable(either, plan="string")
    contact = either.login(either.token("member")).json()["contact"]
    expired = either.token("member", exp=1, ttl=None)
    assert either.login(expired, {"user_data": {"plan": "pro", "name": "Eve"}}).code == "token_expired"
    assert either.request("GET", "/messenger/me", either.token("member")).json()["contact"] == contact


def test_only_a_login_takes_it(either: Server) -> None:
    """In a query, and at the other addresses, it is nothing."""
    declare_writable(either, plan="string")
    token = either.token("elsewhere")
    either.request("POST", "/messenger/login?user_data=%7B%22plan%22%3A%22pro%22%7D", token)
    body = b'{"user_data": {"plan": "pro"}}'
    either.request("POST", "/auth", token, headers={"Content-Type": "application/json"}, body=body)
    assert either.login(token).json()["contact"]["custom_attributes"] == {}


def test_parallel_words_lose_nothing(either: Server) -> None:
    """20 logins at once, each with another attribute: all of them stand afterwards, on one contact."""
    declare_writable(either, **{f"p{number}": "integer" for number in range(20)})
    token = either.token("parallel-words")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        said = [{"user_data": {f"p{number}": number}} for number in range(20)]
        assert {reply.status for reply in pool.map(lambda body: either.login(token, body), said)} == {200}
    expected = {f"p{number}": number for number in range(20)}
    assert either.login(token).json()["contact"]["custom_attributes"] == expected


@pytest.mark.parametrize("lane", [True, False])
def test_on_postgresql(tmp_path: Path, postgres_database: str, lane: bool) -> None:
    """The same where the store waits: at a first login, and where the identity is remembered."""
    with running_gateway(tmp_path, lane=lane, store_url=postgres_database) as server:
        declare_writable(server, plan="string")
        token = server.token("waits", name="Ada")
        for plan in ("free", "pro"):
            reply = server.login(token, {"user_data": {"plan": plan, "name": "Eve"}}).json()
            assert (reply["contact"]["custom_attributes"], reply["contact"]["name"]) == ({"plan": plan}, "Ada")
            server.login(token)
