"""uvicorn's httptools protocol, made strict where it is lenient.

* Chunked trailers are not headers. httptools reports both through one callback, and uvicorn keeps appending to the very
  list that the application reads, so a trailer could say `Authorization` (facts: security 4.1, R23).
* The target is in origin form: a path, no authority, no fragment (A21); HTTP/1.1 has a `Host` (RFC 9112 section 3.2).
* A head or a trailer that never ends is cut off: the parser itself has no bound (facts: peers 0.10).
* HTTP is 1.1 or 1.0, and 1.0 has no chunks (RFC 9112 section 6.1): the parser takes 2.0 as well.
* A request arrives, and its client reads the answer, within one or two `REQUEST_SECONDS`, or the connection ends (R27).
* Nothing more is read while requests are queued: uvicorn lets in thousands for each one that it answers.
* What follows a request that closes the connection is not served (RFC 9112 section 9.6, R25); an upgrade is declined by
  an ordinary answer that closes the connection, so nothing after it is taken for a request (A26).
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.errors import Code, Outage, Refusal
from gateway.web.problems import Problems
from gateway.web.transport import BODY_LIMIT, HEADERS_LIMIT, framing_is_doubtful

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sized

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from gateway.web.limits.connections import Connections
    from gateway.web.transport import Answer

REQUEST_SECONDS = 30.0
"""How often it is looked whether a connection still waits for the same request, head or body, as before."""

LEAST_BYTES = 4096
"""What a body must have grown by in that time to be slow rather than stuck."""

KEEP_ALIVE_LOOKS = 4
"""At which look a connection that idles is closed, after 90 s and more: proxies keep theirs for less, so that none asks
on one that we just closed."""


class _Flow(FlowControl):
    """Reads on only when no request is queued."""

    def __init__(self, transport: asyncio.Transport, queued: Sized) -> None:
        super().__init__(transport)
        self._queued = queued

    def resume_reading(self) -> None:
        """Read on, unless requests are queued."""
        if self.read_paused and not self._queued:
            super().resume_reading()


class StrictProtocol(HttpToolsProtocol):
    """One connection of a listener. `_arriving` is false between the end of a request and the begin of the next one."""

    problems: ClassVar[Problems] = Problems(os.urandom)
    room: ClassVar[Connections | None] = None
    """The connections of the listener, where `with_room` bounds them."""

    _is_socket = False
    _in_head = True
    _head_bytes = 0
    """Bytes of the head that is arriving, or of a body's framing and trailers since the last bytes of the body."""

    _arriving = True
    _lingers = False
    _http10 = False
    _requests = 0
    _requests_before = 0
    progress = 0
    """Bytes of bodies that came, and times that the client caught up with what it is sent: slow is not stuck."""

    _arrived_before = -1
    _progress_before = -1
    _unread_before = False
    _idled = 0
    _watch: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client connected; its first request is due."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._watch = self.loop.call_later(REQUEST_SECONDS, self._check_progress)
        if self.room is not None and not self.room.enter(self, self.client[0] if self.client else None):
            self._lingers = True  # whatever it sends is not read
            refusal = Outage(Code.OVERLOADED, "too many connections", retry_after=1)
            self.write_answer(self.problems.answer(refusal), keep_alive=False)

    def may_give_way(self, *, idle: bool) -> bool:
        """See `Connection`."""
        if self._is_socket:
            return False
        if idle:
            cycle: RequestResponseCycle | None = self.cycle
            return cycle is None or cycle.response_complete
        # A body that is larger than our own addresses take is an upload; one that stays below, and is old, is slow.
        return self._arriving and self._requests <= 1 and self.progress <= BODY_LIMIT

    def give_way(self) -> None:
        """See `Connection`."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._watch.cancel()
        if self.room is not None:
            self.room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; refuse and close when the head of a request goes on for ever."""
        if self._lingers:
            return
        if not self._arriving and data[0] in b"\r\n":
            # Empty lines between requests are skipped (RFC 9112 section 2.2), and keep no idle connection open.
            data = data.lstrip(b"\r\n")
            if not data:
                return
        super().data_received(data)
        if self._arriving:
            # The packet in which a head begins, or a piece of a body ends, may hold much before it, and is not counted.
            self._head_bytes = 0 if self._head_bytes < 0 else self._head_bytes + len(data)
            if self._head_bytes > HEADERS_LIMIT:
                part = "head" if self._in_head else "trailers"
                self.refuse(Refusal(Code.PAYLOAD_TOO_LARGE, f"the {part} of the request does not end"))

    def on_response_complete(self) -> None:
        """An answer is whole: go on with what waits behind it.

        As uvicorn does it, but for a timer for each request: `_check_progress` looks whether the connection idles.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def resume_writing(self) -> None:
        """The client has read on."""
        self.progress += 1
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP, or not HTTP as we take it."""
        self.refuse(Refusal(Code.REQUEST_INVALID, msg))

    def refuse(self, refusal: Refusal) -> None:
        """Answer a refusal of what is arriving, and close; an answer that is still owed comes first, and alone."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if self._in_head and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if not self._in_head and cycle is not None and (cycle.response_started or cycle.response_complete):
            self.transport.abort()  # its answer is under way or over, and nothing may be taken for a second one
            return
        self.write_answer(self.problems.answer(refusal), keep_alive=False)

    def linger(self) -> None:
        """Close behind an answer that came before its request was whole.

        Closed at once, what the client still sends would reset the connection, and it might never see the answer
        (RFC 9112 section 9.6). So that is read for a while, and thrown away.
        """
        if self.transport.is_closing():
            return
        self._lingers = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._watch.cancel()
        self._watch = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def write_answer(self, answer: Answer, *, keep_alive: bool, is_head: bool = False, closes: bool = True) -> None:
        """Write a whole answer at once, and close unless it is kept alive or the caller `closes` otherwise."""
        if answer.rendered is None:
            answer.rendered = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        body = b"" if is_head else answer.body
        self.transport.write(b"".join((STATUS_LINE[answer.status], defaults, answer.rendered, end, body)))
        if closes and not keep_alive:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A new request begins; what uvicorn makes for an application is made when one is asked."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._head_bytes = -1
        self._arriving = True
        self._requests += 1

    def on_headers_complete(self) -> None:
        """The head is complete; an exception here becomes a 400 and closes the connection."""
        if self.transport.is_closing():
            raise ValueError("a request after the one that closed the connection")
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise ValueError("the request target is not in origin form")
        version = self.parser.get_http_version()
        self._http10 = version == "1.0"
        if version != "1.1" and not self._http10:
            raise ValueError("another version of HTTP")
        names = [name for name, _ in self.headers]
        if b"transfer-encoding" in names if self._http10 else b"host" not in names:
            raise ValueError("chunks in HTTP/1.0, or no Host in HTTP/1.1")
        if b"transfer-encoding" in names and framing_is_doubtful(self.headers):
            raise ValueError("a transfer coding other than chunked")
        if self.parser.should_upgrade() and _has_body(self.headers):
            raise ValueError("an upgrade with a body")  # the parser skips it: who is asked would wait for it
        self._in_head = False
        self._head_bytes = -1
        self.start_request()

    def start_request(self) -> None:
        """Hand the request to the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        if self.parser.should_upgrade():
            if self._should_upgrade():
                return  # an application of somebody else's, with WebSockets: no cycle was made
            self.cycle.keep_alive = False
        if expects:
            self.cycle.keep_alive = False  # a client that is refused may leave its body out, or not (RFC 9110, 10.1.1)
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Some of a body."""
        self.came(body)
        super().on_body(body)

    def came(self, body: bytes) -> None:
        """Note that a body goes on."""
        self.progress += len(body)
        self._head_bytes = -1

    def on_message_complete(self) -> None:
        """The request has arrived."""
        self._arriving = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol; what follows has time-outs of its own."""
        self._watch.cancel()
        super().handle_websocket_upgrade()
        sockets: Any = self.transport.get_protocol()
        self._is_socket = True
        if self.room is not None:
            sockets.ended = partial(self.room.leave, self)
        if not sockets.handshake_initiated and not self.transport.is_closing():
            # Another method, more than 128 fields, a line longer than 8 KiB: uvicorn would say nothing, and wait.
            refusal = Refusal(Code.REQUEST_INVALID, "not the handshake of a WebSocket")
            self.write_answer(self.problems.answer(refusal), keep_alive=False)

    def _should_upgrade(self) -> bool:
        """Whether a WebSocket begins here; never behind a request whose answer is still owed (A26)."""
        cycle: RequestResponseCycle | None = self.cycle
        return (cycle is None or cycle.response_complete) and super()._should_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: an upgrade is the client's wish, not a fault."""

    def _check_progress(self) -> None:
        """End a connection whose request does not come to its end, or whose client does not read."""
        moved = self.progress - self._progress_before
        # Where we read no more for now, the client is not the one who is late.
        late = self._arriving and self._requests == self._arrived_before and not self.flow.read_paused
        unread = self._unread_before and self.flow.write_paused
        if (late and moved < LEAST_BYTES) or (unread and not moved):
            self.transport.abort()
            return
        idles = not self._arriving and self._requests == self._requests_before and self.cycle.response_complete
        self._idled = self._idled + 1 if idles else 0
        if self._idled >= KEEP_ALIVE_LOOKS:
            self.transport.close()
            return
        self._requests_before = self._requests
        self._progress_before = self.progress
        self._arrived_before = self._requests if self._arriving else -1
        self._unread_before = self.flow.write_paused
        self._watch = self.loop.call_later(REQUEST_SECONDS, self._check_progress)


def with_room(protocol: type[StrictProtocol], room: Connections) -> type[StrictProtocol]:
    """A protocol class whose connections are those of one listener, bounded by its `room`."""
    return type(protocol.__name__, (protocol,), {"room": room})


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a body is announced; the parser has read the length."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0) for name, value in headers
    )


def listener_config(
    app: object, protocol: type[StrictProtocol], *, drain_seconds: int, sockets: type[asyncio.Protocol] | None = None
) -> Config:
    """Uvicorn's configuration of one of our listeners: nothing trusted from peers, no line a request."""
    from uvicorn.config import Config  # noqa: PLC0415 - a library user of the middleware never needs it

    return Config(
        app,  # type: ignore[arg-type]  # an ASGI application, whose type uvicorn spells in its own way
        http=protocol,
        ws=sockets or "none",
        ws_max_size=16 * 1024 * 1024,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
    )
