"""The same verdict inside somebody's Starlette or FastAPI application.

    app = Starlette(routes=[...], middleware=[Middleware(IdentityMiddleware, authenticator=authenticator)])

`request.user` is the `Identity`, `request.auth.scopes` holds `authenticated`, so Starlette's `@requires` works. Refusals
have the same shape as on the public listener, and a refused WebSocket gets a real HTTP status (facts: peers 0, Starlette).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from gateway.errors import Outage, Refusal
from gateway.web.carrier import send_answer
from gateway.web.headers import IdentityHeaders
from gateway.web.problems import Problems
from gateway.web.transport import one_token, read_head

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.web.authentication import Authenticator
    from gateway.web.transport import Answer


class IdentityMiddleware:
    """Pure ASGI: refuses, or lets the request through with its identity.

    `workspace` names the workspace of this mount (None: the configuration's default one). With `optional`, a request
    without any token passes as Starlette's `UnauthenticatedUser`; a token that is present but bad is always refused
    (advisory B18). The client's own identity headers are removed before the application sees the request, on every path.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        workspace: str | None = None,
        optional: bool = False,
    ) -> None:
        self.app = app
        self._authenticator = authenticator
        self._workspace = workspace
        self._optional = optional
        self._identity_headers = IdentityHeaders()
        self._problems = Problems(os.urandom)
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = self._identity_headers.strip(scope["headers"])
        try:
            head = read_head(scope["headers"])
            user, auth = UnauthenticatedUser(), AuthCredentials()
            if head.token is not None or not self._optional:
                await self._open_once()
                authenticated = await self._authenticator.authenticate(one_token(head.token), self._workspace)
                user, auth = authenticated.identity, AuthCredentials(["authenticated"])
        except (Refusal, Outage) as error:
            await _refuse(scope, receive, send, self._problems.answer(error))
            return
        await self.app({**scope, "headers": headers, "user": user, "auth": auth}, receive, send)

    async def _open_once(self) -> None:
        """Open the store at the first token: a mounted middleware hears of no lifespan."""
        if self._authenticator.is_open:
            return
        async with self._opening:
            if not self._authenticator.is_open:
                await self._authenticator.open()


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    if scope["type"] == "http":
        await send_answer(send, answer, head=scope["method"] == "HEAD")
        return
    await receive()  # the server's `websocket.connect`
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {"type": "websocket.http.response.start", "status": answer.status}
        await send({**start, "headers": list(answer.headers)})
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
