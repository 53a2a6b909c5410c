"""Keys that an issuer publishes, through a running gateway: rotations, floods and outages as clients meet them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway.app import create_authenticator
from gateway.identity.issuing import issue_token
from gateway.web.middleware import IdentityMiddleware
from tests.keys.jwks_server import JwksServer, document, hang, jwks, reset, running_jwks_server, status
from tests.keys.remote_sets import signing
from tests.web.conftest import Server, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from keys.jwk import SigningKey
    from tests.web.conftest import Reply

ISS = "https://login.remote.example"
PATHS = ("/auth/remote", "/messenger/login")


@pytest.fixture
def issuer() -> Iterator[JwksServer]:
    with running_jwks_server() as running:
        yield running


def remote_workspace(issuer: JwksServer, folder: Path, choices: str = "") -> str:
    """Settings of a workspace `remote`, whose keys an issuer publishes; for `others`."""
    return f"""
[keys]
folder = "{folder / "keys"}"
[workspaces.remote]
[[workspaces.remote.issuers]]
name = "login"
issuer = "{ISS}"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
insecure_jwks_loopback = true
jwks_url = "{issuer.url("/jwks.json?key=s3cret")}"
jwks_cooldown = 5
{choices}
"""


PUBLISHED = "/jwks.json?key=s3cret"


@contextlib.contextmanager
def gateway(issuer: JwksServer, folder: Path, *, choices: str = "", **settings: Any) -> Iterator[Server]:
    with running_gateway(folder, others=remote_workspace(issuer, folder, choices), **settings) as server:
        yield server


def token(key: SigningKey, user_id: str = "user-1", header: dict[str, Any] | None = None) -> str:
    claims = {"iss": ISS, "aud": "messenger", "user_id": user_id}
    return issue_token(claims, key, ttl=600, now=time.time(), header=header)


def auth(server: Server, presented: str) -> Reply:
    return server.request("GET", "/auth/remote", presented)


def login(server: Server, presented: str) -> Reply:
    return server.login(presented, {"app_id": "remote"})


def health(server: Server) -> dict[str, Any]:
    """What the admin listener says of the remote issuer's keys."""
    found: list[dict[str, Any]] = server.request("GET", "/readyz", admin=True).json()["issuers"]
    return next(one for one in found if one["workspace"] == "remote")


def until(happens: Callable[[], bool]) -> None:
    """Wait for something that comes, however slow the machine is."""
    for _ in range(1200):
        if happens():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.mark.parametrize("lane", [True, False])
def test_keys_are_fetched_and_rotations_are_met(tmp_path: Path, issuer: JwksServer, lane: bool) -> None:
    """A key is known from the start; a new one from the first token on that names it; a withdrawn one no more.

    The token of a withdrawn key is refused although it was verified, and remembered, before.
    """
    issuer.publish(old := signing("old"), path=PUBLISHED)
    with gateway(issuer, tmp_path, lane=lane) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        remembered = token(old)
        for _ in range(3):
            assert (auth(server, remembered).status, login(server, remembered).status) == (200, 200)
        fetched = issuer.count(PUBLISHED)
        issuer.publish(old, new := signing("new"), path=PUBLISHED)
        assert (auth(server, token(new)).status, login(server, token(new)).status) == (200, 200)
        assert issuer.count(PUBLISHED) == fetched + 1
        issuer.publish(new, third := signing("third"), path=PUBLISHED)
        until(lambda: auth(server, token(third)).status == 200)
        assert auth(server, token(new)).status == 200
        for presented in (remembered, token(old)):
            assert (auth(server, presented).status, auth(server, presented).code) == (401, "kid_unknown")
            assert login(server, presented).code == "kid_unknown"
        assert '"level": "error"' not in server.log()


@pytest.mark.parametrize("lane", [True, False])
def test_b16_down_from_boot(tmp_path: Path, issuer: JwksServer, lane: bool) -> None:
    """B16: the listener is up without keys; every token is 503, whoever signed it, and nothing verifies.

    Other workspaces are served. When the issuer comes, so does readiness, by itself.
    """
    issuer.answers["*"] = reset
    real, stranger = signing("real"), signing("real")
    with gateway(issuer, tmp_path, lane=lane) as server:
        for presented in (token(real), token(stranger), token(server.issuer_key), token(signing("other"))):
            for reply in (auth(server, presented), login(server, presented)):
                assert (reply.status, reply.code) == (503, "keys_unavailable")
                assert int(reply.headers["retry-after"]) > 0
        assert login(server, "a.b.c").code == "token_malformed"
        assert server.login(server.token("somebody-else"), {"app_id": "acme"}).status == 200
        ready = server.request("GET", "/readyz")
        assert (ready.status, ready.json()["checks"]["keys"]) == (503, "no keys")
        assert ready.json().keys() == {"status", "checks"}
        assert server.request("GET", "/healthz").status == 200
        found = health(server)
        assert (found["state"], found["keys"], found["error"]) == ("none", 0, "the connection broke")
        assert server.request("GET", "/readyz", admin=True).status == 503
        issuer.publish(real, path=PUBLISHED)
        until(lambda: server.request("GET", "/readyz").status == 200)
        assert (auth(server, token(real)).status, login(server, token(real)).status) == (200, 200)
        assert auth(server, token(stranger)).code == "signature_invalid"


def test_health_says_how_the_keys_are_and_nothing_secret(tmp_path: Path, issuer: JwksServer) -> None:
    """Per issuer: source without its query, state, age, errors in words, what was left out, what is exposed."""
    leaked = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldA", "kid": "s"}
    issuer.answers[PUBLISHED] = document(jwks(signing("a"), leaked, {"kty": "EC", "kid": "broken"}))
    with gateway(issuer, tmp_path) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        found = health(server)
        assert found["source"] == issuer.url("/jwks.json?...")
        assert (found["issuer"], found["keys"], found["state"], found["exposed"]) == ("login", 1, "fresh", 1)
        assert [words.partition(":")[0] for words in found["left_out"]] == ["keys[1]", "keys[2]"]
        assert found["error"] is None
        assert 0 <= found["age"] < 60
        given = server.request("GET", "/readyz", admin=True).json()["issuers"]
        assert {one["issuer"]: one["state"] for one in given if one["workspace"] == "acme"} == {
            "messenger": "fresh",
            "login": "fresh",
        }
        issuer.answers[PUBLISHED] = status(500)
        assert auth(server, token(signing("b"))).status == 503
        assert health(server)["error"] == "the answer was 500"
        everything = server.log() + server.request("GET", "/readyz", admin=True).body.decode()
        assert "a published key set holds secrets" in everything
        assert "s3cret" not in everything
        assert "c2VjcmV0" not in everything


@pytest.mark.parametrize("failing", [False, True])
def test_a11_a_flood_through_the_listener(tmp_path: Path, issuer: JwksServer, failing: bool) -> None:
    """A11: thousands of tokens with random kids make one fetch a cool-down; a rotation among them is picked up.

    People with known keys are served all the while.
    """
    issuer.publish(old := signing("old"), path=PUBLISHED)
    with gateway(issuer, tmp_path) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        stranger, new = signing("x"), signing("new")
        if failing:
            issuer.answers[PUBLISHED] = status(500)
        fetched, began = issuer.count(PUBLISHED), time.monotonic()

        def flood(number: int) -> tuple[int, str | None]:
            if number % 10 == 0:
                known = auth(server, token(old, f"user-{number % 50}"))
                return known.status, None
            reply = auth(server, token(stranger, header={"kid": os.urandom(12).hex()}))
            return reply.status, reply.code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(flood, range(2000)))
            issuer.publish(old, new, path=PUBLISHED)
            picked_up = False
            while not picked_up:
                answers += pool.map(flood, range(100))
                picked_up = auth(server, token(new)).status == 200
                assert time.monotonic() - began < 120
        cool_downs = (time.monotonic() - began) / 5
        assert issuer.count(PUBLISHED) - fetched <= cool_downs + 1
        assert set(answers) <= {(200, None), (401, "kid_unknown"), (503, "keys_unavailable")}
        assert answers.count((200, None)) == sum(number % 10 == 0 for number in range(len(answers)))
        expected = (503, "keys_unavailable") if failing else (401, "kid_unknown")
        assert expected in answers


def test_a_hanging_issuer_holds_nobody_else(tmp_path: Path, issuer: JwksServer) -> None:
    """R40, 0.3: while tokens with unknown kids wait for an issuer that hangs, everybody else is answered.

    Who waits may go away (B17); the rest gets 503 in the end.
    """
    issuer.publish(old := signing("old"), path=PUBLISHED)
    with gateway(issuer, tmp_path) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        issuer.answers[PUBLISHED] = hang
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            waiting = [pool.submit(auth, server, token(signing(f"new-{number}"))) for number in range(10)]
            until(lambda: issuer.count(PUBLISHED) == 2)
            gone = f"GET /auth/remote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(signing('gone'))}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(gone.encode())
            served = [auth(server, token(old, f"user-{number}")).status for number in range(100)]
            still = sum(not one.done() for one in waiting)
            assert served == [200] * 100
            assert {one.result().code for one in waiting} == {"keys_unavailable"}
        assert still, "the test was too slow to show anything"
        assert server.login(server.token("messenger"), {"app_id": "acme"}).status == 200
        assert '"level": "error"' not in server.log()


@pytest.mark.parametrize("lane", [True, False])
def test_a04_no_header_makes_a_request(tmp_path: Path, issuer: JwksServer, lane: bool) -> None:
    """A04, R8: `jku`, `x5u`, `jwk`, `x5c` and a URL as kid choose no key and cause no request to where they point."""
    issuer.publish(known := signing("known"), path=PUBLISHED)
    attacker = signing("attacker")
    issuer.publish(attacker, path="/evil.json")
    with gateway(issuer, tmp_path, lane=lane) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        evil = issuer.url("/evil.json")
        headers: list[dict[str, Any]] = [
            {"jku": evil},
            {"x5u": evil},
            {"jku": evil, "kid": "known"},
            {"jwk": attacker.public_jwk(), "kid": "known"},
            {"x5c": ["MIIB"], "x5t": "AAAA", "kid": "known"},
            {"kid": evil},
            {"jwks_uri": evil, "iss": evil},
        ]
        for header in headers:
            reply = auth(server, token(attacker, header=header))
            assert (reply.status, reply.code in {"kid_unknown", "signature_invalid"}) == (401, True)
        claims = {"iss": issuer.url(""), "aud": "messenger", "user_id": "u", "jwks_uri": evil}
        foreign = issue_token(claims, attacker, ttl=600, now=time.time())
        assert auth(server, foreign).code == "issuer_unknown"
        assert auth(server, token(known, header={"jku": evil, "x5u": evil})).status == 200
        assert {seen.path for seen in issuer.seen} == {PUBLISHED}


@pytest.mark.parametrize(("hours", "served"), [(23, 200), (25, 503)])
def test_a_cold_start_while_the_issuer_is_down(tmp_path: Path, issuer: JwksServer, hours: int, served: int) -> None:
    """The last good set on disk serves a start in an outage, as stale; past the cap it is 503 and never 401."""
    issuer.publish(key := signing("a"), path=PUBLISHED)
    with gateway(issuer, tmp_path) as server:
        until(lambda: any((tmp_path / "keys").glob("*.json")))
        assert auth(server, token(key)).status == 200
    (saved,) = (tmp_path / "keys").glob("*.json")
    assert (saved.stat().st_mode & 0o777, saved.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    content = json.loads(saved.read_text())
    saved.write_text(json.dumps({**content, "saved_at": int(time.time()) - hours * 3600}))
    issuer.answers[PUBLISHED] = reset
    (again := tmp_path / "again").mkdir()
    (tmp_path / "keys").rename(again / "keys")
    with gateway(issuer, again) as server:
        for presented in (token(key), token(key, "user-2")):
            assert auth(server, presented).status == served
        assert auth(server, token(signing("b"))).status == 503
        assert server.request("GET", "/readyz").status == served
        assert health(server)["state"] == {200: "stale", 503: "none"}[served]


def test_a_reload_keeps_what_was_fetched(tmp_path: Path, issuer: JwksServer) -> None:
    """A reload that changes something else fetches nothing anew; keys are at hand in the very next request.

    An issuer whose own settings changed has a new set, which begins with what is on disk unless it is published
    elsewhere now; then it is fetched first.
    """
    issuer.publish(key := signing("a"), path=PUBLISHED)
    issuer.publish(key, path="/other.json")
    with gateway(issuer, tmp_path) as server:
        until(lambda: server.request("GET", "/readyz").status == 200)
        fetched = issuer.count(PUBLISHED)
        config = tmp_path / "gateway.toml"
        since = server.request("GET", "/readyz", admin=True).json()["configuration"]["since"]
        issuer.answers[PUBLISHED] = reset
        config.write_text(
            config.read_text().replace("[workspaces.acme]\n", "[workspaces.acme]\nemail_fallback = false\n")
        )
        until(lambda: bool(server.request("GET", "/readyz", admin=True).json()["configuration"]["since"] != since))
        assert (auth(server, token(key)).status, issuer.count(PUBLISHED)) == (200, fetched)
        until(lambda: any((tmp_path / "keys").glob("remote-*.json")))
        config.write_text(config.read_text().replace("jwks_cooldown = 5", "jwks_cooldown = 6"))
        until(lambda: bool(health(server)["state"] == "stale"))
        assert auth(server, token(key, "user-2")).status == 200, "from disk, for the issuer is down"
        config.write_text(config.read_text().replace("/jwks.json?key=s3cret", "/other.json"))
        until(lambda: issuer.count("/other.json") > 0)
        until(lambda: health(server)["source"].endswith("/other.json"))
        assert auth(server, token(key)).status == 200


def test_the_middleware_keeps_and_closes_its_sets(tmp_path: Path, issuer: JwksServer) -> None:
    """Inside somebody's application: keys are fetched at the first token, and no task outlives the application."""
    issuer.publish(key := signing("a"), path=PUBLISHED)
    config = tmp_path / "gateway.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path / "contacts.db"}"\n' + remote_workspace(issuer, tmp_path))
    authenticator = create_authenticator(config)
    asyncio.run(authenticator.store.migrate())

    async def tasks(_request: object) -> PlainTextResponse:
        return PlainTextResponse(str(len(asyncio.all_tasks())))

    app = Starlette(
        routes=[Route("/", tasks)], middleware=[Middleware(IdentityMiddleware, authenticator=authenticator)]
    )
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/", headers={"Authorization": f"Bearer {token(key)}"}).status_code == 200
            unknown = client.get("/", headers={"Authorization": f"Bearer {token(signing('b'))}"})
            assert (unknown.status_code, unknown.json()["code"]) == (401, "kid_unknown")
        assert not authenticator.is_open
        assert authenticator.verifier.issuer("remote", "login").keys._keeper is None  # type: ignore[attr-defined]


def test_inspection_asks_the_publisher(tmp_path: Path, issuer: JwksServer) -> None:
    """`token inspect` fetches what it needs: it names the published keys, and tells an outage from an unknown kid."""
    issuer.publish(key := signing("published"), path=PUBLISHED)
    config = tmp_path / "gateway.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path / "contacts.db"}"\n' + remote_workspace(issuer, tmp_path))

    def inspected(presented: str) -> tuple[dict[str, Any], str]:
        arguments = ("token", "inspect", presented, "--workspace", "remote", "--json", "--config", str(config))
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        return checks["key"], done.stderr

    check, complaints = inspected(token(key))
    assert (check["outcome"], check["expected"], check["code"]) == ("passed", "one of: published", None)
    check, complaints = inspected(token(signing("other")))
    assert (check["outcome"], check["expected"], check["code"]) == ("failed", "one of: published", "kid_unknown")
    issuer.answers[PUBLISHED] = status(500)
    check, complaints = inspected(token(key))
    assert (check["outcome"], check["code"]) == ("failed", "keys_unavailable")
    assert "the answer was 500" in check["found"]
    assert "Traceback" not in complaints
    assert not (tmp_path / "keys").exists(), "a command leaves no set behind"
