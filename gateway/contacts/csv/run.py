"""One import from its file to its outcome: the file looked at whole, the columns understood, then the rows.

The command and the API's jobs both come this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.contacts.attribute_editing import AttributeEditor
from gateway.contacts.attributes import Catalogue, DataType, Model
from gateway.contacts.csv.importing import CsvImport
from gateway.contacts.csv.layout import Layout, Unknown, is_known
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.rows import CsvFile
from gateway.contacts.rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.principal import IdRules


class ImportChoices(Struct, frozen=True, kw_only=True):
    """What whoever imports chooses."""

    rule: MatchRule
    applies: bool = False
    unknown: Unknown = Unknown.REFUSE
    encoding: str | None = None
    delimiter: str | None = None


class PreparedImport(Struct, frozen=True):
    """A file that can be read to its end, of `total` rows, and the run that will import them."""

    file: CsvFile
    layout: Layout
    run: CsvImport
    total: int


async def prepare_import(  # noqa: PLR0913 - what an import depends on, each given by the caller
    store: ContactStore,
    workspace: str,
    rules: IdRules,
    path: Path,
    choices: ImportChoices,
    *,
    actor: str,
    clock: Callable[[], float],
    random_bytes: Callable[[int], bytes],
    progress: Callable[[int], None] = lambda _rows: None,
) -> PreparedImport:
    """Look at the whole file, and declare what is to be declared. Raises `CsvProblem`, and writes nothing then."""
    file = CsvFile(path, is_known, encoding=choices.encoding, delimiter=choices.delimiter)
    catalogue = Catalogue(await store.data_attributes(workspace))
    layout = Layout(file.header, rules, catalogue, choices.unknown)
    total = file.check(progress)
    writes = store if choices.applies else Rehearsal(store)
    if layout.undeclared:
        names = layout.undeclared
        catalogue = await writes.write(lambda transaction: _declare(transaction, workspace, names, clock()))
        layout = Layout(file.header, rules, catalogue, choices.unknown)
    run = CsvImport(
        writes,
        workspace,
        layout,
        catalogue,
        choices.rule,
        actor=actor,
        clock=clock,
        random_bytes=random_bytes,
        rehearses=not choices.applies,
        largest_batch=largest_batch(store),
    )
    return PreparedImport(file, layout, run, total)


def largest_batch(store: ContactStore) -> int:
    """The most rows in one transaction. Each holds locks for its identifiers, and a server has only so many."""
    return 4000 if store.embedded else 400


async def _declare(transaction: ContactTransaction, workspace: str, names: Sequence[str], now: float) -> Catalogue:
    editor = AttributeEditor(transaction, workspace, now=now)
    for name in names:
        await editor.create({"name": name, "model": Model.CONTACT.value, "data_type": DataType.STRING.value})
    return Catalogue(await transaction.data_attributes(workspace))
