"""Importing a CSV file: each row is one person, found by the rule that was chosen, and kept or rejected for a reason.

Rows go into the store in batches, each in one transaction that is short enough for logins not to wait long behind it.
Whoever wants to see first what would happen hands over a `Rehearsal` instead of the store: the code is the same.

No row is lost: rows in = created + updated + unchanged + linked + rejected (advisory C08). A record is written by one
row of a file at most, so that importing the file again changes nothing. New user_ids beside a known email are reported
instead of making a second record (C07); an address that somebody merely claimed matches nothing.

Most rows of a batch are settled by three look-ups for all of them: a record that stands as the row says, or a new
person whose identifiers nobody holds. All others go one by one through the `Editor`, which decides what is in doubt.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from gateway.contacts.bulk import EACH_LIMIT
from gateway.contacts.contact import Contact, Role, State, is_contact_id
from gateway.contacts.csv.cells import spelled
from gateway.contacts.csv.first_lines import FirstLines
from gateway.contacts.csv.layout import RowProblem, RowRejected, Values, rejected
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.editing import Editor
from gateway.errors import ChangeRefused, ContactConflict, Refusal
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from gateway.contacts.attributes import Catalogue
    from gateway.contacts.csv.layout import Layout
    from gateway.contacts.store import ContactTransaction, T, Work

BATCH_SECONDS = 0.05
"""How long one transaction is meant to take; it is ended early at twice that."""

_FIRST_BATCH, _LEAST_BATCH = 250, 20


class Outcome(StrEnum):
    """What became of a row."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    LINKED = "linked"
    REJECTED = "rejected"


class RowResult(Struct, frozen=True, kw_only=True):
    """One row and its outcome. `line` is the one on which it begins; `other_id` the record that stands in its way."""

    line: int
    outcome: Outcome
    contact_id: str | None = None
    code: str | None = None
    field: str | None = None
    message: str | None = None
    other_id: str | None = None


class Writes(Protocol):
    """A store, or the rehearsal of one."""

    async def write(self, work: Work[T]) -> T:
        """See `ContactStore.write`."""


class _Row(Struct, frozen=True):
    """A row on its way: what it says, or why it is rejected before anything is looked up."""

    line: int
    cells: Sequence[str]
    said: Values | RowRejected


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
        self._rehearses = rehearses
        self._largest = largest_batch
        self._size = min(_FIRST_BATCH, largest_batch)
        self._keys = FirstLines()
        self._met = FirstLines()
        self._made = FirstLines()
        self.counts: Counter[Outcome] = Counter()
        self.longest_batch = 0.0  # seconds

    async def batches(
        self, rows: Iterable[tuple[int, Sequence[str]]]
    ) -> AsyncIterator[Sequence[tuple[Sequence[str], RowResult]]]:
        """Import the rows; yields, batch by batch, the cells and the outcome of each row once they are durable."""
        ahead = iter(rows)
        waiting: list[_Row] = []
        while True:
            waiting += [self._read(line, cells) for line, cells in islice(ahead, max(0, self._size - len(waiting)))]
            if not waiting:
                return
            batch = waiting[: self._size]
            results = await self._written(batch)
            waiting = waiting[len(results) :]
            self.counts.update(result.outcome for result in results)
            yield [(row.cells, result) for row, result in zip(batch, results, strict=False)]

    def _read(self, line: int, cells: Sequence[str]) -> _Row:
        try:
            values = self._layout.values(cells)
            self._check_keys(line, values)
        except RowRejected as rejection:
            return _Row(line, cells, rejection)
        return _Row(line, cells, values)

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

    async def _written(self, rows: Sequence[_Row]) -> Sequence[RowResult]:
        """Write a batch, or as much of it as fits into the time; what was written is remembered afterwards."""

        async def work(transaction: ContactTransaction) -> tuple[_Batch, float]:
            started = time.perf_counter()
            batch = _Batch(self, transaction, rows)
            await batch.run(started + 2 * BATCH_SECONDS)
            return batch, time.perf_counter() - started

        batch, seconds = await self._attempt(work)
        for contact_id, line in batch.met.items():
            self._met.first(contact_id, line)
        for contact_id, line in batch.made.items():
            self._made.first(contact_id, line)
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

    def editor(self, transaction: ContactTransaction) -> Editor:
        """An editor in the name of this import."""
        return Editor(
            transaction,
            self._workspace,
            actor=self._actor,
            now=self._clock(),
            random_bytes=self._random_bytes,
            catalogue=self._catalogue,
        )

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

    @property
    def workspace(self) -> str:
        """The workspace that is imported into."""
        return self._workspace

    @property
    def rule(self) -> MatchRule:
        """What finds the record of a row."""
        return self._rule


class _Batch:
    """Rows in one transaction. It may run again from its beginning, so all that it learns is its own until the end."""

    def __init__(self, run: CsvImport, transaction: ContactTransaction, rows: Sequence[_Row]) -> None:
        self._run = run
        self._workspace = run.workspace
        self._transaction = transaction
        self._editor = run.editor(transaction)
        self._rows = rows
        self._by_id: dict[str, Contact] = {}
        self._by_external_id: dict[str, Contact] = {}
        self._held: set[str] = set()
        self._in_doubt: set[str | None] = set()
        self._new: list[Contact] = []
        self.met: dict[str, int] = {}
        self.made: dict[str, int] = {}
        self.results: list[RowResult] = []

    async def run(self, deadline: float) -> None:
        """Settle the rows in their order, at least one, until the deadline (of `time.perf_counter`)."""
        await self._look_up()
        for row in self._rows:
            self.results.append(await self._settle(row))
            if time.perf_counter() > deadline:
                break
        await self._editor.store_new(self._new)

    async def _look_up(self) -> None:
        """Hold the identifiers of all rows, and find who has them."""
        values = [row.said for row in self._rows if isinstance(row.said, Values)]
        ids = [one.contact_id for one in values if one.contact_id is not None]
        external_ids = [one.fields["external_id"] for one in values if "external_id" in one.fields]
        emails = list({one.fields["email"] for one in values if "email" in one.fields})
        locks = [f"user_id:{value}" for value in external_ids] + [f"email:{value}" for value in emails]
        if locks:
            await self._transaction.lock(self._workspace, *locks)
        if self._run.rule is MatchRule.ID:
            found = await self._transaction.find_each(self._workspace, "id", ids)
            self._by_id = {contact.id: contact for contact in found}
            return
        found = await self._transaction.find_each(self._workspace, "external_id", external_ids)
        self._by_external_id = {str(contact.external_id): contact for contact in found}
        holders = await self._transaction.find_each(self._workspace, "email", emails)
        self._held = set(emails) if len(holders) >= EACH_LIMIT else {str(contact.email) for contact in holders}

    async def _settle(self, row: _Row) -> RowResult:
        if isinstance(row.said, RowRejected):
            return self._run.rejection(row.line, row.said, self.made)
        try:
            return await self._plain(row.line, row.said) or await self._alone(row.line, row.said)
        except RowRejected as error:
            rejection = error
        except (ChangeRefused, Refusal) as error:
            rejection = rejected(error)
        return self._run.rejection(row.line, rejection, self.made)

    async def _alone(self, line: int, values: Values) -> RowResult:
        """Settle one row by itself, once all before it are written."""
        await self._editor.store_new(self._new)
        self._new = []
        try:
            outcome, contact_id = await self._one(line, values)
        except ContactConflict as error:
            raise _conflict(error) from None
        return self._run.result(line, outcome, contact_id)

    async def _plain(self, line: int, values: Values) -> RowResult | None:
        """The outcome of a row about which nothing is in doubt."""
        fields = values.fields
        external_id, email = fields.get("external_id"), fields.get("email")
        if self._run.rule is MatchRule.ID:
            standing = self._by_id.get(values.contact_id or "")
            return self._unchanged(line, values, standing)
        if values.contact_id is not None or external_id in self._in_doubt:
            return None
        if external_id is not None and (standing := self._by_external_id.get(external_id)):
            return self._unchanged(line, values, standing)
        if email is not None and (email in self._held or email in self._in_doubt):
            return None
        if fields.get("role") is Role.LEAD or (external_id is not None and is_contact_id(external_id)):
            return None
        contact = await self._editor.new(fields)
        self._new.append(contact)
        self.made[contact.id] = line
        if email is not None:
            self._held.add(email)
        return self._run.result(line, Outcome.CREATED, contact.id)

    def _unchanged(self, line: int, values: Values, standing: Contact | None) -> RowResult | None:
        if standing is None or standing.state is not State.LIVE or standing.id in self._in_doubt:
            return None
        if self._line_of(standing.id) is not None or _changes(standing, values.fields):
            return None
        self.met[standing.id] = line
        return self._run.result(line, Outcome.UNCHANGED, standing.id)

    async def _one(self, line: int, values: Values) -> tuple[Outcome, str]:
        """Find the record of a row and write it; the outcome and the contact id."""
        fields = dict(values.fields)
        standing, links = await self._match(values)
        if standing is None:
            if values.contact_id is not None:
                text = "nobody has the user_id or email, and the id of a new record cannot be chosen"
                raise RowRejected(RowProblem.CONTACT_UNKNOWN, text, field="id")
            contact = await self._editor.create(fields)
            self.made[contact.id] = line
            self._doubt(contact)
            return Outcome.CREATED, contact.id
        if (before := self._line_of(standing.id)) is not None:
            raise RowRejected(RowProblem.DUPLICATE_IN_FILE, f"line {before} is the same person", other_id=standing.id)
        if values.contact_id not in {None, standing.id}:
            raise RowRejected(RowProblem.ID_MISMATCH, "another record matches", field="id", other_id=standing.id)
        if standing.state is State.BLOCKED:
            raise RowRejected(RowProblem.CONTACT_BLOCKED, "the contact is blocked", other_id=standing.id)
        if self._run.rule is not MatchRule.ID and not links:
            fields.pop("external_id", None)  # it found the record, or one that was merged into it
        if links:
            fields.setdefault("role", Role.USER)
        changes = _changes(standing, fields)
        if not changes and standing.state is State.LIVE:
            self.met[standing.id] = line
            return Outcome.UNCHANGED, standing.id
        kind = "linked" if links else "updated"
        updated = await self._editor.update(standing.id, changes, kind=kind, restores=True)
        self.met[standing.id] = line
        self._doubt(standing)
        self._doubt(updated)
        return Outcome.LINKED if links else Outcome.UPDATED, standing.id

    async def _match(self, values: Values) -> tuple[Contact | None, bool]:
        """The record of a row, and whether it is to be linked: found by its email, to be given its user_id."""
        external_id, email = values.fields.get("external_id"), values.fields.get("email")
        if self._run.rule is MatchRule.ID:
            contact_id = values.contact_id or ""
            standing = await self._transaction.find(self._workspace, contact_id)
            if standing is None:
                raise RowRejected(RowProblem.CONTACT_UNKNOWN, "no contact has this id", field="id")
            if standing.id != contact_id:
                text = "merged into another contact"
                raise RowRejected(RowProblem.CONTACT_MERGED, text, field="id", other_id=standing.id)
            return standing, False
        if external_id is not None:
            standing = await self._transaction.find_by_external_id(self._workspace, external_id)
            if standing is not None or email is None:
                return standing, False
            return self._linkable(await self._holders(email))
        holders = await self._holders(str(email))
        role = values.fields.get("role", Role.USER)
        alike = [holder for holder in holders if holder.role is role]
        if len(alike) > 1:
            raise _ambiguous(alike)
        if not alike and holders and role is Role.LEAD:
            raise _held(holders[0])
        return (alike[0] if alike else None), False

    def _linkable(self, holders: Sequence[Contact]) -> tuple[Contact | None, bool]:
        """Who has the email of a new user_id: nobody, or the one record that may be given it."""
        if not holders:
            return None, False
        if self._run.rule is MatchRule.EMAIL_IF_UNSET:
            if len(holders) > 1:
                raise _ambiguous(holders)
            if holders[0].external_id is None:
                return holders[0], True
        raise _held(holders[0])

    async def _holders(self, email: str) -> Sequence[Contact]:
        """The live records that hold an email with proof, oldest first."""
        found = await self._transaction.find_each(self._workspace, "email", [email])
        live = [one for one in found if one.state is State.LIVE and one.email_proof not in {None, Proof.CLAIMED}]
        return sorted(live, key=lambda one: (one.created_at, self._line_made(one.id) or 0, one.id))

    def _line_of(self, contact_id: str) -> int | None:
        return self.met.get(contact_id) or self._run.met_before(contact_id) or self._line_made(contact_id)

    def _line_made(self, contact_id: str) -> int | None:
        return self.made.get(contact_id) or self._run.made_before(contact_id)

    def _doubt(self, contact: Contact) -> None:
        """What was looked up about a record may be true no more."""
        self._in_doubt |= {contact.id, contact.external_id, contact.email} - {None}


def _changes(standing: Contact, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a record does not hold already. The same email again proves nothing more than before."""
    changes = {
        name: value
        for name, value in fields.items()
        if name not in {"email_proof", "custom_attributes"} and getattr(standing, name) != value
    }
    if "email" in changes:
        changes["email_proof"] = fields["email_proof"]
    custom = standing.custom_attributes
    written = fields.get("custom_attributes", {})
    changed = {name: value for name, value in written.items() if spelled(custom.get(name)) != spelled(value)}
    return {**changes, "custom_attributes": changed} if changed else changes


def _ambiguous(holders: Sequence[Contact]) -> RowRejected:
    text = f"{len(holders)} contacts hold this email"
    return RowRejected(RowProblem.AMBIGUOUS_EMAIL, text, field="email", other_id=holders[0].id)


def _held(holder: Contact) -> RowRejected:
    """A would-be duplicate: who holds the email, and what could be done."""
    lead = "a lead" if holder.role is Role.LEAD else "a contact"
    if holder.external_id is None:
        text = f"{lead} without a user_id holds this email; the rule email-if-unset would give it this user_id"
    else:
        text = f"{lead} with another user_id holds this email"
    return RowRejected(RowProblem.CONFLICT_EMAIL, text, field="email", other_id=holder.id)


def _conflict(error: ContactConflict) -> RowRejected:
    archived = "an archived contact" if error.archived else "another contact"
    if error.field == "email":
        return RowRejected(
            RowProblem.CONFLICT_EMAIL, f"{archived} holds this email", field="email", other_id=error.contact_id
        )
    text = f"{archived} holds this user_id"
    return RowRejected(RowProblem.CONFLICT_USER_ID, text, field="user_id", other_id=error.contact_id)
