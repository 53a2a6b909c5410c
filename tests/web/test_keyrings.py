"""A running gateway and `gateway keys` beside it: what a command changes acts within about a second, and fails shut."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.identity.issuing import issue_token
from gateway.settings import settings_from
from gateway.trust import trusted_issuers
from keys.keyring import load_keyring
from keys.keyring_file import change_keyring
from keys.rotation import removed
from tests.keyrings import add_key
from tests.web.conftest import command, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.web.conftest import Reply, Server

TOKENS = "https://tokens.acme.example"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A gateway whose second workspace has keyrings alone: a messenger's, and one of our own."""
    add_key(tmp_path / "messenger.json", "HS256", "first", ("web",))
    add_key(tmp_path / "own.json", "ES256")
    others = f"""
[workspaces.own]
[[workspaces.own.issuers]]
name = "messenger"
profile = "intercom"
keyring = "messenger.json"
[[workspaces.own.issuers]]
name = "own"
issuer = "{TOKENS}"
audience = ["chat"]
algorithms = ["ES256"]
max_lifetime = 3600
user_id_claim = "user_id"
keyring = "own.json"
"""
    with running_gateway(tmp_path, others=others) as running:
        yield running


def token(server: Server, file: str, kid: str | None = None, *, nameless: bool = False) -> str:
    """A token signed with a key of a keyring: the one that is named, else the one that signs."""
    keyring = load_keyring(server.folder / file)
    entry = keyring.entry(kid) if kid else keyring.signing(time.time())
    assert entry is not None
    claims = {"user_id": "user-1", "iss": TOKENS, "aud": "chat"} if file == "own.json" else {"user_id": "user-1"}
    key = entry.signing_key()
    return issue_token(claims, replace(key, kid=None) if nameless else key, ttl=600, now=time.time())


def ask(server: Server, token: str) -> Reply:
    return server.request("GET", "/auth/own", token)


def verdict(server: Server, token: str) -> tuple[int, str | None]:
    reply = ask(server, token)
    return reply.status, None if reply.status == 200 else reply.code


def keys(server: Server, *arguments: str) -> Any:
    return json.loads(command(server, "keys", *arguments, "--workspace", "own", "--json"))


def until(wanted: Any, look: Callable[[], Any]) -> None:
    """Wait for what a change comes to; the last look is the assertion."""
    for _ in range(1000):
        if look() == wanted:
            return
        time.sleep(0.02)
    assert look() == wanted


def test_a_new_secret_is_accepted_and_the_old_one_stays(server: Server) -> None:
    """Add, deploy, remove: at no step is a token of the old secret or of the new one refused that should pass."""
    old = token(server, "messenger.json")
    assert verdict(server, old) == (200, None)
    made = keys(server, "generate", "messenger", "--id", "second")["key"]["kid"]
    new = token(server, "messenger.json", made)
    until((200, None), lambda: verdict(server, new))
    assert verdict(server, old) == (200, None)
    assert verdict(server, token(server, "messenger.json", "first", nameless=True)) == (200, None)
    keys(server, "retire", "messenger", "first", "--now")
    until((401, "kid_unknown"), lambda: verdict(server, old))
    assert verdict(server, new) == (200, None)


def test_a_rotation_refuses_no_token(server: Server) -> None:
    """The token of the old key is good before, during and after; the new key's as soon as it signs."""
    old = token(server, "own.json")
    assert verdict(server, old) == (200, None)
    kid = keys(server, "rotate", "own", "--at-once")["key"]["kid"]
    new = token(server, "own.json")
    until((200, None), lambda: verdict(server, new))
    assert verdict(server, old) == (200, None)
    published = server.request("GET", "/.well-known/jwks.json").json()["keys"]
    assert [jwk["kid"] for jwk in published][-1] == kid
    assert len(published) == 2


def test_b24_the_last_key_leaked(server: Server) -> None:
    """Retired at once, it verifies nothing more: an outage until there is another, and never the old trust again."""
    stolen = token(server, "own.json")
    assert verdict(server, stolen) == (200, None)
    (entry,) = load_keyring(server.folder / "own.json").keys
    keys(server, "retire", "own", entry.kid, "--now")
    until((503, "keys_unavailable"), lambda: verdict(server, stolen))
    keys(server, "generate", "own")
    until((200, None), lambda: verdict(server, token(server, "own.json")))
    assert verdict(server, stolen) == (401, "kid_unknown")
    assert verdict(server, token(server, "messenger.json")) == (200, None)


def test_b24_a_keyring_that_others_may_read_now(server: Server) -> None:
    """The running gateway keeps the last good configuration, and says what to do; nothing secret is in its log."""
    good = token(server, "own.json")
    assert verdict(server, good) == (200, None)
    (server.folder / "own.json").chmod(0o644)
    until(True, lambda: "chmod 600" in server.log())
    assert verdict(server, good) == (200, None)
    for file in ("own.json", "messenger.json"):
        (server.folder / file).chmod(0o600)
        for entry in load_keyring(server.folder / file).keys:
            assert entry.material.strip() not in server.log()
            assert "PRIVATE KEY" not in server.log()


def test_an_application_that_embeds_the_verifier(tmp_path: Path) -> None:
    """It reads its configuration once, and hears of a rotation and of a leaked key's end all the same."""
    first = add_key(tmp_path / "messenger.json", "HS256", "first")
    tables = {"name": "messenger", "profile": "intercom", "keyring": str(tmp_path / "messenger.json")}
    (issuer,) = trusted_issuers(settings_from({"workspaces": {"acme": {"issuers": [tables]}}}, {}))
    add_key(tmp_path / "messenger.json", "HS256", "second")
    until(["first", "second"], lambda: [key.kid for key in issuer.keys.keys])
    change_keyring(tmp_path / "messenger.json", lambda keyring: removed(keyring, first.kid, int(time.time())))
    until(["second"], lambda: [key.kid for key in issuer.keys.find(None)])
    assert issuer.keys.withdrawn == 1
