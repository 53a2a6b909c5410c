"""The client's side of an exchange under ASGI: for whatever the lane leaves, and for servers of other people."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.web.carrier import send_answer
from gateway.web.proxy.exchange import Exchange
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.errors import Outage, Refusal
    from gateway.web.proxy.connection import AnswerHead, Headers
    from gateway.web.proxy.forwarder import Forwarder, Forwarding

_HELD = 4
"""How many pieces of an answer may wait for the client before the upstream does."""


class AnswerCut(Exception):
    """The answer ends in its middle. Raised into the server, which then ends the connection."""


def _is_news(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], AnswerCut)


logging.getLogger("uvicorn.error").addFilter(_is_news)  # it would tell of a fault: who cuts an answer has said why


class _AsgiClient:
    """A `Client` that hands its answer on through a queue, piece by piece."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[AnswerHead | bytes | Outage | Refusal | None] = asyncio.Queue()
        self.is_cut = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.exchange: Exchange | None = None

    def pause(self) -> None:
        self.may_read.clear()

    def resume(self) -> None:
        self.may_read.set()

    def informed(self, head: AnswerHead) -> None:
        """ASGI carries no interim answers."""

    def answered(self, head: AnswerHead) -> None:
        self.pieces.put_nowait(head)

    def body(self, chunk: bytes) -> None:
        self.pieces.put_nowait(chunk)
        if self.exchange is not None and self.pieces.qsize() >= _HELD:
            self.exchange.hold()

    def caught_up(self) -> None:
        """Nothing is kept back."""

    def ended(self, trailers: Headers) -> None:  # noqa: ARG002 - uvicorn's ASGI carries no trailers
        self.pieces.put_nowait(None)

    def refused(self, error: Outage | Refusal) -> None:
        self.pieces.put_nowait(error)

    def cut(self) -> None:
        self.is_cut = True
        self.pieces.put_nowait(None)

    async def piece(self) -> AnswerHead | bytes | Outage | Refusal | None:
        """The next piece; None is the end."""
        piece = await self.pieces.get()
        if self.exchange is not None and self.pieces.empty():
            self.exchange.go_on()
        return piece


async def forward(
    forwarder: Forwarder, outcome: Answer | Forwarding, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request as it was decided: with the answer that refuses it, or with the upstream's."""
    if isinstance(outcome, Answer):
        await send_answer(send, outcome, head=scope["method"] == "HEAD")
        return
    client = _AsgiClient()
    client.exchange = exchange = Exchange(client, outcome, forwarder.live)
    exchange.start()
    upload = asyncio.create_task(_upload(exchange, client, receive))
    try:
        await _download(forwarder, client, send, head=scope["method"] == "HEAD")
    finally:
        exchange.abandon()
        upload.cancel()


async def _upload(exchange: Exchange, client: _AsgiClient, receive: Receive) -> None:
    """Hand the request's body on, then wait for the client to go away."""
    more = True
    while True:
        if more:
            await client.may_read.wait()
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.abandon()
            client.cut()
            return
        if message.get("body"):
            exchange.write(message["body"])
        more = message.get("more_body", False)
        if not more:
            exchange.finish()


async def _download(forwarder: Forwarder, client: _AsgiClient, send: Send, *, head: bool) -> None:
    """Hand the answer on."""
    begun = False
    while (piece := await client.piece()) is not None:
        if isinstance(piece, bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        elif isinstance(piece, Exception):
            await send_answer(send, forwarder.problems.answer(piece), head=head)
            return
        else:
            begun = True
            headers = [field for field in forwarder.heads.answer_fields(piece) if field[0] != b"date"]  # the server's
            if piece.length is not None and (piece.has_body or head):
                headers.append((b"content-length", b"%d" % piece.length))
            await send({"type": "http.response.start", "status": piece.status, "headers": headers})
    if client.is_cut:
        if begun:
            raise AnswerCut
        return
    await send({"type": "http.response.body", "body": b""})
