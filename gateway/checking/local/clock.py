"""Tokens are judged by this machine's clock."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.checking.row import Row, not_performed, passed, verdict, warning

if TYPE_CHECKING:
    from collections.abc import Callable

_YEARS = range(2026, 2100)
_JUMP = 0.5
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def check_year(now: float) -> Row:
    """A machine without a battery wakes up in 1970, when every token is from the future."""
    year = datetime.fromtimestamp(now, UTC).year
    hint = "set the clock; NTP keeps it"
    return verdict("year", f"{_YEARS[0]} or later", str(year), good=year in _YEARS, hint=hint)


def check_steadiness(
    wall: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Row:
    """The clock goes as fast as time does, and nobody turns it meanwhile."""
    before = wall(), steady()
    pause(0.2)
    passed_wall, passed_steady = wall() - before[0], steady() - before[1]
    jump = abs(passed_wall - passed_steady)
    expected = "the clock goes on as time does"
    good = passed_steady > 0 and jump < _JUMP
    found = "it does" if good else f"it went {passed_wall:+.1f} s in {passed_steady:.1f} s"
    return verdict("steady clock", expected, found, good=good, hint="something sets the clock: two time services?")


def kernel_clock_state() -> int | None:
    """What the kernel says of its clock (adjtimex(2), reading only); None where it does not say."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


def check_synchronised(state: Callable[[], int | None] = kernel_clock_state) -> Row:
    """A time service keeps the clock."""
    name, expected, hint = "NTP", "a time service keeps the clock", "start chrony or systemd-timesyncd"
    found = state()
    if found is None:
        return not_performed(name, expected, "the kernel does not say", hint)
    if found == _TIME_ERROR:
        return warning(name, expected, "the kernel says: not synchronised", hint)
    return passed(name, expected, "the kernel says: synchronised")
