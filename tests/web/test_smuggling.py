"""Request smuggling over raw sockets (A26, R25): one request is one request to everybody who sees it.

Each case is a message about whose end or whose address two parsers could differ, with a whole request hidden where one
of them would see it. The rule for all of them: refused, or served exactly once; and an upstream gets one request that
is framed beyond doubt, or nothing whole. The hidden request never arrives anywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn
from msgspec import Struct

from gateway.app import Gateway
from gateway.settings import load_settings
from tests.web.conftest import running_app, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator


HIDDEN = b"GET /public/hidden HTTP/1.1\r\nHost: g\r\n\r\n"
_FIELDS = rb"(?:[a-z0-9!#$%&'*+.^_`|~-]+: [^\r\n\0]*\r\n)*"
_HEAD = re.compile(rb"([A-Z]+) (/[^ \r\n]*) HTTP/1\.1\r\n(" + _FIELDS + rb")\r\n")
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n")


_numbers = itertools.count()


class Outcome(Struct, frozen=True):
    """What became of a case: the statuses that its client got, and what an upstream got."""

    statuses: list[int]
    requests: list[bytes]
    rests: list[bytes]
    strange: list[bytes]

    @property
    def is_safe(self) -> bool:
        """Whether nobody took the hidden request for one, and an upstream was in no doubt."""
        return not self.strange and not any(one.startswith(HIDDEN[:20]) for one in self.requests)


class Recorder:
    """An upstream that takes nothing but requests without a doubt, in the spelling that the gateway itself writes.

    `requests` are the heads of the whole ones, `rests` what was not whole when a connection ended, `strange` what is
    no beginning of a request at all.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.rests: list[bytes] = []
        self.strange: list[bytes] = []
        self._open = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def outcome(self, statuses: list[int], marked: bytes) -> Outcome:
        """What became of the case with this target. Another one's may still arrive, but no hidden request of any."""
        came = (self.requests, self.rests, self.strange)
        mine = [[one for one in some if marked in one or one.startswith(HIDDEN[:20])] for some in came]
        return Outcome(statuses, *mine)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        came = b""
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            while chunk := connection.recv(65536):
                came += chunk
                while (end := self._end(came)) is not None:
                    self.requests.append(came[:end])
                    came = came[end:]
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if came:
            self.rests.append(came)

    def _end(self, came: bytes) -> int | None:
        """Where the request ends that a connection's bytes begin with; None as long as it is not whole."""
        if b"\r\n\r\n" not in came:
            return None
        head = _HEAD.match(came)
        fields = dict(line.split(b": ", 1) for line in head.group(3).split(b"\r\n") if line) if head else {}
        names = [line.split(b": ", 1)[0] for line in head.group(3).split(b"\r\n") if line] if head else []
        if head is None or names.count(b"host") != 1 or {b"content-length", b"transfer-encoding"} <= fields.keys():
            self.strange.append(came)
            return None
        if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            self.strange.append(came)
            return None
        if b"transfer-encoding" in fields:
            return self._end_of_chunks(came, head.end())
        end = head.end() + int(fields.get(b"content-length", b"0"))
        return end if len(came) >= end else None

    def _end_of_chunks(self, came: bytes, at: int) -> int | None:
        while size := _CHUNK.match(came, at):
            length = int(size.group(1), 16)
            if not length:
                end = re.compile(_FIELDS + rb"\r\n").match(came, size.end())
                return end and end.end()
            at = size.end() + length + 2
            if len(came) >= at and came[at - 2 : at] != b"\r\n":
                self.strange.append(came)
                return None
        return None


class Listener(Struct, frozen=True):
    """Something that takes requests on a port, and the upstream behind it."""

    port: int
    upstream: Recorder
    places: dict[str, tuple[bytes, bytes]]

    def send(self, raw: bytes) -> list[int]:
        """Bytes in, and the statuses of all answers until the other side closes, which it must."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
        return [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3}) ", received) if one != b"100"]

    def each(self, head: bytes, body: bytes = b"") -> Iterator[tuple[str, Outcome]]:
        """A case at each place, with a request behind it that closes the connection where it is still served."""
        for name, (method, path) in self.places.items():
            marked = b"%b?case=%d" % (path, next(_numbers))
            raw = head.replace(b"{method}", method).replace(b"{path}", marked)
            yield name, self.upstream.outcome(self.send(raw + b"\r\n" + body + LAST), marked)


LAST = b"GET /healthz HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"
"""Behind every case: whoever still takes requests answers it, and closes."""

_SIZED = b"Content-Length: %d\r\n" % len(HIDDEN)
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_AS_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
_BEHIND_THE_END = b"0\r\n\r\n" + HIDDEN
_BOTH = b"Content-Length: %d\r\n" % len(_BEHIND_THE_END)

REFUSED_FRAMING: dict[str, tuple[bytes, bytes]] = {
    "CL.TE": (_BOTH + _CHUNKED, _BEHIND_THE_END),
    "TE.CL": (_CHUNKED + b"Content-Length: 4\r\n", _AS_CHUNK),
    "two equal lengths": (_SIZED * 2, HIDDEN),
    "two lengths": (b"Content-Length: 0\r\n" + _SIZED, HIDDEN),
    "two lengths, the longer first": (_SIZED + b"Content-Length: 0\r\n", HIDDEN),
    "a list of equal lengths": (b"Content-Length: 3, 3\r\n", b"abc" + HIDDEN),
    "a list of lengths": (b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    "a length with a plus": (b"Content-Length: +3\r\n", b"abc" + HIDDEN),
    "a length below nought": (b"Content-Length: -3\r\n", b"abc" + HIDDEN),
    "a length in hex": (b"Content-Length: 0x3\r\n", b"abc" + HIDDEN),
    "a length with an underscore": (b"Content-Length: 1_0\r\n", b"0123456789" + HIDDEN),
    "a length with a blank inside": (b"Content-Length: 0 3\r\n", b"abc" + HIDDEN),
    "a length with a fraction": (b"Content-Length: 3.0\r\n", b"abc" + HIDDEN),
    "a length with an exponent": (b"Content-Length: 3e0\r\n", b"abc" + HIDDEN),
    "a length past 64 bits": (b"Content-Length: 18446744073709551619\r\n", b"abc" + HIDDEN),
    "a length past 128 bits": (b"Content-Length: 340282366920938463463374607431768211459\r\n", b"abc" + HIDDEN),
    "a length in other digits": ("Content-Length: \u0663\r\n".encode(), b"abc" + HIDDEN),
    "a length in quotes": (b'Content-Length: "3"\r\n', b"abc" + HIDDEN),
    "no length": (b"Content-Length: \r\n", HIDDEN),
    "a vertical tab before the length": (b"Content-Length: \x0b3\r\n", b"abc" + HIDDEN),
    "a length with a NUL": (b"Content-Length: 3\0\r\n", b"abc" + HIDDEN),
    "a folded length": (b"Content-Length:\r\n 3\r\n", b"abc" + HIDDEN),
    "a length folded onto the next line": (b"Content-Length: 0\r\n 3\r\n", b"abc" + HIDDEN),
    "a blank before the colon of the length": (b"Content-Length : %d\r\n" % len(HIDDEN), HIDDEN),
    "a blank before the name of the length": (b"X: y\r\n Content-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "a blank before the colon of the coding": (b"Transfer-Encoding : chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a tab before the colon of the coding": (b"Transfer-Encoding\t: chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a NUL in the name of the coding": (b"Transfer-Encoding\0: chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "chunked, identity": (b"Transfer-Encoding: chunked, identity\r\n", _BEHIND_THE_END),
    "identity, chunked": (b"Transfer-Encoding: identity, chunked\r\n", _BEHIND_THE_END),
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked\r\n", _BEHIND_THE_END),
    "identity": (b"Transfer-Encoding: identity\r\n", _BEHIND_THE_END),
    "identity and a length": (b"Transfer-Encoding: identity\r\n" + _BOTH, _BEHIND_THE_END),
    "xchunked": (b"Transfer-Encoding: xchunked\r\n", _BEHIND_THE_END),
    "chunkedx": (b"Transfer-Encoding: chunkedx\r\n", _BEHIND_THE_END),
    "chunk": (b"Transfer-Encoding: chunk\r\n", _BEHIND_THE_END),
    "xchunked and a length": (b"Transfer-Encoding: xchunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a vertical tab before chunked": (b"Transfer-Encoding: \x0bchunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a form feed after chunked": (b"Transfer-Encoding: chunked\x0c\r\n", _BEHIND_THE_END),
    "chunked in quotes": (b'Transfer-Encoding: "chunked"\r\n', _BEHIND_THE_END),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;x=y\r\n", _BEHIND_THE_END),
    "chunked, with a comma behind": (b"Transfer-Encoding: chunked,\r\n", _BEHIND_THE_END),
    "chunked, with a comma before": (b"Transfer-Encoding: ,chunked\r\n", _BEHIND_THE_END),
    "chunked twice in one line": (b"Transfer-Encoding: chunked, chunked\r\n", _BEHIND_THE_END),
    "chunked twice": (_CHUNKED * 2, _BEHIND_THE_END),
    "chunked, then identity": (_CHUNKED + b"Transfer-Encoding: identity\r\n", _BEHIND_THE_END),
    "identity, then chunked": (b"Transfer-Encoding: identity\r\n" + _CHUNKED, _BEHIND_THE_END),
    "no coding": (b"Transfer-Encoding: \r\n" + _BOTH, _BEHIND_THE_END),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a coding folded away": (b"X: y\r\n Transfer-Encoding: chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a bare CR before the coding": (b"X: y\rTransfer-Encoding: chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a NUL after chunked": (b"Transfer-Encoding: chunked\0\r\n" + _BOTH, _BEHIND_THE_END),
    "a bare CR after chunked": (b"Transfer-Encoding: chunked\r" + _BOTH, _BEHIND_THE_END),
    "a field without a colon": (b"Transfer-Encoding chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "a field without a name": (b": chunked\r\n" + _BOTH, _BEHIND_THE_END),
    "the nominated length": (b"Connection: Content-Length\r\n" + _CHUNKED + _BOTH, _BEHIND_THE_END),
}
"""What stands in the head, and what comes behind it: whatever is taken for the framing, somebody could differ."""

H11_FRAMING = (
    *("CL.TE", "TE.CL", "two lengths", "two lengths, the longer first", "a list of lengths", "a length with a plus"),
    *("a length below nought", "a length in hex", "a length with a NUL", "chunked, identity", "identity, chunked"),
    *("xchunked", "xchunked and a length", "chunked twice", "chunked twice in one line", "the nominated length"),
)
"""Of these h11 takes no other reading, or leaves it to the application."""

REFUSED_CHUNKS: dict[str, bytes] = {
    "a size that is none": b"x\r\nabc\r\n" + _BEHIND_THE_END,
    "a size below nought": b"-1\r\n" + _BEHIND_THE_END,
    "a size with a plus": b"+3\r\nabc\r\n" + _BEHIND_THE_END,
    "a size with 0x": b"0x3\r\nabc\r\n" + _BEHIND_THE_END,
    "a size with an underscore": b"1_0\r\n0123456789012345\r\n" + _BEHIND_THE_END,
    "no size": b"\r\n" + HIDDEN,
    "a size past 64 bits": b"10000000000000003\r\nabc\r\n" + _BEHIND_THE_END,
    "a size past 128 bits": b"f" * 33 + b"\r\nabc\r\n" + _BEHIND_THE_END,
    "a chunk longer than its size": b"3\r\nabcdef\r\n" + _BEHIND_THE_END,
    "a chunk without its end": b"3\r\nabc" + _BEHIND_THE_END,
    "a chunk that ends with a bare LF": b"3\r\nabc\n" + _BEHIND_THE_END,
    "a chunk that ends with a bare CR": b"3\r\nabc\r" + _BEHIND_THE_END,
    "two other bytes for the end of a chunk": b"3\r\nabcXX" + _BEHIND_THE_END,
    "a size that ends with a bare LF": b"3\nabc\r\n" + _BEHIND_THE_END,
    "a size that ends with a bare CR": b"3\rabc\r\n" + _BEHIND_THE_END,
    "a bare LF in an extension": b"3;x\nabc\r\n" + _BEHIND_THE_END,
    "an extension with a hidden chunk": b"3;\n0\r\n\r\n" + HIDDEN,
    "a last chunk that ends with a bare LF": b"0\n\r\n" + HIDDEN,
    "a blank before a size": b" 3\r\nabc\r\n" + _BEHIND_THE_END,
    "a NUL behind a size": b"3\0\r\nabc\r\n" + _BEHIND_THE_END,
    "a trailer with a bare LF": b"0\r\nX: y\n\n",
    "a trailer without a colon": b"0\r\nnothing\r\n\r\n" + HIDDEN,
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n" + HIDDEN,
    "a length for a trailer": b"0\r\nContent-Length: 50\r\n\r\n" + HIDDEN,
    "a coding for a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
}
"""Bodies behind `Transfer-Encoding: chunked`."""

SERVED: dict[str, tuple[bytes, bytes]] = {
    "a request in a body": (_SIZED, HIDDEN),
    "a request in a chunk": (_CHUNKED, _AS_CHUNK),
    "a length with noughts before it": (b"Content-Length: 00%d\r\n" % len(HIDDEN), HIDDEN),
    "a length with blanks around it": (b"Content-Length: \t %d \t\r\n" % len(HIDDEN), HIDDEN),
    "a length in other case": (b"cONTENT-lENGTH: %d\r\n" % len(HIDDEN), HIDDEN),
    "CHUNKED": (b"Transfer-Encoding: CHUNKED\r\n", _AS_CHUNK),
    "a tab before chunked": (b"Transfer-Encoding:\tchunked\r\n", _AS_CHUNK),
    "another name for the length": (_SIZED + b"Content_Length: 0\r\n", HIDDEN),
    "another name for the coding": (_SIZED + b"Transfer_Encoding: chunked\r\n", HIDDEN),
    "the nominated length": (b"Connection: Content-Length\r\n" + _SIZED, HIDDEN),
    "the nominated coding": (b"Connection: Transfer-Encoding\r\n" + _CHUNKED, _AS_CHUNK),
    "the nominated host": (b"Connection: Host\r\n" + _SIZED, HIDDEN),
    "the nominated connection": (b"Connection: Connection, keep-alive\r\n" + _SIZED, HIDDEN),
    "sizes with noughts before them": (_CHUNKED, b"000" + _AS_CHUNK),
    "an extension": (_CHUNKED, b"%x;x=y\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    "a request in a trailer": (_CHUNKED, b"0\r\nX: GET /public/hidden HTTP/1.1\r\n\r\n"),
    "an expectation": (b"Expect: 100-continue\r\n" + _SIZED, HIDDEN),
    "another expectation": (b"Expect: 100-continue, x\r\n" + _SIZED, HIDDEN),
    "h2c": (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" + _SIZED, HIDDEN),
    "a WebSocket with a body": (b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + _SIZED, HIDDEN),
}
"""What is framed beyond doubt: served once, and the request in its body is a body. It may also be refused."""

HEADS: dict[str, bytes] = {
    "absolute form": b"{method} http://evil.example{path} HTTP/1.1\r\nHost: g\r\n",
    "absolute form of its host": b"{method} http://g{path} HTTP/1.1\r\nHost: g\r\n",
    "authority form": b"{method} g:80 HTTP/1.1\r\nHost: g\r\n",
    "a tunnel": b"CONNECT g:80 HTTP/1.1\r\nHost: g:80\r\n",
    "a tunnel to a path": b"CONNECT {path} HTTP/1.1\r\nHost: g\r\n",
    "an asterisk": b"{method} * HTTP/1.1\r\nHost: g\r\n",
    "no slash": b"{method} public/x HTTP/1.1\r\nHost: g\r\n",
    "an at sign": b"{method} @evil.example{path} HTTP/1.1\r\nHost: g\r\n",
    "a fragment": b"{method} {path}#x HTTP/1.1\r\nHost: g\r\n",
    "two hosts": b"{method} {path} HTTP/1.1\r\nHost: g\r\nHost: evil.example\r\n",
    "two equal hosts": b"{method} {path} HTTP/1.1\r\nHost: g\r\nHost: g\r\n",
    "no host": b"{method} {path} HTTP/1.1\r\n",
    "a host with a user": b"{method} {path} HTTP/1.1\r\nHost: a@g\r\n",
    "a host with a path": b"{method} {path} HTTP/1.1\r\nHost: g/x\r\n",
    "a host with a query": b"{method} {path} HTTP/1.1\r\nHost: g?x\r\n",
    "a list of hosts": b"{method} {path} HTTP/1.1\r\nHost: g, evil.example\r\n",
    "a host with a blank": b"{method} {path} HTTP/1.1\r\nHost: g evil.example\r\n",
    "a folded host": b"{method} {path} HTTP/1.1\r\nHost: g\r\n .evil.example\r\n",
    "a blank before the colon of the host": b"{method} {path} HTTP/1.1\r\nHost : g\r\n",
    "a blank before everything": b" {method} {path} HTTP/1.1\r\nHost: g\r\n",
    "a blank before the first field": b"{method} {path} HTTP/1.1\r\n Host: evil.example\r\nHost: g\r\n",
    "a tab for a blank": b"{method}\t{path}\tHTTP/1.1\r\nHost: g\r\n",
    "a vertical tab for a blank": b"{method} {path}\x0bHTTP/1.1\r\nHost: g\r\n",
    "a blank in the target": b"{method} {path} /public/hidden HTTP/1.1\r\nHost: g\r\n",
    "a tab in the target": b"{method} {path}\t/x HTTP/1.1\r\nHost: g\r\n",
    "a NUL in the target": b"{method} {path}\0 HTTP/1.1\r\nHost: g\r\n",
    "a bare CR in the target": b"{method} {path}\r HTTP/1.1\r\nHost: g\r\n",
    "a DEL in the method": b"{method}\x7f {path} HTTP/1.1\r\nHost: g\r\n",
    "a lower-case method": b"get {path} HTTP/1.1\r\nHost: g\r\n",
    "an unknown method": b"GETS {path} HTTP/1.1\r\nHost: g\r\n",
    "no version": b"{method} {path}\r\nHost: g\r\n",
    "chunks in HTTP/1.0": b"{method} {path} HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n",
    "HTTP/0.9": b"{method} {path} HTTP/0.9\r\nHost: g\r\n",
    "HTTP/1.2": b"{method} {path} HTTP/1.2\r\nHost: g\r\n",
    "HTTP/2.0": b"{method} {path} HTTP/2.0\r\nHost: g\r\n",
    "HTTP/1.10": b"{method} {path} HTTP/1.10\r\nHost: g\r\n",
    "HTTP/11": b"{method} {path} HTTP/11\r\nHost: g\r\n",
    "HTTP/1,1": b"{method} {path} HTTP/1,1\r\nHost: g\r\n",
    "http/1.1": b"{method} {path} http/1.1\r\nHost: g\r\n",
    "another protocol": b"{method} {path} ICY/1.1\r\nHost: g\r\n",
    "a blank behind the version": b"{method} {path} HTTP/1.1 x\r\nHost: g\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a bare LF behind the request line": b"{method} {path} HTTP/1.1\nHost: g\r\n",
    "a bare LF behind a field": b"{method} {path} HTTP/1.1\r\nHost: g\nX: y\r\n",
    "a bare CR behind a field": b"{method} {path} HTTP/1.1\r\nHost: g\rX: y\r\n",
    "a bare LF for the end of the head": b"{method} {path} HTTP/1.1\r\nHost: g\r\nX: y\n\n",
    "a NUL in a field": b"{method} {path} HTTP/1.1\r\nHost: g\r\nX: a\0b\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "the PROXY protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n{method} {path} HTTP/1.1\r\nHost: g\r\n",
}
"""The request line and the fields; a head that is not one of ours is refused, and nothing behind it is read."""

ROUTE = """
[[workspaces.acme.routes]]
prefix = "/public/"
upstream = "{url}"
access = "public"
"""
PLACES = {
    "login": (b"POST", b"/messenger/login"),
    "me": (b"GET", b"/messenger/me"),
    "auth": (b"GET", b"/auth"),
    "a route": (b"POST", b"/public/x"),
    "a read on a route": (b"GET", b"/public/x"),
}
SERVERS = ("lane", "asgi", "admin")


@pytest.fixture(scope="module", name="upstream")
def _upstream() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture(scope="module", params=SERVERS, name="kind")
def _kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module", name="listener")
def _listener(kind: str, upstream: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """A gateway of each carrier, and its admin listener."""
    folder = tmp_path_factory.mktemp("smuggling")
    with running_gateway(folder, lane=kind != "asgi", extra=ROUTE.format(url=upstream.url)) as server:
        if kind == "admin":
            yield Listener(server.admin_port, upstream, {"contacts": (b"POST", b"/contacts")})
        else:
            yield Listener(server.port, upstream, PLACES)


@pytest.fixture(scope="module", name="h11_listener")
def _h11_listener(upstream: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """The public application under uvicorn's h11."""
    folder = tmp_path_factory.mktemp("smuggling-h11")
    with running_gateway(folder, extra=ROUTE.format(url=upstream.url)) as server:
        public = Gateway(load_settings(server.folder / "gateway.toml", os.environ)).public
        config = uvicorn.Config(public, http="h11", ws="none", lifespan="off", log_config=None, proxy_headers=False)
        with running_app(config) as port:
            yield Listener(port, upstream, PLACES)


HEAD = b"{method} {path} HTTP/1.1\r\nHost: g\r\n"


@pytest.mark.parametrize("case", REFUSED_FRAMING)
def test_a26_doubtful_framing_is_refused(listener: Listener, case: str) -> None:
    """400, and the connection ends: nothing behind it is served, nothing whole reaches an upstream."""
    fields, body = REFUSED_FRAMING[case]
    for place, outcome in listener.each(HEAD + fields, body):
        assert outcome.statuses == [400], place
        assert outcome.is_safe, place
        assert outcome.requests == outcome.rests == [], place


@pytest.mark.parametrize("case", REFUSED_CHUNKS)
def test_a26_bad_chunks_are_refused(listener: Listener, case: str) -> None:
    """Likewise; an upstream that was asked by then hears no end of the body."""
    for place, outcome in listener.each(HEAD + _CHUNKED, REFUSED_CHUNKS[case]):
        assert outcome.statuses in ([], [400]), place
        assert outcome.is_safe, place
        assert outcome.requests == [], place


@pytest.mark.parametrize("case", SERVED)
def test_a26_a_request_in_a_body_is_a_body(listener: Listener, case: str) -> None:
    """Framed beyond doubt: served once, or refused once; what follows is the request behind it."""
    fields, body = SERVED[case]
    for place, outcome in listener.each(HEAD + fields, body):
        assert len(outcome.statuses) in {1, 2}, place
        assert outcome.statuses[1:] in ([], [200]), place
        assert outcome.is_safe, place
        assert len(outcome.requests) <= 1, place
        assert outcome.rests == [], place


@pytest.mark.parametrize("case", HEADS)
def test_a26_odd_heads_are_refused(listener: Listener, case: str) -> None:
    """Refused, and nothing of it reaches an upstream."""
    for place, outcome in listener.each(HEADS[case]):
        assert outcome.is_safe, place
        assert outcome.statuses[:1] in ([400], [401], [404], [405]), place
        assert outcome.statuses[1:] in ([], [200]), place
        assert outcome.requests == outcome.rests == [], place


@pytest.mark.parametrize("case", H11_FRAMING)
def test_a26_doubtful_framing_is_refused_under_h11(h11_listener: Listener, case: str) -> None:
    """h11 lets a length stand beside chunks: the application refuses it, and has the connection closed."""
    fields, body = REFUSED_FRAMING[case]
    for place, outcome in h11_listener.each(HEAD + fields, body):
        assert outcome.statuses in ([400], [501]), place
        assert outcome.is_safe, place
        assert outcome.requests == outcome.rests == [], place
