"""Importing a CSV file: each row is one person, found by the rule that was chosen, and kept or rejected for a reason.

Rows go into the store in batches, each in one transaction that is short enough for logins not to wait long behind it.
Whoever wants to see first what would happen hands over a `Rehearsal` instead of the store: the code is the same.

No row is lost: rows in = created + updated + unchanged + linked + rejected (advisory C08). A record is written by one
row of a file at most, so that importing the file again changes nothing. New user_ids beside a known email are reported
instead of making a second record (C07); an address that somebody merely claimed matches nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from gateway.contacts.csv.batch import Batch, Row
from gateway.contacts.csv.first_lines import FirstLines
from gateway.contacts.csv.layout import RowProblem, RowRejected, Values
from gateway.contacts.csv.ledger import Ledger
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.editing import Editor
from gateway.errors import ContactConflict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from gateway.contacts.attributes import Catalogue
    from gateway.contacts.csv.layout import Layout
    from gateway.contacts.csv.outcome import Outcome, RowResult
    from gateway.contacts.store import ContactTransaction, T, Work

BATCH_SECONDS = 0.05
"""How long one transaction is meant to take; it is ended early at twice that."""

_FIRST_BATCH, _LEAST_BATCH = 250, 20


class Writes(Protocol):
    """A store, or the rehearsal of one."""

    async def write(self, work: Work[T]) -> T:
        """See `ContactStore.write`."""


class CsvImport:
    """One run through a file; `actor` names it in the history, `largest_batch` bounds the rows of a transaction."""

    def __init__(  # noqa: PLR0913 - what an import depends on, each given by the caller
        self,
        writes: Writes,
        workspace: str,
        layout: Layout,
        catalogue: Catalogue,
        rule: MatchRule,
        *,
        actor: str,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        rehearses: bool = False,
        largest_batch: int,
    ) -> None:
        self._writes = writes
        self._workspace = workspace
        self._layout = layout
        self._catalogue = catalogue
        self._rule = rule
        self._actor = actor
        self._clock = clock
        self._random_bytes = random_bytes
        self._largest = largest_batch
        self._size = min(_FIRST_BATCH, largest_batch)
        self._keys = FirstLines()
        self._ledger = Ledger(rehearses=rehearses)
        self.counts: Counter[Outcome] = Counter()
        self.longest_batch = 0.0  # seconds

    async def batches(
        self, rows: Iterable[tuple[int, Sequence[str]]]
    ) -> AsyncIterator[Sequence[tuple[Sequence[str], RowResult]]]:
        """Import the rows; yields, batch by batch, the cells and the outcome of each row once they are durable."""
        ahead = iter(rows)
        waiting: list[Row] = []
        while True:
            waiting += [self._read(line, cells) for line, cells in islice(ahead, max(0, self._size - len(waiting)))]
            if not waiting:
                return
            batch = waiting[: self._size]
            results = await self._written(batch)
            waiting = waiting[len(results) :]
            self.counts.update(result.outcome for result in results)
            yield [(row.cells, result) for row, result in zip(batch, results, strict=False)]

    def _read(self, line: int, cells: Sequence[str]) -> Row:
        try:
            values = self._layout.values(cells)
            self._check_keys(line, values)
        except RowRejected as rejection:
            return Row(line, cells, rejection)
        return Row(line, cells, values)

    def _check_keys(self, line: int, values: Values) -> None:
        """A row has an identifier that the rule can use, and no row before it has the same one."""
        external_id, email = values.fields.get("external_id"), values.fields.get("email")
        if self._rule is MatchRule.ID and values.contact_id is None:
            raise RowRejected(RowProblem.MISSING_IDENTIFIER, "the rule id needs an id", field="id")
        if self._rule is not MatchRule.ID and external_id is None and email is None:
            raise RowRejected(RowProblem.MISSING_IDENTIFIER, "a user_id or an email is needed", field="user_id")
        keys = [("id", values.contact_id), ("user_id", external_id)]
        if external_id is None and values.contact_id is None:
            keys.append(("email", email))
        for kind, value in keys:
            before = None if value is None else self._keys.first((kind, value), line)
            if before is not None:
                raise RowRejected(RowProblem.DUPLICATE_IN_FILE, f"line {before} has the same {kind}", field=kind)

    async def _written(self, rows: Sequence[Row]) -> Sequence[RowResult]:
        """Write a batch, or as much of it as fits into the time; what was written is remembered afterwards."""

        async def work(transaction: ContactTransaction) -> tuple[Batch, float]:
            started = time.perf_counter()
            batch = Batch(rows, self._rule, self._ledger, transaction, self._editor(transaction))
            await batch.run(started + 2 * BATCH_SECONDS)
            return batch, time.perf_counter() - started

        batch, seconds = await self._attempt(work)
        self._ledger.remember(batch.met, batch.made)
        self.longest_batch = max(self.longest_batch, seconds)
        fitting = int(len(batch.results) * BATCH_SECONDS / max(seconds, 1e-6))
        self._size = min(self._largest, max(_LEAST_BATCH, min(fitting, 2 * self._size)))
        return batch.results

    async def _attempt(self, work: Work[T]) -> T:
        """Write; once more when somebody who does not lock took an identifier between look-up and insertion."""
        try:
            return await self._writes.write(work)
        except ContactConflict:
            return await self._writes.write(work)

    def _editor(self, transaction: ContactTransaction) -> Editor:
        """An editor in the name of this import."""
        return Editor(
            transaction,
            self._workspace,
            actor=self._actor,
            now=self._clock(),
            random_bytes=self._random_bytes,
            catalogue=self._catalogue,
        )
