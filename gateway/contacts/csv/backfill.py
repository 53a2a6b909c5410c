"""Moving the customer's own ids from a custom attribute to `external_id` (facts: Intercom 3, S17, S19).

Archiving such an attribute copies nothing: its values stay in the records, where this reads them. It is an import of
`id` and `user_id` by the rule `id`, made of the records themselves, so everything is checked as in a file. A value that
stands on two records is nobody's: both are reported, and neither gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.attributes import Catalogue
from gateway.contacts.csv.cells import guarded, spelled
from gateway.contacts.csv.first_lines import FirstLines
from gateway.contacts.csv.importing import CsvImport
from gateway.contacts.csv.layout import ERROR_COLUMNS, Layout
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome, RowResult
from gateway.contacts.csv.report import csv_text
from gateway.contacts.csv.run import largest_batch
from gateway.contacts.rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Callable, Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactStore
    from gateway.identity.principal import IdRules

ERRORS_HEADER = csv_text([("id", "user_id", *ERROR_COLUMNS)])

_PAGE = 1000


class Backfill:
    """One run over all live records of a workspace that hold a value in the attribute; `counts` by outcome.

    Rows are numbered as the records are met, by contact id.
    """

    def __init__(  # noqa: PLR0913 - what it depends on, each given by the caller
        self,
        store: ContactStore,
        workspace: str,
        rules: IdRules,
        attribute: str,
        *,
        applies: bool,
        actor: str,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._attribute = attribute
        self._twice = FirstLines()
        self.total = 0
        self._import = CsvImport(
            store if applies else Rehearsal(store),
            workspace,
            Layout(("id", "user_id"), rules, Catalogue([])),
            Catalogue([]),
            MatchRule.ID,
            actor=actor,
            clock=clock,
            random_bytes=random_bytes,
            rehearses=not applies,
            largest_batch=largest_batch(store),
        )

    @property
    def counts(self) -> Counter[Outcome]:
        """How many records came to which outcome until now."""
        return self._import.counts

    async def look(self) -> None:
        """Read all records first: how many there are, and which values stand on several of them."""
        seen = FirstLines()
        async for _, _, value in self._holders():
            self.total += 1
            if seen.first(value, self.total) is not None:
                self._twice.first(value, self.total)

    async def batches(self) -> AsyncIterator[Sequence[tuple[Sequence[str], RowResult]]]:
        """Each record's id and value, with its outcome, once it is durable. `look` comes before."""
        rows: list[tuple[int, Sequence[str]]] = []
        async for number, contact, value in self._holders():
            cells = (contact.id, guarded(value))
            if rejection := self._rejection(number, contact, value):
                self.counts[Outcome.REJECTED] += 1
                yield [(cells, rejection)]
                continue
            rows.append((number, cells))
            if len(rows) == _PAGE:
                async for batch in self._import.batches(rows):
                    yield batch
                rows = []
        async for batch in self._import.batches(rows):
            yield batch

    def _rejection(self, number: int, contact: Contact, value: str) -> RowResult | None:
        """Why a record does not get its value, as far as the records themselves say it."""
        if contact.external_id not in {None, value}:
            code, message = "user_id_set", "the contact has another user_id already"
        elif self._twice.line_of(value) is not None and contact.external_id is None:
            code, message = "duplicate_value", "another contact has the same value in the attribute"
        else:
            return None
        return RowResult(line=number, outcome=Outcome.REJECTED, code=code, field="user_id", message=message)

    async def _holders(self) -> AsyncIterator[tuple[int, Contact, str]]:
        number, after = 0, ""
        while page := await self._store.live_contacts_after(self._workspace, after, limit=_PAGE):
            for contact in page:
                value = contact.custom_attributes.get(self._attribute)
                if value is not None:
                    number += 1
                    whole = isinstance(value, float) and value.is_integer()
                    yield number, contact, spelled(int(value) if whole else value)
            after = page[-1].id


def errors_text(rows: Sequence[tuple[Sequence[str], RowResult]]) -> str:
    """The rejected ones of a batch: what `contacts import --match id` takes, once it is mended."""
    return csv_text(
        (*cells, str(one.line), one.code or "", one.field or "", one.message or "", one.other_id or "")
        for cells, one in rows
        if one.outcome is Outcome.REJECTED
    )
