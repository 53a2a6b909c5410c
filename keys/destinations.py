"""Where a key set may be fetched from (advisories A07 and A09).

A URL is checked when the configuration is read, and again when a discovery document names one. The address is checked
each time that a connection is made, after the name was resolved, and the connection goes to that very address: a name
that leads elsewhere a moment later (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from keys.errors import KeyMaterialError

if TYPE_CHECKING:
    from collections.abc import Iterator

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

URL_LIMIT = 2048
_CHARACTERS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=%._~-]+")

# The registries of special addresses (IANA, RFC 6890), wider than `is_global` where that has changed between versions
# of Python. The last two answer as metadata services although they look public, or stand in a range of their own.
_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        ),
    )
)
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20", "3ffe::/16")))
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; a network's own prefix (RFC 8215) is not public, and may be allowed
_COMPATIBLE = IPv6Network("::/96")


class Destinations(Struct, frozen=True):
    """Which addresses may be asked: public ones, those of `allowed`, and this machine's own with `loopback`."""

    allowed: tuple[Network, ...] = ()
    loopback: bool = False

    def permits(self, address: Address, *, secure: bool = True) -> bool:
        """Whether a connection to an address may be made; one that is not `secure` goes to this machine or nowhere."""
        if self.loopback and _is_loopback(address):
            return True
        return secure and all(_is_public(one) or self._is_allowed(one) for one in _meant(address))

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self.allowed)


def checked_url(text: str, *, loopback_http: bool = False) -> str:
    """A URL that a key set may stand at; `KeyMaterialError` for another.

    https, or http to this machine when that is asked for; no credentials, no fragment, nothing but the characters of
    RFC 3986, so that no two parsers read it differently.
    """
    if len(text) > URL_LIMIT or not _CHARACTERS.fullmatch(text):
        raise KeyMaterialError(f"not a URL in plain characters of at most {URL_LIMIT}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise KeyMaterialError("not a URL with a host and a port") from None
    if not text.startswith(("https://", "http://")):
        raise KeyMaterialError("the URL begins with https://; nothing else is fetched")
    if "@" in url.netloc:
        raise KeyMaterialError("the URL holds credentials; a published key set needs none")
    if not url.hostname or port == 0 or "%" in url.netloc or "#" in text:
        raise KeyMaterialError("the URL has no host, a port of 0, or a fragment")
    if url.scheme == "http" and not (loopback_http and is_this_machine(url.hostname)):
        raise KeyMaterialError(
            "http is for a loopback address, with insecure_jwks_loopback = true; anything else is fetched with https"
        )
    return text


def is_this_machine(host: str) -> bool:
    """Whether a host's name says that it is this machine; the address is checked all the same when it is asked."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown_url(text: str) -> str:
    """A URL for people: a query may hold a secret, so it is left out."""
    bare, question_mark, _ = text.partition("?")
    return f"{bare}?..." if question_mark else bare


def _meant(address: Address) -> Iterator[Address]:
    """The addresses that one leads to: an IPv4 address that stands inside an IPv6 one, else itself."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    elif address in _NAT64 or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(number & 0xFFFFFFFF)
    else:
        yield address


def _is_loopback(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _GLOBAL_UNICAST_6 and not any(address in network for network in _NOT_PUBLIC_6)
