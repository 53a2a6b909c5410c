"""How many requests an access token has: Intercom's budget a minute, spent in slices of ten seconds (facts: 2.11).

All workers of a gateway count together, in the memory that they share (`web/limits/shared_slots.py`). The budget
protects the gateway from a program that runs wild; it is nothing that has to be counted to the last request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.web.admin.errors import AdminError
from gateway.web.limits.shared_slots import SharedSlots

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Send

SLICE_SECONDS = 10
_COUNT_BITS = 20
_COUNT = (1 << _COUNT_BITS) - 1
_SLICE = (1 << 24) - 1


class Allowance(Struct, frozen=True):
    """What is left of a slice after a request: of `limit` requests `remaining`, and at `reset` (seconds) all again."""

    limit: int
    remaining: int
    reset: int
    granted: bool
    retry_after: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""
        return [
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"%d" % self.remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset),
        ]

    def refusal(self) -> AdminError:
        """429: the slice is spent."""
        text = f"more than {self.limit} requests in {SLICE_SECONDS} seconds"
        return AdminError(429, "rate_limit_exceeded", text, headers={"retry-after": str(self.retry_after)})


class RateLimits:
    """The counters of one gateway, in all the processes that share its `slots`; `clock` gives seconds.

    A number is the slice, and how much of it was spent: one slot of 44 bits.
    """

    def __init__(self, requests_per_minute: int, clock: Callable[[], float], slots: SharedSlots | None = None) -> None:
        self._limit = max(1, requests_per_minute * SLICE_SECONDS // 60)
        self._clock = clock
        self._slots = slots or SharedSlots(1 << 10)

    def take(self, token_id: str | None) -> Allowance:
        """Count a request of an access token; those that brought none that stands share a counter, None."""
        now = self._clock()
        current = int(now) // SLICE_SECONDS
        index, mark, number = self._slots.find(f"token {token_id}")
        spent = number & _COUNT if number >> _COUNT_BITS == current & _SLICE else 0
        spent = min(spent + 1, _COUNT)
        self._slots.put(index, mark, (current & _SLICE) << _COUNT_BITS | spent)
        reset = (current + 1) * SLICE_SECONDS
        remaining = max(0, self._limit - spent)
        return Allowance(self._limit, remaining, reset, spent <= self._limit, max(1, reset - int(now)))


def with_headers(send: Send, allowance: Allowance) -> Send:
    """Send answers that say what is left."""
    headers = allowance.headers()

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return send_with_headers
