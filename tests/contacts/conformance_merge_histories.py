"""Random histories of people, logins, edits and merges: a merge and its undo are nothing, for any back end."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.resolver import ResolutionPolicy, Resolver
from gateway.contacts.signed_values import differ
from gateway.errors import ChangeProblem, ChangeRefused, ContactConflict, ContactMerged, ContactNotFound, Refusal
from gateway.identity.principal import Proof
from tests.contacts import merges
from tests.contacts.people import Clock, principal
from tests.contacts.records import contact
from tests.contacts.state_machine import run_on_store

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from gateway.contacts.merging.merger import Undone
    from gateway.contacts.store import ContactStore

EMAILS = ["a@example.com", "b@example.com"]
PHONES = [None, "+49 30 123456", "+4930-123456", "+49 30 999999"]
USER_IDS = ["u-1", "u-2", "first-1", "first-3"]
EMAIL = ("email", "email_proof")
ATTRIBUTES: dict[str, list[Any]] = {"plan": ["a", "b"], "seats": [1, True, 1.5], "vip": [True, False]}

_workspaces = itertools.count()

custom = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ATTRIBUTES.items()})
proofs = st.sampled_from([Proof.SIGNED, Proof.IMPORTED, Proof.CLAIMED])
fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([None, "Ada", "Bob"]),
        "phone": st.sampled_from(PHONES[1:3]),
        "email": st.sampled_from(EMAILS),
        "external_id": st.sampled_from([None, *USER_IDS]),
        "unsubscribed_from_emails": st.booleans(),
        "signed_up_at": st.sampled_from([None, 5]),
    },
)
numbers = st.integers(0, 20)
pairs = st.integers(0, 399)
often = st.sampled_from([True, True, True, False])
rarely = st.sampled_from([False] * 9 + [True])


class Standing(Struct, frozen=True):
    """A merge that was not undone: who, the records themselves before, the survivor right after."""

    source: str
    into: str
    before: dict[str, Contact | None]
    after: Contact


class Histories(RuleBasedStateMachine):
    """What operators and people do, one thing after the other, in a workspace of its own."""

    store: ContactStore
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.workspace = f"workspace-{next(_workspaces)}"
        self.clock = Clock()
        self.ids: list[str] = []
        self.standing: list[Standing] = []
        policies = {self.workspace: ResolutionPolicy()}
        self.resolver = Resolver(self.store, policies, self.clock, os.urandom)

    def do(self, step: Coroutine[Any, Any, Any], *expected: type[Exception]) -> Any:
        """Do something a second later; what may be refused comes back as its exception."""
        self.clock.now += 1
        try:
            return self.runner.run(step)
        except expected as error:
            return error

    def records(self) -> dict[str, Contact | None]:
        return self.runner.run(merges.stored(self.store, self.ids, self.workspace))

    def one(self, number: int) -> str:
        """Mostly somebody live, sometimes anybody."""
        live = [contact_id for contact_id, one in self.records().items() if one and one.state is State.LIVE]
        some = live if live and number < 18 else self.ids
        return some[number % len(some)]

    def pair(self, number: int) -> tuple[str, str]:
        """Mostly two who may be merged, sometimes any two."""
        source, into = self.one(number // 20), self.one(number % 20)
        records = self.records()
        live = [contact_id for contact_id, one in records.items() if one and one.state is State.LIVE]
        users = [one for one in live if records[one].role is Role.USER and one != source]  # type: ignore[union-attr]  # live
        return (source, users[number % len(users)]) if users and number % 20 < 18 else (source, into)

    def merge(self, source: str, into: str) -> Any:
        step = merges.merge(
            self.store,
            source,
            into,
            now=self.clock(),
            workspace=self.workspace,
            unchecked=self.role(source) is Role.LEAD,
        )
        return self.do(step, ChangeRefused, ContactMerged, ContactNotFound)

    def unmerge(self, source: str) -> Any:
        step = merges.unmerge(self.store, source, now=self.clock(), workspace=self.workspace)
        return self.do(step, ChangeRefused, ContactConflict, ContactNotFound)

    def role(self, contact_id: str) -> Role | None:
        found = self.records().get(contact_id)
        return found.role if found else None

    @initialize(
        people=st.lists(st.tuples(st.sampled_from(Role), fields, custom, proofs, often), min_size=8, max_size=10),
    )
    def meet(self, people: list[tuple[Role, dict[str, Any], dict[str, Any], Proof, bool]]) -> None:
        """Some stand from the beginning, and most of them share a phone."""
        for number, (role, values, attributes, proof, same) in enumerate(people):
            self.insert(
                **{
                    **values,
                    "external_id": f"first-{number}" if number % 2 else None,
                    "role": role if number else Role.USER,
                    "phone": PHONES[1 + number % 2] if same else PHONES[3 * (number % 2)],
                    "custom_attributes": attributes,
                    "email_proof": proof if values.get("email") else None,
                }
            )

    def insert(self, **values: Any) -> None:
        record = contact(workspace_id=self.workspace, **values)
        self.ids.append(record.id)
        self.do(self.store.write(lambda transaction: transaction.insert(record)))

    @rule(user_id=st.sampled_from([None, *USER_IDS]), email=st.sampled_from(EMAILS), name=st.sampled_from("xy"))
    def log_in(self, user_id: str | None, email: str, name: str) -> None:
        who = principal(
            user_id, email, workspace=self.workspace, attributes={"name": name}, issued_at=int(self.clock())
        )
        identity = self.do(self.resolver.resolve(who), Refusal)
        if not isinstance(identity, Refusal) and identity.contact.id not in self.ids:
            self.ids.append(identity.contact.id)

    @rule(number=numbers, values=fields)
    def edit(self, number: int, values: dict[str, Any]) -> None:
        self.edit_one(self.one(number), values)

    @rule(number=numbers, values=fields, attributes=custom)
    def write_to_survivor(self, number: int, values: dict[str, Any], attributes: dict[str, Any]) -> None:
        """Also what no edit could write: attributes that nobody declared."""
        if not self.standing:
            return
        survivor_id = self.standing[number % len(self.standing)].into
        self.edit_one(survivor_id, values)
        survivor = self.records()[survivor_id]
        if survivor is not None and survivor.state is State.LIVE:
            written = replace(survivor, custom_attributes={**survivor.custom_attributes, **attributes})
            self.do(self.store.write(lambda transaction: transaction.update(written)))

    def edit_one(self, contact_id: str, values: dict[str, Any]) -> None:
        if values.get("email"):
            values = {**values, "email_proof": Proof.IMPORTED}
        step = merges.edit(self.store, contact_id, now=self.clock(), workspace=self.workspace, **values)
        self.do(step, ChangeRefused, ContactConflict, ContactMerged, ContactNotFound)

    @rule(number=numbers, state=st.sampled_from([State.ARCHIVED, State.LIVE, State.BLOCKED]), really=rarely)
    def put_away(self, number: int, state: State, really: bool) -> None:
        contact_id = self.one(number)
        step = merges.set_state(self.store, contact_id, state, now=self.clock(), workspace=self.workspace)
        if really:
            self.do(step, ChangeRefused, ContactMerged, ContactNotFound)
        step.close()

    @rule(number=numbers, really=rarely)
    def delete(self, number: int, really: bool) -> None:
        contact_id = self.one(number)
        step = merges.delete(self.store, contact_id, workspace=self.workspace)
        if really and isinstance(self.do(step, ContactMerged, ContactNotFound), Contact):
            gone = {each for each, record in self.records().items() if record is None}
            self.standing = [one for one in self.standing if not {one.source, one.into} & gone]
        step.close()

    @rule(number=numbers)
    def steal(self, number: int) -> None:
        """Somebody else takes an external id that the survivor had adopted, and let go of."""
        if self.standing:
            merge = self.standing[number % len(self.standing)]
            adopted = merge.after.external_id
            self.edit_one(merge.into, {"external_id": None})
            holders = [one for one in self.records().values() if one is not None and one.external_id == adopted]
            if adopted is not None and not holders:
                self.insert(external_id=adopted)

    @rule(number=pairs)
    def merge_for_good(self, number: int) -> None:
        before, (source_id, into_id) = self.records(), self.pair(number)
        survivor = self.merge(source_id, into_id)
        if isinstance(survivor, Contact):
            self.standing.append(Standing(source_id, survivor.id, before, survivor))
        else:
            assert self.records() == before

    @rule(number=pairs, really=st.booleans())
    def merge_and_undo(self, number: int, really: bool) -> None:
        """The identity on every record, whatever happened before."""
        before, (source_id, into_id) = self.records(), self.pair(number)
        if really and isinstance(self.merge(source_id, into_id), Contact):
            undone = self.unmerge(source_id)
            assert undone.kept_changes == ()
        assert self.records() == before

    @rule(number=numbers, really=st.booleans())
    def undo(self, number: int, really: bool) -> None:
        """Any time later: the source as it was, the survivor as it was but for what was written since."""
        if not really:
            return
        merge = self.standing[number % len(self.standing)] if self.standing else None
        source = merge.source if merge else self.one(number)
        before = self.records()
        outcome = self.unmerge(source)
        now = self.records()
        if isinstance(outcome, Exception):
            assert now == before
            self.check_refusal(outcome, merge, before)
            return
        assert merge is not None
        assert merge is self.last_into(merge.into)
        self.standing.remove(merge)
        assert now[source] == merge.before[source] == outcome.source
        self.check_survivor(outcome, merge, before[merge.into], now[merge.into])
        for contact_id in self.ids:
            if contact_id not in {source, merge.into}:
                came_along = before[contact_id] is not None and before[contact_id] != now[contact_id]
                assert now[contact_id] == (merge.before[contact_id] if came_along else before[contact_id])

    def last_into(self, contact_id: str) -> Standing:
        return [one for one in self.standing if one.into == contact_id][-1]

    def check_refusal(self, error: Exception, merge: Standing | None, before: dict[str, Contact | None]) -> None:
        """A refusal has its reason in the records."""
        if isinstance(error, ContactConflict):
            assert merge is not None
            was, holder = merge.before[merge.source], before[error.contact_id]
            assert was is not None
            assert holder is not None
            assert getattr(was, error.field) == getattr(holder, error.field)
            assert holder.id not in {merge.source, merge.into}
        elif isinstance(error, ChangeRefused):
            assert error.problem is ChangeProblem.NOT_UNDONE
            survivor = before[merge.into] if merge else None
            assert (
                merge is None
                or survivor is None
                or merge is not self.last_into(merge.into)
                or survivor.state in {State.MERGED, State.BLOCKED}
            )
        else:
            assert None in before.values()

    def check_survivor(self, undone: Undone, merge: Standing, found: Contact | None, now: Contact | None) -> None:
        """Field by field: what was, unless somebody wrote since; and what was written is told."""
        old, after, standing = flat(merge.before[merge.into]), flat(merge.after), flat(found)
        expected, told = {}, set()
        for name in {**old, **after, **standing}:
            pair = EMAIL if name in EMAIL else (name,)
            written = any(differ(standing.get(each, UNSET), after.get(each, UNSET)) for each in pair)
            expected[name] = (standing if written else old).get(name, UNSET)
            if written and name not in {"updated_at", "identified_at"}:
                told.add(pair[0])
        if told:
            expected["updated_at"] = standing["updated_at"]
        assert {name: value for name, value in expected.items() if value is not UNSET} == flat(now)
        assert {change.field for change in undone.kept_changes} == told
        assert now == undone.survivor

    @invariant()
    def every_chain_is_one_step_long(self) -> None:
        if not self.ids:
            return
        records = self.records()
        external_ids = [one.external_id for one in records.values() if one and one.external_id]
        assert len(set(external_ids)) == len(external_ids)
        for one in records.values():
            if one is not None and one.merged_into is not None:
                survivor = records[one.merged_into]
                assert survivor is not None
                assert survivor.merged_into is None


def flat(contact: Contact | None) -> dict[str, Any]:
    """The fields of a record, each custom attribute beside the others."""
    assert contact is not None
    values = asdict(contact)
    attributes = values.pop("custom_attributes")
    return {**values, **{f"custom_attributes.{name}": value for name, value in attributes.items()}}


class MergeHistoriesConformance:
    """`url` is an empty database; each example has a workspace of its own in it."""

    def test_a_merge_and_its_undo_are_nothing(self, url: str) -> None:
        """Whatever people and operators did before and between: both records come back, later writes stay."""
        run_on_store(url, Histories, examples=75, steps=40)
