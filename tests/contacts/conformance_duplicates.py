"""The duplicates report over each store (S6, S7, S18; design section 5)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.contacts.contact import Role, State
from gateway.contacts.merging.duplicates import (
    LISTED,
    Doubt,
    DuplicateKind,
    DuplicatesReport,
    Position,
    folded_id,
)
from gateway.contacts.store import Event
from tests.contacts.people import Clock, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, insert, merge, update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.contacts.contact import Contact
    from gateway.contacts.merging.duplicates import DuplicateGroup
    from gateway.contacts.store import ContactStore, ContactTransaction


async def groups(store: ContactStore, *kinds: DuplicateKind) -> list[DuplicateGroup]:
    """All groups of the report."""
    found, after = await DuplicatesReport(store, WORKSPACE).page(None, limit=1_000, kinds=kinds or tuple(DuplicateKind))
    assert after is None
    return found


def ids(group: DuplicateGroup) -> set[str]:
    return {contact.id for contact in group.contacts}


class DuplicatesConformance:
    """To be inherited; `store` is the back end's fixture."""

    async def test_by_email(self, store: ContactStore) -> None:
        """Live records with one email; nobody of another workspace, or put away, or merged."""
        one, two, lead = (
            person(email="a@example.com", external_id="u-1"),
            person(email="a@example.com", external_id="u-2", created_at=NOW + 1),
            person(email="a@example.com", role=Role.LEAD, created_at=NOW + 2),
        )
        others = [
            person(email="a@example.com", workspace_id="other"),
            person(email="a@example.com", state=State.ARCHIVED),
            person(email="a@example.com", state=State.BLOCKED),
            person(email="b@example.com"),
            person(),
        ]
        await insert(store, one, two, lead, *others)
        (group,) = await groups(store)
        assert (group.id, group.total) == ("email:a@example.com", 3)
        assert group.contacts == (one, two, lead)
        await merge(store, two, one)
        await update(store, replace(lead, state=State.ARCHIVED))
        assert await groups(store) == []

    async def test_by_phone(self, store: ContactStore) -> None:
        """Without what people put between digits; what is too short to be a number is nobody's."""
        same = [person(phone=phone) for phone in ("+1 (555) 010-0999", "+15550100999", "+1.555.010/0999")]
        await insert(store, *same, *(person(phone=phone) for phone in ("15550100999", "0", "0", "-", "-")))
        (group,) = await groups(store)
        assert (group.id, ids(group)) == ("phone:+15550100999", {contact.id for contact in same})

    async def test_by_user_id_but_for_case_and_white_space(self, store: ContactStore) -> None:
        """Letters of any script, white space within and around, as imported data have them."""
        spelled = ["Jos\u00c9 1", "jos\u00e91", " jos\u00e9\u00a01", "JOS\u00c91\t"]
        same = [person(external_id=one) for one in spelled]
        await insert(store, *same, person(external_id="jose1"), person(external_id="u-1"), person(external_id="u-2"))
        (group,) = await groups(store)
        assert group.id == "user_id:jos\u00e91"
        assert ids(group) == {contact.id for contact in same}

    async def test_by_an_email_used_as_user_id(self, store: ContactStore) -> None:
        """Beside a record with that email; two that hold the email itself are told by their email."""
        key, holder = person(external_id="Ada@Example.com"), person(email="ada@example.com", external_id="7")
        both = [person(external_id="b@example.com", email="b@example.com"), person(email="b@example.com")]
        await insert(store, key, holder, *both, person(external_id="nobody@example.com"))
        by_email, by_key = await groups(store)
        assert (by_email.id, ids(by_email)) == ("email:b@example.com", {one.id for one in both})
        assert (by_key.id, ids(by_key)) == ("email_as_user_id:ada@example.com", {key.id, holder.id})

    async def test_s6_what_a_login_flagged_is_in_the_report(self, store: ContactStore) -> None:
        """A new user_id with somebody's proven email: the pair, also when they no longer share it."""
        clock = Clock()
        resolver = resolver_of(store, clock)
        first = (await resolver.resolve(principal("u-1", "a@example.com"))).contact
        clock.now += 10
        second = (await resolver.resolve(principal("u-2", "a@example.com"))).contact
        (group,) = await groups(store)
        assert (group.kind, ids(group), group.flagged_at) == (DuplicateKind.EMAIL, {first.id, second.id}, NOW + 10)
        await update(store, replace(second, email="other@example.com"))
        (group,) = await groups(store)
        assert (group.id, ids(group)) == (f"email_conflict:{second.id}", {first.id, second.id})
        await merge(store, second, first)
        assert await groups(store) == []

    async def test_s9_a_shared_user_id_is_in_the_report(self, store: ContactStore) -> None:
        """With nothing proposed: no merge mends it."""
        resolver = resolver_of(store)
        for email in ("a@example.com", "b@example.com", "c@example.com"):
            shared = (await resolver.resolve(principal("u-1", email))).contact
        (group,) = await groups(store)
        assert (group.id, group.doubt, group.proposal) == (f"shared_user_id:{shared.id}", Doubt.SEVERAL_PEOPLE, None)

    async def test_what_very_many_share_is_no_persons(self, store: ContactStore) -> None:
        """At most `LISTED` are told, the oldest, and nothing is proposed."""
        crowd = [
            person(id=f"{NOW + number:08x}{'0' * 16}", email="info@example.com", created_at=NOW + number)
            for number in range(LISTED + 5)
        ]
        await insert(store, *reversed(crowd))
        (group,) = await groups(store)
        assert (group.total, group.doubt, group.proposal) == (LISTED + 5, Doubt.TOO_MANY, None)
        assert list(group.contacts) == crowd[:LISTED]

    async def test_pages_have_each_group_once_in_a_stable_order(self, store: ContactStore) -> None:
        """Whatever the size of a page, and while other groups appear and vanish behind it."""
        people = [
            person(email=f"{name}@example.com", phone=f"+4930{number:06}", external_id=f"{spelled}{number}")
            for number, name in enumerate("cab\u00e9z")
            for spelled in ("K", "k")
        ]
        await insert(store, *people)
        whole = await groups(store)
        assert [group.kind for group in whole] == sorted((group.kind for group in whole), key=list(DuplicateKind).index)
        assert len(whole) == 15
        for size in (1, 2, 4, 7, 15, 16):
            paged: list[DuplicateGroup] = []
            after: Position | None = None
            while True:
                page, after = await DuplicatesReport(store, WORKSPACE).page(after, limit=size)
                paged += page
                if after is None:
                    break
                assert len(page) == size
            assert paged == whole

    async def test_a_group_is_found_by_its_name(self, store: ContactStore) -> None:
        """As the report has it; anything else is None."""
        pair = [person(email="a:b@example.com", external_id=one, phone="+49 30 1") for one in ("K 1", "k1")]
        await insert(store, *pair)
        report = DuplicatesReport(store, WORKSPACE)
        for group in await groups(store):
            assert await report.group(group.id) == group
        for name in ("", "email", "email:", "email:A:B@example.com", "nothing:x", "email_conflict:x", "user_id:K1"):
            assert await report.group(name) is None

    async def test_deleted_people_leave_the_report(self, store: ContactStore) -> None:
        """What a login flagged is told no more once one of the two is gone."""
        resolver = resolver_of(store)
        first = (await resolver.resolve(principal("u-1", "a@example.com"))).contact
        second = (await resolver.resolve(principal("u-2", "a@example.com"))).contact
        await update(store, replace(second, email="b@example.com"))

        async def work(transaction: ContactTransaction) -> None:
            await transaction.delete(WORKSPACE, first.id)

        await store.write(work)
        assert await groups(store) == []

    async def test_a_line_that_names_nobody_does_no_harm(self, store: ContactStore) -> None:
        """R33: whatever stands in the history, the report can be read."""
        known = person(email="a@example.com")
        await insert(store, known)

        async def work(transaction: ContactTransaction) -> None:
            values: list[dict[str, Any]] = [{}, {"held_by": []}, {"held_by": ["0" * 24, known.id]}]
            for after in values:
                kind = "email_conflict"
                await transaction.record(
                    Event(workspace_id=WORKSPACE, contact_id=known.id, kind=kind, actor="command", at=NOW, after=after)
                )

        await store.write(work)
        assert await groups(store) == []

    @pytest.mark.parametrize(
        ("kind", "index"),
        [
            (DuplicateKind.EMAIL, "contacts_email"),
            (DuplicateKind.PHONE, "contacts_phone_key"),
            (DuplicateKind.EMAIL_AS_USER_ID, "contacts_email"),
            (DuplicateKind.EMAIL_CONFLICT, "contact_events_alarms"),
        ],
    )
    async def test_a_page_reads_an_index(
        self, store: Any, explain: Callable[..., Awaitable[list[str]]], kind: DuplicateKind, index: str
    ) -> None:
        """In the order of its keys; only folded user_ids, and user_ids that are emails, are read from the table."""
        await insert(
            store,
            *(person(external_id=f"u-{n}", email=f"p{n}@example.com", phone=f"+49301{n:05}") for n in range(5_000)),
        )
        plan = await explain(f"{store._statement(kind, '> $2')} LIMIT $3", (WORKSPACE, "", 50))
        assert any(index in line for line in plan), plan

    @given(
        st.lists(
            st.tuples(
                st.none() | st.sampled_from(["A 1", "a1", "A1", "a@example.com", "\u00c9x", "\u00e9 X", "b"]),
                st.none() | st.sampled_from(["a@example.com", "b@example.com"]),
                st.none() | st.sampled_from(["+49 30 55", "+493055", "1"]),
                st.sampled_from([State.LIVE, State.LIVE, State.ARCHIVED]),
            ),
            max_size=8,
        )
    )
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_the_report_agrees_with_an_oracle(self, store: ContactStore, rows: list[Any]) -> None:
        """On random records the groups are those that comparing each with each finds."""
        workspace = f"w-{next(_numbers)}"
        seen: set[str] = set()
        people = []
        for external_id, email, phone, state in rows:
            key = None if external_id in seen else external_id
            seen |= {key} if key else set()
            people.append(person(workspace_id=workspace, external_id=key, email=email, phone=phone, state=state))
        await insert(store, *people)
        found, _ = await DuplicatesReport(store, workspace).page(None, limit=1_000)
        assert {(group.kind, frozenset(ids(group))) for group in found} == expected(
            [one for one in people if one.state is State.LIVE]
        )


_numbers = itertools.count()


def expected(people: list[Contact]) -> set[tuple[DuplicateKind, frozenset[str]]]:
    """The groups, by comparing."""
    keys: dict[DuplicateKind, Any] = {
        DuplicateKind.EMAIL: lambda one: one.email,
        DuplicateKind.PHONE: lambda one: one.phone and one.phone.replace(" ", "") if one.phone != "1" else None,
        DuplicateKind.USER_ID: lambda one: one.external_id and folded_id(one.external_id),
    }
    wanted = set()
    for kind, key in keys.items():
        for value in {key(one) for one in people} - {None}:
            those = frozenset(one.id for one in people if key(one) == value)
            if len(those) > 1:
                wanted.add((kind, those))
    for email in {one.email for one in people} - {None}:
        sharing = {
            contact.id
            for one in people
            for other in people
            if one is not other and one.external_id == email and other.email == email and one.email != email
            for contact in (one, other)
        }
        if sharing:
            wanted.add((DuplicateKind.EMAIL_AS_USER_ID, frozenset(sharing)))
    return wanted
