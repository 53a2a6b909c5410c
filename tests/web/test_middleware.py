"""The middleware inside other people's applications gives the gateway's verdict."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
import uvicorn
import websockets.sync.client
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from gateway import IdentityMiddleware, create_authenticator
from gateway.identity.issuing import issue_token
from gateway.web.protocol import StrictProtocol
from keys.jwk import signing_key_from_secret
from tests.web.conftest import running_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from gateway.web.authentication import Authenticator


@pytest.fixture(name="secret")
def _secret() -> str:
    return os.urandom(32).hex()


@pytest.fixture(name="authenticator")
def _authenticator(tmp_path: Path, secret: str) -> Authenticator:
    """An authenticator from a configuration file, its store migrated and not yet open."""
    config = tmp_path / "gateway.toml"
    (tmp_path / "secret").write_text(secret)
    config.write_text(f"""
[store]
url = "sqlite:///{tmp_path / "contacts.db"}"
[workspaces.acme]
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "one", secret_file = "{tmp_path / "secret"}" }}]
""")
    authenticator = create_authenticator(config)
    asyncio.run(authenticator.store.migrate())
    return authenticator


@pytest.fixture(name="bearer")
def _bearer(secret: str) -> Callable[..., dict[str, str]]:
    key = signing_key_from_secret(secret, kid="one")

    def bearer(user_id: Any = "user-1", **claims: Any) -> dict[str, str]:
        token = issue_token({"user_id": user_id, **claims}, key, ttl=600, now=time.time())
        return {"Authorization": f"Bearer {token}"}

    return bearer


@requires("authenticated")
async def whoami(request: Request) -> Response:
    """Answer with what the application sees."""
    user = request.user
    return JSONResponse(
        {
            "id": user.identity,
            "user_id": user.principal.user_id,
            "spoofed": [name for name in request.headers if "contact" in name],
            "scopes": request.auth.scopes,
            "headers": _named(request),
        }
    )


def _named(connection: HTTPConnection) -> list[str]:
    """The names of the headers that the application sees, without the client's own description."""
    return [name for name in connection.headers if name != "user-agent"]


async def anybody(request: Request) -> Response:
    """Answer whoever asks."""
    return JSONResponse({"authenticated": request.user.is_authenticated, "headers": _named(request)})


async def greet(websocket: WebSocket) -> None:
    """Greet by user_id."""
    await websocket.accept()
    await websocket.send_text(websocket.user.principal.user_id)
    await websocket.send_json(_named(websocket))
    await websocket.close()


@pytest.fixture(name="client")
def _client(authenticator: Authenticator) -> TestClient:
    protected = [Middleware(IdentityMiddleware, authenticator=authenticator)]
    optional = [Middleware(IdentityMiddleware, authenticator=authenticator, optional=True)]
    routes = [
        Mount("/optional", routes=[Route("/anybody", anybody)], middleware=optional),
        Mount("/", routes=[Route("/whoami", whoami), WebSocketRoute("/greet", greet)], middleware=protected),
    ]
    return TestClient(Starlette(routes=routes))


def test_request_user_is_the_identity(client: TestClient, bearer: Callable[..., dict[str, str]]) -> None:
    """`request.user` is the identity, `@requires("authenticated")` works, spoofed headers are gone."""
    with client:
        first = client.get("/whoami", headers={**bearer(), "X-Contact-Id": "1", "x_contact_id": "2"})
        second = client.get("/whoami", headers=bearer())
    assert first.status_code == 200
    assert first.json() == second.json()
    seen = {name: value for name, value in first.json().items() if name not in {"id", "headers"}}
    assert seen == {"user_id": "user-1", "spoofed": [], "scopes": ["authenticated"]}


def test_a_refusal_has_the_gateways_shape(client: TestClient, bearer: Callable[..., dict[str, str]]) -> None:
    """401 with a challenge, 422 for a placeholder: the same problem bodies as on the public listener."""
    with client:
        missing, placeholder = client.get("/whoami"), client.get("/whoami", headers=bearer("undefined"))
    assert (missing.status_code, missing.json()["code"]) == (401, "credentials_missing")
    assert missing.headers["www-authenticate"].startswith("Bearer")
    assert (placeholder.status_code, placeholder.json()["code"]) == (422, "user_id_placeholder")


def test_b18_optional_is_for_nothing_not_for_bad(client: TestClient, bearer: Callable[..., dict[str, str]]) -> None:
    """Optional: no token passes unauthenticated, a good one is somebody, a bad one is refused."""
    with client:
        assert client.get("/optional/anybody").json()["authenticated"] is False
        assert client.get("/optional/anybody", headers=bearer()).json()["authenticated"] is True
        assert client.get("/optional/anybody", headers={"Authorization": "Bearer a.b.c"}).status_code == 401


def test_a_refused_websocket_gets_a_status(client: TestClient, bearer: Callable[..., dict[str, str]]) -> None:
    """A good token is greeted; a refusal is a real HTTP status before the upgrade."""
    with client:
        with client.websocket_connect("/greet", headers=bearer("socket")) as websocket:
            assert websocket.receive_text() == "socket"
        with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect("/greet"):
            pass
    assert refusal.value.status_code == 401
    assert json.loads(refusal.value.content)["code"] == "credentials_missing"


@pytest.fixture(name="served", params=["httptools", "h11", StrictProtocol])
def _served(request: pytest.FixtureRequest, client: TestClient) -> Iterator[int]:
    """The same application under a real uvicorn, with each of its HTTP protocols and with ours."""
    config = uvicorn.Config(client.app, http=request.param, log_config=None, access_log=False)
    with running_app(config) as port:
        yield port


def raw(port: int, request: bytes) -> bytes:
    """Bytes in, all bytes out."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_under_a_real_server(served: int, bearer: Callable[..., dict[str, str]]) -> None:
    """Welcome, refusal and HEAD over sockets: RFC 9457 bodies, RFC 6750 challenges, spoofed headers gone."""
    credential = f"Authorization: {bearer('real')['Authorization']}\r\n".encode()
    spoofed = b"X-Contact-Id: 1\r\nx_CONTACT_id: 2\r\n"
    head = b" HTTP/1.1\r\nHost: g\r\nConnection: close\r\n"
    welcome = raw(served, b"GET /whoami" + head + credential + spoofed + b"\r\n")
    assert welcome.startswith(b"HTTP/1.1 200")
    assert b'"user_id":"real","spoofed":[]' in welcome
    refusal = raw(served, b"GET /whoami" + head + b"\r\n")
    assert refusal.startswith(b"HTTP/1.1 401")
    assert b'www-authenticate: Bearer realm="identity-gateway"\r\n' in refusal
    assert b'"code":"credentials_missing"' in refusal
    assert raw(served, b"HEAD /whoami" + head + b"\r\n").endswith(b"\r\n\r\n")
    two = raw(served, b"GET /whoami" + head + credential * 2 + b"\r\n")
    assert (two.startswith(b"HTTP/1.1 400"), b'"code":"credentials_conflict"' in two) == (True, True)


def test_a_websocket_under_a_real_server(served: int, bearer: Callable[..., dict[str, str]]) -> None:
    """A good token is greeted; a missing and a bad one get a real status, a challenge and the problem."""
    address = f"ws://127.0.0.1:{served}/greet"
    with websockets.sync.client.connect(address, additional_headers=bearer("socket")) as websocket:
        assert websocket.recv() == "socket"
    upgrade = b"GET /greet HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%b\r\n"
    bad = f"Authorization: {bearer('undefined')['Authorization']}\r\n".encode()
    for more, status, code in ((b"", b"401", b"credentials_missing"), (bad, b"422", b"user_id_placeholder")):
        refusal = raw(served, upgrade % more)
        assert refusal.startswith(b"HTTP/1.1 " + status)
        assert b'"code":"%b"' % code in refusal
        assert (b"www-authenticate: Bearer" in refusal) == (status == b"401")


@pytest.mark.parametrize("http", ["h11", StrictProtocol])
def test_r23_a_trailer_is_no_credential(client: TestClient, bearer: Callable[..., dict[str, str]], http: Any) -> None:
    """Under the protocols that the middleware asks for, a chunked trailer names nobody."""
    request = b"POST /whoami HTTP/1.1\r\nHost: g\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    trailer = f"Authorization: {bearer('trailer')['Authorization']}\r\n\r\n".encode()
    with running_app(uvicorn.Config(client.app, http=http, log_config=None)) as port:
        assert b"credentials_missing" in raw(port, request + trailer)


def test_the_store_opens_once_and_closes_with_the_application(
    authenticator: Authenticator, bearer: Callable[..., dict[str, str]]
) -> None:
    """Parallel first tokens open it once; the end of the lifespan closes it; a new one opens it again."""
    app = Starlette(
        routes=[Route("/whoami", whoami)], middleware=[Middleware(IdentityMiddleware, authenticator=authenticator)]
    )
    for _ in range(2):
        with TestClient(app) as client:
            with concurrent.futures.ThreadPoolExecutor(10) as pool:
                replies = list(pool.map(lambda _: client.get("/whoami", headers=bearer("once")), range(20)))
            assert {reply.status_code for reply in replies} == {200}
            assert len({reply.json()["id"] for reply in replies}) == 1
            assert authenticator.is_open
        assert not authenticator.is_open


def test_an_outage_is_no_verdict(
    authenticator: Authenticator, tmp_path: Path, bearer: Callable[..., dict[str, str]]
) -> None:
    """A store that cannot be opened: 503 with Retry-After, also in optional mode, never a 401 and never a pass."""
    (tmp_path / "contacts.db").write_bytes(b"no database" * 1000)
    for optional in (False, True):
        plain = Starlette(routes=[Route("/anybody", anybody)])
        app = IdentityMiddleware(plain, authenticator=authenticator, optional=optional)
        reply = TestClient(app).get("/anybody", headers=bearer())
        assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
        assert reply.headers["retry-after"]


def test_b18_what_looks_like_a_credential_is_never_nobody(client: TestClient) -> None:
    """Optional mode: an empty, tabbed or doubled Bearer credential is refused, not taken for none."""
    with client:
        for value in ("Bearer", "bearer ", "Bearer\tx", "Bearer x, Bearer y", "BEARER 'x'"):
            reply = client.get("/optional/anybody", headers={"Authorization": value})
            assert (reply.status_code, reply.json()["code"]) == (401, "token_malformed")


def test_b01_identity_headers_are_gone_on_every_path(client: TestClient, bearer: Callable[..., dict[str, str]]) -> None:
    """Optional and not, with a token and without, over HTTP and WebSocket: no spelling reaches the application."""
    spoofed = {"X-User-Id": "root", "x_user_id": "root", "X.User.Id": "root", "X-Forwarded-Email": "root@example.com"}
    with client:
        for path, credential in (("/whoami", bearer()), ("/optional/anybody", {}), ("/optional/anybody", bearer())):
            seen = client.get(path, headers={**credential, **spoofed}).json()["headers"]
            assert not [name for name in seen if "user" in name or "email" in name]
        with client.websocket_connect("/greet", headers={**bearer(), **spoofed}) as websocket:
            websocket.receive_text()
            assert not [name for name in websocket.receive_json() if "user" in name or "email" in name]


def test_fastapi(authenticator: Authenticator, bearer: Callable[..., dict[str, str]]) -> None:
    """The same middleware in a FastAPI application."""
    app = fastapi.FastAPI()
    app.add_middleware(IdentityMiddleware, authenticator=authenticator)

    def whoami(request: fastapi.Request) -> dict[str, str]:
        return {"user_id": request.user.principal.user_id}

    app.get("/whoami")(whoami)
    app.router.routes[-1].endpoint.__annotations__["request"] = fastapi.Request  # type: ignore[attr-defined]
    with TestClient(app) as client:
        assert client.get("/whoami", headers=bearer("fast")).json() == {"user_id": "fast"}
        assert client.get("/whoami").status_code == 401
