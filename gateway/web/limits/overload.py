"""When a worker has more to do than it can: it says so at once, before everybody waits for everybody.

What is measured is how late the event loop is: that is what each request waits before anything is done for it, whatever
the work is. One look that is late is a pause (a collection, a machine that stood still) and passes by itself. When none
of the last looks was in time, requests are refused by 503 `overloaded` with `Retry-After`, before their token is looked
at, until one is. Health is answered all the while, and the admin listener is not asked. How many requests can be in
flight is bounded by the connections that there may be: each brings one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.errors import Code, Outage

if TYPE_CHECKING:
    from gateway.web.problems import Problems
    from gateway.web.transport import Answer

LOOK_SECONDS = 0.1
LATE_SECONDS = 1.0
"""How late a look is when whoever asks waits too long: half of what others may cost a login (R27)."""

LOOKS = 3

_log = logging.getLogger("gateway.overload")


class Overload:
    """Watches the event loop of one worker. `sheds` says whether requests are refused."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._late = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._answers: dict[bool, Answer] = {}
        self._refused = 0
        self.sheds = False

    def begin(self) -> None:
        """Watch the loop that runs."""
        self._look_soon()

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        self.sheds = False

    def noted(self, late: float) -> None:
        """A look came so many seconds late."""
        self._late = self._late + 1 if late >= LATE_SECONDS else 0
        if self._refused:
            # One line and one request id for all of them: a request that is refused must cost next to nothing.
            _log.warning("overloaded", extra={"refused": self._refused})
            self._refused = 0
            self._answers.clear()
        self.sheds = self._late >= LOOKS

    def refusal(self, *, forward_auth: bool = False) -> Answer:
        """503, the same for all that are refused between two looks."""
        self._refused += 1
        answer = self._answers.get(forward_auth)
        if answer is None:
            outage = Outage(Code.OVERLOADED, "the event loop is late", retry_after=1)
            answer = self._answers[forward_auth] = self._problems.answer(outage, forward_auth=forward_auth)
        return answer

    def _look(self) -> None:
        self.noted(asyncio.get_running_loop().time() - self._due)
        self._look_soon()

    def _look_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + LOOK_SECONDS
        self._timer = loop.call_at(self._due, self._look)
