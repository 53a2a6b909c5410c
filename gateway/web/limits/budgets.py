"""Budgets of requests: so many at once, and as many again in each window, coming back evenly.

The generic cell rate algorithm (ITU-T I.371): all that is kept of a key is the moment at which its budget is whole
again, so a key that was not seen for a window costs nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.web.limits.shared_slots import SharedSlots

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = 100_000
"""Units of time in a second. The shared number holds 5 years of them: nothing is counted right on a machine that runs
longer without a restart."""


class Rate(Struct, frozen=True):
    """So many requests in so many seconds."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.requests} in {self.seconds} s"


class Budgets:
    """The budgets of all keys of one gateway, in all its processes; `clock` gives nanoseconds, to all the same."""

    def __init__(self, slots: SharedSlots | None = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._slots = slots or SharedSlots()
        self._clock = clock

    def take(self, key: str, rate: Rate) -> float:
        """Charge a request to the budget of a key: 0.0. When it is spent, the seconds until there is a request in it.

        Then nothing is charged. A budget that was left by a greater rate, before a reload, counts as just spent.
        """
        now = self._clock() * UNITS // 1_000_000_000
        window = rate.seconds * UNITS
        index, mark, whole_again = self._slots.find(key)
        charged = min(max(whole_again, now), now + window) + window // rate.requests
        if charged - now > window:
            return (charged - now - window) / UNITS
        self._slots.put(index, mark, charged)
        return 0.0
