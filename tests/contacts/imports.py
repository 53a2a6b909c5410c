"""CSV files, imported into a store as the command does it, for the tests of imports."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Any

from gateway.contacts.csv.outcome import Outcome
from gateway.contacts.csv.report import Report
from gateway.contacts.csv.run import ImportChoices, prepare_import
from gateway.identity.principal import IdRules
from tests.contacts.records import NOW, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gateway.contacts.contact import Contact
    from gateway.contacts.csv.match_rule import MatchRule
    from gateway.contacts.csv.outcome import RowResult
    from gateway.contacts.store import ContactStore


class Imported:
    """What an import came to."""

    def __init__(self, results: Sequence[RowResult], result_text: str, errors_text: str) -> None:
        self.results = results
        self.result_text = result_text
        self.errors_text = errors_text

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each row, a rejected one's code."""
        return [str(one.code) if one.outcome is Outcome.REJECTED else str(one.outcome) for one in self.results]


def csv_of(rows: Iterable[Mapping[str, str]]) -> str:
    """Rows as CSV, with all the columns that one of them has."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["user_id"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def import_rows(
    store: ContactStore,
    path: Path,
    rows: Iterable[Mapping[str, str]] | str | bytes,
    rule: MatchRule,
    *,
    applies: bool = True,
    workspace: str = WORKSPACE,
    batch: int | None = None,
    **choices: Any,
) -> Imported:
    """Import rows, or the text of a file, through a file at `path`."""
    text = rows if isinstance(rows, str | bytes) else csv_of(rows)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())  # noqa: ASYNC240 - a few lines
    prepared = await prepare_import(
        store,
        workspace,
        IdRules(),
        path,
        ImportChoices(rule=rule, applies=applies, **choices),
        actor="command",
        clock=lambda: NOW,
        random_bytes=os.urandom,
    )
    if batch is not None:
        prepared.run._largest = prepared.run._size = batch
    report = Report(prepared.layout, prepared.file.delimiter, named=("user_id", "email"))
    results: list[RowResult] = []
    result_text, errors_text = report.result_header, report.errors_header
    async for done in prepared.run.batches(prepared.file.rows()):
        results += [result for _, result in done]
        result_text += report.results(done)
        errors_text += report.errors(done)
    assert prepared.total == len(results) == sum(prepared.run.counts.values())
    return Imported(results, result_text, errors_text)


async def everybody(store: ContactStore, workspace: str = WORKSPACE) -> list[Contact]:
    """All live contacts of the workspace."""
    return list(await store.live_contacts_after(workspace, "", limit=10_000))
