"""One check and how it ended."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """How a check ended; `not_performed` where what it needs was not there."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_PERFORMED = "not_performed"


class Row(Struct, frozen=True):
    """A check by its name: what it expects, what it found, what to do about it, and how many seconds it took."""

    name: str
    outcome: Outcome
    expected: str
    found: str
    hint: str | None = None
    seconds: float = 0.0


def passed(name: str, expected: str, found: str) -> Row:
    """As expected."""
    return Row(name, Outcome.PASSED, expected, found)


def warning(name: str, expected: str, found: str, hint: str) -> Row:
    """Good enough for now."""
    return Row(name, Outcome.WARNING, expected, found, hint)


def failed(name: str, expected: str, found: str, hint: str | None = None) -> Row:
    """Not as expected."""
    return Row(name, Outcome.FAILED, expected, found, hint)


def not_performed(name: str, expected: str, why: str, hint: str) -> Row:
    """Not known; the hint says what makes the check possible."""
    return Row(name, Outcome.NOT_PERFORMED, expected, why, hint)


def verdict(name: str, expected: str, found: str, *, good: bool, hint: str | None = None) -> Row:
    """As expected, or not."""
    return passed(name, expected, found) if good else failed(name, expected, found, hint)
