"""An upstream that answers with the request as it got it: method, target, headers, body, trailers."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tests.web.proxies.listening import Listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from io import BufferedReader

Pairs = list[tuple[str, str]]


class Seen(Struct, frozen=True):
    """One request; names of headers and trailers in lower case, in their order. `connection` counts connections."""

    method: str
    target: str
    headers: Pairs
    length: int
    sha256: str
    trailers: Pairs
    connection: int

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for each, value in self.headers if each == name]


class Echo(Listening):
    """Answers for good, and keeps what it saw in `requests`."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        super().__init__()

    def talk(self, connection: socket.socket, number: int) -> None:
        """Answer each request with itself."""
        connection.settimeout(60)
        with connection, connection.makefile("rb") as arriving, contextlib.suppress(OSError, ValueError):
            while line := arriving.readline():
                method, target, version = line.decode("latin-1").split()
                headers = _fields(arriving)
                fields = dict(headers)
                if fields.get("expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body, trailers = _body(arriving, fields)
                seen = Seen(method, target, headers, len(body), hashlib.sha256(body).hexdigest(), trailers, number)
                self.requests.append(seen)
                closes = version == "HTTP/1.0" or fields.get("connection", "").lower() == "close"
                connection.sendall(_answer(seen, closes=closes))
                if closes:
                    return


def _answer(seen: Seen, *, closes: bool) -> bytes:
    told = json.dumps({name: getattr(seen, name) for name in Seen.__struct_fields__}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(told)
    end = b"Connection: close\r\n\r\n" if closes else b"\r\n"
    return head + end + (b"" if seen.method == "HEAD" else told)


def _fields(arriving: BufferedReader) -> Pairs:
    pairs = []
    while line := arriving.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        pairs.append((name.lower(), value.strip()))
    return pairs


def _body(arriving: BufferedReader, fields: dict[str, str]) -> tuple[bytes, Pairs]:
    if fields.get("transfer-encoding", "").lower() != "chunked":
        return arriving.read(int(fields.get("content-length", "0"))), []
    chunks = []
    while size := int(arriving.readline().partition(b";")[0], 16):
        chunks.append(arriving.read(size))
        arriving.readline()
    return b"".join(chunks), _fields(arriving)


def seen_in(body: bytes) -> Seen:
    """What an answer of the upstream tells."""
    told: dict[str, Any] = json.loads(body)
    pairs = {name: [(each, value) for each, value in told[name]] for name in ("headers", "trailers")}
    return Seen(**{**told, **pairs})


@contextlib.contextmanager
def running_echo() -> Iterator[Echo]:
    """An echo for the time of a block."""
    echo = Echo()
    try:
        yield echo
    finally:
        echo.close()
