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

_REWRITTEN = frozenset({b"host", b"content-length", b"expect", b"forwarded", b"via", b"x-real-ip", b"x-request-id"})
"""What a request may say of itself, and we say in its place. `Expect` is answered here."""

_ORIGINS = (b"x-forwarded-", b"x-original-", b"x-rewrite-", b"x-envoy-")
"""How names begin by which some upstream lets a proxy, and so a client, choose its address, host, scheme or path."""

_NO_TRAILERS = (
    _CONNECTION | _REWRITTEN | {b"authorization", b"cookie", b"set-cookie", b"content-encoding", b"content-type"}
)
"""What no trailer may say (RFC 9110 section 6.5.1), for an upstream might take it for a header."""

_REMEMBERED = 1_000

Field = tuple[bytes, bytes]


class _Fate(Enum):
    """What becomes of a request's field by its name."""

    GOES_ON = 0
    STAYS = 1
    CREDENTIAL = 2


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

    def passing(self, headers: Sequence[Field], *, keeps_token: bool, cookie: bytes | None) -> list[bytes]:
        """The fields of a request that go on, each as its line; `cookie` is the one in which a token may come."""
        nominated = _nominated(headers)
        lines = []
        for field in headers:
            name, value = field
            fate = self._fates.get(name)
            if fate is None:
                fate = self._fate(name)
            if fate is _Fate.STAYS or name in nominated:
                continue
            if fate is _Fate.CREDENTIAL and not keeps_token:
                if name == b"authorization" and value[:6].lower() == b"bearer":
                    continue
                if name == b"cookie" and cookie is not None:
                    rest = without_cookie(value, cookie)
                    if rest:
                        lines.append(b"cookie: %b\r\n" % rest)
                    continue
            lines.append(b"%b: %b\r\n" % field)
        return lines

    def answer(self, head: AnswerHead) -> list[bytes]:
        """The status line and the fields of an upstream's answer, written as the client gets them, without framing."""
        return [
            b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason),
            *[b"%b: %b\r\n" % field for field in self.answer_fields(head)],
        ]

    def answer_fields(self, head: AnswerHead) -> list[Field]:
        """The fields of an upstream's answer as the client gets them, without framing."""
        nominated = _nominated(head.headers)
        comes_back = self._comes_back
        return [field for field in head.headers if comes_back(field[0]) and field[0] not in nominated]

    def trailers(self, trailers: Iterable[Field]) -> list[Field]:
        """The trailers that may go on."""
        return [
            (name, value)
            for name, value in ((name.lower(), value) for name, value in trailers)
            if name not in _NO_TRAILERS and not name.startswith(_ORIGINS) and not self._identity_headers.reserves(name)
        ]

    def origin(self, headers: Sequence[Field], peer: Peer) -> bytes:
        """Where the request came from: in the words of a trusted peer, with itself added, or in ours alone (B03)."""
        host = _host(headers)
        if not peer.trusted:
            known = self._origins.get((peer.address, host))
            if known is None:
                known = _origin(peer.address, host, chain=(), proto=b"http", shown=host)
                if len(self._origins) < _REMEMBERED:
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
        spelled = name.replace(b"_", b"-").replace(b".", b"-")
        fate = _Fate.GOES_ON
        if spelled in _CONNECTION | _REWRITTEN or spelled.startswith(_ORIGINS) or self._identity_headers.reserves(name):
            fate = _Fate.STAYS
        elif name in {b"authorization", b"cookie"}:
            fate = _Fate.CREDENTIAL
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
    node = f"[{address}]" if ":" in address else address
    return (
        b"host: %b\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n"
        b'forwarded: for="%b";host="%b";proto=%b\r\n'
        % (host, b", ".join([*chain, address.encode()]), proto, shown, node.encode(), host, proto)
    )


def _host(headers: Iterable[Field]) -> bytes:
    """The host of a request; HTTP/1.0 may have none, HTTP/1.1 must (RFC 9112 section 3.2)."""
    for name, value in headers:
        if name == b"host":
            return value
    return b"localhost"


def _nominated(headers: Iterable[Field]) -> frozenset[bytes]:
    for name, _ in headers:
        if name == b"connection":
            break
    else:
        return frozenset()
    return frozenset(
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    )


def without_cookie(value: bytes, name: bytes) -> bytes:
    """A `Cookie` field without the cookie of one name; empty when nothing is left."""
    return b"; ".join(
        pair
        for pair in (part.strip() for part in value.split(b";"))
        if pair and pair.partition(b"=")[0].strip() != name
    )
