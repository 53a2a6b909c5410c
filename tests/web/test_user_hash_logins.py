"""`user_hash` at the login: whom it lets in, beside what, and that an empty one is no proof (C01)."""

from __future__ import annotations

import concurrent.futures
import hashlib
import hmac
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.access_token import Scope
from gateway.identity.issuing import issue_token
from keys.jwk import signing_key_from_secret
from tests.web.conftest import STORES, Reply, Server, access_token, command, gateway_on, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEGACY = os.urandom(32).hex()


def legacy(folder: Path) -> str:
    """A workspace that takes `user_hash`, and only reports what it would refuse on the web."""
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
    """A gateway with a workspace that takes it, `legacy`, beside one that does not."""
    folder = tmp_path_factory.mktemp("user-hash")
    with running_gateway(folder, lane=request.param == "express lane", others=legacy(folder)) as running:
        yield running


def login(gateway: Server, token: str | None, platform: str | None, app_id: str = "acme", **body: Any) -> Reply:
    return gateway.login(token, {"app_id": app_id, "platform": platform, **body})


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


@pytest.mark.parametrize("store", STORES)
def test_r35_parallel_first_logins_by_user_hash_are_one_contact(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As by token, on both stores; a token among them is the same person."""
    token = issue_token({"user_id": "first"}, signing_key_from_secret(LEGACY, "2026-11"), ttl=60, now=time.time())
    with (
        gateway_on(store, request, tmp_path, others=legacy(tmp_path)) as server,
        concurrent.futures.ThreadPoolExecutor(16) as threads,
    ):
        logins = [
            threads.submit(login, server, token, None, "legacy")
            if number % 4 == 0
            else threads.submit(by_hash, server, hash_of("first"), user_id="first")
            for number in range(32)
        ]
        replies = [one.result() for one in logins]
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json()["contact"]["id"] for reply in replies}) == 1
        assert sum(reply.json()["identity"]["created"] for reply in replies) == 1


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
