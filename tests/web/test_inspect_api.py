"""`POST /tokens/inspect`: the explanation of a token as a service, of which nothing remains."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from tests.web.conftest import STORES, access_token, command, gateway_on, other_workspace, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Reply, Server


def inspect(server: Server, token: Any, *, access: str | None = None, **more: Any) -> Reply:
    return server.admin("POST", "/tokens/inspect", {"token": token, **more}, access)


@pytest.mark.parametrize("store", STORES)
def test_it_explains_without_making_anybody(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A newcomer's token tells of a new contact and makes none; after a login it tells whose it is."""
    with gateway_on(store, request, tmp_path) as server:
        token = server.token("newcomer", email="newcomer@example.com")
        for _ in range(2):
            shown = inspect(server, token).json()
            assert (shown["accepted"], shown["contact_id"]) == (True, None)
            assert shown["contact"] == "a new one: nobody has the user_id newcomer"
        assert server.admin("GET", "/contacts").json()["total_count"] == 0
        login = server.login(token).json()
        assert login["identity"]["created"] is True
        shown = inspect(server, token).json()
        assert (shown["accepted"], shown["contact_id"]) == (True, login["contact"]["id"])


def test_it_is_the_answer_of_the_command(server: Server) -> None:
    """The same JSON as `gateway token inspect --json`, for a good token and for bad ones."""
    server.login(server.token("both-ways"))
    tokens = [
        server.token("both-ways"),
        server.token("undefined"),
        server.token("late", ttl=-600),
        server.token("u", header={"kid": "nobody's"}),
        "not.a.token",
        "x",
    ]
    for token in tokens:
        shown = inspect(server, f" {token}\n").json()
        printed = json.loads(command(server, "token", "inspect", token, "--json", exit_code=int(not shown["accepted"])))
        assert _timeless(shown) == _timeless(printed)


def _timeless(shown: dict[str, Any]) -> dict[str, Any]:
    """How far away a time is changes from second to second."""
    for check in shown["checks"]:
        check["found"] = check["found"].partition(", ")[0]
    return shown


def test_a_revoked_token_is_explained(server: Server) -> None:
    """Step 9: who has signed out is told so, and whose token it was is not looked for any more."""
    token = server.token("leaving")
    server.login(token)
    shown = inspect(server, token).json()
    assert (shown["accepted"], shown["checks"][-1]["name"], shown["checks"][-1]["outcome"]) == (
        *(True, "revocation"),
        "passed",
    )
    assert server.request("POST", "/messenger/logout", token).status == 200
    shown = inspect(server, token).json()
    assert (shown["accepted"], shown["code"], shown["contact_id"]) == (False, "token_revoked", None)
    assert (shown["checks"][-1]["step"], shown["checks"][-1]["outcome"]) == (9, "failed")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 400, "parameter_missing", "token"),
        ({"token": None}, 400, "parameter_missing", "token"),
        ({"token": 1}, 400, "parameter_invalid", "token"),
        ({"token": ["a.b.c"]}, 400, "parameter_invalid", "token"),
        ({"token": {"a": "b"}}, 400, "parameter_invalid", "token"),
        ({"token": True}, 400, "parameter_invalid", "token"),
        ({"token": "a.b.c", "app_id": 1}, 400, "parameter_invalid", "app_id"),
        ({"token": "a.b.c", "app_id": "nobody"}, 404, "not_found", "app_id"),
        ({"token": "a.b.c", "platform": "windows"}, 400, "parameter_invalid", "platform"),
        ({"token": "a.b.c", "platform": ["web"]}, 400, "parameter_invalid", "platform"),
        ([], 400, "parameter_invalid", None),
        ("a.b.c", 400, "parameter_invalid", None),
        ({"token": "\ud800"}, 400, "parameter_invalid", None),
        ({"token": "x" * (1024 * 1024)}, 413, "client_error", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_body(server: Server, body: Any, status: int, code: str, field: str | None) -> None:
    """Wrong types and sizes are told in Intercom's shape, and never with what was sent."""
    reply = server.admin("POST", "/tokens/inspect", body)
    assert reply.status == status
    assert reply.json()["type"] == "error.list"
    (error,) = reply.json()["errors"]
    assert (error["code"], error["field"]) == (code, field)
    assert b"a.b.c" not in reply.body


@pytest.mark.parametrize(
    "token",
    ["", " ", "\x00", "張", "." * 100_000, "a" * 9000, "eyJhbGciOiJub25lIn0.e30."],
    ids=["empty", "blank", "NUL", "no ASCII", "dots", "long", "alg none"],
)
def test_any_text_is_explained(server: Server, token: str) -> None:
    """What is no token is an explanation, too: 200, and the code that a client would meet."""
    reply = inspect(server, token)
    assert (reply.status, reply.json()["accepted"]) == (200, False)
    assert reply.json()["code"] in {"token_malformed", "token_too_large", "alg_not_allowed"}
    assert reply.headers["cache-control"] == "no-store"


def test_who_may_ask(server: Server) -> None:
    """The scope contacts:read; an end user's own token is no access token (R30, advisory A20)."""
    token = server.token("whoever")
    assert inspect(server, token, access=access_token(server, Scope.CONTACTS_READ)).status == 200
    assert inspect(server, token, access=access_token(server, Scope.CONTACTS_WRITE)).status == 403
    assert inspect(server, token, access=access_token(server, Scope.CONTACTS_READ, revoked=True)).status == 401
    assert inspect(server, token, access=token).status == 401
    assert server.request("POST", "/tokens/inspect", admin=True).status == 401
    assert server.request("POST", "/tokens/inspect", server.access_token).status == 404  # not on the public listener
    assert "x-ratelimit-limit" in inspect(server, token).headers


def test_a_workspace_is_the_access_tokens_own(tmp_path: Path) -> None:
    """Nobody learns what another workspace thinks of a token, nor whether there is such a workspace."""
    with running_gateway(tmp_path, others=other_workspace(tmp_path)) as server:
        token = server.token("of-acme")
        assert inspect(server, token, app_id="acme").json()["accepted"] is True
        foreign = access_token(server, Scope.CONTACTS_READ, workspace="other")
        assert inspect(server, token, access=foreign).json()["code"] == "signature_invalid"
        refusals = [inspect(server, token, access=foreign, app_id=name) for name in ("acme", "nobody")]
        assert [reply.status for reply in refusals] == [404, 404]
        assert refusals[0].json()["errors"] == refusals[1].json()["errors"]


def test_it_has_the_budget_of_the_access_token(tmp_path: Path) -> None:
    """A program that runs wild gets 429 here as everywhere on the listener."""
    with running_gateway(tmp_path, requests_per_minute=60) as server:
        statuses = {inspect(server, "x").status for _ in range(25)}
        assert statuses == {200, 429}


@pytest.fixture(name="talkative", scope="module")
def _talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that logs all that it ever logs."""
    folder = tmp_path_factory.mktemp("talkative")
    os.environ["GATEWAY_LOG_LEVEL"] = "debug"
    try:
        with running_gateway(folder) as running:
            yield running
    finally:
        del os.environ["GATEWAY_LOG_LEVEL"]


def test_a17_nothing_of_a_token_remains(talkative: Server) -> None:
    """Neither the log, at its most talkative, nor the store holds a token, a segment of it or the value of a claim."""
    server = talkative
    marked = f"marked-{os.urandom(8).hex()}"
    claims: dict[str, Any] = {
        "email": f"{marked}@example.com",
        "name": f"{marked} name",
        "plan": f"{marked} plan",
        "jti": marked,
    }
    good = server.token(marked, **claims)
    tampered = good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB")
    tokens = [
        good,
        tampered,
        server.token(f"{marked} ", **claims),
        server.token("undefined", **claims),
        server.token(marked, ttl=-600, **claims),
        server.token(marked, header={"kid": marked}, **claims),
        server.token(marked, header={"crit": [marked]}, **claims),
        server.token(marked, **{**claims, "email": f"{marked}@@"}),
        f"{marked}.{marked}.{marked}",
        marked,
    ]
    assert inspect(server, good).json()["accepted"] is True
    for token in tokens:
        for body in (token, [token]):
            reply = inspect(server, body)
            assert reply.status in {200, 400}
            assert token.encode() not in reply.body
    secret = server.secret.material
    kept = (server.folder / "log").read_bytes()
    for name in ("contacts.db", "contacts.db-wal"):
        kept += (server.folder / name).read_bytes()
    with sqlite3.connect(f"file:{server.folder / 'contacts.db'}?mode=ro", uri=True) as database:
        kept += "\n".join(database.iterdump()).encode()
    for text in {marked, base64.b64encode(marked.encode()).decode()[:-4], *tokens, *(".".join(tokens)).split(".")}:
        assert len(text) < 12 or text.encode() not in kept
    assert secret not in kept


def test_no_answer_holds_a_secret(server: Server) -> None:
    """An explanation names keys by their ids alone."""
    secret = bytes(server.secret.material)
    for token in (server.token("u"), server.token("u", header={"kid": "x"}), server.token("u")[:-3] + "AAA"):
        reply = inspect(server, token)
        assert secret not in reply.body
        assert base64.b64encode(secret).rstrip(b"=") not in reply.body
        assert "2026-11" in reply.body.decode()
