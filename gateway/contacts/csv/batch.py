"""The rows of one transaction.

Most rows of a batch are settled by three look-ups for all of them: a record that stands as the row says, or a new
person whose identifiers nobody holds. All others go one by one through the `Editor`, which decides what is in doubt.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.contacts.bulk import EACH_LIMIT
from gateway.contacts.contact import Contact, Role, State, is_contact_id
from gateway.contacts.csv.cells import spelled
from gateway.contacts.csv.layout import RowProblem, RowRejected, Values, rejected
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome, RowResult
from gateway.errors import ChangeRefused, ContactConflict, Refusal
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contacts.csv.ledger import Ledger
    from gateway.contacts.editing import Editor
    from gateway.contacts.store import ContactTransaction


class Row(Struct, frozen=True):
    """A row on its way: what it says, or why it is rejected before anything is looked up."""

    line: int
    cells: Sequence[str]
    said: Values | RowRejected


class Batch:
    """Rows in one transaction. It may run again from its beginning, so all that it learns is its own until the end."""

    def __init__(
        self, rows: Sequence[Row], rule: MatchRule, ledger: Ledger, transaction: ContactTransaction, editor: Editor
    ) -> None:
        self._rows = rows
        self._rule = rule
        self._ledger = ledger
        self._transaction = transaction
        self._editor = editor
        self._workspace = editor.workspace
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
        if self._rule is MatchRule.ID:
            found = await self._transaction.find_each(self._workspace, "id", ids)
            self._by_id = {contact.id: contact for contact in found}
            return
        found = await self._transaction.find_each(self._workspace, "external_id", external_ids)
        self._by_external_id = {str(contact.external_id): contact for contact in found}
        holders = await self._transaction.find_each(self._workspace, "email", emails)
        self._held = set(emails) if len(holders) >= EACH_LIMIT else {str(contact.email) for contact in holders}

    async def _settle(self, row: Row) -> RowResult:
        if isinstance(row.said, RowRejected):
            return self._ledger.rejection(row.line, row.said, self.made)
        try:
            return await self._plain(row.line, row.said) or await self._alone(row.line, row.said)
        except RowRejected as error:
            rejection = error
        except (ChangeRefused, Refusal) as error:
            rejection = rejected(error)
        return self._ledger.rejection(row.line, rejection, self.made)

    async def _alone(self, line: int, values: Values) -> RowResult:
        """Settle one row by itself, once all before it are written."""
        await self._editor.store_new(self._new)
        self._new = []
        try:
            outcome, contact_id = await self._one(line, values)
        except ContactConflict as error:
            raise _conflict(error) from None
        return self._ledger.result(line, outcome, contact_id)

    async def _plain(self, line: int, values: Values) -> RowResult | None:
        """The outcome of a row about which nothing is in doubt."""
        fields = values.fields
        external_id, email = fields.get("external_id"), fields.get("email")
        if self._rule is MatchRule.ID:
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
        return self._ledger.result(line, Outcome.CREATED, contact.id)

    def _unchanged(self, line: int, values: Values, standing: Contact | None) -> RowResult | None:
        if standing is None or standing.state is not State.LIVE or standing.id in self._in_doubt:
            return None
        if self._line_of(standing.id) is not None or _changes(standing, values.fields):
            return None
        self.met[standing.id] = line
        return self._ledger.result(line, Outcome.UNCHANGED, standing.id)

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
        if self._rule is not MatchRule.ID and not links:
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
        if self._rule is MatchRule.ID:
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
        if self._rule is MatchRule.EMAIL_IF_UNSET:
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
        return self.met.get(contact_id) or self._ledger.met_before(contact_id) or self._line_made(contact_id)

    def _line_made(self, contact_id: str) -> int | None:
        return self.made.get(contact_id) or self._ledger.made_before(contact_id)

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
