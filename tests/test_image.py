"""The image, by what can be known without an engine: who runs in it, what is copied into it, how its health is seen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.web.conftest import free_port, running_gateway

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
INSTRUCTIONS = [
    line.split(None, 1)
    for line in re.sub(
        r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    ).splitlines()
    if line.strip()
]


def told(instruction: str) -> list[str]:
    """What every instruction of a kind says, in order."""
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in told("ENV") for pair in line.split())


def test_two_stages_and_nobody_is_root() -> None:
    """What builds is left behind, and the program runs as a user that is not root, named by number for Kubernetes."""
    assert len(told("FROM")) == 2
    (user,) = told("USER")
    assert user.isdecimal()
    assert int(user) > 0
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in {"RUN", "COPY", "FROM"})
    assert f"--uid {user} " in told("RUN")[-1]


def test_only_the_program_is_copied() -> None:
    """Nothing but the two packages, the lock and the papers enters; no `COPY .`, no data folder."""
    sources = [word for line in told("COPY") if not line.startswith("--from") for word in line.split()[:-1]]
    assert sorted(sources) == ["LICENSE", "README.md", "gateway", "keys", "pyproject.toml", "requirements.lock"]
    assert told("ADD") == []
    ignored, *let_in = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("**/")
    ]
    assert ignored == "*"
    assert sorted(line.removeprefix("!") for line in let_in) == sorted(sources)


def test_no_key_material_lies_in_the_packages() -> None:
    """The packages hold code: no private key, no key set, no secret, no database."""
    files = [path for package in ("gateway", "keys") for path in (ROOT / package).rglob("*") if path.is_file()]
    left = [path for path in files if "__pycache__" not in path.parts]
    assert {path.suffix for path in left} <= {".py", ".typed"}
    for path in left:
        assert not re.search(r"PRIVATE KEY-----\s*[A-Za-z0-9+/]{40}", path.read_text()), path


def test_every_folder_is_a_package() -> None:
    """A folder without `__init__.py` would be left out of the wheel without a word."""
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert find == {"include": ["gateway*", "keys*"]}
    for package in ("gateway", "keys"):
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            assert (folder / "__init__.py").exists(), folder
        assert (ROOT / package / "py.typed").exists()


def test_clients_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the configuration says, the image listens where its port is published; the admin listener does not."""
    assert variables()["GATEWAY_PUBLIC__BIND"] == "0.0.0.0:8080"
    assert told("EXPOSE") == ["8080"]
    command = [sys.executable, "-m", "gateway"]
    config = tmp_path / "gateway.toml"
    subprocess.run([*command, "init", "--config", str(config)], stdout=subprocess.DEVNULL, timeout=30, check=True)
    for name, value in variables().items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    done = subprocess.run([*command, "config", "show", "--json"], capture_output=True, timeout=30, check=True)
    shown = json.loads(done.stdout)
    assert (shown["public"]["bind"], shown["admin"]["bind"]) == ("0.0.0.0:8080", "127.0.0.1:8081")


def test_the_health_check_sees_health(tmp_path: Path) -> None:
    """Its command, run as it stands, succeeds beside a gateway on whatever port, and fails beside none."""
    (line,) = told("HEALTHCHECK")
    python, *arguments = json.loads(line[line.index("CMD ") + 4 :])
    assert python == "python"

    def check(port: int) -> int:
        environ = {**os.environ, "GATEWAY_PUBLIC__BIND": f"0.0.0.0:{port}"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environ, stderr=subprocess.DEVNULL, timeout=30, check=False).returncode

    with running_gateway(tmp_path) as gateway:
        assert check(gateway.port) == 0
    assert check(free_port()) != 0


def test_it_needs_no_writable_root() -> None:
    """What the program writes lies in the volume: its home, its working directory and the store's default."""
    assert told("WORKDIR")[-1] == told("VOLUME")[0] == "/var/lib/gateway"
    assert variables()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert told("ENTRYPOINT") == ['["gateway"]']
    assert told("CMD") == ['["serve"]']
