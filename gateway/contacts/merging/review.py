"""From the duplicates report to merges: a table that somebody reviews, and the merges that it asks for.

The table has a row a record. `into` says into which contact that record is to be merged; empty leaves it alone. The
report fills it in only where its proposal is in no doubt. What is read back is `contact_id` and `into`, nothing else.
"""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.contacts.contact import is_contact_id
from gateway.contacts.csv.cells import guarded, moment, spelled, unguarded
from gateway.contacts.csv.rows import CsvFile, CsvProblem
from gateway.contacts.merging.merger import Merger
from gateway.errors import ChangeRefused, ContactMerged, ContactNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gateway.contacts.contact import Contact
    from gateway.contacts.merging.duplicates import DuplicateGroup
    from gateway.contacts.store import ContactStore, ContactTransaction

HEADER = (
    *("group", "contact_id", "into", "doubt", "proposal", "role", "user_id", "email", "email_proof", "phone", "name"),
    *("created_at", "last_seen_at"),
)


class Decision(Struct, frozen=True):
    """A merge that somebody asks for; `line` is its place in a file, 0 when there is none."""

    contact_id: str
    into: str
    line: int = 0


class Outcome(StrEnum):
    """What became of a decision; in a rehearsal, what would become of it."""

    MERGED = "merged"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Decided(Struct, frozen=True):
    """A decision and its outcome; a refusal says why."""

    decision: Decision
    outcome: Outcome
    code: str | None = None
    message: str | None = None


def table(groups: Sequence[DuplicateGroup], *, header: bool) -> str:
    """Groups as CSV, in which a spreadsheet finds no formula (R41)."""
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(HEADER)
    for group in groups:
        for contact in group.contacts:
            writer.writerow([guarded(spelled(cell)) for cell in _row(group, contact)])
    return out.getvalue()


def _row(group: DuplicateGroup, contact: Contact) -> tuple[Any, ...]:
    proposal, doubt, into = "", group.doubt, None
    if group.proposal is not None:
        doubt = group.proposal.doubts.get(contact.id)
        survives = contact.id == group.proposal.into
        proposal = f"stays: {group.proposal.because}" if survives else f"into {group.proposal.into}"
        into = None if survives or doubt is not None else group.proposal.into
    return (
        *(group.id, contact.id, into, doubt, proposal, contact.role, contact.external_id),
        *(contact.email, contact.email_proof, contact.phone, contact.name),
        *(moment(contact.created_at), moment(contact.last_seen_at)),
    )


def reviewed(path: Path) -> list[Decision]:
    """The decisions of a reviewed table, read whole before the first is used; raises `CsvProblem` with its line."""
    file = CsvFile(path, HEADER.__contains__)
    columns = list(file.header)
    for name in ("contact_id", "into"):
        if columns.count(name) != 1:
            raise CsvProblem("column_missing", f"the header must name {name} once", line=1)
    file.check()
    places = columns.index("contact_id"), columns.index("into")
    return list(_decisions(file, *places))


def _decisions(file: CsvFile, contact_id: int, into: int) -> Iterator[Decision]:
    for line, cells in file.rows():
        source, target = (unguarded(cells[place]).strip() for place in (contact_id, into))
        if not target:
            continue
        for name, value in (("contact_id", source), ("into", target)):
            if not is_contact_id(value):
                raise CsvProblem("contact_id_invalid", f"{name} is no contact id", line=line)
        yield Decision(source, target, line)


class Reviewer:
    """Carries out decisions one by one, each in a transaction of its own; without `apply` it tells what would become.

    Two contacts that both have a user_id are merged only with `identified`, which is the operator's explicit word (S7).
    """

    def __init__(  # noqa: PLR0913 - what a decision depends on, each given by the caller
        self,
        store: ContactStore,
        workspace: str,
        *,
        apply: bool,
        identified: bool,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._apply = apply
        self._identified = identified
        self._clock = clock
        self._random_bytes = random_bytes
        self._rehearsed: dict[str, str] = {}  # who would be gone by now, and into whom

    async def decide(self, decision: Decision) -> Decided:
        """What becomes of a decision; raises `Outage` alone."""
        try:
            return await self._store.write(lambda transaction: self._decide(transaction, decision))
        except ContactNotFound:
            return Decided(decision, Outcome.REFUSED, "not_found", "no contact stands under one of the two ids")
        except ContactMerged as error:
            text = f"one of the two was merged into {error.contact_id} already"
            return Decided(decision, Outcome.REFUSED, "contact_merged", text)
        except ChangeRefused as error:
            return Decided(decision, Outcome.REFUSED, error.problem, error.message)

    async def _decide(self, transaction: ContactTransaction, decision: Decision) -> Decided:
        source = await self._answering(transaction, decision.contact_id)
        into = await self._answering(transaction, decision.into)
        if source is not None and into is not None and source.id == into.id:
            same = decision.contact_id == decision.into
            refused = Decided(decision, Outcome.REFUSED, "same_contact", "a contact cannot be merged into itself")
            return refused if same else Decided(decision, Outcome.UNCHANGED)
        merger = Merger(
            transaction, self._workspace, actor="command", now=self._clock(), random_bytes=self._random_bytes
        )
        for gone in {decision.contact_id, decision.into} & self._rehearsed.keys():
            raise ContactMerged(self._rehearsed[gone])
        plan = await merger.preview(decision.contact_id, decision.into)
        both = plan.source.external_id is not None and plan.into.external_id is not None
        if both and not self._identified:
            text = "both have a user_id; two identified contacts are merged by an explicit word alone"
            return Decided(decision, Outcome.REFUSED, "both_identified", text)
        for reason in plan.reasons:
            return Decided(decision, Outcome.REFUSED, reason.code, reason.message)
        if self._apply:
            await merger.merge(decision.contact_id, decision.into)
        else:
            self._rehearsed[decision.contact_id] = decision.into
        return Decided(decision, Outcome.MERGED)

    async def _answering(self, transaction: ContactTransaction, contact_id: str) -> Contact | None:
        """Who answers for an id, also after the merges that were only rehearsed."""
        while contact_id in self._rehearsed:
            contact_id = self._rehearsed[contact_id]
        return await transaction.find(self._workspace, contact_id)
