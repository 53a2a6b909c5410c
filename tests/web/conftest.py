"""Real gateways for the tests of the web side: a process each, a store of its own, keys made on the spot."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from msgspec import Struct

from gateway.contacts.access_token import AccessToken, Scope, digest_of, mint_access_token_secret
from gateway.contacts.database.stores import store_for
from gateway.identity.issuing import issue_token
from keys.jwk import SigningKey, generate_signing_key, signing_key_from_secret
from tests.postgres import empty_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contacts.store import ContactStore, ContactTransaction

ISSUER = "https://login.acme.example"
STORES = ("sqlite", "postgres")


class Reply(Struct, frozen=True):
    """An answer as a client sees it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The refusal's code, wherever it stands."""
        if "x-identity-error" in self.headers:
            return self.headers["x-identity-error"]
        code: str | None = self.json().get("code")
        return code


class Server(Struct, frozen=True):
    """A running gateway and everything to talk with it."""

    port: int
    admin_port: int
    process: subprocess.Popen[bytes]
    folder: Path
    secret: SigningKey
    issuer_key: SigningKey
    access_token: str

    def token(self, user_id: Any = "user-1", *, ttl: int | None = 600, header: Any = None, **claims: Any) -> str:
        """A token of the messenger issuer; a user_id of None is left out."""
        named = {} if user_id is None else {"user_id": user_id}
        return issue_token({**named, **claims}, self.secret, ttl=ttl, now=time.time(), header=header)

    def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        admin: bool = False,
    ) -> Reply:
        """One request on a connection of its own."""
        port = self.admin_port if admin else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Reply(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )

    def login(self, token: str | None, body: Any = None) -> Reply:
        """`POST /messenger/login`."""
        if body is None:
            return self.request("POST", "/messenger/login", token)
        encoded = json.dumps(body).encode()
        return self.request(
            "POST", "/messenger/login", token, headers={"Content-Type": "application/json"}, body=encoded
        )

    def admin(self, method: str, path: str, body: Any = None, token: str | None = None) -> Reply:
        """A request to the admin listener with the access token."""
        encoded = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        return self.request(method, path, token or self.access_token, headers=headers, body=encoded, admin=True)

    def declare(self, **types: str) -> None:
        """Declare custom attributes of contacts by name and type, unless they are declared already."""
        known = {one["name"] for one in self.admin("GET", "/data_attributes").json()["data"]}
        for name in types.keys() - known:
            body = {"name": name, "model": "contact", "data_type": types[name]}
            assert self.admin("POST", "/data_attributes", body).status == 200

    def raw(self, data: bytes, *, admin: bool = False) -> bytes:
        """Bytes in, all bytes out until the server closes or is silent for a second."""
        with socket.create_connection(("127.0.0.1", self.admin_port if admin else self.port), timeout=1) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            received = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def contacts(self) -> set[str]:
        """The ids of all contacts in the SQLite file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder / 'contacts.db'}?mode=ro", uri=True)) as database:
            return {contact_id for (contact_id,) in database.execute("SELECT id FROM contacts")}

    def log(self) -> str:
        """Everything that it wrote to its standard error."""
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """Ask it to stop."""
        os.kill(self.pid, signal.SIGTERM)

    def exit_code(self) -> int:
        """Wait for its end."""
        return self.process.wait(timeout=30)


def free_port() -> int:
    """A port that is free, and that the system gives to no client: those come from 32768 on."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def workers_of(pid: int) -> Iterator[int]:
    """The worker processes of a supervisor."""
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, check=False).stdout.split():
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            if b"spawn_main" in Path(f"/proc/{int(child)}/cmdline").read_bytes():
                yield int(child)


@contextlib.contextmanager
def running_app(config: uvicorn.Config) -> Iterator[int]:
    """An application under a real uvicorn in a thread of this process; its port."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server answers, or say what it printed when it ended."""
    for _ in range(2000):
        if process.poll() is not None:
            raise AssertionError(f"the gateway ended with code {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        time.sleep(0.01)
    raise AssertionError("the gateway did not answer")


@contextlib.contextmanager
def running_gateway(
    folder: Path,
    *,
    lane: bool = True,
    store_url: str | None = None,
    workers: int = 1,
    public: str = "",
    extra: str = "",
    others: str = "",
    requests_per_minute: int = 1_000_000,
) -> Iterator[Server]:
    """A gateway with the workspace `acme`: messenger secrets and an ES256 issuer with `iss` and `aud`.

    `public` are settings of the public listener, `extra` of that workspace, `others` the tables of other workspaces.
    """
    secret = signing_key_from_secret(os.urandom(32).hex(), kid="2026-11")
    issuer_key = generate_signing_key("ES256")
    (folder / "secret").write_text(secret.material if isinstance(secret.material, str) else secret.material.decode())
    (folder / "secret").chmod(0o600)
    (folder / "jwks.json").write_text(json.dumps({"keys": [issuer_key.public_jwk()]}))
    port, admin_port = free_port(), free_port()
    url = store_url or f"sqlite:///{folder / 'contacts.db'}"
    config = folder / "gateway.toml"
    config.write_text(f"""
log_level = "info"
drain_seconds = 10
workers = {workers}
[public]
bind = "127.0.0.1:{port}"
express_lane = {str(lane).lower()}
{public}
[admin]
bind = "127.0.0.1:{admin_port}"
requests_per_minute = {requests_per_minute}
[store]
url = "{url}"
{others}
[workspaces.acme]
{extra}
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "2026-11", secret_file = "{folder / "secret"}" }}]
[[workspaces.acme.issuers]]
name = "login"
profile = "oidc"
issuer = "{ISSUER}"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
jwks_file = "{folder / "jwks.json"}"
""")
    access_token = asyncio.run(_prepare(store_for(url)))
    log, banner = (folder / "log").open("ab"), (folder / "banner").open("ab")
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    process = subprocess.Popen(command, stdout=banner, stderr=log)
    try:
        await_answer(process, port)
        while not (folder / "banner").stat().st_size:  # it is printed when every worker listens
            assert process.poll() is None
            time.sleep(0.01)
        yield Server(port, admin_port, process, folder, secret, issuer_key, access_token)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        banner.close()


@contextlib.contextmanager
def gateway_on(store: str, request: pytest.FixtureRequest, folder: Path, **settings: Any) -> Iterator[Server]:
    """`running_gateway` over a store of a kind of `STORES`, empty at the beginning."""
    if store == "sqlite":
        with running_gateway(folder, **settings) as running:
            yield running
        return
    with (
        empty_database(request.getfixturevalue("postgres_server")) as url,
        running_gateway(folder, store_url=url, **settings) as running,
    ):
        yield running


def other_workspace(folder: Path) -> str:
    """Settings of another workspace, `other`, whose messenger secret has the same id; for `others`."""
    (folder / "other").write_text(os.urandom(32).hex())
    (folder / "other").chmod(0o600)
    return f"""
[workspaces.other]
[[workspaces.other.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "2026-11", secret_file = "{folder / "other"}" }}]
"""


def access_token(server: Server, *scopes: Scope, revoked: bool = False, workspace: str = "acme") -> str:
    """An access token with these scopes, put into the store."""
    secret = mint_access_token_secret(os.urandom)
    now = int(time.time())
    token = AccessToken(
        id=os.urandom(8).hex(), workspace_id=workspace, name="other", scopes=frozenset(scopes), created_at=now
    )

    async def work(transaction: ContactTransaction) -> None:
        await transaction.insert_access_token(token, digest_of(secret))
        if revoked:
            assert await transaction.revoke_access_token(token.id, now=now)

    async def put() -> None:
        settings = tomllib.loads((server.folder / "gateway.toml").read_text())
        store = store_for(settings["store"]["url"])
        await store.open()
        await store.write(work)
        await store.close()

    asyncio.run(put())
    return secret


def command(server: Server, *arguments: str, exit_code: int = 0) -> str:
    """What a command prints, run beside the gateway on its configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, "--config", str(server.folder / "gateway.toml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


async def _prepare(store: ContactStore) -> str:
    """Migrate a store and put an access token into it."""
    await store.migrate()
    await store.open()
    secret = mint_access_token_secret(os.urandom)
    token = AccessToken(
        id=os.urandom(8).hex(),
        workspace_id="acme",
        name="tests",
        scopes=frozenset(Scope),
        created_at=int(time.time()),
    )

    async def work(transaction: ContactTransaction) -> None:
        await transaction.insert_access_token(token, digest_of(secret))

    await store.write(work)
    await store.close()
    return secret


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway with the express lane open."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def asgi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway with the express lane shut."""
    with running_gateway(tmp_path_factory.mktemp("gateway-asgi"), lane=False) as running:
        yield running


@pytest.fixture(scope="module", params=["express lane", "ASGI"])
def either(request: pytest.FixtureRequest) -> Server:
    """A gateway of each carrier."""
    chosen: Server = request.getfixturevalue("server" if request.param == "express lane" else "asgi_server")
    return chosen
