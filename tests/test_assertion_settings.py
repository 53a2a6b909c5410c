"""`[assertion]`: what could let an assertion pass for a login token, or the reverse, is refused (B13), all at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings import files_of, load_settings, read_file_layer
from gateway.trust import create_assertions
from keys.files import write_private
from tests.keyrings import add_key

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.settings import Settings

MESSENGER = """
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
keyring = "messenger.json"
"""
LOGIN = """
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.acme.example"
audience = ["messenger", "chat"]
algorithms = ["ES256"]
keyring = "login.json"
"""
ROUTE = """
[[workspaces.acme.routes]]
prefix = "/chat/"
upstream = "http://127.0.0.1:9000"
"""
ASSERTION = """
[assertion]
keyring = "assertion.json"
issuer = "https://gateway.acme.example"
"""
AUDIENCE = 'audience = "https://chat.acme.example"\n'
GOOD = MESSENGER + LOGIN + ROUTE
LOGIN_AT = "workspaces.acme.issuers[1]"
TO_LOGIN = f"an audience of assertions is one of the login tokens of {LOGIN_AT}, too"

REFUSED = {
    "the_keyring_of_an_issuer": (
        GOOD + ASSERTION.replace("assertion.json", "login.json") + AUDIENCE,
        [f"assertion.keyring: is the keyring of {LOGIN_AT}; assertions have keys of their own"],
    ),
    "the_keyring_of_an_issuer_by_another_name": (
        GOOD + ASSERTION.replace("assertion.json", "../{folder}/link.json") + AUDIENCE,
        [f"assertion.keyring: is the keyring of {LOGIN_AT}; assertions have keys of their own"],
    ),
    "the_keyring_of_an_issuer_by_a_hard_link": (
        GOOD + ASSERTION.replace("assertion.json", "hard.json") + AUDIENCE,
        [f"assertion.keyring: is the keyring of {LOGIN_AT}; assertions have keys of their own"],
    ),
    "the_keyring_of_an_issuer_before_it_is_made": (
        GOOD.replace("login.json", "later.json") + ASSERTION.replace("assertion.json", "./later.json") + AUDIENCE,
        [f"assertion.keyring: is the keyring of {LOGIN_AT}; assertions have keys of their own"],
    ),
    "shared_secrets": (
        GOOD + ASSERTION.replace("assertion.json", "secrets.json") + AUDIENCE,
        ["assertion.keyring: holds shared secrets; upstreams verify an assertion with public keys"],
    ),
    "no_keyring": (
        GOOD + ASSERTION.replace("assertion.json", "broken.json") + AUDIENCE,
        ["assertion.keyring: broken.json: not JSON"],
    ),
    "a_keyring_that_others_read": (
        GOOD + ASSERTION.replace("assertion.json", "open.json") + AUDIENCE,
        ["assertion.keyring: open.json: others than its owner may use it; `chmod 600 open.json`"],
    ),
    "the_iss_of_login_tokens": (
        GOOD + ASSERTION.replace("gateway.acme", "login.acme") + AUDIENCE,
        [f"assertion.issuer: is the iss of the login tokens of {LOGIN_AT}"],
    ),
    "no_audience_anywhere": (
        GOOD + ASSERTION,
        ["assertion.audience: required: whom the assertions are for; or name one at each route"],
    ),
    "the_audience_of_login_tokens": (
        GOOD + ASSERTION + 'audience = "chat"\n',
        [f"assertion.audience: {TO_LOGIN}"],
    ),
    "the_audience_of_login_tokens_at_a_route": (
        GOOD + 'audience = "messenger"\n' + ASSERTION + AUDIENCE,
        [f"assertion.audience: {TO_LOGIN}"],
    ),
    "a_route_with_an_audience_and_nothing_to_sign": (
        GOOD + AUDIENCE,
        ["assertion: required: workspaces.acme.routes[0] has an audience, which is that of its assertions"],
    ),
    "a_public_route_with_an_audience": (
        GOOD + 'access = "public"\n' + AUDIENCE + ASSERTION + AUDIENCE,
        ["workspaces.acme.routes[0].audience: of a public route nobody's identity is asserted"],
    ),
    "an_issuer_that_gateway_keys_could_mean": (
        GOOD.replace('"login"', '"assertion"') + ASSERTION + AUDIENCE,
        [f"assertion: `gateway keys` means this table by the name assertion, which {LOGIN_AT} has, too"],
    ),
    "no_keyring_and_no_iss": (
        GOOD + "[assertion]\n" + AUDIENCE,
        ["assertion.keyring: required", "assertion.issuer: required"],
    ),
    "an_empty_iss_and_a_stranger": (
        GOOD + ASSERTION.replace("https://gateway.acme.example", "") + AUDIENCE + "typ = 1\n",
        ["assertion.issuer: String should have at least 1 character", "assertion.typ: no such setting"],
    ),
    "all_of_it": (
        GOOD + ASSERTION.replace("assertion.json", "login.json").replace("gateway.acme", "login.acme"),
        [
            "assertion.audience: required: whom the assertions are for; or name one at each route",
            f"assertion.keyring: is the keyring of {LOGIN_AT}; assertions have keys of their own",
            f"assertion.issuer: is the iss of the login tokens of {LOGIN_AT}",
        ],
    ),
}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    add_key(tmp_path / "messenger.json", "HS256", "m-1")
    add_key(tmp_path / "secrets.json", "HS256", "m-1")
    for name in ("login", "assertion", "open"):
        add_key(tmp_path / f"{name}.json", "ES256")
    (tmp_path / "open.json").chmod(0o644)
    (tmp_path / "link.json").symlink_to("login.json")
    (tmp_path / "hard.json").hardlink_to(tmp_path / "login.json")
    write_private(tmp_path / "broken.json", b"{")
    return tmp_path


def load(folder: Path, text: str) -> Settings:
    path = folder / "gateway.toml"
    path.write_text(text.replace("{folder}", folder.name))
    return load_settings(path, {})


@pytest.mark.parametrize(("text", "problems"), REFUSED.values(), ids=REFUSED)
def test_b13_refused(folder: Path, text: str, problems: list[str]) -> None:
    """Each of keys, iss and aud is that of assertions alone; a problem names its place, and hides no other."""
    with pytest.raises(SettingsInvalid) as caught:
        load(folder, text)
    assert [problem.replace(f"{folder}/", "") for problem in caught.value.problems] == problems


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD + ASSERTION + AUDIENCE,
        GOOD + 'audience = "https://other.example"\n' + ASSERTION,
        GOOD + 'audience = "https://other.example"\n' + ASSERTION + AUDIENCE,
        MESSENGER + ASSERTION + AUDIENCE,
    ],
)
def test_what_passes(folder: Path, text: str) -> None:
    """Without the table nothing is signed; with it one audience is enough, here or there."""
    settings = load(folder, text)
    assertions = create_assertions(settings)
    if settings.assertion is None:
        assert assertions is None
        return
    assert assertions is not None
    assert assertions.audience == settings.assertion.audience
    assert len(assertions.keys.keys) == 1


def test_a_keyring_that_is_not_there_yet(folder: Path) -> None:
    """`gateway keys` must be able to make it; until then the gateway does not start, and says how."""
    (folder / "assertion.json").unlink()
    settings = load(folder, GOOD + ASSERTION + AUDIENCE)
    with pytest.raises(SettingsInvalid) as caught:
        create_assertions(settings)
    (problem,) = caught.value.problems
    remedy = "there is no keyring yet; `gateway keys generate assertion` makes its first key"
    assert problem == f"assertion.keyring: {folder}/assertion.json: {remedy}"


def test_a_running_gateway_looks_at_the_keyring(folder: Path) -> None:
    """It is one of the files whose change is followed."""
    load(folder, GOOD + ASSERTION + AUDIENCE)
    assert folder / "assertion.json" in files_of(read_file_layer(folder / "gateway.toml"), {})


def test_the_environment_says_the_same(folder: Path) -> None:
    """Every setting has its name there."""
    path = folder / "gateway.toml"
    path.write_text(GOOD)
    environ = {
        "GATEWAY_ASSERTION__KEYRING": str(folder / "assertion.json"),
        "GATEWAY_ASSERTION__ISSUER": "https://gateway.acme.example",
        "GATEWAY_ASSERTION__AUDIENCE": "https://chat.acme.example",
    }
    settings = load_settings(path, environ)
    assertions = create_assertions(settings)
    assert assertions is not None
    assert assertions.audience == "https://chat.acme.example"
    assert os.fspath(folder / "assertion.json") == os.fspath(settings.assertion.keyring if settings.assertion else "")
