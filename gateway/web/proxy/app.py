"""The public listener's routes under ASGI: requests and WebSockets that a route takes; all else is handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.carrier import path_of, refuse_socket
from gateway.web.proxy.carrier import forward
from gateway.web.proxy.sockets import SocketRelay
from gateway.web.transport import Answer, Request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.web.proxy.forwarder import Forwarder


class ForwardingApp:
    """Pure ASGI: forwards what its routes take, and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, forwarder: Forwarder) -> None:
        self._app = app
        self._forwarder = forwarder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        path = path_of(scope) if scope["type"] in {"http", "websocket"} else b""
        if not path or not self._forwarder.routes.takes(path):
            if scope["type"] == "websocket":
                await refuse_socket(self._forwarder.problems.nothing_here(), scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        client = scope.get("client")
        peer = self._forwarder.heads.peer(client[0] if client else None)
        method = scope["method"].encode("ascii") if scope["type"] == "http" else b"GET"
        request = Request(method, path, scope["query_string"], scope["headers"])
        if scope["type"] == "http":
            await forward(self._forwarder, await self._forwarder.decide(request, peer), scope, receive, send)
            return
        outcome = await self._forwarder.decide_socket(request, peer)
        if isinstance(outcome, Answer):
            await refuse_socket(outcome, scope, receive, send)
        else:
            await SocketRelay(self._forwarder, outcome).run(scope, receive, send)
