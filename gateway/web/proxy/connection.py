"""One connection to an upstream: it carries one exchange after the other, and is strict about every answer.

The parser is httptools in its strict mode, called straight from the socket: no task, no queue, no copy of a body. What
the parser lets through and must not be is refused here: a coding other than `chunked`, a head that does not end, bytes
that nobody asked for. A connection about which anything is in doubt is never used again (A26, C10).
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Protocol

import httptools
from msgspec import Struct

from gateway.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's head, or of its trailers: what the parser may take in before it gives something out."""

INTERIM_LIMIT = 16
"""How many interim answers (102 to 199) may stand before the final one."""

Headers = list[tuple[bytes, bytes]]

_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""The words beside a status (RFC 9112 section 4); the parser takes any bytes."""

_VERSIONS = frozenset({"1.0", "1.1"})

_log = logging.getLogger(__name__)


class _Unfit(Exception):
    """What the parser lets through, and nobody may get."""


class AnswerHead(Struct, frozen=True):
    """The head of an upstream's answer. Names are in lower case; `length` None says that only its end ends it."""

    status: int
    reason: bytes
    headers: Headers
    length: int | None
    has_body: bool


class Receiver(Protocol):
    """Who asked. Its methods are called from the socket's own callback, so they must neither wait nor raise."""

    def informed(self, head: AnswerHead) -> None:
        """An interim answer, 102 to 199."""

    def answered(self, head: AnswerHead) -> None:
        """The head of the answer."""

    def body(self, chunk: bytes) -> None:
        """Some of its body."""

    def caught_up(self) -> None:
        """That was all for now: what was kept back, to be written in one piece, is due."""

    def ended(self, trailers: Headers) -> None:
        """Its end. The connection is on its way back to the pool, and no longer this receiver's."""

    def failed(self, code: Code, reason: str, *, untouched: bool) -> None:
        """There will be no (whole) answer: `upstream_unavailable` or `upstream_timeout`.

        `untouched`: the connection was closed under us before a byte of an answer came, as one that idled may be.
        """

    def pause_sending(self) -> None:
        """The upstream reads slower than it is sent to."""

    def resume_sending(self) -> None:
        """It has caught up."""


class UpstreamConnection(asyncio.Protocol):
    """A connection of a pool.

    `made` is called when it stands, `free` whenever it may carry another exchange, `gone` when it is lost.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        made: Callable[[UpstreamConnection], None],
        free: Callable[[UpstreamConnection], None],
        gone: Callable[[UpstreamConnection], None],
    ) -> None:
        self._made = made
        self._free = free
        self._gone = gone
        self._parser = httptools.HttpResponseParser(self)
        self._receiver: Receiver | None = None
        self._loop = asyncio.get_running_loop()
        self.since = 0.0
        """When the exchange last went on, by the loop's clock: a byte of a head that does not end is no progress."""
        self.answering = False
        """Whether the head of the answer has come."""
        self.paused = False
        """Whether the client is what is waited for."""
        self._asked_head = False
        self._choked = False
        self._unsent = b""
        self._sent = True
        self._whole = True
        self._usable = True
        self._used = False
        self._heard = False
        self._interim = 0
        self._headers: Headers = []
        self._reason = b""
        self._pending = 0
        self._until_close = False

    def ask(self, head: bytes, receiver: Receiver, *, is_head: bool, has_body: bool) -> None:
        """Begin an exchange with the head of a request."""
        self._receiver = receiver
        self._asked_head = is_head
        self._sent = not has_body
        self._whole = self.answering = self._heard = False
        self._interim = 0
        self.since = self._loop.time()
        if has_body:  # which begins in the packet of the head, mostly
            self._unsent = head
            self._loop.call_soon(self._send_head)
        else:
            self.transport.write(head)

    def send(self, chunk: bytes) -> None:
        """Some of the request's body, framed already."""
        self.since = self._loop.time()
        if self._unsent:
            chunk, self._unsent = self._unsent + chunk, b""
        self.transport.write(chunk)

    def _send_head(self) -> None:
        if self._unsent and self._receiver is not None:
            self.send(b"")

    def sent(self) -> None:
        """The request is whole."""
        self._sent = True
        self.since = self._loop.time()

    @property
    def waited_for(self) -> bool:
        """Whether it is the upstream's turn."""
        return self._receiver is not None and (self._sent or self._choked) and not self.paused

    def abandon(self) -> None:
        """Nobody wants the answer any more: the connection ends, so that it is nobody else's answer either (C10)."""
        self._receiver = None
        self._usable = False
        self._unsent = b""
        self.transport.abort()

    def release(self) -> None:
        """It was taken for an exchange that did not come about."""
        if not self.transport.is_closing():
            self._free(self)

    def pause_reading(self) -> None:
        """The client reads slower than the upstream sends."""
        if not self.paused and not self.transport.is_closing():
            self.paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """It has caught up."""
        if self.paused and not self.transport.is_closing():
            self.paused = False
            self.since = self._loop.time()
            self.transport.resume_reading()

    def expire(self) -> None:
        """The upstream took too long."""
        self._fail(Code.UPSTREAM_TIMEOUT, "the upstream did not go on in time")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = transport  # type: ignore[assignment]  # of a stream protocol it is one
        self.since = self._loop.time()
        self._made(self)

    def data_received(self, data: bytes) -> None:
        """The upstream sent something."""
        if self._receiver is None:  # nobody asked: what an idle connection says is nobody's answer
            self._usable = False
            self.transport.abort()
            return
        self._heard = True
        if self.answering:
            self.since = self._loop.time()
        self._pending += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(error.__context__, _Unfit):
                _log.error("failed to hand an answer on", exc_info=error)
            self._usable = False
            if not self._whole:  # else what follows an answer spoils the connection, not the answer
                self._fail(Code.UPSTREAM_UNAVAILABLE, "the upstream's answer is not strict HTTP/1.1")
                return
        if self._whole:
            self._end()
        elif self._pending > HEAD_LIMIT:
            self._fail(Code.UPSTREAM_UNAVAILABLE, "the head of the upstream's answer does not end")
        elif self._receiver is not None:
            self._receiver.caught_up()

    def eof_received(self) -> bool:
        """The upstream sends no more; a half-closed connection is of no use."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; an answer without a length ends with it, every other one is cut short."""
        self._usable = False
        receiver = self._receiver
        if receiver is not None:
            if self.answering and self._until_close and error is None:
                self._whole = True
                self._end()
            else:
                untouched = self._used and not self._heard
                self._receiver = None
                reason = "the upstream closed the connection before its answer was whole"
                receiver.failed(Code.UPSTREAM_UNAVAILABLE, reason, untouched=untouched)
        self._gone(self)

    def pause_writing(self) -> None:
        """The upstream does not keep up."""
        self._choked = True
        if self._receiver is not None:
            self._receiver.pause_sending()

    def resume_writing(self) -> None:
        """It does again."""
        self._choked = False
        if self._receiver is not None:
            self.since = self._loop.time()
            self._receiver.resume_sending()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer, or an interim one, begins."""
        if self._whole:
            self._usable = False  # a second answer to one question: never handed to whoever asks next
        self._headers = []
        self._reason = b""
        self._pending = 0
        self._until_close = False

    def on_status(self, reason: bytes) -> None:
        """The words beside the status."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailers."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._pending = 0
        if self._whole or self._receiver is None:
            return
        status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        length, chunked = _framing(self._headers)
        if (
            version not in _VERSIONS
            or not 100 <= status < 600
            or (chunked and version == "1.0")
            or _REASON.fullmatch(self._reason) is None
        ):
            raise _Unfit
        has_body = not (self._asked_head or status in {204, 304} or status < 200)
        head = AnswerHead(status, self._reason, self._headers, length, has_body)
        self._headers = []
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_LIMIT:
                raise _Unfit  # an upgrade that nobody asked for, or interim answers without end
            self.since = self._loop.time()
            if status != 100:
                self._receiver.informed(head)
            return
        self.answering = True
        self._until_close = has_body and length is None and not chunked
        self._receiver.answered(head)
        if self._asked_head:
            # The parser does not know the question, and would wait for a body.
            self._usable = self._usable and self._parser.should_keep_alive()
            self._whole = True
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, chunk: bytes) -> None:
        """Some of the body."""
        self._pending = 0
        if self._whole:
            self._usable = False
        elif self._receiver is not None:
            self._receiver.body(chunk)

    def on_message_complete(self) -> None:
        """An answer, or an interim one, is whole."""
        if not self.answering or self._whole:
            self._headers = []
            return
        self._usable = self._usable and self._parser.should_keep_alive()
        self._whole = True

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        trailers, self._headers = self._headers, []
        self._used = True
        transport = self.transport
        # An answer that came before its request was read leaves a connection that is still busy with that.
        waits = self._unsent or not self._sent or transport.get_write_buffer_size()
        if self._usable and not waits and not transport.is_closing():
            self.resume_reading()
            self._free(self)
        else:
            self._usable = False
            transport.abort()
        if receiver is not None:
            receiver.ended(trailers)

    def _fail(self, code: Code, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._usable = False
        self.transport.abort()
        if receiver is not None:
            receiver.failed(code, reason, untouched=False)


def _framing(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """The declared length, and whether the body is chunked; the parser has refused both at once, and two lengths."""
    length: int | None = None
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise _Unfit
            chunked = True
    return length, chunked
