"""The client's side of an exchange inside the listener's own protocol: from parser to parser, without ASGI.

Scope, task and two send calls are what forwarding costs under ASGI (facts: performance). Here the parser's callbacks of
one socket write to the other.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from gateway.web.proxy.exchange import Exchange
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from gateway.errors import Outage, Refusal
    from gateway.web.protocol import StrictProtocol
    from gateway.web.proxy.connection import AnswerHead, Headers
    from gateway.web.proxy.forwarder import Forwarder, Forwarding
    from gateway.web.transport import Request


_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


class Silent:
    """Stands where uvicorn's cycle keeps an event that nobody awaits here."""

    def set(self) -> None:
        """Wake nobody."""


class ForwardCycle:
    """One request that is forwarded, as uvicorn's connection sees it, and the `Client` of its exchange."""

    message_event = Silent()

    def __init__(self, protocol: StrictProtocol, forwarder: Forwarder, *, http10: bool, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self._protocol = protocol
        self._forwarder = forwarder
        self._http10 = http10
        self._is_head = False
        self._chunked = False
        self._until_close = False
        self._unsent = b""
        self._arrived = False
        self._expects = protocol.expect_100_continue and not http10
        self._exchange: Exchange | None = None
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._early: list[bytes] = []
        self._trailers: Sequence[tuple[bytes, bytes]] = ()

    def decide(self, request: Request, client: tuple[str, int] | None) -> Coroutine[Any, Any, Answer | Forwarding]:
        """The decision about the request, for `go`."""
        self._is_head = request.method == b"HEAD"
        self._headers = request.headers
        return self._forwarder.decide(request, self._forwarder.heads.peer(client[0] if client else None))

    def go(self, outcome: Answer | Forwarding) -> None:
        """What was decided about the request."""
        if self.disconnected or self._protocol.transport.is_closing():
            return
        if isinstance(outcome, Answer):
            self._answer(outcome)
            return
        if not outcome.has_body:
            self._arrived = True
        self._exchange = exchange = Exchange(self, outcome, self._forwarder.live)
        if self._expects and not self._arrived:
            self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._early:
            self.resume()
        exchange.start()
        for chunk in self._early:
            exchange.write(chunk)
        self._early.clear()
        if self._arrived:
            exchange.finish(self._trailers)

    def received(self, chunk: bytes) -> None:
        """Some of the request's body."""
        if self._exchange is not None:
            self._exchange.write(chunk)
        elif not self.response_complete:
            self._early.append(chunk)
            self.pause()

    def arrived(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """The request is whole."""
        self._arrived = True
        self._trailers = self._forwarder.heads.trailers(trailers) if trailers else ()
        if self._exchange is not None:
            self._exchange.finish(self._trailers)

    def lost(self) -> None:
        """The client has gone."""
        self.disconnected = True
        if self._exchange is not None:
            self._exchange.abandon()

    def hold(self) -> None:
        """The client does not keep up."""
        if self._exchange is not None:
            self._exchange.hold()

    def go_on(self) -> None:
        """It does again."""
        if self._exchange is not None:
            self._exchange.go_on()

    # What the exchange calls.

    def pause(self) -> None:
        """See `Client`."""
        self._protocol.flow.pause_reading()

    def resume(self) -> None:
        """See `Client`."""
        self._protocol.flow.resume_reading()

    def informed(self, head: AnswerHead) -> None:
        """See `Client`; HTTP/1.0 knows no interim answers (RFC 9110 section 15.2)."""
        if not self._http10:
            self._protocol.transport.write(b"".join([*self._forwarder.heads.answer(head), b"\r\n"]))

    def answered(self, head: AnswerHead) -> None:
        """See `Client`."""
        lines = self._forwarder.heads.answer(head, self._protocol.server_state.default_headers)
        self.response_started = True
        self.keep_alive = self.keep_alive and self._arrived
        if head.length is not None and head.status != 204:
            lines.append(b"content-length: %d\r\n" % head.length)
        elif head.has_body and self._http10:
            self._until_close = True
            self.keep_alive = False
        elif head.has_body:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._unsent = b"".join(lines)

    def body(self, chunk: bytes) -> None:
        """See `Client`."""
        self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def caught_up(self) -> None:
        """See `Client`."""
        if self._unsent:
            self._write(b"")

    def _write(self, chunk: bytes) -> None:
        """Write what is kept back, and a chunk."""
        if self._unsent:
            chunk, self._unsent = self._unsent + chunk, b""
        self._protocol.transport.write(chunk)

    def ended(self, trailers: Headers) -> None:
        """See `Client`."""
        if self._chunked:
            kept = self._forwarder.heads.trailers(trailers) if trailers else ()
            self._write(b"0\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % trailer for trailer in kept]))
        elif self._unsent:
            self._write(b"")
        self._done()

    def refused(self, error: Outage | Refusal) -> None:
        """See `Client`."""
        self._answer(self._forwarder.problems.answer(error))

    def cut(self) -> None:
        """See `Client`."""
        self.response_complete = True
        transport = self._protocol.transport
        if self._until_close:  # its end is what ends the answer, so it must not look like one
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _answer(self, answer: Answer) -> None:
        if not self._arrived:
            self._arrived = not any(name in _BODY_HEADERS and value != b"0" for name, value in self._headers)
        self.keep_alive = self.keep_alive and self._arrived
        self._protocol.write_answer(answer, keep_alive=self.keep_alive, is_head=self._is_head, closes=False)
        self._done()

    def _done(self) -> None:
        self.response_complete = True
        self._exchange = None
        self._early.clear()
        if self.keep_alive:
            self._protocol.on_response_complete()
        elif self._arrived:
            self._protocol.transport.close()
        else:
            self._protocol.linger()
