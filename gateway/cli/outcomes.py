"""What long work on many records came to: counted, shown, and stopped by Ctrl-C after what is under way."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from msgspec import Struct, field, to_builtins

from gateway.cli.output import FOUND_WANTING, CommandFailed, complain, say, say_json, say_table
from gateway.contacts.csv.outcome import Outcome, RowResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 20
_LISTED = 1000


class Outcomes(Struct):
    """How many rows came to which outcome, why rows were rejected, and the first of these; `stopped` before the end."""

    total: int
    counts: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rejections: list[tuple[Sequence[str], RowResult]] = field(default_factory=list)
    stopped: bool = False

    def add(self, rows: Sequence[tuple[Sequence[str], RowResult]]) -> None:
        """Count a batch."""
        rejected = [(cells, one) for cells, one in rows if one.outcome is Outcome.REJECTED]
        self.counts.update(one.outcome for _, one in rows)
        self.reasons.update(str(one.code) for _, one in rejected)
        self.rejections += rejected[: _LISTED - len(self.rejections)]

    @property
    def done(self) -> int:
        """How many rows are done."""
        return self.counts.total()

    def tell(self, *, applies: bool, as_json: bool, first: str = "line", **more: Any) -> None:
        """Print it, and end with the exit code that it deserves. `first` heads the number of a row."""
        if as_json:
            say_json({"rehearsal": not applies, **more, **self._plain()})
        else:
            self._print(first)
            if not applies:
                complain("This was a rehearsal, and nothing was written. --apply writes.")
        if self.stopped:
            raise CommandFailed(
                f"stopped after {self.done:,} of {self.total:,} rows{'; what was written stays' if applies else ''}",
                hint="run the same command again: rows that were written come out as unchanged" if applies else None,
            )
        if self.counts[Outcome.REJECTED]:
            raise typer.Exit(FOUND_WANTING)

    def _plain(self) -> dict[str, Any]:
        return {
            "rows": self.total,
            **{outcome: self.counts[outcome] for outcome in Outcome},
            "stopped": self.stopped,
            "reasons": dict(self.reasons),
            "rejections": [to_builtins(one) for _, one in self.rejections],
            "rejections_left_out": self.counts[Outcome.REJECTED] - len(self.rejections),
        }

    def _print(self, first: str) -> None:
        shown = self.rejections[:_SHOWN]
        if shown:
            say_table(
                (first, "field", "code", "why", "other contact"),
                [
                    (one.line if first == "line" else cells[0], one.field, one.code, one.message, one.other_id)
                    for cells, one in shown
                ],
            )
            left = self.counts[Outcome.REJECTED] - len(shown)
            if left:
                reasons = ", ".join(f"{code} {count:,}" for code, count in self.reasons.most_common())
                say(f"and {left:,} more; --errors FILE writes them all. By code: {reasons}", "")
        say(", ".join(f"{self.counts[outcome]:,} {outcome}" for outcome in Outcome) + f"; {self.total:,} rows")


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM while the block runs, so that it ends after what is under way."""
    caught: list[int] = []
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(ValueError, RuntimeError):  # not on the main thread: nobody's Ctrl-C arrives there
        for number in numbers:
            loop.add_signal_handler(number, caught.append, number)
    try:
        yield caught
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
