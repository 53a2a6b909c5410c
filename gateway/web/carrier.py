"""The ASGI carrier of the decision: reads the body where an ending wants one, and sends the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.transport import BODY_LIMIT, Answer, Request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.web.decision import Decision


class DecisionCarrier:
    """Answers the decision's own paths, and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, decision: Decision) -> None:
        self.app = app
        self.decision = decision

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        if scope["type"] != "http" or path_of(scope) not in self.decision.endings:
            await self.app(scope, receive, send)
            return
        request = Request(
            method=scope["method"].encode("ascii"),
            path=path_of(scope),
            query=scope["query_string"],
            headers=scope["headers"],
            body=await read_body(receive, BODY_LIMIT) if scope["method"] == "POST" else b"",
        )
        answer = await self.decision.decide(request)
        await send_answer(send, answer, head=scope["method"] == "HEAD")


def path_of(scope: Scope) -> bytes:
    """The path as sent; only that decides, never a decoded or rebuilt one (advisories A21, B06)."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode() if raw is None else raw.partition(b"?")[0]


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body, or its first `limit + 1` bytes when there is more: enough to see that it is too large."""
    chunks = []
    size = 0
    more = True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)[: limit + 1]


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    """Send an answer over ASGI; a HEAD request gets the headers alone."""
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
