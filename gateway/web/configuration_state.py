"""Whether a process answers by what its configuration says now, or by what it last said that was good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class ConfigurationState:
    """Kept current by whoever reloads, shown by health. Times in seconds UTC.

    `problems` are those of the newest configuration when it could not be used, `waiting` names the settings that only
    a restart changes and that say something new; neither holds a value.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = int(clock())
        self.reloads = 0
        self.problems: tuple[str, ...] = ()
        self.waiting: tuple[str, ...] = ()

    def taken_over(self, waiting: tuple[str, ...]) -> None:
        """The newest configuration is in force."""
        self.since = int(self._clock())
        self.reloads += 1
        self.problems = ()
        self.waiting = waiting

    def kept(self, problems: tuple[str, ...]) -> None:
        """The newest configuration cannot be used; the one before stays in force."""
        if not self.problems:
            self.since = int(self._clock())
        self.problems = problems

    def shown(self) -> dict[str, Any]:
        """For operators; `since` is when the state began, or the newest configuration came into force."""
        return {
            "state": "kept" if self.problems else "ok",
            "since": self.since,
            "reloads": self.reloads,
            "problems": list(self.problems),
            "needs_restart": list(self.waiting),
        }
