"""`gateway keys` by the name `assertion`: the key pairs that sign what upstreams are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.web.assertion import LEEWAY, LIFETIME
from keys.jwk import generate_signing_key
from keys.keyring import load_keyring
from tests.cli.conftest import run
from tests.keyrings import add_key

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[assertion]
keyring = "secrets/assertion.json"
issuer = "https://gateway.acme.example"
audience = "https://chat.acme.example"
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
keyring = "messenger.json"
[[workspaces.other.issuers]]
name = "messenger"
profile = "intercom"
keyring = "other.json"
"""


@pytest.fixture(name="keyring", autouse=True)
def _keyring(folder: Path) -> Path:
    """Two workspaces, and assertions whose keyring is not there yet."""
    (folder / "gateway.toml").write_text(CONFIG)
    add_key(folder / "messenger.json", "HS256", "m-1")
    add_key(folder / "other.json", "HS256", "m-1")
    return folder / "secrets/assertion.json"


def done(*arguments: str, stdin: str = "") -> Any:
    ended = run("keys", *arguments, "--json", stdin=stdin)
    assert ended.code == 0, ended.err
    return ended.json()


def test_from_the_first_key_to_the_end_of_the_second(keyring: Path) -> None:
    """Generate, rotate, list, export, retire: of no workspace, and never of a secret."""
    first = done("generate", "assertion")
    assert (first["workspace"], first["issuer"], first["key"]["algorithms"]) == (None, "assertion", ["ES256"])
    assert keyring.stat().st_mode & 0o777 == 0o600
    second = done("rotate", "assertion")["key"]
    assert second["state"] == "next"
    (listed,) = (one for one in done("list") if one["issuer"] == "assertion")
    assert (listed["workspace"], listed["source"]) == (None, "secrets/assertion.json")
    old, new = listed["keys"]
    assert [old["state"], new["state"]] == ["signing", "next"]
    assert old["signs_until"] == new["signs_from"] == second["created_at"] + 600
    assert old["ends_at"] == new["signs_from"] + LIFETIME + LEEWAY
    exported = json.loads(run("keys", "export", "assertion").out)["keys"]
    assert [jwk["kid"] for jwk in exported] == [old["kid"], new["kid"]]
    assert all(jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"} for jwk in exported)
    done("retire", "assertion", old["kid"], "--now")
    assert [entry.kid for entry in load_keyring(keyring).keys] == [new["kid"]]
    table = run("keys", "list").out
    assert all(word in table for word in ("assertion", new["kid"], "messenger"))


@pytest.mark.parametrize(("alg", "code"), [("EdDSA", 0), ("RS256", 0), ("HS256", 1), ("none", 1)])
def test_other_algorithms(alg: str, code: int) -> None:
    """Any that upstreams verify with a public key."""
    assert run("keys", "generate", "assertion", "--alg", alg).code == code


def test_a_key_that_was_made_elsewhere(keyring: Path) -> None:
    """A private key in PEM, by its own algorithm."""
    key = generate_signing_key("ES384")
    assert done("import", "assertion", stdin=key.private_pem().decode())["keys"][0]["kid"] == key.kid
    assert load_keyring(keyring).keys[0].alg == "ES384"
    assert run("keys", "import", "assertion", stdin="a-shared-secret-of-at-least-32-bytes").code == 1


def test_the_last_key_goes_when_that_is_said() -> None:
    """What becomes of people then is told: nobody passes without the assertion that an upstream counts on."""
    kid = done("generate", "assertion")["key"]["kid"]
    assert run("keys", "retire", "assertion", kid).error.startswith(f"{kid} is the last key that stays")
    ended = run("keys", "retire", "assertion", kid, "--now")
    assert (ended.code, ended.out) == (0, f"{kid} is gone: every token that it signed is refused\n")
    assert ended.err.startswith("no key is left: whoever would be asserted to an upstream gets 503 until")


def test_they_belong_to_no_workspace() -> None:
    """A workspace beside the name is a mistake, not a choice; there is no issuer of that name to be rotated instead."""
    ended = run("keys", "generate", "assertion", "--workspace", "acme")
    assert ended.code == 2
    assert ended.error == "assertions belong to no workspace: all have the same keys"


def test_b13_the_command_line_signs_no_login_token_with_them() -> None:
    """`token issue` knows issuers alone."""
    done("generate", "assertion")
    ended = run("token", "issue", "--workspace", "acme", "--issuer", "assertion", "--user-id", "user-1")
    assert ended.code == 1
    assert ended.error == "the workspace acme has no issuer assertion"


def test_without_the_table_the_name_is_anybodys(folder: Path) -> None:
    """An issuer may be called so where nothing is asserted."""
    issuer = 'name = "assertion"\nprofile = "intercom"\nkeyring = "messenger.json"\n'
    (folder / "gateway.toml").write_text(f"[[workspaces.acme.issuers]]\n{issuer}")
    assert done("generate", "assertion", "--id", "m-2")["workspace"] == "acme"


def test_the_configuration_is_checked_with_them() -> None:
    """Without its first key a gateway would not start, and `config check` and `keys list` say why."""
    for command in (["config", "check"], ["keys", "list"]):
        ended = run(*command)
        assert ended.code == 1
        assert "`gateway keys generate assertion` makes its first key" in ended.err
    done("generate", "assertion")
    assert "asserts identities to upstreams: 1 key\n" in run("config", "check").out
    shown = run("config", "show", "--json").json()["assertion"]
    assert shown["keyring"] == "secrets/assertion.json"
    assert "keyring: assertion" in run("doctor", "--json").out
