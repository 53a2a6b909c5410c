"""Gateways to check: real ones, and some with one fault each."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from msgspec import Struct
from starlette.responses import JSONResponse

from gateway.app import Gateway
from gateway.contacts.database.stores import store_for
from gateway.settings import load_settings
from gateway.web.middleware import IdentityMiddleware
from tests.web.conftest import free_port, running_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

    Fault = Callable[[str, "Answered"], "Answered"]

Headers = list[tuple[bytes, bytes]]
SECRET_ID = "2026-11"


class Answered(Struct, frozen=True):
    """An answer on its way: status, headers without a length, body."""

    status: int
    headers: Headers
    body: bytes

    def without(self, *names: bytes) -> Answered:
        return msgspec.structs.replace(self, headers=[pair for pair in self.headers if pair[0].lower() not in names])

    def with_header(self, name: bytes, value: bytes) -> Answered:
        kept = self.without(name)
        return msgspec.structs.replace(kept, headers=[*kept.headers, (name, value)])

    def with_json(self, change: Callable[[dict[str, Any]], None]) -> Answered:
        members = json.loads(self.body)
        change(members)
        return msgspec.structs.replace(self, body=json.dumps(members).encode())


class Checked(Struct, frozen=True):
    """What a check came to."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.out)["checks"]}

    def named(self, outcome: str) -> set[str]:
        """The names of the rows that ended like this."""
        return {name for name, row in self.rows.items() if row["outcome"] == outcome}


def command(*arguments: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Checked:
    """Run the real program."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=cwd,
        env={**_environ(), **(environ or {})},
        check=False,
    )
    return Checked(done.returncode, done.stdout, done.stderr)


def check(url: str, config: Path, *arguments: str, **environ: str) -> Checked:
    """`gateway check URL --json`."""
    return command("check", url, "--config", str(config), "--json", *arguments, environ=environ)


def _environ() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def write_configuration(folder: Path, *, extra: str = "") -> Path:
    """A configuration with one messenger secret; `extra` are settings of its workspace."""
    secret = folder / "secret"
    if not secret.exists():
        secret.write_text(os.urandom(32).hex())
        secret.chmod(0o600)
    config = folder / "gateway.toml"
    config.write_text(f"""
[public]
bind = "127.0.0.1:{free_port()}"
[admin]
bind = "127.0.0.1:{free_port()}"
[store]
url = "sqlite:///{folder / "contacts.db"}"
[workspaces.acme]
{extra}
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "{SECRET_ID}", secret_file = "secret" }}]
""")
    return config


class FaultyGateway:
    """A gateway in this process, whose requests and answers a fault may change, and an echo route behind its verdict.

    `request` changes the headers of a request, `answer` an answer by its path, `upstream` the headers that the echo
    route receives: of what the client sent and what the middleware made of that. `wait` is awaited first, by path.
    """

    def __init__(
        self,
        settings: Any,
        *,
        request: Callable[[Headers], Headers] | None = None,
        answer: Fault | None = None,
        upstream: Callable[[Headers, Headers], Headers] | None = None,
        wait: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.gateway = Gateway(settings)
        self._request = request
        self._answer = answer
        self._upstream = upstream
        self._wait = wait
        self._echo = IdentityMiddleware(self._echoing, authenticator=self.gateway.authenticator, optional=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http":
            return
        await self.gateway.authenticator.open()
        if self._wait is not None:
            await self._wait(scope["path"])
        headers = list(scope["headers"])
        changed = self._request(headers) if self._request else headers
        app = self._echo if scope["path"] == "/echo" else self.gateway.public
        await app({**scope, "headers": changed, "sent": headers}, receive, self._changing(scope["path"], send))

    async def _echoing(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(scope["headers"])
        if self._upstream:
            headers = self._upstream(scope["sent"], headers)
        arrived = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]
        if scope["user"].is_authenticated:
            arrived.append(["x-contact-id", scope["user"].contact.id])
        await JSONResponse(arrived)(scope, receive, send)

    def _changing(self, path: str, send: Send) -> Send:
        started: list[Message] = []

        async def changing(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
                return
            answered = Answered(started[0]["status"], list(started[0]["headers"]), message.get("body", b""))
            if self._answer:
                answered = self._answer(path, answered)
            length = (b"content-length", b"%d" % len(answered.body))
            headers = [*answered.without(b"content-length").headers, length]
            await send({"type": "http.response.start", "status": answered.status, "headers": headers})
            await send({"type": "http.response.body", "body": answered.body})

        return changing


@contextlib.contextmanager
def faulty_gateway(
    config: Path, *, tls: tuple[Path, Path] | None = None, dated: bool = True, **faults: Any
) -> Iterator[str]:
    """The URL of a `FaultyGateway` under a real uvicorn; `tls` are its certificate and key.

    With `dated=False` no Date is written but that of a fault.
    """
    settings = load_settings(config, {})
    asyncio.run(store_for(settings.store.url).migrate())
    app = FaultyGateway(settings, **faults)
    certificate, key = tls or (None, None)
    server = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        http="h11",
        date_header=dated,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    with running_app(server) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def forgetting_exp(secret: bytes) -> Callable[[Headers], Headers]:
    """A request whose well signed but expired token is made good, as if nobody had looked at `exp`."""

    def renewed(token: bytes) -> bytes:
        signing_input, _, signature = token.rpartition(b".")
        if hmac.digest(secret, signing_input, "sha256") != _decoded(signature):
            return token
        try:
            header, payload = (json.loads(_decoded(segment)) for segment in signing_input.split(b"."))
        except ValueError:
            return token
        if not isinstance(payload, dict) or type(payload.get("exp")) is not int or payload["exp"] > time.time():
            return token
        fresh = {**payload, "exp": payload["exp"] + 86_400}
        content = b".".join(_encoded(json.dumps(part).encode()) for part in (header, fresh))
        return content + b"." + _encoded(hmac.digest(secret, content, "sha256"))

    def change(headers: Headers) -> Headers:
        return [
            (name, b"Bearer " + renewed(value.removeprefix(b"Bearer "))) if name == b"authorization" else (name, value)
            for name, value in headers
        ]

    return change


def _decoded(segment: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except ValueError:
        return b""


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
