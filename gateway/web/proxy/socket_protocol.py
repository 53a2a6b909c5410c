"""uvicorn's WebSocket protocol: it ends what it would leave standing, and tells nothing that nobody should read.

* A refused handshake is a finished one: without a word uvicorn logs an error for each (`websocket.http.response`).
* An end that is ours, of a message that is too large or of the gateway, reaches a client that is still sending: closed
  at once, the connection would be reset under it (RFC 6455 section 7.1.1). A client that does not read it is let go.
* Of a message in many pieces only the bytes are kept. uvicorn keeps every piece, so a message of empty ones, which
  never ends and never is too large, would fill the memory. So would pongs for a client that reads none (RFC 6455
  section 5.5.3: only the last ping must be answered).
* A client that is slow is not gone: neither one that still takes what waits for it, nor one of which we read nothing
  for now because the upstream does not keep up.
* Its line for every socket holds the path with its query, which may hold anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn._types import ASGISendEvent
    from websockets.frames import Frame

PONG_SECONDS = 60.0
"""How long a client may take to answer a ping; what is in flight before it may be megabytes, on a slow line."""

GONE_SECONDS = 10.0
"""How long after the end a client may take to read what is left for it."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket of the public listener."""

    _pong = b""
    """The answer to the last ping of a client that does not read for now."""

    ended: Callable[[], None] | None = None
    """Called when the connection is gone."""

    _unsent = 0
    _went_on = False
    _is_broken = False
    _ending: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = logging.getLogger("gateway.sockets")
        self.logger.setLevel(logging.WARNING)
        self.ping_timeout = PONG_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._ending is not None:
            self._ending.cancel()
        if self.ended is not None:
            self.ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some frames came; what follows those that are none is thrown away."""
        if not self._is_broken:
            super().data_received(data)

    def eof_received(self) -> None:
        """The client sends no more, so it is gone; it may be that it reads no more, either."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1005})
        self._end_soon()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        self._went_on = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self._went_on = True
        pong, self._pong = self._pong, b""
        if pong:
            self.transport.write(pong)
        super().resume_writing()

    def handle_cont(self, event: Frame) -> None:
        """Another piece of a message."""
        before: bytes | bytearray = self.frames[0]
        whole = before if isinstance(before, bytearray) else bytearray(before)
        self.frames = [whole]  # type: ignore[list-item]  # what becomes the message is read like bytes
        whole += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer, when the client reads."""
        answer = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(answer)
        elif answer:
            self._pong = answer

    def send_keepalive_ping(self) -> None:
        """Ask whether the client is there."""
        self._unsent, self._went_on = self.transport.get_write_buffer_size(), False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Give the client up, unless it is slow, or we are."""
        unsent = self.transport.get_write_buffer_size()
        if self.read_paused or self._went_on or 0 < unsent < self._unsent:
            self._unsent, self._went_on = unsent, False
            self.pong_timer = self.loop.call_later(PONG_SECONDS, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self._end_soon()

    def handle_parser_exception(self) -> None:
        """What came is no frame, or too large: say so, and end when the client has read it."""
        self._is_broken = True
        close = self.conn.close_sent
        assert close is not None  # noqa: S101 - `websockets` has failed the connection
        self._close_first(close.code, close.reason)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def shutdown(self) -> None:
        """The gateway ends."""
        if not self.handshake_complete:
            super().shutdown()
        elif not self.close_sent and not self.disconnected:
            self.conn.send_close(1012)
            self._close_first(1012, "")

    def _close_first(self, code: int, reason: str) -> None:
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if not self.transport.is_closing():
            self.transport.resume_reading()  # the client's own last word, or what is thrown away
        if self.close_timer is not None:
            self.close_timer.cancel()
        # With this timer set uvicorn leaves the connection open when the application is done.
        self.close_timer = self.loop.call_later(GONE_SECONDS, self.transport.abort)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application has no more to say."""
        super().on_task_complete(task)
        self._end_soon()

    async def send(self, message: ASGISendEvent) -> None:
        """See ASGI."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def _end_soon(self) -> None:
        if self._ending is None and not self.disconnected:
            self._ending = self.loop.call_later(GONE_SECONDS, self.transport.abort)
