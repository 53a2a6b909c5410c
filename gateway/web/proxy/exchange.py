"""One request on its way through: from its head, which has been decided on, to the last byte of its answer.

A carrier is the client's side of it. Bodies are handed on as they come, in both directions; whoever is slower makes the
other side wait, so nothing is held in memory but what the sockets hold.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from gateway.errors import Code, Outage
from gateway.web.proxy.event_stream import EventStream, is_event_stream, takes_comments
from gateway.web.proxy.route import body_too_large

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.errors import Refusal
    from gateway.web.proxy.connection import AnswerHead, Headers, UpstreamConnection
    from gateway.web.proxy.forwarder import Forwarding
    from gateway.web.proxy.live import Live

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods whose request may be sent again on another connection (RFC 9110 section 9.2.1): they change nothing."""

RETRIES = 2
"""How often that is done; each time on a connection as new as can be had."""

_log = logging.getLogger("gateway.proxy")

_tasks: set[asyncio.Task[None]] = set()


class Client(Protocol):
    """The client's side. Its methods neither wait nor raise."""

    def pause(self) -> None:
        """Read no more of the request for now."""

    def resume(self) -> None:
        """Read on."""

    def informed(self, head: AnswerHead) -> None:
        """An interim answer of the upstream."""

    def answered(self, head: AnswerHead) -> None:
        """The head of the upstream's answer."""

    def body(self, chunk: bytes) -> None:
        """Some of its body."""

    def caught_up(self) -> None:
        """That was all for now."""

    def ended(self, trailers: Headers) -> None:
        """Its end."""

    def refused(self, error: Outage | Refusal) -> None:
        """There is no answer, and nothing was written of one."""

    def cut(self) -> None:
        """The answer ends in its middle; the client must not take it for whole."""


class Exchange:
    """A request to the upstreams of a route, on behalf of a client."""

    def __init__(self, client: Client, forwarding: Forwarding, live: Live) -> None:
        self._client = client
        self._forwarding = forwarding
        self._live = live
        self._is_live = False
        self._events: EventStream | None = None
        self._upstreams = forwarding.upstreams
        self._head = forwarding.head
        self._is_head = forwarding.method == b"HEAD"
        self._has_body = forwarding.has_body
        self._body_left = forwarding.route.max_body
        self._chunked = forwarding.chunked
        self._repeatable = forwarding.method in _REPEATABLE and not forwarding.has_body
        self._connection: UpstreamConnection | None = None
        self._early: list[bytes] = []
        self._retries = RETRIES if self._repeatable else 0
        self._held = False
        self._finished = not forwarding.has_body
        self._over = False

    def start(self) -> None:
        """Ask the upstream: at once on a connection that stands, else as soon as there is one."""
        connection = self._upstreams.take(repeatable=self._repeatable)
        if connection is None:
            self._connect_soon()
        else:
            self._ask(connection)

    def write(self, chunk: bytes) -> None:
        """Some of the request's body."""
        if self._body_left is not None:
            self._body_left -= len(chunk)
            if self._body_left < 0:
                self._refuse_body()
                return
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        self._send(chunk)

    def finish(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """The request is whole."""
        if self._finished:
            return
        if self._chunked:
            self._send(b"0\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % trailer for trailer in trailers]))
        self._finished = True
        if self._connection is not None:
            self._connection.sent()

    def abandon(self) -> None:
        """The client has gone, or may have no more of the answer."""
        self._close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def hold(self) -> None:
        """The client does not keep up with the answer."""
        self._held = True
        if self._connection is not None:
            self._connection.pause_reading()

    def go_on(self) -> None:
        """It does again."""
        self._held = False
        if self._connection is not None:
            self._connection.resume_reading()

    # What the connection calls.

    def informed(self, head: AnswerHead) -> None:
        """See `Receiver`."""
        self._client.informed(head)

    def answered(self, head: AnswerHead) -> None:
        """See `Receiver`."""
        self._client.answered(head)
        if is_event_stream(head):
            self._is_live = True
            self._live.add(self, self._forwarding.admitted, self._forwarding.route, self._end)
            if takes_comments(head):
                self._events = EventStream(self._client.body)

    def body(self, chunk: bytes) -> None:
        """See `Receiver`."""
        self._client.body(chunk)
        if self._events is not None:
            self._events.came(chunk)

    def caught_up(self) -> None:
        """See `Receiver`."""
        self._client.caught_up()

    def ended(self, trailers: Headers) -> None:
        """See `Receiver`."""
        self._connection = None
        self._close()
        self._client.ended(trailers)

    def failed(self, code: Code, reason: str, *, untouched: bool) -> None:
        """See `Receiver`: a repeatable request that met a connection on its way out is sent again, on another."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.answering:
            self._close()
            _log.warning("an answer was cut", extra={"code": code.value, "reason": reason})
            self._client.cut()
        elif untouched and self._retries:
            self._retries -= 1
            self._connect_soon()
        else:
            self._close()
            self._client.refused(Outage(code, reason))

    def pause_sending(self) -> None:
        """See `Receiver`."""
        self._client.pause()

    def resume_sending(self) -> None:
        """See `Receiver`."""
        self._client.resume()

    def _end(self, _code: Code) -> None:
        """The identity would be refused now: its stream ends here, and whoever reconnects hears why."""
        self.abandon()
        self._client.cut()

    def _refuse_body(self) -> None:
        """The body is larger than the route takes; only of a chunked one that is not known before it comes.

        The upstream hears of no end of it.
        """
        if self._over:
            return
        answering = self._connection is not None and self._connection.answering
        self.abandon()
        if answering:
            self._client.cut()
        else:
            self._client.refused(body_too_large(self._forwarding.route))

    def _close(self) -> None:
        self._over = True
        if self._is_live:
            self._live.remove(self)
        if self._events is not None:
            self._events.close()

    def _send(self, chunk: bytes) -> None:
        if self._over:
            return
        if self._connection is None:
            self._early.append(chunk)
        else:
            self._connection.send(chunk)

    def _connect_soon(self) -> None:
        if not self._finished:  # else there is nothing to hold back, and whoever reads no more hears of no end
            self._client.pause()
        task = asyncio.get_running_loop().create_task(self._connect())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def _connect(self) -> None:
        try:
            connection = await self._upstreams.connect()
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is not left without an answer
            if not isinstance(error, Outage):
                _log.error("failed to connect", exc_info=error)
                error = Outage(Code.UPSTREAM_UNAVAILABLE, "no connection could be made")
            if not self._over:
                self._over = True
                self._client.refused(error)
            return
        if self._over:  # the client has gone meanwhile; the next one may have it
            connection.release()
            return
        self._ask(connection)
        self._client.resume()

    def _ask(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.ask(self._head, self, is_head=self._is_head, has_body=self._has_body)
        for chunk in self._early:
            connection.send(chunk)
        self._early.clear()
        if self._finished:
            connection.sent()
        if self._held:
            connection.pause_reading()
