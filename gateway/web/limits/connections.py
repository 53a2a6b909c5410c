"""How many connections a listener has, in one worker; and which one gives way where one too many comes.

A connection that has not brought a whole request yet costs its client nothing, so those give way first, the oldest
before the others: whoever opens thousands and says little (R27) loses his own, and a login comes through. Then those
that idle between requests, which their clients must expect (RFC 9112 section 9.5). One that owes an answer never does.
A trusted proxy's connections do not give way, nor count for its address: many people stand behind each.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Protocol

from gateway.web.limits.client_limits import ClientAddresses

_LOOKED_AT = 64
"""How many of the oldest connections are looked at for one that may give way."""

_SPARE_FILES = 256
"""What a worker needs besides its clients' connections: listeners, store, keys, upstreams."""


_ENDLESS = 1 << 30


class Connection(Protocol):
    """What is asked of a connection."""

    def may_give_way(self, *, idle: bool) -> bool:
        """Whether it has not brought a whole request yet; with `idle`, whether it merely owes no answer."""

    def give_way(self) -> None:
        """End at once."""


class Connections:
    """The connections of one listener in one worker; without an end, unless they are bound."""

    def __init__(self) -> None:
        self._most = _ENDLESS
        self._most_of_address: int | None = None
        self._addresses = ClientAddresses()
        self._all: OrderedDict[Connection, str | None] = OrderedDict()
        self._of_address: dict[str, int] = {}

    def bound(self, most: int, most_of_address: int | None = None, addresses: ClientAddresses | None = None) -> None:
        """There may be `most` connections, and `most_of_address` of each address; those that stand, stay."""
        self._most = min(most, _open_files() - _SPARE_FILES)
        self._most_of_address = most_of_address
        self._addresses = addresses or ClientAddresses()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Connection, peer: str | None) -> bool:
        """Whether there is room for a connection; it is counted until it leaves."""
        address = self._addresses.of(peer, ())
        most = self._most_of_address
        if most is not None and address is not None and self._of_address.get(address, 0) >= most:
            return False
        if len(self._all) >= self._most and not self._make_room():
            return False
        self._all[connection] = address
        if address is not None:
            self._of_address[address] = self._of_address.get(address, 0) + 1
        return True

    def leave(self, connection: Connection) -> None:
        """A connection is gone; one that never was let in may say so as well."""
        if connection not in self._all:
            return
        address = self._all.pop(connection)
        if address is None:
            return
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _make_room(self) -> bool:
        oldest: list[Connection] = []
        for connection in self._all:
            if len(oldest) == _LOOKED_AT:
                break
            oldest.append(connection)
        for idle in (False, True):
            for connection in oldest:
                if self._all[connection] is not None and connection.may_give_way(idle=idle):
                    self.leave(connection)
                    connection.give_way()
                    return True
        for connection in oldest:  # they are busy: others come first when it is looked again
            self._all.move_to_end(connection)
        return False


def raise_open_files() -> None:
    """Let the process have as many open files, so connections, as it may: the usual 1024 are soon gone."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not on every platform

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _open_files() -> int:
    """How many files the process may have open."""
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return _ENDLESS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENDLESS if soft == resource.RLIM_INFINITY else max(soft, 2 * _SPARE_FILES)
