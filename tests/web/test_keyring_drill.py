"""The rotation drill with `gateway keys`, on a gateway under load that nobody talks to."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.identity.issuing import issue_token
from keys.jwk import signing_key_from_secret
from keys.keyring import load_keyring
from tests.web.conftest import command, running_gateway
from tests.web.under_load import SHAPES, Configuration, Load, refused_everywhere

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "https://own.example"


@pytest.mark.parametrize(("workers", "lane"), SHAPES)
def test_messenger_secrets_by_command(tmp_path: Path, workers: int, lane: bool) -> None:
    """From secret files to a keyring; then generate, hand over, retire: no login fails, and what goes is refused."""
    with running_gateway(tmp_path, workers=workers, lane=lane) as server:
        configuration = Configuration(server, workers)
        with Load(server).running() as load:
            before = server.secret
            configuration.replace(re.sub(r"secrets = \[.*\]", 'keyring = "messenger.json"', configuration.text))
            configuration.in_force("the last good one stays")  # the keyring that it names comes after it
            command(server, "keys", "import", "messenger", str(tmp_path / "secret"), "--id", "2026-11")
            configuration.in_force(changed="workspaces.acme")
            load.go_on()
            for kid in ("2026-12", "2027-01"):
                remembered = issue_token({"user_id": "user-0-0"}, before, ttl=600, now=time.time())
                assert not refused_everywhere(server, remembered)
                command(server, "keys", "generate", "messenger", "--id", kid)
                configuration.in_force(keys_added=f"acme/messenger/{kid}")
                text = command(server, "keys", "export", "messenger", "--private", kid).strip()
                load.key = signing_key_from_secret(text, kid=kid)
                load.go_on()
                command(server, "keys", "retire", "messenger", str(before.kid), "--now")
                configuration.in_force(keys_removed=f"acme/messenger/{before.kid}")
                assert refused_everywhere(server, remembered)
                assert text not in server.log()
                before = load.key


@pytest.mark.parametrize("workers", [1, 2])
def test_an_issuer_of_our_own_is_rotated(tmp_path: Path, workers: int) -> None:
    """The new key is published before it signs; the signer follows the keyring's clock, and no login fails."""
    with running_gateway(tmp_path, workers=workers) as server:
        configuration = Configuration(server, workers)
        keyring = tmp_path / "own.json"
        issuer = f"""
[[workspaces.acme.issuers]]
name = "own"
issuer = "{ISSUER}"
audience = "messenger"
algorithms = "ES256"
user_id_claim = "user_id"
keyring = "own.json"
"""
        configuration.replace(configuration.text + issuer)
        command(server, "keys", "generate", "own")
        configuration.in_force(changed="workspaces.acme")

        def sign(claims: dict[str, Any]) -> str:
            signing = load_keyring(keyring).signing(time.time())
            assert signing is not None
            named = {**claims, "iss": ISSUER, "aud": "messenger"}
            return issue_token(named, signing.signing_key(), ttl=600, now=time.time())

        with Load(server, sign).running() as load:
            first = load_keyring(keyring).keys[0].kid
            remembered = sign({"user_id": "user-0-0"})
            command(server, "keys", "rotate", "own", "--publish-ahead", "4")
            second = load_keyring(keyring).keys[-1].kid
            configuration.in_force(keys_added=f"acme/own/{second}")
            published = server.request("GET", "/.well-known/jwks.json").json()["keys"]
            assert {key["kid"] for key in published} == {first, second}
            while (signing := load_keyring(keyring).signing(time.time())) is None or signing.kid != second:
                load.go_on()
            load.go_on()
            assert not refused_everywhere(server, remembered)
            command(server, "keys", "retire", "own", first, "--now")
            configuration.in_force(keys_removed=f"acme/own/{first}")
            assert refused_everywhere(server, remembered)
        assert json.loads(server.request("GET", "/.well-known/jwks.json").body)["keys"][0]["kid"] == second
