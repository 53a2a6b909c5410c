"""Development mode: what it makes is private, what it made is used again, and nobody else can connect."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.development import WORKSPACE, DevelopmentFolder
from gateway.errors import SettingsInvalid
from keys.errors import KeyMaterialError
from keys.files import write_private
from keys.jwk import generate_signing_key
from keys.keyring import load_keyring

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_BINDS = ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "[::ffff:0.0.0.0]:8080", "[2001:db8::1]:8080"]


def development(tmp_path: Path) -> DevelopmentFolder:
    folder = DevelopmentFolder(tmp_path / "var")
    folder.prepare(os.urandom)
    return folder


@pytest.mark.parametrize("bind", PUBLIC_BINDS)
@pytest.mark.parametrize("listener", ["public", "admin"])
@pytest.mark.parametrize("source", ["flag", "environment"])
def test_development_mode_refuses_a_public_bind(tmp_path: Path, bind: str, listener: str, source: str) -> None:
    """Its secrets are for one developer; a listener that others can reach is refused, wherever it was asked for."""
    flags: Any = {listener: {"bind": bind}} if source == "flag" else {}
    environ = {f"GATEWAY_{listener.upper()}__BIND": bind} if source == "environment" else {}
    with pytest.raises(SettingsInvalid, match=f"^{listener}: development mode listens on loopback only"):
        development(tmp_path).settings(environ, flags)


@pytest.mark.parametrize("bind", ["127.0.0.1:9", "127.9.9.9:9", "[::1]:9", "localhost:9"])
def test_development_mode_takes_any_loopback(tmp_path: Path, bind: str) -> None:
    """Loopback has many names."""
    assert development(tmp_path).settings({}, {"public": {"bind": bind}}).public.bind == bind


def test_development_mode_names_all_problems_too(tmp_path: Path) -> None:
    """A public bind hides nothing else."""
    with pytest.raises(SettingsInvalid) as caught:
        development(tmp_path).settings(
            {"GATEWAY_ZONK": "1", "GATEWAY_WORKERS": "0"},
            {"public": {"bind": "0.0.0.0:1"}, "admin": {"bind": "[::]:1"}},
        )
    places = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert places == ["environment GATEWAY_ZONK", "public", "admin", "workers"]


def test_development_mode_makes_everything_private(tmp_path: Path) -> None:
    """The folder is 0700 and its files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        folder = development(tmp_path)
    finally:
        os.umask(before)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o711])
def test_development_mode_refuses_a_folder_of_others(tmp_path: Path, mode: int) -> None:
    """A `var` that others can enter is no place for secrets; it is refused, and left as it is."""
    path = tmp_path / "var"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(SettingsInvalid, match="others can enter it"):
        development(tmp_path)
    assert list(path.iterdir()) == []
    assert path.stat().st_mode & 0o777 == mode


def test_development_mode_uses_again_what_it_made(tmp_path: Path) -> None:
    """A second start makes nothing new; what is missing alone is made."""
    folder = development(tmp_path)
    first = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    folder.prepare(os.urandom)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == first
    folder.local_keyring.unlink()
    assert not folder.exists
    folder.prepare(os.urandom)
    assert folder.exists
    again = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert {name for name in first if again[name] != first[name]} == {folder.local_keyring.name}


def test_the_keys_of_earlier_versions_are_taken_over(tmp_path: Path) -> None:
    """A secret and a key in files of their own go into the keyrings under their ids; the files go, tokens stay good."""
    folder = DevelopmentFolder(tmp_path / "var")
    folder.path.mkdir(mode=0o700)
    secret = os.urandom(32).hex()
    key = generate_signing_key("ES256")
    write_private(folder.path / "messenger-secret", secret.encode() + b"\n")
    write_private(folder.path / "local-key.pem", key.private_pem())
    write_private(folder.path / "local-jwks.json", json.dumps({"keys": [key.public_jwk()]}).encode())
    folder.prepare(os.urandom, lambda: 1_790_000_000)
    (taken,) = load_keyring(folder.messenger_keyring).keys
    assert (taken.kid, taken.material, taken.created_at) == ("dev", secret, 1_790_000_000)
    (taken,) = load_keyring(folder.local_keyring).keys
    assert taken.kid == key.kid
    assert taken.signing_key().public_jwk() == key.public_jwk()
    made = {"messenger-keyring.json", "local-keyring.json", "assertion-keyring.json"}
    assert {path.name.removesuffix(".lock") for path in folder.path.iterdir()} == made


def test_a_secret_that_cannot_be_taken_over_stays(tmp_path: Path) -> None:
    """Nothing is lost when the earlier file holds no good secret: it is told, and lies where it lay."""
    folder = DevelopmentFolder(tmp_path / "var")
    folder.path.mkdir(mode=0o700)
    write_private(folder.path / "messenger-secret", b"short\n")
    with pytest.raises(KeyMaterialError, match="shorter than the 32 bytes"):
        folder.prepare(os.urandom)
    assert (folder.path / "messenger-secret").read_bytes() == b"short\n"
    assert not folder.messenger_keyring.exists()


@pytest.mark.parametrize("bind", ["127.0.0.1:9090", "localhost:9090", "[::1]:9090"])
@pytest.mark.parametrize("source", ["flag", "environment"])
def test_the_local_issuer_is_the_address_that_is_served(tmp_path: Path, bind: str, source: str) -> None:
    """Its `iss` is where its keys are published, however the address was chosen."""
    flags: Any = {"public": {"bind": bind}} if source == "flag" else {}
    environ = {"GATEWAY_PUBLIC__BIND": bind} if source == "environment" else {}
    settings = development(tmp_path).settings(environ, flags)
    assert [issuer.issuer for issuer in settings.workspaces[WORKSPACE].issuers] == [None, f"http://{bind}"]
    assert settings.public.bind == bind


def test_the_folder_remembers_the_address(tmp_path: Path) -> None:
    """A command in another terminal speaks of the issuer that is served; the next start is free to choose another."""
    folder = development(tmp_path)
    folder.remember("127.0.0.1:9090")
    assert folder.as_served().settings({}).public.bind == "127.0.0.1:9090"
    assert folder.as_served().settings({}).workspaces[WORKSPACE].issuers[1].issuer == "http://127.0.0.1:9090"
    assert folder.settings({}).public.bind == "127.0.0.1:8080"
    assert folder.as_served().settings({"GATEWAY_PUBLIC__BIND": "127.0.0.1:9"}).public.bind == "127.0.0.1:9"
    folder.remember("127.0.0.1:8080")
    assert folder.as_served() == folder
