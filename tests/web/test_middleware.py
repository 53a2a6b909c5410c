"""The middleware inside other people's applications gives the gateway's verdict."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from gateway import IdentityMiddleware, create_authenticator
from gateway.identity.issuing import issue_token
from keys.jwk import signing_key_from_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
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
    spoofed = [name for name in request.headers if "contact" in name]
    user = request.user
    scopes = list(request.auth.scopes)
    return JSONResponse({"id": user.identity, "user_id": user.principal.user_id, "spoofed": spoofed, "scopes": scopes})


async def anybody(request: Request) -> Response:
    """Answer whoever asks."""
    return JSONResponse({"authenticated": request.user.is_authenticated})


async def greet(websocket: WebSocket) -> None:
    """Greet by user_id."""
    await websocket.accept()
    await websocket.send_text(websocket.user.principal.user_id)
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
    assert first.json() | {"id": ""} == {"id": "", "user_id": "user-1", "spoofed": [], "scopes": ["authenticated"]}


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
        assert client.get("/optional/anybody").json() == {"authenticated": False}
        assert client.get("/optional/anybody", headers=bearer()).json() == {"authenticated": True}
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
