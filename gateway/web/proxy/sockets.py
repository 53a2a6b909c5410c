"""WebSockets on their way through: the client's side by ASGI, the upstream's by `websockets`.

A refusal before the upgrade is a real HTTP status, ours or the upstream's. Afterwards 4401 says that the token ended or
was revoked, 4403 that the contact was blocked or merged, 1012 that the gateway restarts; every other code is the other
side's own.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from gateway.errors import Code, Outage
from gateway.web.problems import status_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from websockets.asyncio.client import ClientConnection

    from gateway.web.proxy.forwarder import Forwarder, Socket
    from gateway.web.transport import Answer

MESSAGE_LIMIT = 16 * 1024 * 1024
EXPIRED, FORBIDDEN = 4401, 4403
_UNSENDABLE = frozenset({1005, 1006, 1015})
"""Codes that stand for the lack of one, and are never sent (RFC 6455 section 7.4.1)."""


def closing_code(code: Code) -> int:
    """The code with which a socket ends whose identity would be refused now."""
    return EXPIRED if status_of(code) == 401 else FORBIDDEN


async def refuse_socket(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the handshake with an HTTP answer."""
    await receive()  # the server's `websocket.connect`
    await _deny(answer.status, list(answer.headers), answer.body, scope, send)


class SocketRelay:
    """One WebSocket on its way through."""

    def __init__(self, forwarder: Forwarder, socket: Socket) -> None:
        self._forwarder = forwarder
        self._socket = socket

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Connect to the upstream and hand messages on, until one side closes or the identity is refused."""
        from websockets.exceptions import InvalidHandshake, InvalidStatus  # noqa: PLC0415 - only sockets need it

        await receive()  # the server's `websocket.connect`
        try:
            upstream = await self._connected()
        except InvalidStatus as refused:
            response = refused.response
            fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.raw_items()]
            kept = [field for field in fields if field[0] not in {b"connection", b"upgrade", b"transfer-encoding"}]
            await _deny(response.status_code, kept, bytes(response.body or b""), scope, send)
            return
        except (OSError, InvalidHandshake) as error:
            code = Code.UPSTREAM_TIMEOUT if isinstance(error, TimeoutError) else Code.UPSTREAM_UNAVAILABLE
            outage = Outage(code, f"no WebSocket of the upstream: {type(error).__name__}")
            answer = self._forwarder.problems.answer(outage)
            await _deny(answer.status, list(answer.headers), answer.body, scope, send)
            return
        async with upstream:
            chosen = upstream.subprotocol or self._socket.own_subprotocol
            await send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})
            await self._until_closed(upstream, receive, send)

    async def _connected(self) -> ClientConnection:
        from websockets.asyncio.client import connect  # noqa: PLC0415 - only sockets need it
        from websockets.typing import Subprotocol  # noqa: PLC0415 - only sockets need it

        socket = self._socket
        return await connect(
            socket.uri,
            host=socket.address.host,
            port=socket.address.port,
            additional_headers=socket.headers,
            user_agent_header=None,
            subprotocols=[Subprotocol(one) for one in socket.subprotocols] or None,
            compression=None,
            proxy=None,
            max_size=MESSAGE_LIMIT,
            ping_interval=20,
            open_timeout=socket.connect_seconds,
            close_timeout=5,
        )

    async def _until_closed(self, upstream: ClientConnection, receive: Receive, send: Send) -> None:
        socket = self._socket
        ended: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        incoming = asyncio.create_task(_incoming(upstream, receive))
        outgoing = asyncio.create_task(_outgoing(upstream, send))
        waited: set[asyncio.Future[Any]] = {incoming, outgoing, ended}
        with self._forwarder.live.watching(upstream, socket.admitted, socket.route, ended.set_result):
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for task in (incoming, outgoing):
            task.cancel()
        await asyncio.gather(incoming, outgoing, return_exceptions=True)
        if ended in done:
            code = closing_code(ended.result())
            await _close(send, code, "the identity is no longer accepted")
            await upstream.close(code)
        elif incoming in done:
            await upstream.close(incoming.result())
        else:
            await _close(send, *outgoing.result())


async def _incoming(upstream: ClientConnection, receive: Receive) -> int:
    """From the client to the upstream; the code with which the client closed."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - only sockets need it

    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code: int = message.get("code") or 1000
            return 1001 if code in _UNSENDABLE else code
        content = message.get("text")
        with contextlib.suppress(ConnectionClosed):  # the other direction hears of it
            await upstream.send(message["bytes"] if content is None else content)


async def _outgoing(upstream: ClientConnection, send: Send) -> tuple[int, str]:
    """From the upstream to the client; the code and the reason with which the upstream closed."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - only sockets need it

    try:
        while True:
            message = await upstream.recv()
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})
    except ConnectionClosed as closed:
        frame = closed.rcvd
        if frame is None or frame.code in _UNSENDABLE:
            return 1011 if frame is None else 1000, ""
        return frame.code, frame.reason


async def _close(send: Send, code: int, reason: str) -> None:
    with contextlib.suppress(Exception):  # the client may have gone at this very moment
        await send({"type": "websocket.close", "code": code, "reason": reason})


async def _deny(status: int, headers: list[Any], body: bytes, scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
