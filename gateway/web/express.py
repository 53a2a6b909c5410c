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
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.web.protocol import StrictProtocol
from gateway.web.transport import BODY_LIMIT, Request

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from gateway.web.decision import Decision
    from gateway.web.transport import Answer

_LANE_METHODS = frozenset({b"GET", b"POST"})


class _Silent:
    """Stands where uvicorn's cycle keeps an event that nobody awaits here."""

    def set(self) -> None:
        """Wake nobody."""


class _LaneCycle:
    """The lane's request as uvicorn's connection sees it: shutdown and disconnect look at these fields."""

    __slots__ = ("body", "disconnected", "keep_alive", "method", "path", "query", "response_complete")
    message_event = _Silent()

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

    def start_request(self) -> None:
        """Choose the lane or the ordinary way for this request."""
        self._lane = lane = self._enter()
        if lane is None:
            super().start_request()
        else:
            self.cycle = lane  # type: ignore[assignment]  # it has what the connection looks at

    def on_body(self, body: bytes) -> None:
        """Collect the body; its declared length was checked at the entrance."""
        if self._lane is None:
            super().on_body(body)
        elif self._lane.body:
            self._lane.body += body
        else:
            self._lane.body = bytearray(body)

    def on_message_complete(self) -> None:
        """The request is whole: decide, and answer now if nothing needs waiting."""
        lane = self._lane
        if lane is None:
            super().on_message_complete()
            return
        self._lane = None
        self._arriving = False
        request = Request(lane.method, lane.path, lane.query, self.headers, bytes(lane.body))
        decision = self.decision.decide(request)
        try:
            waiting_for = decision.send(None)
        except StopIteration as done:
            self._answer(lane, done.value)
        else:
            task = self.loop.create_task(self._answer_later(lane, _rest_of(decision, waiting_for)))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _enter(self) -> _LaneCycle | None:
        path, _, query = self.url.partition(b"?")
        if path not in self.decision.endings:
            return None
        method = self.parser.get_method()
        cycle: RequestResponseCycle | None = self.cycle
        busy = cycle is not None and not cycle.response_complete
        unusual = self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade()
        if busy or unusual or method not in _LANE_METHODS:
            return None
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and not _is_small(value)):
                return None
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        return _LaneCycle(method, path, query, keep_alive=keep_alive)

    async def _answer_later(self, lane: _LaneCycle, rest: Coroutine[Any, Any, Answer]) -> None:
        self._answer(lane, await rest)

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


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, Answer], waiting_for: Any) -> Generator[Any, Any, Answer]:
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
            answer: Answer = done.value
            return answer
