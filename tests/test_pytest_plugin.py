"""The pytest plugin, as other people's projects use it: each in a folder of its own, run by a pytest of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from gateway import pytest_plugin, testing
from gateway.errors import Code
from gateway.identity.broken import CATALOGUE
from gateway.testing import BrokenTokens, GatewayNotStarted, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.testing import GatewayServer

EXAMPLES = Path(__file__).parent / "examples"


def ran(folder: Path, *options: str, ends: int = 0, **environ: str) -> str:
    """What pytest prints in a project's folder; how it ends is given. Warnings are errors there."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GATEWAY_"))}
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=folder, env={**clean, **environ}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == ends, done.stdout + done.stderr
    return done.stdout


def project(folder: Path, **files: str) -> Path:
    """A project with these Python files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


@pytest.mark.parametrize("name", ["starlette", "wsgi"])
def test_the_examples(name: str, tmp_path: Path) -> None:
    """A project with the middleware, and one behind forward-auth, test themselves against a real gateway."""
    shutil.copytree(EXAMPLES / name, tmp_path, dirs_exist_ok=True)
    assert "2 passed" in ran(tmp_path)


def test_under_xdist(tmp_path: Path) -> None:
    """Each worker has a gateway of its own, and its own people in it."""
    text = """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2, 3, 4])
        def test_login(turn, worker_id, gateway_server, identity_token):
            with open(f"{worker_id}-{gateway_server.url.rpartition(':')[2]}", "a"):
                pass
            assert gateway_server.login(identity_token(f"user-{turn}")).json()["identity"]["created"]
    """
    assert "4 passed" in ran(project(tmp_path, test_login=text), "-n", "2", "--dist", "load")
    used = [path.name.split("-") for path in tmp_path.glob("gw*-*")]
    assert len({worker for worker, _ in used}) == len({port for _, port in used}) == len(used) == 2


def test_the_example_in_its_docstring(tmp_path: Path) -> None:
    """The lines in the plugin's docstring are a test that passes as it stands."""
    text = (pytest_plugin.__doc__ or "").split("\n\n")[1]
    assert "1 passed" in ran(project(tmp_path, test_login=textwrap.dedent(text)))


def test_the_readme_shows_that_example() -> None:
    """Where the README shows the fixtures, it shows the lines of the docstring."""
    readme = (EXAMPLES.parents[1] / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    example = textwrap.dedent((pytest_plugin.__doc__ or "").split("\n\n")[1])
    assert [block.strip() for block in blocks if "gateway_server" in block] in ([], [example.strip()])


def test_a_session_that_does_not_use_it(tmp_path: Path) -> None:
    """Of the gateway, a session that asks for none of the fixtures imports two small files, and nothing of others."""
    text = """
        import sys

        def test_imports():
            ours = [name for name in sys.modules if name.split(".")[0] == "gateway"]
            assert ours == ["gateway", "gateway.pytest_plugin"]
            heavy = {"msgspec", "pydantic", "jwt", "cryptography", "starlette", "uvicorn", "apsw", "typer", "asyncio"}
            assert not heavy & sys.modules.keys()
    """
    folder = project(tmp_path, test_imports=text)
    assert "1 passed" in ran(folder, "-p", "identity_gateway", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def test_it_ends_with_the_session(tmp_path: Path) -> None:
    """Also after a test that failed, nobody listens any more."""
    text = """
        def test_login(gateway_server):
            with open("url", "w") as file:
                file.write(gateway_server.url)
            assert gateway_server.login("nonsense").status == 200
    """
    assert "1 failed" in ran(project(tmp_path, test_login=text), ends=1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit((tmp_path / "url").read_text()).port or 0), timeout=5)


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    """A gateway that cannot start fails the test with what it wrote, and with no traceback of ours."""
    conftest = """
        import pytest

        class Crowded:
            def __init__(self, path):
                self.path = path

            def mktemp(self, name):
                (self.path / "var").touch()
                return self.path

        @pytest.fixture(scope="session")
        def tmp_path_factory(tmp_path_factory):
            return Crowded(tmp_path_factory.mktemp("crowded"))
    """
    text = "def test_login(gateway_server):\n    pass\n"
    printed = ran(project(tmp_path, conftest=conftest, test_login=text), ends=1)
    assert "the gateway ended with code 1:" in printed
    assert "error: var: File exists" in printed
    assert "Traceback" not in printed
    assert "gateway/testing.py" not in printed


def test_a_port_that_is_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody takes a port between our look and the gateway's, it starts on others; in the end it says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        choices: Iterator[list[int]] = iter([[taken, 1], testing._free_ports(2)])
        monkeypatch.setattr(testing, "_free_ports", lambda _count: next(choices))
        with running_gateway(tmp_path) as server:
            assert server.auth(server.token()).status == 200
        monkeypatch.setattr(testing, "_free_ports", lambda _count: [taken, 1])
        with pytest.raises(GatewayNotStarted, match="cannot listen on"), running_gateway(tmp_path):
            pass


def test_it_is_not_configured_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What configures a gateway on this machine, or lies in the folder of the project, is nothing to the fixture."""
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "nowhere.toml"))
    monkeypatch.setenv("GATEWAY_PUBLIC__BIND", "127.0.0.1:1")
    with running_gateway(tmp_path) as server:
        assert server.login(server.token()).status == 200


class TestFixtures:
    """The fixtures, in this very session."""

    def test_a_login(self, gateway_server: GatewayServer, identity_token: Callable[..., str]) -> None:
        """Both issuers lead to one contact; the Contacts API knows it by the access token."""
        answer = gateway_server.login(identity_token("fixture-1", email="fixture@example.com"))
        assert (answer.status, answer.code) == (200, None)
        contact_id = answer.json()["contact"]["id"]
        assert gateway_server.login(identity_token("fixture-1", issuer="local")).json()["contact"]["id"] == contact_id
        assert gateway_server.auth(identity_token("fixture-1")).headers["x-contact-id"] == contact_id
        assert gateway_server.admin_url != gateway_server.url
        assert gateway_server.access_token.startswith("gwa_")

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ({"ttl": -3600}, Code.TOKEN_EXPIRED),
            ({"ttl": None}, None),
            ({"ttl": None, "issuer": "local"}, Code.CLAIM_MISSING),
            ({"user_id": None}, Code.USER_ID_MISSING),
            ({"user_id": None, "email": "alone@example.com"}, None),
            ({"user_id": 42}, None),
            ({"aud": "somebody-else", "issuer": "local"}, Code.AUDIENCE_MISMATCH),
            ({"name": "Ada", "plan": ["gold"]}, None),
        ],
        ids=str,
    )
    def test_any_token(
        self,
        gateway_server: GatewayServer,
        identity_token: Callable[..., str],
        arguments: dict[str, object],
        code: Code | None,
    ) -> None:
        """`identity_token` makes whatever a test needs: times, ids, issuers, any claim."""
        assert gateway_server.login(identity_token(**arguments)).code == code

    @pytest.mark.parametrize("issuer", ["messenger", "local"])
    def test_every_broken_token(self, gateway_server: GatewayServer, broken_tokens: BrokenTokens, issuer: str) -> None:
        """Each meets its code at both addresses of the running gateway."""
        tokens = broken_tokens.signed_by(issuer)
        assert len(tokens) > 70
        met = {slug: gateway_server.login(broken.token).code for slug, broken in tokens.items()}
        assert met == {slug: gateway_server.auth(broken.token).code for slug, broken in tokens.items()}
        assert met == {slug: broken.code for slug, broken in tokens.items()}

    def test_what_does_not_suit(self, broken_tokens: BrokenTokens) -> None:
        """A slug that does not suit the issuer, or that nobody has, is no key; the error says why."""
        assert "wrong-secret" in broken_tokens
        assert broken_tokens["expired"].about == CATALOGUE["expired"].about
        assert "wrong-key" not in broken_tokens
        with pytest.raises(KeyError, match="the issuer signs with a shared secret"):
            broken_tokens["hs256-with-public-key"]
        with pytest.raises(KeyError, match="expird"):
            broken_tokens["expird"]
