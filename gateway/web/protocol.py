"""uvicorn's httptools protocol, made strict where it is lenient.

* Chunked trailers are not headers. httptools reports both through one callback, and uvicorn keeps appending to the very
  list that the application reads, so a trailer could say `Authorization` (facts: security 4.1, R23).
* The target is in origin form: a path, no authority, no fragment (A21).
* A head that never ends is cut off: the parser itself has no bound (facts: peers 0.10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.web.transport import HEADERS_LIMIT

if TYPE_CHECKING:
    from uvicorn.config import Config

_HEAD_CUT = 2 * HEADERS_LIMIT


class StrictProtocol(HttpToolsProtocol):
    """One connection of a listener."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; answer 400 and close when the head of a request goes on for ever."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_CUT:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A new request begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The head is complete; an exception here becomes uvicorn's 400 and closes the connection."""
        self._in_head = False
        self._head_bytes = 0
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise ValueError("the request target is not in origin form")
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []


def listener_config(app: object, protocol: type[StrictProtocol], *, drain_seconds: int) -> Config:
    """Uvicorn's configuration of one of our listeners: nothing trusted from peers, no line a request."""
    from uvicorn.config import Config  # noqa: PLC0415 - a library user of the middleware never needs it

    return Config(
        app,  # type: ignore[arg-type]
        http=protocol,
        ws="none",
        loop="auto",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
    )
