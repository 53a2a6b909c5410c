"""WebSockets on their way through: the client's side by ASGI, the upstream's by `websockets`.

A refusal before the upgrade is a real HTTP status, ours or the upstream's. Afterwards 4401 says that the token ended or
was revoked, 4403 that the contact was blocked, merged or archived, 1012 that the gateway restarts, 1011 that a side was
lost; every other code is the other side's own. Messages are handed on one by one: whoever does not take them makes the
other side wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from gateway.errors import Code, Outage
from gateway.web.carrier import deny_socket
from gateway.web.problems import status_of
from gateway.web.proxy.connection import AnswerHead
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from starlette.types import Message, Receive, Scope, Send

    from gateway.web.proxy.forwarder import Forwarder, Socket
    from gateway.web.proxy.heads import Field
    from gateway.web.proxy.upstream_socket import UpstreamSocket

EXPIRED, FORBIDDEN = 4401, 4403
_NORMAL, _GOING_AWAY, _TOO_BIG, _LOST = 1000, 1001, 1009, 1011
_NO_CODE = frozenset({1005, 1006, 1015})
"""Codes that stand for the lack of one, and are never sent (RFC 6455 section 7.4.1)."""

_Close = tuple[int, str]
"""A code and a reason."""


def closing_code(code: Code) -> int:
    """The code with which a socket ends whose identity would be refused now."""
    return EXPIRED if status_of(code) == 401 else FORBIDDEN


class SocketRelay:
    """One WebSocket on its way through."""

    def __init__(self, forwarder: Forwarder, socket: Socket) -> None:
        self._forwarder = forwarder
        self._socket = socket

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Connect to the upstream and hand messages on, until one side closes or the identity is refused."""
        await receive()  # the server's `websocket.connect`
        first = asyncio.ensure_future(receive())
        opening = asyncio.ensure_future(self._open())
        upstream: UpstreamSocket | None = None
        try:
            await asyncio.wait({first, opening}, return_when=asyncio.FIRST_COMPLETED)
            if first.done() and first.result()["type"] == "websocket.disconnect":
                return
            outcome = await opening
            if isinstance(outcome, Answer):
                await deny_socket(outcome, scope, send)
                return
            upstream = outcome
            assert upstream.response is not None  # noqa: S101 - an open socket has one
            fields = self._fields(upstream.response.status_code, upstream.response.headers.raw_items())
            chosen = upstream.subprotocol or self._socket.own_subprotocol
            await send({"type": "websocket.accept", "subprotocol": chosen, "headers": fields})
            await self._relay(upstream, first, receive, send)
        finally:
            await _cancel(first, opening)
            if upstream is None and not opening.cancelled() and not isinstance(outcome := opening.result(), Answer):
                upstream = outcome
            if upstream is not None:
                upstream.transport.abort()  # closed by now, unless something went wrong on the way

    async def _open(self) -> UpstreamSocket | Answer:
        """The upstream's side, or what the client is told instead; never raises."""
        from websockets.exceptions import InvalidHandshake, InvalidStatus  # noqa: PLC0415 - only sockets need it

        from gateway.web.proxy.upstream_socket import open_socket  # noqa: PLC0415 - as above

        problems = self._forwarder.problems
        try:
            return await open_socket(self._socket)
        except InvalidStatus as refused:
            status, headers = refused.response.status_code, refused.response.headers
            if status >= 200:
                return Answer(status, tuple(self._fields(status, headers.raw_items())), bytes(refused.response.body))
            return problems.answer(Outage(Code.UPSTREAM_UNAVAILABLE, "an interim answer to a handshake"))
        except TimeoutError:
            return problems.answer(Outage(Code.UPSTREAM_TIMEOUT, "no WebSocket of the upstream in time"))
        except (OSError, ValueError, InvalidHandshake) as error:  # ValueError: of a name that is none
            reason = f"no WebSocket of the upstream: {type(error).__name__}"
            return problems.answer(Outage(Code.UPSTREAM_UNAVAILABLE, reason))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            return problems.failure(error)

    def _fields(self, status: int, fields: Iterable[tuple[str, str]]) -> list[Field]:
        """The fields of the upstream's answer that are the client's, too: its cookies, but not what we negotiate."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        kept = self._forwarder.heads.answer_fields(AnswerHead(status, b"", headers, length=None, has_body=False))
        return [field for field in kept if field[0] != b"date" and not field[0].startswith(b"sec-websocket-")]

    async def _relay(
        self, upstream: UpstreamSocket, first: asyncio.Future[Message], receive: Receive, send: Send
    ) -> None:
        socket = self._socket
        ended: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        incoming = asyncio.ensure_future(_incoming(upstream, first, receive))
        outgoing = asyncio.ensure_future(_outgoing(upstream, send))
        waited: set[asyncio.Future[Any]] = {incoming, outgoing, ended}
        try:
            with self._forwarder.live.watching(upstream, socket.admitted, socket.route, ended.set_result):
                done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(incoming, outgoing)
        if ended in done:
            close = closing_code(ended.result()), "the identity is no longer accepted"
            await _all_within(_close_client(send, close), upstream.close(*close))
        elif incoming in done:
            await _all_within(upstream.close(*incoming.result()))
        elif outgoing.exception() is None:
            await _all_within(_close_client(send, outgoing.result()), upstream.wait_closed())
        else:  # nothing can be sent to the client any more
            await _all_within(upstream.close(_GOING_AWAY))


async def _incoming(upstream: UpstreamSocket, first: asyncio.Future[Message], receive: Receive) -> _Close:
    """From the client to the upstream; with what the client closed."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - only sockets need it

    message = await first
    while message["type"] != "websocket.disconnect":
        content = message.get("text")
        with contextlib.suppress(ConnectionClosed):  # the other direction hears of it
            await upstream.send(message["bytes"] if content is None else content)
        message = await receive()
    code: int = message.get("code") or 1005
    if code in _NO_CODE:
        # uvicorn has one code for a client that closed without any and one that is gone, but no reason for that.
        return (_NORMAL if "reason" in message else _GOING_AWAY), ""
    return code, message.get("reason") or ""


async def _outgoing(upstream: UpstreamSocket, send: Send) -> _Close:
    """From the upstream to the client; with what the upstream closed."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - only sockets need it

    try:
        while True:
            message = await upstream.recv()
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})
    except ConnectionClosed as closed:
        if closed.rcvd is not None:
            frame = closed.rcvd
            return (_NORMAL, "") if frame.code in _NO_CODE else (frame.code, frame.reason)
        too_big = closed.sent is not None and closed.sent.code == _TOO_BIG
        return (_TOO_BIG if too_big else _LOST), ""


async def _close_client(send: Send, close: _Close) -> None:
    code, reason = close
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _all_within(*closings: Coroutine[Any, Any, None]) -> None:
    """Let the sides close, but not for ever: one that does not read never would. It may be gone at this very moment."""
    from gateway.web.proxy.upstream_socket import CLOSE_SECONDS  # noqa: PLC0415 - only sockets need it

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await asyncio.gather(*closings, return_exceptions=True)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what is not done, and wait until it is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
