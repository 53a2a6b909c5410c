"""What the rows of earlier batches made and met, and the results that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.csv.first_lines import FirstLines
from gateway.contacts.csv.outcome import Outcome, RowResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contacts.csv.layout import RowRejected


class Ledger:
    """The ledger of one run; in a rehearsal, ids that it made are told to nobody."""

    def __init__(self, *, rehearses: bool) -> None:
        self._rehearses = rehearses
        self._met = FirstLines()
        self._made = FirstLines()

    def remember(self, met: Mapping[str, int], made: Mapping[str, int]) -> None:
        """What a batch met and made, the line of each contact id, once it is durable."""
        for contact_id, line in met.items():
            self._met.first(contact_id, line)
        for contact_id, line in made.items():
            self._made.first(contact_id, line)

    def met_before(self, contact_id: str) -> int | None:
        """The line of an earlier batch that wrote a record, or found it to be as it says."""
        return self._met.line_of(contact_id)

    def made_before(self, contact_id: str) -> int | None:
        """The line of an earlier batch that made a record."""
        return self._made.line_of(contact_id)

    def result(self, line: int, outcome: Outcome, contact_id: str) -> RowResult:
        """An accepted row; the id of a record that only a rehearsal made means nothing afterwards."""
        unreal = self._rehearses and outcome is Outcome.CREATED
        return RowResult(line=line, outcome=outcome, contact_id=None if unreal else contact_id)

    def rejection(self, line: int, error: RowRejected, made: Mapping[str, int]) -> RowResult:
        """A rejected row, with the line that made the record in its way, if one did."""
        message, other_id = error.message, error.other_id
        maker = None if other_id is None else made.get(other_id) or self._made.line_of(other_id)
        if maker is not None:
            message = f"{message} (line {maker})"
            other_id = None if self._rehearses else other_id
        return RowResult(
            line=line,
            outcome=Outcome.REJECTED,
            code=str(error.code),
            field=error.field,
            message=message,
            other_id=other_id,
        )
