"""Enforcement per platform: who passes as nobody, who never does, and what is counted of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import IdentityMiddleware, create_authenticator
from gateway.contacts.database.stores import store_for
from gateway.contacts.rollout import VERIFIED, EnforcementCounter
from gateway.errors import Code, Refusal
from gateway.identity.issuing import issue_token
from gateway.identity.platforms import Platform
from gateway.web.enforcement import EXCUSED, Enforcement, Mode
from gateway.web.problems import Problems, status_of
from keys.jwk import signing_key_from_secret
from tests.web.conftest import STORES, Reply, Server, command, gateway_on, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

ROLLING_OUT = 'enforcement = { web = "report", ios = "off" }'
LENIENT = ("web", "ios")


@pytest.fixture(scope="module", params=["express lane", "ASGI"], name="gateway")
def _gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway whose web is in `report`, whose ios is `off`, and whose android is `on`."""
    folder = tmp_path_factory.mktemp("enforcement")
    lane = request.param == "express lane"
    public = 'email_conflict = "reject"\n'
    with running_gateway(folder, lane=lane, extra=public + ROLLING_OUT) as running:
        yield running


def login(gateway: Server, token: str | None, platform: str | None, app_id: str = "acme", **body: Any) -> Reply:
    return gateway.login(token, {"app_id": app_id, "platform": platform, **body})


def auth(gateway: Server, token: str | None, platform: str) -> Reply:
    return gateway.request("GET", f"/auth/acme/{platform}", token)


def identity_headers(reply: Reply) -> set[str]:
    return {name for name in reply.headers if re.match("x-(contact|user|identity|forwarded)", name)}


def report(gateway: Server, app_id: str = "acme") -> dict[str | None, dict[str, Any]]:
    """The report by platform, from the command."""
    printed = json.loads(command(gateway, "enforcement", "report", "-w", app_id, "--json"))
    return {one["platform"]: one for one in printed["platforms"]}


def counted(gateway: Server, expected: dict[str, int], platform: str = "web") -> dict[str, Any]:
    """Wait until so many requests of each code, or `verified`, came into the store; the platform's line."""
    deadline = time.monotonic() + 60
    while True:
        found = report(gateway)[platform]
        outcomes = {**found["codes"], "verified": found["verified"]}
        if all(outcomes.get(outcome, 0) >= total for outcome, total in expected.items()):
            return found
        assert time.monotonic() < deadline, (expected, found)


def test_what_is_excused_is_what_a_signer_does_wrong() -> None:
    """Every code of 401, 409 and 422 but a revocation; no bad request, no decision about somebody, no outage."""
    assert {code for code in Code if status_of(code) in {401, 409, 422}} - {Code.TOKEN_REVOKED} == EXCUSED


@pytest.mark.parametrize("modes", list(itertools.product(Mode, repeat=3)), ids="-".join)
def test_a_request_without_a_platform_meets_the_strictest(modes: tuple[Mode, ...]) -> None:
    """Of all three, whatever they are; the default workspace is the one that it names, and an unknown one enforces."""
    by_platform = dict(zip(Platform, modes, strict=True))
    enforcement = Enforcement({"acme": by_platform}, default_workspace="acme")
    strictest = min(modes, key=list(Mode).index)
    for workspace in ("acme", None):
        assert enforcement.mode(workspace, None) is strictest
        assert {platform: enforcement.mode(workspace, platform) for platform in Platform} == by_platform
    assert {enforcement.mode("other", platform) for platform in (None, *Platform)} == {Mode.ON}
    assert Enforcement().mode("acme", Platform.WEB) is Enforcement({"acme": {}}).mode("acme", None) is Mode.ON


def test_only_what_is_configured_is_counted(tmp_path: Path) -> None:
    """However many workspaces strangers name, and whatever is refused: what a process keeps is bounded."""

    async def go() -> None:
        store = store_for(f"sqlite:///{tmp_path / 'contacts.db'}")
        await store.migrate()
        await store.open()
        counter = EnforcementCounter(store, time.time)
        reporting = dict.fromkeys(Platform, Mode.REPORT)
        enforcement = Enforcement({"acme": reporting}, counter, default_workspace="acme")
        problems = Problems(os.urandom)
        for number in range(1000):
            for workspace in (f"stranger-{number}", "acme", None):
                enforcement.count_verified(workspace, None)
                for code in Code:
                    excused = enforcement.excuse(Refusal(code, "a test says so"), workspace, Platform.WEB, problems)
                    assert (excused is not None) == (code in EXCUSED and workspace in {"acme", None})
        await counter.flush()
        counts = await store.enforcement_counts("acme", since=0)
        assert {(one.platform, one.outcome, one.total) for one in counts} == {
            ("", VERIFIED, 2000),
            *(("web", code.value, 2000) for code in EXCUSED),
        }
        assert await store.enforcement_counts("stranger-1", since=0) == []
        await store.close()

    asyncio.run(go())


def bad_tokens(gateway: Server) -> dict[str, str | None]:
    """A token, or none, for each kind of refusal that passes."""
    other = signing_key_from_secret(os.urandom(32).hex(), "2026-11")
    unknown = signing_key_from_secret(os.urandom(32).hex(), "unknown")
    now = time.time()
    return {
        "credentials_missing": None,
        "token_malformed": "a.b.c",
        "token_too_large": "a" * 9000,
        "alg_not_allowed": gateway.token(header={"alg": "none"}),
        "kid_unknown": issue_token({"user_id": "user-1"}, unknown, ttl=60, now=now),
        "signature_invalid": issue_token({"user_id": "user-1"}, other, ttl=60, now=now),
        "token_expired": gateway.token(exp=1, ttl=None),
        "user_id_missing": gateway.token(None),
        "user_id_placeholder": gateway.token("undefined"),
        "email_invalid": gateway.token(email="no email"),
    }


@pytest.mark.parametrize("platform", LENIENT)
def test_who_is_not_proven_passes_as_nobody(gateway: Server, platform: str) -> None:
    """200 and nobody, with the code that it would be refused with; no identity header; nothing is written."""
    before = gateway.contacts()
    for code, token in bad_tokens(gateway).items():
        user_data = {"name": "Eve", "user_id": "user-1"}
        reply = login(gateway, token, platform, user_data=user_data, user_id="user-1", user_hash="")
        expected = {"type": "identity", "verified": False, "contact": None, "identity": None, "code": code}
        found = reply.json()
        request_id = found.pop("request_id", None)
        assert (reply.status, found, reply.headers["cache-control"]) == (200, expected, "no-store")
        assert (request_id is not None) == (platform == "web")
        forwarded = auth(gateway, token, platform)
        assert (forwarded.status, forwarded.body, forwarded.headers["cache-control"]) == (200, b"", "no-store")
        assert identity_headers(forwarded) == {"x-identity-error"}
        assert forwarded.headers["x-identity-error"] == code
        me = gateway.request("GET", f"/messenger/me?app_id=acme&platform={platform}", token)
        assert (me.status, me.json()["code"], me.json()["contact"]) == (200, code, None)
    assert gateway.contacts() == before


@pytest.mark.parametrize("platform", ["android", None])
def test_where_it_is_enforced_nobody_passes(gateway: Server, platform: str | None) -> None:
    """A platform that is `on`; a request that names none meets the strictest of the three."""
    for code, token in bad_tokens(gateway).items():
        assert (login(gateway, token, platform).status, login(gateway, token, platform).code) == (
            status_of(Code(code)),
            code,
        )
        path = "/auth/acme" if platform is None else f"/auth/acme/{platform}"
        assert gateway.request("GET", path, token).status in {401, 403}


@pytest.mark.parametrize("platform", LENIENT)
def test_who_is_proven_is_treated_as_ever(gateway: Server, platform: str) -> None:
    """A contact, linked by its proven email, user_data, and identity headers."""
    email = f"known-{platform}@example.com"
    known = gateway.admin("POST", "/contacts", {"email": email, "email_verified": True}).json()["id"]
    token = gateway.token(f"good-{platform}", email=email)
    reply = login(gateway, token, platform, user_data={"name": "Ada"}).json()
    assert (reply["verified"], reply["identity"]["linked"], reply["identity"]["proof"]) == (True, True, "signed")
    assert (reply["contact"]["id"], reply["contact"]["name"]) == (known, "Ada")
    forwarded = auth(gateway, token, platform)
    assert (forwarded.headers["x-contact-id"], forwarded.headers["x-user-email"]) == (known, email)
    assert "x-identity-error" not in forwarded.headers


@pytest.mark.parametrize("platform", LENIENT)
def test_a_conflict_of_identities_passes_and_writes_nothing(gateway: Server, platform: str) -> None:
    """409s are found out inside a transaction: it leaves nothing."""
    email = f"conflict-{platform}@example.com"
    for user_id in ("one", "two"):
        body = {"external_id": f"{user_id}-{platform}", "email": email, "email_verified": True}
        if user_id == "one":
            assert gateway.admin("POST", "/contacts", body).status == 200
    before = gateway.contacts()
    reply = login(gateway, gateway.token(f"three-{platform}", email=email), platform)
    assert (reply.status, reply.code) == (200, "identity_conflict")
    contact_id = next(iter(before))
    reply = login(gateway, gateway.token(contact_id), platform)
    assert (reply.status, reply.code) == (200, "user_id_is_contact_id")
    assert gateway.contacts() == before


@pytest.mark.parametrize("platform", LENIENT)
def test_what_an_operator_decided_stands(gateway: Server, platform: str) -> None:
    """Blocked is blocked, and a token that was revoked stays revoked, where nothing is enforced."""
    token = gateway.token(f"blocked-{platform}")
    contact_id = login(gateway, token, platform).json()["contact"]["id"]
    assert gateway.admin("POST", f"/contacts/{contact_id}/block").status == 200
    assert (login(gateway, token, platform).status, login(gateway, token, platform).code) == (403, "contact_blocked")
    assert (auth(gateway, token, platform).status, auth(gateway, token, platform).code) == (403, "contact_blocked")
    token = gateway.token(f"out-{platform}")
    assert login(gateway, token, platform).status == 200
    query = f"?app_id=acme&platform={platform}"
    assert gateway.request("POST", f"/messenger/logout{query}", token).status == 200
    assert (login(gateway, token, platform).status, login(gateway, token, platform).code) == (401, "token_revoked")
    assert (auth(gateway, token, platform).status, auth(gateway, token, platform).code) == (401, "token_revoked")
    # Nobody is logged out who never was logged in.
    assert gateway.request("POST", f"/messenger/logout{query}", "a.b.c").status == 401


@pytest.mark.parametrize("platform", LENIENT)
def test_a_request_that_is_none_of_ours_is_refused(gateway: Server, platform: str) -> None:
    """Two credentials, a body that is not JSON, too large a head, a workspace that does not exist."""
    one, two = gateway.token("one"), gateway.token("two")
    assert login(gateway, one, platform, intercom_user_jwt=two).code == "credentials_conflict"
    assert login(gateway, one, platform, user_data=1).code == "request_invalid"
    assert login(gateway, one, platform, app_id="nobody").code == "request_invalid"
    assert gateway.request("GET", f"/auth/acme/{platform}", headers={"X": "x" * 33_000}).status == 401
    twice = b"GET /auth/acme/%b HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"
    assert gateway.raw(twice % platform.encode()).startswith(b"HTTP/1.1 401")


def test_a_would_be_refusal_is_one_line_in_the_log(gateway: Server) -> None:
    """In `report`, under the request id of the answer, with the code and the reason; in `off` there is none."""
    token = gateway.token("undefined", email="hidden@example.com")
    request_id = login(gateway, token, "web").json()["request_id"]
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == request_id]
    assert (line["event"], line["level"], line["code"]) == ("would be refused", "info", "user_id_placeholder")
    assert (line["logger"], line["field"]) == ("gateway.refusals", "user_id")
    assert "hidden@example.com" not in gateway.log()
    before = len(gateway.log().splitlines())
    assert login(gateway, token, "ios").json()["code"] == "user_id_placeholder"
    assert len(gateway.log().splitlines()) == before


def test_what_is_not_enforced_is_said(gateway: Server) -> None:
    """In the log of each start, and by `gateway config check`: nobody leaves it so without knowing (B23)."""
    expected = ["acme/web: report", "acme/ios: off"]
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    (line,) = [line for line in lines if line.get("event") == "verification is not enforced everywhere"]
    assert (line["level"], line["platforms"]) == ("warning", expected)
    assert json.loads(command(gateway, "config", "check", "--json"))["not_enforced"] == expected
    assert "not enforced: acme/ios: off" in command(gateway, "config", "check")


@pytest.mark.parametrize("store", STORES)
def test_counts_of_all_workers_come_together(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Verified ones and each code, by platform, also those of the last moment; `on` and `off` count none."""
    with gateway_on(store, request, tmp_path, workers=2, extra=ROLLING_OUT) as server:
        for _ in range(20):
            for platform in ("web", "ios", "android"):
                login(server, server.token("counted"), platform)
                login(server, None, platform)
                auth(server, "a.b.c", platform)
        login(server, server.token("counted"), None)
        found = counted(server, {"verified": 20, "credentials_missing": 20, "token_malformed": 20})
        assert found == {
            "platform": "web",
            "mode": "report",
            "verified": 20,
            "unverified": 40,
            "codes": {"credentials_missing": 20, "token_malformed": 20},
        }
        assert {name: (one["mode"], one["verified"], one["unverified"]) for name, one in report(server).items()} == {
            "web": ("report", 20, 40),
            "ios": ("off", 0, 0),
            "android": ("on", 0, 0),
            None: ("on", 0, 0),
        }
        api = server.admin("GET", "/enforcement?days=1").json()
        assert api["type"] == "enforcement_report"
        assert (api["workspace_id"], api["since"]) == ("acme", api["until"])
        assert next(one for one in api["platforms"] if one["platform"] == "web") == found
        login(server, None, "web")
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert report(server)["web"]["codes"]["credentials_missing"] == 21


@pytest.mark.parametrize("days", ["0", "91", "x", "-1", "1.5", "%D9%A1", ""])
def test_the_days_of_a_report_are_bounded(gateway: Server, days: str) -> None:
    """As many as are kept."""
    reply = gateway.admin("GET", f"/enforcement?days={days}")
    assert (reply.status, reply.json()["errors"][0]["field"]) == (400, "days")


def test_an_outage_is_no_verdict_that_passes(tmp_path: Path) -> None:
    """Where the store is gone, a good token gets 503 and not in as nobody; counts wait meanwhile."""
    with running_gateway(tmp_path, extra=ROLLING_OUT) as server:
        assert login(server, server.token("before"), "web").status == 200
        for name in ("contacts.db", "contacts.db-wal", "contacts.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        deadline = time.monotonic() + 60
        while server.request("GET", "/readyz").status == 200:
            assert time.monotonic() < deadline
        for platform in LENIENT:
            assert login(server, server.token("new"), platform).code == "store_unavailable"
            assert auth(server, server.token("new"), platform).status == 503
            assert login(server, None, platform).json()["code"] == "credentials_missing"


async def _whoami(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse(
        {
            "verified": user.is_authenticated,
            "scopes": request.auth.scopes,
            "contact_id": user.identity if user.is_authenticated else None,
            "spoofed": [name for name in request.headers if "contact" in name or "user-id" in name],
        }
    )


def test_the_middleware_enforces_as_the_gateway_does(gateway: Server) -> None:
    """By the same settings, for the platform of its mount; who passes as nobody is Starlette's unauthenticated user."""
    tokens = {**bad_tokens(gateway), "good": gateway.token("in-the-application")}
    for platform in (None, "web", "ios", "android"):
        for optional in (False, True):
            middleware = Middleware(
                IdentityMiddleware,
                authenticator=create_authenticator(gateway.folder / "gateway.toml"),
                workspace="acme",
                platform=platform,
                optional=optional,
            )
            with TestClient(Starlette(routes=[Route("/", _whoami)], middleware=[middleware])) as client:
                for name, token in tokens.items():
                    headers = {"X-Contact-Id": "1", "X_User_Id": "root"}
                    if token is not None:
                        headers["Authorization"] = f"Bearer {token}"
                    reply, agreed = client.get("/", headers=headers), login(gateway, token, platform)
                    if optional and token is None:
                        assert reply.json()["verified"] is False
                        continue
                    assert reply.status_code == agreed.status, (platform, name)
                    if reply.status_code == 200:
                        verified = agreed.json()["verified"]
                        assert reply.json() == {
                            "verified": verified,
                            "scopes": ["authenticated"] if verified else [],
                            "contact_id": agreed.json()["contact"]["id"] if verified else None,
                            "spoofed": [],
                        }
                    else:
                        assert reply.json()["code"] == agreed.code


def test_the_middleware_counts_where_no_token_ever_comes(tmp_path: Path) -> None:
    """The begin of every roll-out: the store is opened for the counts alone, and they are there at the end."""
    with running_gateway(tmp_path, extra=ROLLING_OUT) as server:
        middleware = Middleware(
            IdentityMiddleware, authenticator=create_authenticator(tmp_path / "gateway.toml"), platform="web"
        )
        with TestClient(Starlette(routes=[Route("/", _whoami)], middleware=[middleware])) as client:
            for _ in range(3):
                assert client.get("/").json()["verified"] is False
        assert report(server)["web"]["codes"] == {"credentials_missing": 3}


def test_enforcing_takes_a_line_of_the_configuration(tmp_path: Path) -> None:
    """A running gateway begins to refuse; what was counted before is not lost, and counting ends."""
    with running_gateway(tmp_path, extra=ROLLING_OUT) as server:
        assert login(server, None, "web").status == 200
        config = tmp_path / "gateway.toml"
        config.write_text(config.read_text().replace('web = "report"', 'web = "on"'))
        deadline = time.monotonic() + 60
        passed = 1
        while login(server, None, "web").status == 200:
            passed += 1
            assert time.monotonic() < deadline
        assert auth(server, None, "web").status == 401
        assert login(server, None, "ios").status == 200
        server.stop()
        assert server.exit_code() == 0
        found = report(server)["web"]
        assert (found["mode"], found["codes"]) == ("on", {"credentials_missing": passed})
