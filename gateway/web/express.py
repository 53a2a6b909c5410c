"""The express lane: the decision, answered inside the parser's callback.

A scope, a task and two send calls are most of what a request costs under ASGI (facts: performance). The lane spends
none of them: it runs the same `decide` coroutine by hand. When the coroutine ends at once, the answer is written at
once; when it must wait, the rest of it becomes a task. Whatever is unusual in any way (another path or method, a
request behind one that waits, an upgrade, `Expect`, a chunked or large body, a client that does not read) takes the
ordinary ASGI way.
"""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gateway.web.protocol import StrictProtocol
from gateway.web.proxy.lane import ForwardCycle, Silent
from gateway.web.transport import BODY_LIMIT, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from gateway.web.decision import Decision
    from gateway.web.transport import Answer

T = TypeVar("T")

_LANE_METHODS = frozenset({b"GET", b"POST"})


class _LaneCycle:
    """The lane's request as uvicorn's connection sees it: shutdown and disconnect look at these fields."""

    __slots__ = ("body", "disconnected", "keep_alive", "method", "path", "query", "response_complete")
    message_event = Silent()
    response_started = False
    """An answer is written at once."""

    def __init__(self, method: bytes, path: bytes, query: bytes, *, keep_alive: bool) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.response_complete = False
        self.disconnected = False


class ExpressProtocol(StrictProtocol):
    """One connection of the public listener, with the lane open. `decision` is set by `express_protocol`."""

    decision: ClassVar[Decision]
    _lane: _LaneCycle | None = None
    """The lane's request that is arriving."""

    _receiving: ForwardCycle | None = None
    """The request to be forwarded that is arriving."""

    _forwarded: ForwardCycle | None = None
    """The one that was forwarded last: others may have arrived behind it, which wait for its end."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        if self._forwarded is not None:
            self._forwarded.lost()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        if self._forwarded is not None:
            self._forwarded.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._forwarded is not None:
            self._forwarded.go_on()

    def start_request(self) -> None:
        """Choose the lane or the ordinary way for this request."""
        path, _, query = self.url.partition(b"?")
        self._lane = lane = self._enter(path, query)
        if lane is not None:
            self.cycle = lane  # type: ignore[assignment]  # it has what the connection looks at
            return
        self._receiving = forwarded = self._forward(path)
        if forwarded is None:
            super().start_request()
            return
        self._forwarded = self.cycle = forwarded  # type: ignore[assignment]  # as above
        headers, self.headers = self.headers, []  # what comes now are trailers
        request = Request(self.parser.get_method(), path, query, headers)
        self._decide(forwarded.decide(request, self.client), forwarded.go)

    def on_body(self, body: bytes) -> None:
        """Collect the body, whose declared length was checked at the entrance, or hand it on."""
        if self._lane is not None:
            self.came(body)
            if self._lane.body:
                self._lane.body += body
            else:
                self._lane.body = bytearray(body)
        elif self._receiving is not None:
            self.came(body)
            self._receiving.received(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: decide, and answer now if nothing needs waiting."""
        lane, receiving = self._lane, self._receiving
        if lane is not None:
            self._lane = None
            self._arriving = False
            address = self.client[0] if self.client else None
            request = Request(lane.method, lane.path, lane.query, self.headers, bytes(lane.body), address)
            self._decide(self.decision.decide(request), partial(self._answer, lane))
        elif receiving is not None:
            self._receiving = None
            self._arriving = False
            receiving.arrived(self.headers)
        else:
            super().on_message_complete()

    def _decide(self, decision: Coroutine[Any, Any, T], then: Callable[[T], None]) -> None:
        """Run a decision by hand: to its end now, or else what is left of it in a task."""
        try:
            waiting_for = decision.send(None)
        except StopIteration as done:
            then(done.value)
        else:
            task = self.loop.create_task(_then(_rest_of(decision, waiting_for), then))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _enter(self, path: bytes, query: bytes) -> _LaneCycle | None:
        if path not in self.decision.endings:
            return None
        method = self.parser.get_method()
        if self._busy or self.expect_100_continue or self.parser.should_upgrade() or method not in _LANE_METHODS:
            return None
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and not _is_small(value)):
                return None
        keep_alive = self.parser.should_keep_alive() and not self._http10
        return _LaneCycle(method, path, query, keep_alive=keep_alive)

    def _forward(self, path: bytes) -> ForwardCycle | None:
        forwarder = self.decision.forwarder
        if forwarder is None or self._busy or self.parser.should_upgrade() or not forwarder.routes.takes(path):
            return None
        keep_alive = self.parser.should_keep_alive() and not self._http10
        return ForwardCycle(self, forwarder, http10=self._http10, keep_alive=keep_alive)

    @property
    def _busy(self) -> bool:
        """Whether an answer is still owed, or the client does not read."""
        cycle: RequestResponseCycle | None = self.cycle
        return (cycle is not None and not cycle.response_complete) or self.flow.write_paused

    def _answer(self, lane: _LaneCycle, answer: Answer) -> None:
        lane.response_complete = True
        # Only the newest request of a connection hears of its end; one that waits behind it must look.
        if lane.disconnected or self.transport.is_closing():
            return
        self.write_answer(answer, keep_alive=lane.keep_alive)
        self.on_response_complete()


def express_protocol(decision: Decision) -> type[ExpressProtocol]:
    """The protocol class of a public listener that answers with this decision."""
    return type("ExpressProtocol", (ExpressProtocol,), {"decision": decision})


def _is_small(content_length: bytes) -> bool:
    return content_length.isdigit() and int(content_length) <= BODY_LIMIT


async def _then(rest: Awaitable[T], then: Callable[[T], None]) -> None:
    then(await rest)


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was begun by hand: hand what it waits for to the task that runs us now."""
    while True:
        try:
            received = yield waiting_for
        except BaseException as error:  # noqa: BLE001 - a cancellation, too, belongs to the coroutine
            resume = partial(coroutine.throw, error)
        else:
            resume = partial(coroutine.send, received)
        try:
            waiting_for = resume()
        except StopIteration as done:
            result: T = done.value
            return result
