"""How the rows of `check` and `doctor` are told: a table and what to do, or JSON; and the exit code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import typer

from gateway.checking.row import Outcome
from gateway.cli.output import FOUND_WANTING, say, say_json, say_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.checking.row import Row

_MARKS = {Outcome.PASSED: "ok", Outcome.WARNING: "warning", Outcome.FAILED: "FAILED", Outcome.NOT_PERFORMED: "-"}
_TOTALS = {
    Outcome.PASSED: "passed",
    Outcome.WARNING: "with a warning",
    Outcome.FAILED: "failed",
    Outcome.NOT_PERFORMED: "not performed",
}


def tell_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the rows, and end with exit code 1 when one of them failed."""
    counts = Counter(row.outcome for row in rows)
    if as_json:
        counted = {outcome.value: counts[outcome] for outcome in Outcome}
        say_json({"ok": not counts[Outcome.FAILED], **counted, "checks": msgspec.to_builtins(rows)})
    else:
        say_table(
            ("", "check", "expected", "found", "ms"),
            [(_MARKS[row.outcome], row.name, row.expected, row.found, f"{1000 * row.seconds:.0f}") for row in rows],
        )
        for outcome in (Outcome.FAILED, Outcome.WARNING, Outcome.NOT_PERFORMED):
            what = outcome.value.replace("_", " ")
            hints: dict[str, list[str]] = {}
            for row in rows:
                if row.outcome is outcome and row.hint:
                    hints.setdefault(row.hint, []).append(row.name)
            for hint, names in hints.items():
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                say(f"{what}: {', '.join(names[:3])}{more}: {hint}")
        say(", ".join(f"{counts[outcome]} {what}" for outcome, what in _TOTALS.items()))
    if counts[Outcome.FAILED]:
        raise typer.Exit(FOUND_WANTING)
