"""Development mode: what it makes is private, what it made is used again, and nobody else can connect."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.development import DevelopmentFolder
from gateway.errors import SettingsInvalid

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
    folder.local_jwks.unlink()
    folder.prepare(os.urandom)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == first
