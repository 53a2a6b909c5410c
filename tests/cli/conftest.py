"""How the tests run commands: in this process where that is the same, as a real program where it matters."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct
from typer.testing import CliRunner

from gateway.app import create_authenticator
from gateway.cli import app
from gateway.cli.configuration import DEVELOPMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Ended(Struct, frozen=True):
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one error; a failure when there is more than that and a hint, or anything like a traceback."""
        first, *rest = self.err.splitlines()
        assert first.startswith("error: ")
        assert all(line.startswith("hint: ") for line in rest)
        assert len(rest) <= 1
        return first.removeprefix("error: ")


def run(*arguments: str, stdin: str | bytes = "") -> Ended:
    """Run a command in this process."""
    result = CliRunner().invoke(app, arguments, input=stdin, prog_name="gateway")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Ended(result.exit_code, result.stdout, result.stderr)


def program(*arguments: str | bytes, stdin: bytes = b"", **environ: str) -> Ended:
    """Run the real program."""
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=60, env={**os.environ, **environ}, check=False
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command starts in an empty folder, and nothing of this machine's environment configures it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def development(folder: Path) -> Path:
    """A folder in which `gateway serve` has run once without a configuration."""
    DEVELOPMENT.prepare(os.urandom)
    asyncio.run(DEVELOPMENT.prepare_store(DEVELOPMENT.settings({}).store.url, os.urandom, 1_790_000_000))
    return folder


@pytest.fixture
def log_in(development: Path) -> Callable[..., str]:
    """Sign somebody in as the running gateway would; return the contact's id."""
    assert development.exists()

    def sign_in(*arguments: str) -> str:
        token = run("token", "issue", *arguments).out.strip().encode()

        async def resolve() -> str:
            authenticator = create_authenticator(DEVELOPMENT.settings({}))
            await authenticator.open()
            try:
                return (await authenticator.authenticate(token, None)).identity.contact.id
            finally:
                await authenticator.close()

        return asyncio.run(resolve())

    return sign_in
