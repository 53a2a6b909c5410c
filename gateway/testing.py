"""A real gateway for the tests of somebody's application: what the fixtures of the pytest plugin are made of.

It runs in development mode, in a process and a folder of its own, on free ports of this machine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct

from gateway.cli.crafting import crafting_signer
from gateway.cli.signing import signing_issuer, token_claims
from gateway.development import WORKSPACE, DevelopmentFolder
from gateway.errors import GatewayError
from gateway.identity.broken import CATALOGUE
from gateway.identity.issuing import issue_token
from gateway.settings import Settings
from keys.files import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.identity.crafting import Signer

_START_SECONDS = 60
_STOP_SECONDS = 30
_ATTEMPTS = 5


class GatewayNotStarted(GatewayError):
    """The gateway ended before it listened; the message is what it wrote."""


class Answer(Struct, frozen=True):
    """What the gateway answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a refusal, wherever it stands; None when it let somebody in."""
        if self.status < 400:
            return None
        code: str | None = self.headers.get("x-identity-error") or self.json().get("code")
        return code


class Broken(Struct, frozen=True):
    """A token that must be refused, the code that it must meet, and what is wrong with it."""

    token: str
    code: str
    about: str


class GatewayServer(Struct, frozen=True):
    """A running gateway: where it is, and how to get in.

    `url` is where people log in; `admin_url` and `access_token` lead to the Contacts API. An application that embeds
    the middleware trusts the same issuers, over the same contacts, with `create_authenticator(settings)`. What the
    gateway logs, such as the reason of a refusal, stands in `folder / "log"`.
    """

    url: str
    admin_url: str
    access_token: str
    settings: Settings
    folder: Path

    @property
    def messenger_secret(self) -> str:
        """The shared secret with which a back end signs the login tokens of its people."""
        secret: bytes = signing_issuer(self.settings, WORKSPACE, name="messenger")[1].material
        return secret.decode()

    def login(self, token: str) -> Answer:
        """`POST /messenger/login`."""
        return self._ask("POST", "/messenger/login", token)

    def auth(self, token: str) -> Answer:
        """`/auth`, as a proxy asks; the identity stands in the headers."""
        return self._ask("GET", "/auth", token)

    def token(
        self,
        user_id: str | int | None = "user-1",
        *,
        email: str | None = None,
        ttl: float | None = 3600,
        issuer: str = "messenger",
        **claims: Any,
    ) -> str:
        """A token that this gateway accepts, unless the claims say otherwise; a `ttl` of None makes one without exp."""
        by, key = signing_issuer(self.settings, WORKSPACE, name=issuer)
        named = {} if user_id is None else {by.user_id_claim: user_id}
        members = {**token_claims(by, user_id=None, email=email), **named, **claims}
        return issue_token(members, key, ttl=ttl, now=time.time())

    def signer(self, issuer: str) -> Signer:
        """Who signs broken tokens, as of now."""
        by, key = signing_issuer(self.settings, WORKSPACE, name=issuer)
        claims = token_claims(by, user_id="user-1", email="ada@example.com")
        return crafting_signer(self.settings, WORKSPACE, by, key, claims, time.time())

    def _ask(self, method: str, path: str, token: str) -> Answer:
        connection = http.client.HTTPConnection(self.settings.public.bind, timeout=_STOP_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())


class BrokenTokens(Mapping[str, Broken]):
    """The catalogue of broken tokens by slug, as it suits an issuer of a gateway; each is made when it is taken."""

    def __init__(self, server: GatewayServer, issuer: str = "messenger") -> None:
        self._server = server
        self._issuer = issuer

    def signed_by(self, issuer: str) -> BrokenTokens:
        """The same in the name of another issuer, such as `local`."""
        return BrokenTokens(self._server, issuer)

    def __getitem__(self, slug: str) -> Broken:
        entry, signer = CATALOGUE[slug], self._server.signer(self._issuer)
        reason = entry.unsuited(signer)
        if reason is not None:
            raise KeyError(f"{slug}: {reason}")
        return Broken(entry.make(signer).decode(), entry.code_for(signer), entry.about)

    def __iter__(self) -> Iterator[str]:
        signer = self._server.signer(self._issuer)
        return (slug for slug, entry in CATALOGUE.items() if entry.unsuited(signer) is None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@contextlib.contextmanager
def running_gateway(folder: Path) -> Iterator[GatewayServer]:
    """A gateway that listens, until the block ends; raises `GatewayNotStarted`."""
    with contextlib.ExitStack() as stack:
        for left in reversed(range(_ATTEMPTS)):
            binds = [f"127.0.0.1:{port}" for port in _free_ports(2)]
            try:
                stack.enter_context(_process(folder, *binds))
            except GatewayNotStarted as error:
                if left and "cannot listen on" in str(error):
                    continue  # somebody was faster
                raise
            break
        public, admin = binds
        development = DevelopmentFolder(folder / "var")
        settings = development.settings({}, {"public": {"bind": public}, "admin": {"bind": admin}})
        access_token = read_secret_file(development.access_token)
        yield GatewayServer(f"http://{public}", f"http://{admin}", access_token, settings, folder)


@contextlib.contextmanager
def _process(folder: Path, public: str, admin: str) -> Iterator[None]:
    # Nothing of this machine's environment configures it.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = [sys.executable, "-m", "gateway", "serve", "--public", public, "--admin", admin]
    with (
        (folder / "log").open("w+b") as log,
        subprocess.Popen(  # noqa: S603 - this very program
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        try:
            _await_banner(process, log)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would give load balancers time to look away
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            process.kill()


def _await_banner(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait for what it prints once both listeners answer; `GatewayNotStarted` when it ends before."""
    watch = threading.Timer(_START_SECONDS, process.kill)
    watch.start()
    try:
        began = process.stdout is not None and process.stdout.readline()
    finally:
        watch.cancel()
        watch.join()
    if not began:
        code = process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
        ended = f"did not listen within {_START_SECONDS} s" if code == -signal.SIGKILL else f"ended with code {code}"
        raise GatewayNotStarted(f"the gateway {ended}:\n{said or 'it said nothing'}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and that the system gives to no client: those come from 32768 on."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)
