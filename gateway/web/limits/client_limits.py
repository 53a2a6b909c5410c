"""Whose budgets a request is charged to, and in which order.

1. The client's address, before anything else is done for the request: it bounds what a stranger can make us work. All
   requests count, good or bad; whoever shares an address shares its budget.
2. The contact, once its token is proven. Nobody else can spend it.
3. The workspace, last: so only proven requests count, and only those that their contact's own budget let through. Bad
   tokens, from however many addresses, spend nothing of a workspace's, nor do requests that nobody is proven by.

A budget that is spent is not charged again, nor are those behind it. An address is an IPv4 address, or the /64 of an
IPv6 one, for that is what one customer of a network gets. It is the peer's; of a trusted proxy's requests that of the
right-most hop in `X-Forwarded-For` that is no trusted proxy: those left of it are the client's own words. What a
trusted proxy asks for nobody is charged to no address: one budget for all its clients would serve whoever empties it.

What is refused is 429 `rate_limited` with `Retry-After`; at `/auth`, where proxies understand no 429, it is 503.
"""

from __future__ import annotations

import ipaddress
import math
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import RateLimited
from gateway.web.limits.budgets import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.web.limits.budgets import Budgets

    _Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_REMEMBERED = 4096


class Rates(Struct, frozen=True):
    """The rates of each kind of budget; None is without end."""

    per_address: Rate | None = None
    per_contact: Rate | None = None
    per_workspace: Rate | None = None


class ClientAddresses:
    """Tells whom a request is from, in the words of those who are trusted to say so."""

    def __init__(self, trusted_proxies: _Networks = ()) -> None:
        self._trusted = trusted_proxies
        self._known: dict[str, str | None] = {}

    def of(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """The address that a request of a peer (None: a Unix socket) is charged to; None for no address."""
        address = self._known_as(peer or "127.0.0.1")
        if address is not None:
            return address
        chain = b",".join([value for name, value in headers if name == b"x-forwarded-for"]).decode("latin-1")
        for hop in reversed(chain.split(",")):
            address = self._known_as(hop.strip()[:64]) if hop.strip() else None
            if address is not None:
                return address
        return None

    def is_trusted(self, peer: str | None) -> bool:
        """Whether a peer is a trusted proxy."""
        return self._known_as(peer or "127.0.0.1") is None

    def _known_as(self, text: str) -> str | None:
        if text in self._known:
            return self._known[text]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        known = self._known[text] = self._charged(text)
        return known

    def _charged(self, text: str) -> str | None:
        try:
            ip = ipaddress.ip_address(_without_port(text))
        except ValueError:
            return text  # a proxy of somebody's that hides it: the same words are the same client
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in network for network in self._trusted):
            return None
        return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


class ClientLimits:
    """The limits of one configuration over the budgets of a gateway."""

    def __init__(self, rates: Rates, budgets: Budgets, addresses: ClientAddresses) -> None:
        self._budgets = budgets
        self._addresses = addresses
        self._rates = rates
        self.counts_addresses = rates.per_address is not None
        self.counts_contacts = rates.per_contact is not None or rates.per_workspace is not None

    def charge_address(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Charge a request to its address; raises `RateLimited`. Worth asking only if `counts_addresses`."""
        address = self._addresses.of(peer, headers)
        if address is not None:
            self._charge("address", address, self._rates.per_address)

    def charge_contact(self, contact: Contact) -> None:
        """Charge a proven request to its contact, then its workspace; `RateLimited`. Only if `counts_contacts`."""
        self._charge("contact", contact.id, self._rates.per_contact)
        self._charge("workspace", contact.workspace_id, self._rates.per_workspace)

    def _charge(self, kind: str, key: str, rate: Rate | None) -> None:
        if rate is None:
            return
        wait = self._budgets.take(f"{kind} {key}", rate)
        if wait:
            raise RateLimited(f"more than {rate} per {kind}", retry_after=math.ceil(wait))


def _without_port(text: str) -> str:
    """An address as some proxies name it: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
