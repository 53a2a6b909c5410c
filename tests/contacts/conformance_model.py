"""Any sequence of works leaves a store and a dictionary with the same answers, for any back end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from gateway.contacts.contact import Contact, State
from gateway.contacts.editing import conflict_with
from gateway.errors import ContactConflict, ContactNotFound, GatewayError
from tests.contacts.records import NOW, contact
from tests.contacts.state_machine import run_on_store

if TYPE_CHECKING:
    import asyncio

    from gateway.contacts.store import ContactStore, ContactTransaction

IDS = [f"{n:024x}" for n in range(1, 7)]
EXTERNAL_IDS = [None, "u-1", "U-1", "u-1 ", "ü", IDS[0]]
EMAILS = [None, "a@example.com", "A@example.com"]

_workspaces = itertools.count()


class Model:
    """The contract in its plainest form: a dictionary of records by id."""

    def __init__(self, records: dict[str, Contact] | None = None) -> None:
        self.records = records or {}

    def find(self, contact_id: str) -> Contact | None:
        record = self.records.get(contact_id)
        while record is not None and record.merged_into is not None:
            record = self.records.get(record.merged_into)
        return record

    def holder(self, external_id: str | None) -> Contact | None:
        holders = [
            each for each in self.records.values() if external_id is not None and each.external_id == external_id
        ]
        return holders[0] if holders else None

    def find_by_external_id(self, external_id: str) -> Contact | None:
        holder = self.holder(external_id)
        return self.find(holder.id) if holder else None

    def find_by_email(self, email: str) -> list[Contact]:
        holders = [each for each in self.records.values() if each.email == email and each.state is State.LIVE]
        return sorted(holders, key=lambda holder: (holder.created_at, holder.id))

    def insert(self, record: Contact) -> None:
        self._check_free(record)
        if record.id in self.records:
            raise conflict_with(self.records[record.id], "id")
        self.records[record.id] = record

    def update(self, record: Contact) -> None:
        if record.id not in self.records:
            raise ContactNotFound(record.id)
        self._check_free(record, besides=record.id)
        self.records[record.id] = record

    def delete(self, contact_id: str) -> None:
        if contact_id not in self.records:
            raise ContactNotFound(contact_id)
        self.records = {
            each.id: each for each in self.records.values() if contact_id not in {each.id, each.merged_into}
        }

    def merge(self, pair: tuple[str, str]) -> None:
        source_id, into_id = pair
        source, into = self.find(source_id), self.find(into_id)
        if source is None or into is None:
            raise ContactNotFound(into_id if source else source_id)
        if source.id == into.id:
            raise ContactConflict(into.id, "id")
        for each in list(self.records.values()):
            if each.merged_into == source.id:
                self.records[each.id] = replace(each, merged_into=into.id)
        self.records[source.id] = replace(source, state=State.MERGED, merged_into=into.id, updated_at=NOW)

    def _check_free(self, record: Contact, besides: str | None = None) -> None:
        holder = self.holder(record.external_id)
        if holder is not None and holder.id != besides:
            raise conflict_with(holder, "external_id")


def outcome_of(error: GatewayError) -> tuple[Any, ...]:
    """What a caller can tell apart."""
    return type(error), vars(error)


records = st.builds(
    contact,
    id=st.sampled_from(IDS),
    external_id=st.none() | st.sampled_from(EXTERNAL_IDS),
    email=st.sampled_from(EMAILS),
    created_at=st.integers(NOW, NOW + 3),
    name=st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    custom_attributes=st.dictionaries(st.text(st.characters(codec="ascii")), st.integers() | st.booleans(), max_size=2),
    state=st.sampled_from([State.LIVE, State.ARCHIVED, State.BLOCKED]),
)
updates = st.tuples(st.just("update"), records)
merges = st.tuples(st.just("merge"), st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)))
steps = st.one_of(
    st.tuples(st.just("insert"), records),
    updates,
    updates,
    merges,
    merges,
    merges,
    st.tuples(st.just("delete"), st.sampled_from(IDS)),
)


class Machine(RuleBasedStateMachine):
    """Works of several steps; one that fails, or is given up, leaves nothing."""

    store: ContactStore
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.workspace = f"workspace-{next(_workspaces)}"
        self.model = Model()
        self.heard: set[str] = set()
        self.store.subscribe(self._hear)

    def _hear(self, workspace_id: str, contact_id: str) -> None:
        if workspace_id == self.workspace:
            self.heard.add(contact_id)

    @initialize()
    def people(self) -> None:
        """Most ids stand from the beginning, so that most works have something to work on."""
        work = [("insert", self._here(contact(id=contact_id, name=contact_id))) for contact_id in IDS[:-1]]
        assert self._expect(work, given_up=False) is self.runner.run(self._do(work, given_up=False)) is None

    @rule(work=st.lists(steps, min_size=1, max_size=2), given_up=st.sampled_from([False] * 5 + [True]))
    def write(self, work: list[tuple[str, Any]], given_up: bool) -> None:
        work = [(step, self._here(argument)) for step, argument in work]
        before = self._answers()
        expected = self._expect(work, given_up=given_up)
        self.heard.clear()
        assert self.runner.run(self._do(work, given_up=given_up)) == expected
        after = self._answers()
        for identifier, answer in before.items():
            if answer is not None and after.get(identifier) != answer:
                assert answer.id in self.heard, "a subscriber was not told of a record that was the answer"

    def _answers(self) -> dict[str, Contact | None]:
        """Who answers for each contact id and external id."""
        answers = {f"external_id {each}": self.model.find_by_external_id(each) for each in filter(None, EXTERNAL_IDS)}
        return answers | {contact_id: self.model.find(contact_id) for contact_id in IDS}

    def _here(self, argument: Any) -> Any:
        return replace(argument, workspace_id=self.workspace) if isinstance(argument, Contact) else argument

    def _expect(self, work: list[tuple[str, Any]], *, given_up: bool) -> Any:
        """Do it to the model; the outcome."""
        draft = Model(dict(self.model.records))
        try:
            for step, argument in work:
                getattr(draft, step)(argument)
        except GatewayError as error:
            return outcome_of(error)
        if given_up:
            return LookupError
        self.model = draft
        return None

    async def _do(self, work: list[tuple[str, Any]], *, given_up: bool) -> Any:
        """Do it to the store; the outcome."""

        async def run(transaction: ContactTransaction) -> None:
            for step, argument in work:
                if step == "delete":
                    await transaction.delete(self.workspace, argument)
                elif step == "merge":
                    await transaction.merge(self.workspace, *argument, now=NOW)
                else:
                    await getattr(transaction, step)(argument)
            if given_up:
                raise LookupError

        try:
            await self.store.write(run)
        except GatewayError as error:
            return outcome_of(error)
        except LookupError:
            return LookupError
        return None

    @invariant()
    def same_answers(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        for contact_id in IDS:
            assert await self.store.find(self.workspace, contact_id) == self.model.find(contact_id)
        for external_id in filter(None, EXTERNAL_IDS):
            found = await self.store.find_by_external_id(self.workspace, external_id)
            assert found == self.model.find_by_external_id(external_id)
        for email in filter(None, EMAILS):
            assert await self.store.find_by_email(self.workspace, email, limit=9) == self.model.find_by_email(email)


class ModelConformance:
    """`url` is an empty database; each example has a workspace of its own in it."""

    def test_any_sequence_of_works_agrees_with_the_model(self, url: str) -> None:
        """Whatever is written, in whatever order: the answers are those of a dictionary, and `check` finds nothing."""
        run_on_store(url, Machine, examples=100, steps=20)
