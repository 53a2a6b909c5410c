"""Numbers that all worker processes of one gateway share: a table in memory, found by a key, never in the way.

Why no library: those that are well kept share over processes by a server (`limits`: Redis, Memcached, MongoDB), or by a
process that all others ask, or SQLite under a lock (`pyrate-limiter`), or not at all (`aiolimiter`), and a remembered
login takes 15 us in all. Here a look costs about a microsecond and nothing waits for anybody: there is no lock.

What that costs: two processes that count the same key at the same moment may count once. A slot is one word of 64 bits,
written whole: the mark of its key and the number, so no key is ever charged for what another one did. A key has four
slots to stand in. When all are taken, the one with the least number gives way, and is as if it had never been: whoever
floods the table makes others' counts forgotten, which harms nobody, and his own are the last to go. The places are
hashed with a secret of the gateway's, so nobody can choose whom he shares them with; two keys are taken for one with a
chance of four in a million.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from multiprocessing.reduction import DupFd
from typing import Any

SLOTS = 1 << 17
VALUE_BITS = 44
_VALUE = (1 << VALUE_BITS) - 1
_MARK = (1 << 64 - VALUE_BITS) - 1
_WAYS = 4
_REMEMBERED = 10_000


class SharedSlots:
    """A table of `slots` numbers (a power of two) below 2**44. It can be handed to a process that is being started."""

    def __init__(self, slots: int = SLOTS, secret: bytes = b"", descriptor: int | None = None) -> None:
        self._slots = slots
        self._secret = secret or os.urandom(16)
        self._descriptor = _nameless_file() if descriptor is None else descriptor
        if descriptor is None:
            os.truncate(self._descriptor, slots * 8)
        self._memory = mmap.mmap(self._descriptor, slots * 8)
        self._words = memoryview(self._memory).cast("Q")
        self._places: dict[str, tuple[int, int]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self._slots, self._secret, DupFd(self._descriptor))

    def __del__(self) -> None:
        """Close the file; a reload may have made a table that is not needed."""
        os.close(self._descriptor)

    def find(self, key: str) -> tuple[int, int, int]:
        """Where the number of a key stands or may stand, its mark, and the number; 0 when there is none."""
        place = self._places.get(key)
        if place is None:
            place = self._place(key)
        first, mark = place
        words = self._words
        least, chosen = 1 << 64, first
        for index in range(first, first + _WAYS):
            word = words[index]
            value = word & _VALUE
            if word >> VALUE_BITS == mark:
                return index, mark, value
            if value < least:
                least, chosen = value, index
        return chosen, mark, 0

    def put(self, index: int, mark: int, value: int) -> None:
        """Write the number of a key where `find` said."""
        self._words[index] = mark << VALUE_BITS | min(value, _VALUE)

    def _place(self, key: str) -> tuple[int, int]:
        digest = hashlib.blake2b(key.encode(), digest_size=8, key=self._secret).digest()
        number = int.from_bytes(digest)
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        place = (number >> 20) % (self._slots // _WAYS) * _WAYS, (number & _MARK) or 1
        self._places[key] = place
        return place


def _nameless_file() -> int:
    """A file that is gone when nobody has it open any more, be they all killed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gateway-limits")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _attached(slots: int, secret: bytes, duplicate: Any) -> SharedSlots:
    return SharedSlots(slots, secret, duplicate.detach())
