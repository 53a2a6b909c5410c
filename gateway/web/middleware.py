"""The same verdict inside somebody's Starlette or FastAPI application.

    app = Starlette(routes=[...], middleware=[Middleware(IdentityMiddleware, authenticator=authenticator)])

`request.user` is the `Identity`, `request.auth.scopes` holds `authenticated`, so Starlette's `@requires` works.
Refusals have the same shape as on the public listener, and a refused WebSocket gets a real HTTP status (facts: peers 0,
Starlette). Under uvicorn, run it with `--http h11` or `--http gateway.web.protocol:StrictProtocol`: its own httptools
protocol takes chunked trailers for headers (facts: security 4.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from gateway.errors import Code, Outage, Refusal, StoreUnusable
from gateway.identity.platforms import Platform
from gateway.web.carrier import refuse_socket, send_answer
from gateway.web.headers import IdentityHeaders
from gateway.web.problems import Problems
from gateway.web.transport import one_token, read_head

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.contacts.resolver import Identity
    from gateway.web.authentication import Authenticator
    from gateway.web.transport import Answer


class IdentityMiddleware:
    """Pure ASGI: refuses, or lets the request through with its identity.

    `workspace` names the workspace of this mount (None: the configuration's default one), `platform` whom it serves:
    `web`, `ios` or `android` (None: anybody, so the strictest enforcement of the three). With `optional`, a request
    without any token passes as Starlette's `UnauthenticatedUser`; a token that is present but bad is refused (advisory
    B18), unless the configuration does not enforce verification on the platform (`web/enforcement.py`): then it passes
    as that, too. The client's own identity headers are removed before the application sees a request, on every path.
    The store opens at the first token. Around a whole application the middleware closes it at the end of the lifespan;
    around a mount it hears of none, and the application awaits `authenticator.close()` itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        workspace: str | None = None,
        platform: str | None = None,
        optional: bool = False,
    ) -> None:
        self.app = app
        self._authenticator = authenticator
        self._workspace = workspace
        self._platform = None if platform is None else Platform(platform)
        self._optional = optional
        self._identity_headers = IdentityHeaders()
        self._problems = Problems(os.urandom)
        self._opening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, self._closing(send))
            return
        headers = self._identity_headers.strip(scope["headers"])
        enforcement = self._authenticator.enforcement
        try:
            head = read_head(scope["headers"])
            user: Identity | UnauthenticatedUser = UnauthenticatedUser()
            auth = AuthCredentials()
            if head.token is not None or not self._optional:
                if not self._authenticator.is_open:
                    await self._authenticator.open()  # at the first token: a mounted middleware hears of no lifespan
                authenticated = await self._authenticator.authenticate(
                    one_token(head.token), self._workspace, self._platform
                )
                user, auth = authenticated.identity, AuthCredentials(["authenticated"])
                if enforcement.counts:
                    enforcement.count_verified(self._workspace, self._platform)
        except Refusal as refusal:
            if enforcement.excuse(refusal, self._workspace, self._platform, self._problems) is None:
                await _refuse(scope, receive, send, self._problems.answer(refusal))
                return
            self._begin_counting()
        except Outage as outage:
            await _refuse(scope, receive, send, self._problems.answer(outage))
            return
        except StoreUnusable as error:
            unusable = Outage(Code.STORE_UNAVAILABLE, str(error))
            await _refuse(scope, receive, send, self._problems.answer(unusable))
            return
        await self.app({**scope, "headers": headers, "user": user, "auth": auth}, receive, send)

    def _begin_counting(self) -> None:
        """What is counted comes into the store, also where no token ever opens it; no request waits for that."""
        if not self._authenticator.enforcement.counts or self._authenticator.is_open:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        with contextlib.suppress(Outage, StoreUnusable):  # the next request that is counted tries again
            await self._authenticator.open()

    def _closing(self, send: Send) -> Send:
        """At the end of the application's lifespan, close the store."""

        async def send_and_close(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                if self._opening is not None:
                    await self._opening
                if self._authenticator.is_open:
                    await self._authenticator.close()
            await send(message)

        return send_and_close


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    if scope["type"] == "http":
        await send_answer(send, answer, head=scope["method"] == "HEAD")
        return
    await refuse_socket(answer, scope, receive, send)
