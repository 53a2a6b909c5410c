"""What an import leaves behind: every row with its outcome, and the rejected rows, to be mended and imported again."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from gateway.contacts.csv.cells import guarded, unguarded
from gateway.contacts.csv.layout import ERROR_COLUMNS
from gateway.contacts.csv.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.contacts.csv.layout import Layout
    from gateway.contacts.csv.outcome import RowResult

    Rows = Sequence[tuple[Sequence[str], RowResult]]


class Report:
    """The two files of one import, as pieces of text; `delimiter` is that of the imported file.

    `named` are the columns that the result repeats beside the contact id. What is kept in the store repeats none:
    whoever is deleted later must not be found there.
    """

    def __init__(self, layout: Layout, delimiter: str, *, named: Sequence[str] = ()) -> None:
        self._kept = layout.kept
        self._named = [layout.header.index(name) if name in layout.header else None for name in named]
        self._delimiter = delimiter
        names = [layout.header[index] for index in self._kept]
        self.result_header = csv_text([("line", "outcome", "contact_id", *named, *ERROR_COLUMNS[1:])])
        self.errors_header = csv_text([(*names, *ERROR_COLUMNS)], delimiter)

    def results(self, rows: Rows) -> str:
        """A line for each row: where it stands, its outcome, whose it is, and the reason of a rejection."""
        return csv_text(
            (
                str(result.line),
                result.outcome,
                result.contact_id or "",
                *("" if place is None else _again(cells[place]) for place in self._named),
                *_reason(result),
            )
            for cells, result in rows
        )

    def errors(self, rows: Rows) -> str:
        """The rejected rows as they were, and why."""
        return csv_text(
            (
                (*(_again(cells[index]) for index in self._kept), str(result.line), *_reason(result))
                for cells, result in rows
                if result.outcome is Outcome.REJECTED
            ),
            self._delimiter,
        )


def csv_text(rows: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    """Rows as CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def _reason(result: RowResult) -> tuple[str, str, str, str]:
    return result.code or "", result.field or "", guarded(result.message or ""), result.other_id or ""


def _again(cell: str) -> str:
    """A cell that means what it meant, and is no formula."""
    return guarded(unguarded(cell))
