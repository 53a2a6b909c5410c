"""A stream of server-sent events on its way through: kept alive while it is quiet, ended with its identity.

A comment keeps proxies and browsers from giving a quiet stream up. It stands between two events and never inside one
(the HTML standard, "Server-sent events": a line that begins with a colon is ignored), and only where nothing counts or
encodes the bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.web.proxy.connection import AnswerHead

COMMENT_SECONDS = 15.0
_KIND = b"text/event-stream"
_COMMENT = b":\n\n"
_BORDERS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def is_event_stream(head: AnswerHead) -> bool:
    """Whether an answer is a stream of events, and so outlives its request."""
    for name, value in head.headers:
        if name == b"content-type" and value[:17].lower() == _KIND:
            return head.has_body and not value[17:].partition(b";")[0].strip()
    return False


def takes_comments(head: AnswerHead) -> bool:
    """Whether a comment can be written into a stream: its bytes are neither counted nor encoded."""
    return head.length is None and not any(name == b"content-encoding" for name, _ in head.headers)


class EventStream:
    """Writes a comment whenever a stream has been quiet for `COMMENT_SECONDS`; `write` is the client's."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._tail = b"\n\n"
        self._timer = self._loop.call_later(COMMENT_SECONDS, self._tick)

    def came(self, chunk: bytes) -> None:
        """Some of the stream came from the upstream."""
        self._since = self._loop.time()
        self._tail = (self._tail + chunk)[-4:] if len(chunk) < 4 else chunk[-4:]

    def close(self) -> None:
        """The stream is over."""
        self._timer.cancel()

    def _tick(self) -> None:
        quiet = self._loop.time() - self._since
        if quiet >= COMMENT_SECONDS:
            if self._tail.endswith(_BORDERS):
                self._write(_COMMENT)
            self._since = self._loop.time()
            quiet = 0.0
        self._timer = self._loop.call_later(COMMENT_SECONDS - quiet, self._tick)
