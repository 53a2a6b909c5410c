"""Enforcement per platform: who passes as nobody, who never does, and what is counted of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway import IdentityMiddleware, create_authenticator
from gateway.contacts.access_token import Scope
from gateway.errors import Code
from gateway.identity.issuing import issue_token
from gateway.web.enforcement import EXCUSED
from gateway.web.problems import status_of
from keys.jwk import signing_key_from_secret
from tests.web.conftest import STORES, Reply, Server, access_token, command, gateway_on, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

LEGACY = os.urandom(32).hex()
ROLLING_OUT = 'enforcement = { web = "report", ios = "off" }'
LENIENT = ("web", "ios")


def legacy(folder: Path) -> str:
    """A workspace that takes `user_hash` and nothing else is special about, its web rolled out."""
    (folder / "legacy").write_text(LEGACY)
    (folder / "legacy").chmod(0o600)
    return f"""
[workspaces.legacy]
enforcement = {{ web = "report" }}
[[workspaces.legacy.issuers]]
name = "messenger"
profile = "intercom"
user_hash = true
secrets = [{{ id = "2026-11", secret_file = "{folder / "legacy"}" }}]
"""


@pytest.fixture(scope="module", params=["express lane", "ASGI"], name="gateway")
def _gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway whose web is in `report`, whose ios is `off`, and whose android is `on`."""
    folder = tmp_path_factory.mktemp("enforcement")
    lane = request.param == "express lane"
    public = 'email_conflict = "reject"\n'
    with running_gateway(folder, lane=lane, extra=public + ROLLING_OUT, others=legacy(folder)) as running:
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


def hash_of(message: str) -> str:
    return hmac.new(LEGACY.encode(), message.encode(), hashlib.sha256).hexdigest()


def by_hash(gateway: Server, user_hash: Any, platform: str | None = None, **body: Any) -> Reply:
    return login(gateway, body.pop("token", None), platform, "legacy", user_hash=user_hash, **body)


def test_a_user_hash_logs_in(gateway: Server) -> None:
    """It finds and makes the contact of its user_id, for ever; the answer says how it was proven."""
    first = by_hash(gateway, hash_of("hashed"), user_id="hashed", email="h@example.com", user_data={"name": "Ada"})
    found = first.json()
    assert (first.status, found["verified"], found["contact"]["name"]) == (200, True, "Ada")
    assert found["identity"] == {
        "user_id": "hashed",
        "email": "h@example.com",
        "issuer": "messenger",
        "proof": "hashed",
        "matched_by": "first_sight",
        "created": True,
        "linked": False,
        "expires_at": None,
    }
    second = by_hash(gateway, hash_of("hashed"), user_id="hashed").json()
    assert (second["contact"]["id"], second["identity"]["created"]) == (found["contact"]["id"], False)
    key = signing_key_from_secret(LEGACY, "2026-11")
    token = issue_token({"user_id": "hashed"}, key, ttl=60, now=time.time())
    assert login(gateway, token, None, "legacy").json()["contact"]["id"] == found["contact"]["id"]


def test_a_user_hash_over_the_email(gateway: Server) -> None:
    """Where no user_id is sent; beside one it is nobody's proof."""
    email = "only@example.com"
    assert by_hash(gateway, hash_of(email), email=email).json()["identity"]["user_id"] == email
    reply = by_hash(gateway, hash_of(email), email=email, user_id="somebody-else")
    assert (reply.status, reply.code, reply.json()["field"]) == (401, "signature_invalid", "user_hash")


@pytest.mark.parametrize("empty", ["", None])
def test_c01_an_empty_user_hash_is_no_proof(gateway: Server, empty: str | None) -> None:
    """Empty, null or absent: nobody; beside a token there is nothing that could conflict with it."""
    before = gateway.contacts()
    for body in ({"user_id": "victim"}, {"email": "victim@example.com"}, {"user_id": "", "email": ""}):
        reply = by_hash(gateway, empty, **body)
        assert (reply.status, reply.code) == (401, "credentials_missing")
    assert gateway.contacts() == before
    token = issue_token({"user_id": "own"}, signing_key_from_secret(LEGACY, "2026-11"), ttl=60, now=time.time())
    assert by_hash(gateway, empty, token=token, user_id="victim").json()["identity"]["user_id"] == "own"


@pytest.mark.parametrize("wrong", ["a", "0" * 64, " ", "undefined", "HASH", "null", "\u0660" * 64, "\x00"])
def test_c01_a_wrong_user_hash_is_refused(gateway: Server, wrong: str) -> None:
    """With one code, and nobody is found, made or told apart."""
    before = gateway.contacts()
    wrong = hash_of("victim").upper() if wrong == "HASH" else wrong
    reply = by_hash(gateway, wrong, user_id="victim", user_data={"name": "Eve"})
    assert (reply.status, reply.code) == (401, "signature_invalid")
    assert hash_of("victim") not in gateway.log()
    assert gateway.contacts() == before


@pytest.mark.parametrize("user_hash", [1, True, ["a"], {"a": 1}])
def test_c01_a_user_hash_is_text(gateway: Server, user_hash: Any) -> None:
    """Another type is a bad request, in every mode."""
    for platform in (None, "web"):
        reply = by_hash(gateway, user_hash, platform, user_id="victim")
        assert (reply.status, reply.code, reply.json()["field"]) == (400, "request_invalid", "user_hash")


def test_b08_a_user_hash_beside_a_token_is_refused(gateway: Server) -> None:
    """Two proofs in one request are never ranked, also where they name the same, and where one of them is wrong."""
    token = issue_token({"user_id": "own"}, signing_key_from_secret(LEGACY, "2026-11"), ttl=60, now=time.time())
    for user_hash in (hash_of("own"), "0" * 64):
        for sent in ({"token": token}, {"intercom_user_jwt": token}, {"token": "a.b.c"}):
            reply = by_hash(gateway, user_hash, user_id="own", **sent)
            assert (reply.status, reply.code) == (400, "credentials_conflict"), sent


def test_where_it_is_off_a_user_hash_is_ignored(gateway: Server) -> None:
    """The members are those of anybody's body: alone they are no credential, and beside a token they say nothing."""
    body: dict[str, Any] = {"user_id": "victim", "email": "victim@example.com", "user_hash": hash_of("victim")}
    reply = login(gateway, None, None, **body)
    assert (reply.status, reply.code) == (401, "credentials_missing")
    assert login(gateway, None, None, **{**body, "user_hash": 1}).code == "credentials_missing"
    assert login(gateway, gateway.token("own"), None, **body).json()["identity"]["user_id"] == "own"


def test_a_user_hash_stands_in_the_body_of_a_login_alone(gateway: Server) -> None:
    """Not in a query, not in a header, not at the other addresses."""
    query = f"?app_id=legacy&user_id=user-1&user_hash={hash_of('user-1')}"
    for method, path in (("POST", "/messenger/login"), ("GET", "/messenger/me"), ("GET", "/auth/legacy")):
        headers = {"X-User-Hash": hash_of("user-1"), "X-User-Id": "user-1"}
        assert gateway.request(method, path + query, headers=headers).code == "credentials_missing"


def test_who_is_blocked_stays_out_with_a_user_hash(gateway: Server) -> None:
    """As with a token, in every mode."""
    operator = access_token(gateway, *Scope, workspace="legacy")
    blocked = by_hash(gateway, hash_of("to-block"), user_id="to-block").json()["contact"]["id"]
    assert gateway.admin("POST", f"/contacts/{blocked}/block", token=operator).status == 200
    for platform in (None, "web"):
        reply = by_hash(gateway, hash_of("to-block"), platform, user_id="to-block")
        assert (reply.status, reply.code) == (403, "contact_blocked")


def test_whose_tokens_are_revoked_stays_out_with_a_user_hash(gateway: Server) -> None:
    """It does not say when it was made, so it is older than any revocation of the person; others go on."""
    for user_id in ("to-revoke", "to-stay"):
        assert by_hash(gateway, hash_of(user_id), user_id=user_id).status == 200
    command(gateway, "token", "revoke", "--contact", "to-revoke", "-w", "legacy")
    deadline = time.monotonic() + 60
    while by_hash(gateway, hash_of("to-revoke"), user_id="to-revoke").status == 200:
        assert time.monotonic() < deadline
    for platform in (None, "web"):
        reply = by_hash(gateway, hash_of("to-revoke"), platform, user_id="to-revoke")
        assert (reply.status, reply.code) == (401, "token_revoked")
    assert by_hash(gateway, hash_of("to-stay"), user_id="to-stay").status == 200


def test_secrets_of_a_keyring_prove_on_their_platforms_until_they_retire(tmp_path: Path) -> None:
    """`gateway keys` adds and retires them while the gateway runs, for tokens and for `user_hash` alike."""
    ring = f"""
[workspaces.ring]
[[workspaces.ring.issuers]]
name = "messenger"
profile = "intercom"
user_hash = true
keyring = "{tmp_path / "keyring.json"}"
"""
    (tmp_path / "gateway.toml").write_text(f'[store]\nurl = "sqlite:///{tmp_path / "contacts.db"}"\n{ring}')
    (tmp_path / "ring-secret").write_text(LEGACY)
    config = ("--config", str(tmp_path / "gateway.toml"), "-w", "ring")
    keys = [sys.executable, "-m", "gateway", "keys"]
    imported = [
        *keys,
        "import",
        "messenger",
        str(tmp_path / "ring-secret"),
        "--id",
        "web",
        "--platform",
        "web",
        *config,
    ]
    subprocess.run(imported, check=True, capture_output=True, timeout=120)
    with running_gateway(tmp_path, others=ring) as server:
        key = signing_key_from_secret(LEGACY, "web")
        token = issue_token({"user_id": "user-1"}, key, ttl=600, now=time.time())

        def statuses() -> list[int]:
            return [
                reply.status
                for platform in (None, "web", "ios")
                for reply in (
                    login(server, token, platform, "ring"),
                    login(server, None, platform, "ring", user_id="user-1", user_hash=hash_of("user-1")),
                )
            ]

        assert statuses() == [200, 200, 200, 200, 401, 401]
        subprocess.run(
            [*keys, "retire", "messenger", "web", "--now", *config], check=True, capture_output=True, timeout=120
        )
        deadline = time.monotonic() + 60
        while 200 in statuses():
            assert time.monotonic() < deadline


def test_a_wrong_user_hash_is_reported_as_a_wrong_token_is(gateway: Server) -> None:
    """In `report` it passes as nobody; a good one is treated as ever."""
    reply = by_hash(gateway, "0" * 64, "web", user_id="victim")
    assert (reply.status, reply.json()["code"], reply.json()["contact"]) == (200, "signature_invalid", None)
    reply = by_hash(gateway, hash_of("undefined"), "web", user_id="undefined")
    assert (reply.status, reply.json()["code"], reply.json()["contact"]) == (200, "user_id_placeholder", None)
    assert by_hash(gateway, hash_of("good"), "web", user_id="good").json()["verified"] is True


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
