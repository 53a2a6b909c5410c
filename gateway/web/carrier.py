"""The ASGI carrier of the decision: reads the body where an ending wants one, and sends the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Code, Refusal
from gateway.web.transport import BODY_LIMIT, Answer, Request, framing_is_doubtful

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.web.decision import Decision

_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


class DecisionCarrier:
    """Answers the decision's own paths, and hands everything else to `app`."""

    def __init__(self, app: ASGIApp, decision: Decision) -> None:
        self.app = app
        self.decision = decision

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        declares_body = scope["type"] == "http" and _declares_body(scope)
        if declares_body and framing_is_doubtful(scope["headers"]):
            # Our own listener has refused it; another server may go on to what it takes for the next request.
            refusal = Refusal(Code.REQUEST_INVALID, "a body whose end is in doubt")
            await send_answer(send, self.decision.problems.answer(refusal), head=scope["method"] == "HEAD", close=True)
            return
        ending = self.decision.endings.get(path_of(scope)) if scope["type"] in {"http", "websocket"} else None
        if ending is None or (scope["type"] == "websocket" and not ending.forward_auth):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            # A proxy copied an `Upgrade` into its question: it gets the verdict, and there is no WebSocket here.
            question = Request(b"GET", ending.path, scope["query_string"], scope["headers"], client=_client(scope))
            await refuse_socket(await self.decision.decide(question), scope, receive, send)
            return
        body: bytes | None = b""
        if declares_body:
            reads = scope["method"] == "POST" and not ending.forward_auth
            body = await (read_body(receive, BODY_LIMIT) if reads else skip_body(receive))
        if body is None:
            return  # nobody is there any more to be answered, and half a request decides nothing
        request = Request(
            method=scope["method"].encode("ascii"),
            path=ending.path,
            query=scope["query_string"],
            headers=scope["headers"],
            body=body,
            client=_client(scope),
        )
        answer = await self.decision.decide(request)
        await send_answer(send, answer, head=scope["method"] == "HEAD")


class Pivot:
    """An application that another one can take the place of, while a server holds on to this."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        await self.app(scope, receive, send)


def path_of(scope: Scope) -> bytes:
    """The path as sent; only that decides, never a decoded or rebuilt one (advisories A21, B06)."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode() if raw is None else raw.partition(b"?")[0]


def _client(scope: Scope) -> str | None:
    """The address of the peer; None is a Unix socket."""
    client = scope.get("client")
    return client[0] if client else None


def _declares_body(scope: Scope) -> bool:
    """Whether there is a body to wait for (RFC 9112 section 6.3)."""
    return any(name in _BODY_HEADERS for name, _ in scope["headers"])


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The body, or its first `limit + 1` bytes when there is more: enough to see that it is too large.

    None when the client went away before its end.
    """
    chunks = []
    size = 0
    more = True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)[: limit + 1]


async def skip_body(receive: Receive) -> bytes | None:
    """Wait for the end of a body that nobody wants; empty, or None when the client went away before it.

    Answered sooner, a proxy that announced a body and left it out would send its next question as that body, and take
    the answers of its clients for each other's (R25).
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        more = message.get("more_body", False)
    return b""


async def send_answer(send: Send, answer: Answer, *, head: bool = False, close: bool = False) -> None:
    """Send an answer over ASGI; a HEAD request gets the headers alone. `close` ends the connection behind it."""
    headers = [*answer.headers, (b"connection", b"close")] if close else list(answer.headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


async def refuse_socket(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the handshake of a WebSocket with an HTTP answer, where the server can."""
    await receive()  # the server's `websocket.connect`
    await deny_socket(answer, scope, send)


async def deny_socket(answer: Answer, scope: Scope, send: Send) -> None:
    """The same, of a handshake that was received already."""
    if "websocket.http.response" in scope.get("extensions", {}):
        start = {"type": "websocket.http.response.start", "status": answer.status}
        await send({**start, "headers": list(answer.headers)})
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
