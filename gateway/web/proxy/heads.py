"""Heads on their way through: what is taken off, what is written anew, and how the body behind them is framed.

Nothing is copied that could mean one thing to us and another behind us. Fields that concern one connection are taken
off together with whatever `Connection` nominates, before ours are put on, so that no client can have ours removed
(B02); every spelling of an identity header is (B01); what says where a request came from is ours to say (B03).
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Refusal
from gateway.web.headers import one_spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.web.headers import IdentityHeaders
    from gateway.web.proxy.connection import AnswerHead

_CONNECTION = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of one connection (RFC 9110 section 7.6.1)."""

_REWRITTEN = frozenset({b"host", b"content-length", b"expect", b"forwarded", b"x-request-id"})
"""What a request may say of itself, and we say in its place. `Expect` is answered here.

`Via` goes on as it is and none is added, as with nginx, HAProxy and Envoy: servers switch compression off for it.
"""

_ORIGINS = frozenset(
    {
        b"base-url",
        b"client-ip",
        b"front-end-https",
        b"proxy",  # which CGI takes for HTTP_PROXY
        b"request-uri",
        b"script-name",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-host",
        b"x-http-host-override",
        b"x-real-ip",
        b"x-scheme",
        b"x-script-name",
        b"x-sendfile-type",
        b"x-url-scheme",
    }
)
_ORIGIN_FAMILIES = (
    *(b"x-forwarded-", b"x-original-", b"x-rewrite-", b"x-envoy-", b"x-accel-", b"x-middleware-", b"x-proxy-"),
)
"""Names, and how names begin, by which some upstream lets a proxy, and so a client, choose its address, host, scheme
or path (R24)."""

_NO_TRAILERS = frozenset(
    {
        *(b"authorization", b"cookie", b"set-cookie", b"www-authenticate", b"location", b"date", b"age", b"vary"),
        *(b"cache-control", b"expires", b"pragma", b"range", b"max-forwards", b"retry-after", b"origin", b"referer"),
    }
)
"""What no trailer may say besides (RFC 9110 section 6.5.1), for whoever gets it might take it for a header; nor any
name that begins with `Content-` or `If-`."""

_NOTHING: frozenset[bytes] = frozenset()
_PLAIN_CONNECTION = frozenset({b"close", b"keep-alive"})
"""Values of `Connection` that nominate nothing."""

_REMEMBERED = 1_000

Field = tuple[bytes, bytes]


_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})
"""What a request's own framing and address stand in; in another spelling they say nothing."""


class _Fate(Enum):
    """What becomes of a request's field by its name."""

    GOES_ON = 0
    STAYS = 1
    CREDENTIAL = 2
    FRAMES = 3


class Passing(Struct, frozen=True):
    """What was read of a request's head: the fields that go on, each as its line, and those that are written anew.

    `length` None and not `chunked` means that there is no body.
    """

    lines: list[bytes]
    host: bytes
    length: int | None
    chunked: bool


class Peer(Struct, frozen=True):
    """Who is connected to us: its address, and whether what it says of others is believed."""

    address: str
    trusted: bool


class Heads:
    """Writes heads for upstreams and for clients."""

    def __init__(
        self,
        identity_headers: IdentityHeaders,
        trusted_peers: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (),
    ) -> None:
        self._identity_headers = identity_headers
        self._trusted_peers = trusted_peers
        self._fates: dict[bytes, _Fate] = {}
        self._backward: dict[bytes, bool] = {}
        self._origins: dict[tuple[str, bytes], bytes] = {}
        self._peers: dict[str | None, Peer] = {}

    def peer(self, address: str | None) -> Peer:
        """The peer at an address; None is a Unix socket, whose other end is on this machine."""
        peer = self._peers.get(address)
        if peer is None:
            if len(self._peers) >= _REMEMBERED:
                self._peers.clear()
            peer = self._peers[address] = self._peer(address)
        return peer

    def _peer(self, address: str | None) -> Peer:
        try:
            ip = ipaddress.ip_address(address or "127.0.0.1")
        except ValueError:
            return Peer("unknown", trusted=False)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return Peer(str(ip), trusted=any(ip in network for network in self._trusted_peers))

    def passing(self, headers: Sequence[Field], *, keeps_token: bool, cookie: bytes | None) -> Passing:
        """What of a request goes on, in one pass; `cookie` is the one in which a token may come.

        Raises `Refusal(request_invalid)` for framing that could be read in two ways. The parser has refused most of it.
        """
        fates = self._fates
        kept: list[Field] = []
        framing: list[Field] = []
        for field in headers:
            name = field[0]
            fate = fates.get(name) or self._fate(name)
            if fate is _Fate.GOES_ON:
                kept.append(field)
            elif fate is _Fate.FRAMES:
                framing.append(field)
            elif fate is _Fate.CREDENTIAL:
                passed = field if keeps_token else _without_token(field, cookie)
                if passed is not None:
                    kept.append(passed)
        nominated = _nominated(framing)
        if nominated:
            kept = [field for field in kept if field[0] not in nominated]
        length, chunked = _framing(framing)
        lines = [b"%b: %b\r\n" % field for field in kept]
        return Passing(lines, _host(framing), length, chunked)

    def answer(self, head: AnswerHead, defaults: Iterable[Field] = ()) -> list[bytes]:
        """The status line and the fields of an upstream's answer, written as the client gets them, without framing.

        `defaults` are fields that an answer has if the upstream did not say otherwise: the `Date` that it owes.
        """
        fields = self.answer_fields(head)
        names = [field[0] for field in fields]
        return [
            b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason),
            *[b"%b: %b\r\n" % field for field in fields],
            *[b"%b: %b\r\n" % field for field in defaults if field[0] not in names],
        ]

    def answer_fields(self, head: AnswerHead) -> list[Field]:
        """The fields of an upstream's answer as the client gets them, without framing."""
        backward = self._backward
        fields = []
        for field in head.headers:
            comes = backward.get(field[0])
            if comes or (comes is None and self._comes_back(field[0])):
                fields.append(field)
        nominated = _nominated(head.headers)
        return [field for field in fields if field[0] not in nominated] if nominated else fields

    def trailers(self, trailers: Iterable[Field]) -> list[Field]:
        """The trailers that may go on: none that could not be a header of its own, and be taken for one."""
        lower = [(name.lower(), value) for name, value in trailers]
        return [
            field for field in lower if self._fate(field[0]) is _Fate.GOES_ON and not _frames(one_spelling(field[0]))
        ]

    def origin(self, headers: Sequence[Field], host: bytes, peer: Peer) -> bytes:
        """Where the request came from: in the words of a trusted peer, with itself added, or in ours alone (B03)."""
        if not peer.trusted:
            known = self._origins.get((peer.address, host))
            if known is None:
                if len(self._origins) >= _REMEMBERED:
                    self._origins.clear()
                known = _origin(peer.address, host, chain=(), proto=b"http", shown=host)
                self._origins[peer.address, host] = known
            return known
        said = dict(headers)
        return _origin(
            peer.address,
            host,
            chain=[value for name, value in headers if name == b"x-forwarded-for"],
            proto=b"https" if said.get(b"x-forwarded-proto", b"").strip().lower() == b"https" else b"http",
            shown=said.get(b"x-forwarded-host", host),
        )

    def _fate(self, name: bytes) -> _Fate:
        spelled = one_spelling(name)
        fate = _Fate.GOES_ON
        ours = spelled in _CONNECTION | _REWRITTEN | _ORIGINS or spelled.startswith(_ORIGIN_FAMILIES)
        if ours or self._identity_headers.reserves(name):
            fate = _Fate.STAYS
        elif name in {b"authorization", b"cookie"}:
            fate = _Fate.CREDENTIAL
        if name in _FRAMING:
            fate = _Fate.FRAMES
        if len(self._fates) < _REMEMBERED:
            self._fates[name] = fate
        return fate

    def _comes_back(self, name: bytes) -> bool:
        comes = self._backward.get(name)
        if comes is None:
            comes = not (name in _CONNECTION or name == b"content-length" or self._identity_headers.reserves(name))
            if len(self._backward) < _REMEMBERED:
                self._backward[name] = comes
        return comes


def _origin(address: str, host: bytes, *, chain: Sequence[bytes], proto: bytes, shown: bytes) -> bytes:
    before = [one.strip() for part in chain for one in part.split(b",")]
    nodes = b", ".join([b'for="%b"' % _node(one.decode("latin-1")) for one in before] + [b'for="%b"' % _node(address)])
    return (
        b"host: %b\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n"
        b'forwarded: %b;host="%b";proto=%b\r\n'
        % (host, b", ".join([*before, address.encode()]), proto, shown, nodes, host, proto)
    )


def _node(address: str) -> bytes:
    """An address as `Forwarded` has it (RFC 7239 section 6)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return b"unknown"
    return f"[{ip}]".encode() if ip.version == 6 else str(ip).encode()


def _frames(spelled: bytes) -> bool:
    return spelled in _NO_TRAILERS or spelled.startswith((b"content-", b"if-"))


def _host(headers: Iterable[Field]) -> bytes:
    """The host of a request; HTTP/1.0 may have none, HTTP/1.1 must (RFC 9112 section 3.2)."""
    for name, value in headers:
        if name == b"host":
            return value
    return b"localhost"


def _nominated(headers: Iterable[Field]) -> frozenset[bytes]:
    """What `Connection` nominates, in lower case."""
    nominated = _NOTHING
    for name, value in headers:
        if name == b"connection" and value.lower() not in _PLAIN_CONNECTION:
            nominated |= {token.strip().lower() for token in value.split(b",")}
    return nominated


def _framing(headers: Iterable[Field]) -> tuple[int | None, bool]:
    """How the body is framed: its length, or chunks. The parser has refused both at once, and two lengths (A26)."""
    length, chunked = None, False
    for name, value in headers:
        if name == b"content-length":
            if length is not None or not value.isdigit():
                raise Refusal(Code.REQUEST_INVALID, "two lengths, or one that is no number", field="content-length")
            length = int(value)
        elif name == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                raise Refusal(Code.REQUEST_INVALID, "a transfer coding other than chunked", field="transfer-encoding")
            chunked = True
    if chunked and length is not None:
        raise Refusal(Code.REQUEST_INVALID, "a length beside a transfer coding", field="content-length")
    return length, chunked


def _without_token(field: Field, cookie: bytes | None) -> Field | None:
    """An `Authorization` or `Cookie` field without the token; None when nothing is left of it."""
    name, value = field
    if name == b"authorization":
        return None if value[:6].lower() == b"bearer" else field
    if cookie is None:
        return field
    rest = without_cookie(value, cookie)
    return (name, rest) if rest else None


def without_cookie(value: bytes, name: bytes) -> bytes:
    """A `Cookie` field without the cookie of one name; empty when nothing is left."""
    return b"; ".join(
        pair
        for pair in (part.strip() for part in value.split(b";"))
        if pair and pair.partition(b"=")[0].strip() != name
    )
