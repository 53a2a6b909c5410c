"""`gateway init`: a configuration that works, with comments; what stands is not overwritten."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from keys.keyring import load_keyring
from tests.cli.conftest import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("app_id", ["acme", "Acme-2", "acme.eu", "a" * 64, "x_y", "1"])
def test_what_it_writes_is_good(folder: Path, app_id: str) -> None:
    """The written file passes `config check`; its secret is new, long, and in a keyring for its owner alone."""
    ended = run("init", "--app-id", app_id)
    assert (ended.code, ended.err) == (0, "")
    assert run("config", "check").out.splitlines() == [
        f"{app_id}: trusts messenger: HS256, 1 key",
        "the configuration is good",
    ]
    (entry,) = load_keyring(folder / f"secrets/{app_id}-messenger.json").keys
    assert len(entry.material) == 64
    assert {path.stat().st_mode & 0o777 for path in (folder / "secrets").iterdir()} == {0o600}
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert entry.material not in (folder / "gateway.toml").read_text()
    assert entry.material not in ended.out


def test_the_secret_gets_to_whoever_signs(folder: Path) -> None:
    """The line that it prints next hands the secret over, in a file for its owner alone."""
    (following,) = [line for line in run("init").out.splitlines() if line.startswith("next: ")]
    command = following.removeprefix("next: gateway ").partition(",")[0].replace("FILE", "handed-over").split()
    assert run(*command).code == 0
    (entry,) = load_keyring(folder / "secrets/acme-messenger.json").keys
    assert (folder / "handed-over").read_text() == f"{entry.material}\n"
    assert (folder / "handed-over").stat().st_mode & 0o777 == 0o600


def test_its_comments_are_settings(folder: Path) -> None:
    """With every comment that is a setting taken in, the file still means something: names and places are right."""
    run("init")
    lines = (folder / "gateway.toml").read_text().splitlines()
    taken = [
        line.removeprefix("# ") if line.startswith("# ") and (" = " in line or line.startswith("# [")) else line
        for line in lines
    ]
    tables = tomllib.loads("\n".join(line for line in taken if "GATEWAY_" not in line and "url_file" not in line))
    assert [issuer["name"] for issuer in tables["workspaces"]["acme"]["issuers"]] == ["messenger", "login"]
    (folder / "gateway.toml").write_text(
        "\n".join(line for line in taken if "GATEWAY_" not in line and "url_file" not in line)
    )
    assert run("keys", "generate", "assertion").code == 0
    assert run("config", "check", "--json").json()["ok"]


def test_it_serves_production(folder: Path) -> None:
    """Its issuers are marked production, so `token issue` refuses to sign in their name."""
    assert folder.exists()
    run("init")
    ended = run("token", "issue", "--user-id", "user-1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "the issuer messenger is marked production: its keys sign no test tokens"


def test_it_overwrites_nothing(folder: Path) -> None:
    """A second run changes nothing, also when only one of the two files stands."""
    run("init")
    files = {path: path.read_bytes() for path in (folder / "gateway.toml", folder / "secrets/acme-messenger.json")}
    assert run("init").error == "gateway.toml and secrets/acme-messenger.json would be overwritten"
    assert {path: path.read_bytes() for path in files} == files
    (folder / "gateway.toml").unlink()
    ended = run("init")
    assert (ended.code, ended.error) == (1, "secrets/acme-messenger.json would be overwritten")
    assert not (folder / "gateway.toml").exists()


def test_force_overwrites(folder: Path) -> None:
    """With `--force` both files are new."""
    run("init")
    before = (folder / "secrets/acme-messenger.json").read_bytes()
    assert run("init", "--force").code == 0
    assert (folder / "secrets/acme-messenger.json").read_bytes() != before
    assert run("config", "check").code == 0


def test_somewhere_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config` names another place; the secret lies beside the file, and is found from any working directory."""
    ended = run("init", "--config", "etc/gateway/gateway.toml", "--json")
    assert ended.json() == {
        "config": "etc/gateway/gateway.toml",
        "keyring": "etc/gateway/secrets/acme-messenger.json",
        "kid": ended.json()["kid"],
    }
    monkeypatch.chdir("/")
    assert run("config", "check", "--config", str(folder / "etc/gateway/gateway.toml")).code == 0


@pytest.mark.parametrize("app_id", ["", "a b", "a/b", "../x", 'a"b', "a" * 65, "ä", "a\nb"])
def test_an_app_id_that_is_none(folder: Path, app_id: str) -> None:
    """Wrong use; nothing is written, and nothing outside the folder."""
    ended = run("init", "--app-id", app_id)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error
    assert os.listdir(folder) == []  # noqa: PTH208 - names are enough
