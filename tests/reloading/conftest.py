"""A configuration in a folder, a gateway that follows it, and what is logged about that."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.app import Gateway
from gateway.identity.issuing import issue_token
from gateway.logs import JsonLines
from gateway.reloading import ConfigurationFiles, ConfigurationSource, Reloader
from gateway.web.transport import Request
from keys.jwk import signing_key_from_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from gateway.web.transport import Answer
    from keys.jwk import SigningKey

HOST = (b"host", b"g")


class Folder:
    """A folder with a configuration whose messenger secrets, and whatever else, a test changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "gateway.toml"
        self.secrets: dict[str, SigningKey] = {}
        self.add_secret("first")
        self.write()

    def add_secret(self, name: str) -> SigningKey:
        """A new secret in a file of its own; `write` puts it into the configuration."""
        text = os.urandom(32).hex()
        self.secret_file(name).write_text(text)
        self.secret_file(name).chmod(0o600)
        self.secrets[name] = signing_key_from_secret(text, kid=name)
        return self.secrets[name]

    def secret_file(self, name: str) -> Path:
        return self.path / f"secret-{name}"

    def write(self, *, top: str = "", workspace: str = "", issuer: str = "", more: str = "") -> None:
        """Replace the configuration by one with today's secrets."""
        secrets = ", ".join(f'{{ id = "{name}", secret_file = "secret-{name}" }}' for name in self.secrets)
        self.replace(f"""
{top}
[store]
url = "sqlite:///{self.path / "contacts.db"}"
[workspaces.acme]
{workspace}
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{secrets}]
{issuer}
{more}
""")

    def replace(self, text: str, file: Path | None = None) -> None:
        """Put another file in its place, as tools do that never show half a file."""
        file = file or self.config
        new = file.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o600)
        new.replace(file)

    @staticmethod
    def put_folder(file: Path) -> None:
        """Put a folder in the place of a file: nobody can read it, root included."""
        file.unlink()
        file.mkdir()

    def token(self, user_id: str, key: SigningKey | None = None, **claims: Any) -> bytes:
        key = key or next(iter(self.secrets.values()))
        return issue_token({"user_id": user_id, **claims}, key, ttl=600, now=time.time()).encode()

    def files(self, environ: dict[str, str] | None = None) -> ConfigurationFiles:
        return ConfigurationFiles(ConfigurationSource(self.config), environ or {})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Followed:
    """A gateway in this process, and whoever lets it follow its configuration."""

    def __init__(self, gateway: Gateway, reloader: Reloader) -> None:
        self.gateway = gateway
        self.reloader = reloader
        self.state = gateway.health.configuration

    async def status(self, token: bytes, path: bytes = b"/messenger/me") -> int:
        return (await self.answer(token, path)).status

    async def answer(self, token: bytes, path: bytes = b"/messenger/me") -> Answer:
        headers = [HOST, (b"authorization", b"Bearer " + token)]
        return await self.gateway.decision.decide(Request(b"GET", path, b"", headers))

    async def code(self, token: bytes) -> str:
        code: str = json.loads((await self.answer(token)).body)["code"]
        return code


@asynccontextmanager
async def following(folder: Folder, environ: dict[str, str] | None = None) -> AsyncIterator[Followed]:
    files = folder.files(environ)
    gateway = Gateway(files.read())
    await gateway.store.migrate()
    await gateway.authenticator.open()
    try:
        yield Followed(gateway, Reloader(gateway, files))
    finally:
        await gateway.authenticator.close()


@pytest.fixture
async def followed(folder: Folder) -> AsyncIterator[Followed]:
    async with following(folder) as one:
        yield one


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    with caplog.at_level(logging.INFO):
        yield Logged(caplog)


class Logged:
    """What was logged about reloading, as it would stand in the log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        records = [record for record in self._caplog.records if record.name == "gateway.reloading"]
        lines = [json.loads(JsonLines().format(record)) for record in records]
        return [line for line in lines if event in line["event"]]


def listeners_of(gateway: Gateway) -> tuple[object, ...]:
    """Who is told of the store's changes; nothing shows that outside."""
    store: Any = gateway.store
    listeners: tuple[object, ...] = store._changes._listeners
    return listeners
