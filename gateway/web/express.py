"""The express lane: the decision, answered inside the parser's callback.

A scope, a task and two send calls are most of what a request costs under ASGI (facts: performance). The lane spends none
of them: it runs the same `decide` coroutine by hand. When the coroutine ends at once, the answer is written at once;
when it must wait, the rest of it becomes a task. Whatever is unusual in any way (another path or method, a pipelined
request, an upgrade, `Expect`, a chunked or large body, a client that does not read) takes the ordinary ASGI way.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.web.protocol import StrictProtocol
from gateway.web.transport import BODY_LIMIT, Answer, Request

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from gateway.web.decision import Decision

_LANE_METHODS = frozenset({b"GET", b"POST"})
_INTERNAL_ERROR = Answer(
    500,
    ((b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")),
    b"Internal Server Error",
)


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
        self.body = b""
        self.response_complete = False
        self.disconnected = False


class ExpressProtocol(StrictProtocol):
    """One connection of the public listener, with the lane open. `decision` is set by `express_protocol`."""

    decision: ClassVar[Decision]
    _lane: _LaneCycle | None = None

    def on_headers_complete(self) -> None:
        """Choose the lane or the ordinary way for this request."""
        self._lane = lane = self._enter()
        if lane is None:
            super().on_headers_complete()
            return
        self._in_head = False
        self._head_bytes = 0
        self.cycle = lane  # type: ignore[assignment] - it has what the connection looks at

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; what comes after the head is a trailer, and the lane takes no chunked bodies."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Collect the body; its declared length was checked at the entrance."""
        if self._lane is None:
            super().on_body(body)
        else:
            self._lane.body += body

    def on_message_complete(self) -> None:
        """The request is whole: decide, and answer now if nothing needs waiting."""
        lane = self._lane
        if lane is None:
            super().on_message_complete()
            return
        self._lane = None
        decision = self.decision.decide(Request(lane.method, lane.path, lane.query, self.headers, lane.body))
        try:
            waiting_for = decision.send(None)
        except StopIteration as done:
            self._answer(lane, done.value)
        except Exception:
            self.logger.exception("the decision failed")
            self._answer(lane, _INTERNAL_ERROR)
        else:
            task = self.loop.create_task(self._answer_later(lane, _rest_of(decision, waiting_for)))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _enter(self) -> _LaneCycle | None:
        path, _, query = self.url.partition(b"?")
        if path not in self.decision.endings:
            return None
        method = self.parser.get_method()
        busy = self.cycle is not None and not self.cycle.response_complete
        unusual = self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade()
        if busy or unusual or method not in _LANE_METHODS:
            return None
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and not _is_small(value)):
                return None
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        return _LaneCycle(method, path, query, keep_alive=keep_alive)

    async def _answer_later(self, lane: _LaneCycle, rest: Coroutine[Any, Any, Answer]) -> None:
        try:
            answer = await rest
        except Exception:
            self.logger.exception("the decision failed")
            answer = _INTERNAL_ERROR
        self._answer(lane, answer)

    def _answer(self, lane: _LaneCycle, answer: Answer) -> None:
        lane.response_complete = True
        if lane.disconnected:
            return
        if answer.rendered is None:
            answer.rendered = b"".join(b"%b: %b\r\n" % header for header in answer.headers)
        closing = b"" if lane.keep_alive or answer is _INTERNAL_ERROR else b"connection: close\r\n"
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(
            b"".join((STATUS_LINE[answer.status], defaults, answer.rendered, closing, b"\r\n", answer.body))
        )
        if not lane.keep_alive or answer is _INTERNAL_ERROR:
            self.transport.close()
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
            resume = coroutine.throw, error
        else:
            resume = coroutine.send, received
        try:
            waiting_for = resume[0](resume[1])
        except StopIteration as done:
            return done.value
