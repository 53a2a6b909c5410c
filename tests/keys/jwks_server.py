"""A real HTTP server that publishes key sets, and misbehaves in every way that one can.

Raw sockets, no HTTP library: what it sends need be neither whole nor honest. It runs in a thread with a loop of its
own, so that it serves the test that scripts it and gateways in other processes alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from keys.jwk import SigningKey


class Seen(Struct, frozen=True):
    """A request that arrived; header names in lower case."""

    path: str
    headers: dict[str, str]


Behaviour: TypeAlias = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class JwksServer:
    """Listens on loopback; `answers` says what stands at a path, `*` at every other one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.scheme = "http"
        self.seen: list[Seen] = []
        self.answers: dict[str, Behaviour] = {"*": status(404)}

    def url(self, path: str = "/jwks.json", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def publish(self, *keys: SigningKey, path: str = "/jwks.json", **headers: str) -> None:
        """Put the public halves of keys at a path."""
        self.answers[path] = document(jwks(*keys), **headers)

    def count(self, path: str = "/jwks.json") -> int:
        """How many requests for a path have arrived."""
        return sum(seen.path == path for seen in self.seen)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        left = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError)
        with contextlib.closing(writer), contextlib.suppress(*left):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if ": " in line)
            seen = Seen(request.split(" ")[1], {name.lower(): value for name, value in headers.items()})
            self.seen.append(seen)
            await self.answers.get(seen.path, self.answers["*"])(seen, writer)


def jwks(*keys: SigningKey | dict[str, Any]) -> dict[str, Any]:
    """A key set of keys, or of JWKs as they are."""
    return {"keys": [key if isinstance(key, dict) else key.public_jwk() for key in keys]}


def document(content: Any, **headers: str) -> Behaviour:
    """A JSON document with a strong ETag, which is answered 304 to whoever has it."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.headers.get("if-none-match") == etag:
            await _send(writer, b"HTTP/1.1 304 Not Modified\r\n" + _lines(headers, etag=etag) + b"\r\n")
            return
        given = {"content-type": "application/json", "content-length": str(len(body)), "etag": etag, **headers}
        await _send(writer, b"HTTP/1.1 200 OK\r\n" + _lines(given) + b"\r\n" + body)

    return answer


def status(code: int, **headers: str) -> Behaviour:
    """An answer without a body."""
    return raw(f"HTTP/1.1 {code} Such\r\n".encode() + _lines({"content-length": "0", **headers}) + b"\r\n")


def raw(data: bytes) -> Behaviour:
    """These very bytes, then the end."""

    async def answer(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        await _send(writer, data)

    return answer


def redirect(url: str) -> Behaviour:
    return status(302, location=url)


def gzip_bomb() -> Behaviour:
    """64 MiB of blanks and a good set in a few dozen kilobytes."""
    body = gzip.compress(b" " * (64 * 1024 * 1024) + b'{"keys": []}')
    return document(body, **{"content-encoding": "gzip", "content-length": str(len(body))})


async def hang(_seen: Seen, _writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""
    await asyncio.sleep(3600)


async def reset(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def drip(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A byte at a time, never so slowly that a time-out between two of them would help."""
    await _send(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await _send(writer, b" ")
        await asyncio.sleep(0.05)


async def drip_head(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """The same before the answer has begun: interim answers, again and again."""
    while True:
        await _send(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.05)


async def endless(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A body without end, as fast as it is taken."""
    await _send(writer, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        await _send(writer, b" " * 65536)


async def chunked_for_ever(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Chunk after chunk."""
    await _send(writer, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await _send(writer, b"1000\r\n" + b" " * 0x1000 + b"\r\n")


async def endless_head(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Header after header."""
    await _send(writer, b"HTTP/1.1 200 OK\r\n")
    while True:
        await _send(writer, b"x-more: " + b"x" * 4096 + b"\r\n")


def padded(content: Any, size: int) -> bytes:
    """A good document of exactly so many bytes."""
    return json.dumps(content).encode().ljust(size)


@contextlib.contextmanager
def running_jwks_server(tls: ssl.SSLContext | None = None) -> Iterator[JwksServer]:
    """A server on a port of its own until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = JwksServer(listener.getsockname()[1])
        server.scheme = "https" if tls else "http"
        started: list[asyncio.AbstractEventLoop] = []
        up, stop = threading.Event(), asyncio.Event()

        async def run() -> None:
            started.append(asyncio.get_running_loop())
            async with await asyncio.start_server(server.serve, sock=listener, ssl=tls):
                up.set()
                await stop.wait()
                connections = asyncio.all_tasks() - {asyncio.current_task()}
                for connection in connections:
                    connection.cancel()
                await asyncio.gather(*connections, return_exceptions=True)
                await asyncio.sleep(0)  # closed transports tell their streams

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        up.wait()
        try:
            yield server
        finally:
            (loop,) = started
            loop.call_soon_threadsafe(stop.set)
            thread.join()


def _lines(headers: dict[str, str], **more: str) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in {**headers, **more}.items()).encode()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
