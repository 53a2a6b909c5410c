"""What a store finds when it is searched, for any back end: its test inherits this."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.database.stores import store_for
from gateway.contacts.search.compiling import count_statement, page_statement
from gateway.contacts.search.query import FIELDS, OPERATORS, read_query, read_sort
from gateway.contacts.search.tree import Position, Search
from gateway.errors import SearchProblem, SearchRefused
from tests.contacts import search_oracle
from tests.contacts.records import NOW, WORKSPACE, contact, do, insert, merge, update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.contacts.store import ContactStore

ODD = ["%", "_", "\\", "'", '"', "a%", "A", "aB", "É", "é", "e\u0301", "İ", "ß", "ﬁ", "Ω", "🦊", "\U0010ffff", "\ud7ff"]
"""What could be a wildcard, an escape, another case or another normal form."""

DECLARED = {"seats": "integer", "born": "date", "seen": "datetime", "plan": "string", "paid": "boolean"}
NAMES = [*DECLARED, "free", "sp ace", "q'uo\"te", "p.o.i.n.t", "$.x", "na\\ïve", "%"]

texts = st.one_of(
    st.sampled_from(ODD),
    st.lists(st.sampled_from([*ODD, "a", "b"]), max_size=3).map("".join),
)
kept_texts = texts.filter(bool)
times = st.integers(-3, 3).map(lambda days: NOW + days * 43_200) | st.integers(0, 3)
numbers = st.one_of(st.integers(-2, 2), st.sampled_from([0.1, 1.5, -0.0, 2**53, 2**53 + 1, 10**19, 1e300, 1e-300]))
attribute_values = st.one_of(kept_texts, numbers, st.booleans(), times)
emails = st.sampled_from(["a@example.com", "b@example.com", "a%b@example.org", "a_b@example.org", "aéb@example.org"])


@st.composite
def records(draw: st.DrawFn) -> Contact:
    """A contact with anything in it."""
    maybe = st.none()
    return contact(
        id=f"{draw(st.integers(0, 2**96 - 1)):024x}",
        external_id=draw(maybe | kept_texts.map(lambda text: f"{text}-{draw(st.integers(0, 10**6))}")),
        role=draw(st.sampled_from(Role)),
        email=draw(maybe | emails),
        phone=draw(maybe | kept_texts),
        name=draw(maybe | kept_texts),
        owner_id=draw(maybe | st.sampled_from(["7", "07", "8"])),
        unsubscribed_from_emails=draw(st.booleans()),
        signed_up_at=draw(maybe | times),
        last_seen_at=draw(maybe | times),
        created_at=draw(times),
        updated_at=draw(times),
        custom_attributes=draw(st.dictionaries(st.sampled_from(NAMES), attribute_values, max_size=4)),
        state=draw(st.sampled_from([State.LIVE, State.LIVE, State.LIVE, State.ARCHIVED, State.BLOCKED])),
    )


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """One filter on any field, by any operator that its type has, now and then with the value as text."""
    if draw(st.booleans()):
        name = draw(st.sampled_from([*NAMES, "nobody's"]))
        field, kind = f"custom_attributes.{name}", _KINDS[DECLARED.get(name) or draw(st.sampled_from(list(_INFERRED)))]
        declared = name in DECLARED
    else:
        field = draw(st.sampled_from(list(FIELDS)))
        kind, declared = FIELDS[field].value, True
    operator = draw(st.sampled_from([operator.value for operator in _OPERATORS[kind]]))
    value = _values(field, kind, written=declared)
    if operator in {"IN", "NIN"}:
        values = draw(st.lists(value, min_size=1, max_size=4))
        return {"field": field, "operator": operator, "value": values}
    if operator in {"=", "!="}:
        value = st.none() | value
    return {"field": field, "operator": operator, "value": draw(value)}


_OPERATORS = {kind.value: operators for kind, operators in OPERATORS.items()}
_KINDS = {"integer": "float", "float": "float", "date": "date", "datetime": "datetime", "string": "string"}
_KINDS["boolean"] = "boolean"
_INFERRED = ("string", "float", "boolean")


def _values(field: str, kind: str, *, written: bool) -> st.SearchStrategy[Any]:
    """Values of a type; as text, too, where the type does not hang on it."""
    if kind in {"datetime", "date"}:
        return st.one_of(times, times.map(str)) if written else times
    if kind == "float":
        return st.one_of(numbers, st.integers(-2, 2).map(str), st.just("1.5")) if written else numbers
    if kind == "boolean":
        return st.sampled_from([True, False, "true", "false"]) if written else st.booleans()
    if field == "email":
        return st.one_of(emails, emails.map(str.upper).filter(str.isascii), texts.filter(str.isascii))
    return st.one_of(texts, st.sampled_from(["7", "user", "example.org", "EXAMPLE.com"]))


groups = st.recursive(
    filters(),
    lambda members: st.fixed_dictionaries(
        {"operator": st.sampled_from(["AND", "OR"]), "value": st.lists(members, min_size=1, max_size=3)}
    ),
    max_leaves=4,
).filter(lambda query: _depth(query) <= 2)


def _depth(query: dict[str, Any]) -> int:
    return 0 if "field" in query else 1 + max(_depth(member) for member in query["value"])


sorts = st.none() | st.fixed_dictionaries(
    {
        "field": st.sampled_from([name for name in FIELDS if name != "tag_id"]),
        "order": st.sampled_from(["ascending", "descending"]),
    }
)

_workspaces = itertools.count()


async def all_pages(store: ContactStore, search: Search, size: int, workspace: str = WORKSPACE) -> list[Contact]:
    """Everything that a search finds, page by page."""
    contacts: list[Contact] = []
    after: Position | None = None
    while True:
        hits = await store.search(workspace, search, after=after, limit=size, seconds=60)
        contacts += [hit.contact for hit in hits]
        if len(hits) < size:
            return contacts
        after = hits[-1].position


def searched(query: dict[str, Any] | None, sort: dict[str, Any] | None = None) -> Search:
    """A search as a client writes it."""
    return Search(where=None if query is None else read_query(query, DECLARED), sort=read_sort(sort))


class SearchConformance:
    """Searching: what is found, in which order, how quickly it is seen, and by which index."""

    def test_random_queries_find_what_the_oracle_finds(self, url: str) -> None:
        """Any query over any records: the same contacts in the same order as by brute force, and their number (S14)."""
        with asyncio.Runner() as runner:
            store = store_for(url)
            runner.run(store.migrate())
            runner.run(store.open())

            @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
            @given(
                st.lists(records(), min_size=1, max_size=12, unique_by=(lambda one: one.id, _external_id)),
                st.lists(st.tuples(st.none() | groups, sorts), min_size=1, max_size=8),
                st.integers(1, 5),
                st.integers(0, 5),
            )
            def agrees(
                people: list[Contact],
                queries: list[tuple[dict[str, Any] | None, dict[str, Any] | None]],
                size: int,
                few: int,
            ) -> None:
                workspace = f"w{next(_workspaces)}"
                known = [replace(one, workspace_id=workspace) for one in people]
                runner.run(insert(store, *known))
                for query, sort in queries:
                    search = searched(query, sort)
                    expected = search_oracle.found(
                        known, query, search.sort.field, descending=search.sort.descending, declared=_ORACLE_TYPES
                    )
                    if search.sort.field in {"marked_email_as_spam", "has_hard_bounced"}:
                        expected.sort(key=lambda one: one.id, reverse=search.sort.descending)
                    store.few_records = few  # type: ignore[attr-defined]  # both have it
                    assert runner.run(all_pages(store, search, size, workspace)) == expected
                    assert runner.run(store.count(workspace, search, seconds=60)) == len(expected)

            try:
                agrees()
            finally:
                runner.run(store.close())

    async def test_a_write_is_found_at_once(self, store: ContactStore, other: ContactStore) -> None:
        """What was acknowledged is found by the next search, in this process and in others (S14)."""
        known = contact(external_id="u-1", email="a@example.com")
        for field, value in (("external_id", "u-1"), ("email", "A@Example.com"), ("name", "Ada")):
            search = searched({"field": field, "operator": "=", "value": value})
            assert await all_pages(store, search, 10) == await all_pages(other, search, 10) == []
            known = replace(known, name="Ada")
            await (update(store, known) if field == "name" else insert(store, known))
            assert await all_pages(store, search, 10) == await all_pages(other, search, 10) == [known]
            await delete(store, known)
            assert await all_pages(store, search, 10) == []
            if field == "email":
                await insert(store, replace(known, name=None))

    async def test_only_live_contacts_of_the_workspace_are_found(self, store: ContactStore) -> None:
        """Merged, archived and blocked records appear nowhere, another workspace's neither (S12, advisory C04)."""
        live = contact(name="Ada")
        away = [contact(name="Ada", state=state) for state in (State.ARCHIVED, State.BLOCKED)]
        merged = contact(name="Ada", role=Role.LEAD)
        await insert(store, live, merged, *away, contact(name="Ada", workspace_id="other"))
        await merge(store, merged, live)
        for search in (searched(None), searched({"field": "name", "operator": "=", "value": "Ada"})):
            assert await all_pages(store, search, 10) == [live]
            assert await store.count(WORKSPACE, search, seconds=60) == 1

    @pytest.mark.parametrize("sort", [None, {"field": "updated_at"}, {"field": "name", "order": "ascending"}])
    async def test_paging_meets_each_standing_record_once(
        self, store: ContactStore, other: ContactStore, sort: dict[str, Any] | None
    ) -> None:
        """While others are written, deleted and changed, a record that stands is neither skipped nor repeated (R37)."""
        chance = random.Random(7)
        standing = [_anybody(chance, "standing") for _ in range(120)]
        restless = [_anybody(chance, "restless") for _ in range(60)]
        await insert(store, *standing, *restless)
        stop = asyncio.Event()

        async def disturb() -> int:
            steps = 0
            while not stop.is_set() or steps < 50:
                victim = chance.randrange(len(restless))
                changed = replace(
                    restless[victim], name=f"n{chance.randrange(9)}", updated_at=NOW + chance.randrange(99)
                )
                if steps % 3:
                    await update(other, changed)
                    restless[victim] = changed
                else:
                    await delete(other, restless[victim])
                    restless[victim] = _anybody(chance, "restless")
                    await insert(other, restless[victim])
                steps += 1
                await asyncio.sleep(0)
            return steps

        disturbing = asyncio.create_task(disturb())
        try:
            for _ in range(5):
                met = await all_pages(store, searched(None, sort), 7)
                ids = [one.id for one in met if one.owner_id == "standing"]
                assert len(ids) == len(set(ids))
                assert set(ids) == {one.id for one in standing}
        finally:
            stop.set()
        assert await disturbing >= 50

    async def test_what_takes_too_long_is_given_up(self, store: ContactStore) -> None:
        """A search has a time; when that is over it is refused, and the next one is answered (R32)."""
        await insert(store, *(contact(name="a" * 200, custom_attributes={"x": "b" * 200}) for _ in range(2_000)))
        slow = {"field": "custom_attributes.x", "operator": "!~", "value": "c"}
        group = {"operator": "AND", "value": [{"operator": "AND", "value": [slow] * 15}] * 15}
        with pytest.raises(SearchRefused) as refused:
            await store.count(WORKSPACE, searched(group), seconds=0.01)
        assert refused.value.problem is SearchProblem.TOO_SLOW
        assert (
            await store.count(WORKSPACE, searched({"field": "name", "operator": "^", "value": "a"}), seconds=60)
            == 2_000
        )

    async def test_the_largest_query_is_answered(self, store: ContactStore) -> None:
        """225 filters with 100 values each: as large as a query gets, no engine minds."""
        await insert(store, known := contact(phone="+5", custom_attributes={"free": "+5"}))
        for field in ("phone", "custom_attributes.free"):
            one = {"field": field, "operator": "IN", "value": [f"+{number}" for number in range(100)]}
            group = {"operator": "AND", "value": [{"operator": "OR", "value": [one] * 15}] * 15}
            assert await all_pages(store, searched(group), 10) == [known]

    async def test_r31_sql_in_every_text_is_only_text(self, store: ContactStore) -> None:
        """What looks like SQL, a JSON path or a pattern is compared, and does nothing else."""
        texts = [
            "' OR 1=1 --",
            "'; DROP TABLE contacts; --",
            '$."x"',
            "%",
            "_%",
            "$1",
            "a') OR ('a'='a",
            "x::text",
            "{name}",
        ]
        for text in texts:
            for field in ("name", "email", f"custom_attributes.{text}"):
                for operator in ("=", "~", "^", "$"):
                    query = {"field": field, "operator": operator, "value": text}
                    assert await all_pages(store, searched(query), 10) == []
        known = [contact(name=text, custom_attributes={text: text}) for text in texts]
        await insert(store, *known)
        for text, one in zip(texts, known, strict=True):
            for field in ("name", f"custom_attributes.{text}"):
                query = {"field": field, "operator": "=", "value": text}
                assert await all_pages(store, searched(query), 10) == [one]

    async def test_the_cursor_key_is_one_for_all(self, store: ContactStore, other: ContactStore) -> None:
        """Every process and every start has the same key, and no two stores do."""
        key = await store.cursor_key()
        assert len(key) >= 30
        assert key == await other.cursor_key()

    @pytest.mark.parametrize(
        ("query", "index"),
        [
            ({"field": "email", "operator": "=", "value": "A1@example.com"}, "contacts_email"),
            ({"field": "email", "operator": "IN", "value": ["a1@example.com", "a2@example.com"]}, "contacts_email"),
            ({"field": "email", "operator": "^", "value": "A1@"}, "contacts_email"),
            ({"field": "external_id", "operator": "=", "value": "U-1"}, "contacts_external_id"),
            ({"field": "external_id", "operator": "IN", "value": ["U-1", "U-2"]}, "contacts_external_id"),
            ({"field": "external_id", "operator": "^", "value": "u-12"}, "contacts_external_id_lower"),
            ({"field": "phone", "operator": "=", "value": "+1"}, "contacts_phone"),
            ({"field": "phone", "operator": "IN", "value": ["+1", "+2"]}, "contacts_phone"),
            ({"field": "phone", "operator": "^", "value": "+12"}, "contacts_phone"),
            ({"field": "id", "operator": "=", "value": "0" * 24}, "contacts_(pkey|1)"),
            *(
                ({"field": field, "operator": operator, "value": value}, index)
                for field, index in (("created_at", "contacts_created"), ("updated_at", "contacts_updated"))
                for operator, value in (
                    ("=", NOW + 5),
                    ("<", NOW + 5),
                    (">", NOW + 4_990),
                    ("<=", NOW),
                    (">=", NOW + 4_999),
                )
            ),
            (
                {
                    "operator": "AND",
                    "value": [
                        {"field": "name", "operator": "~", "value": "x"},
                        {"field": "email", "operator": "=", "value": "a1@example.com"},
                    ],
                },
                "contacts_email",
            ),
            (
                {
                    "operator": "OR",
                    "value": [
                        {"field": "phone", "operator": "=", "value": "+7"},
                        {"field": "email", "operator": "=", "value": "a1@example.com"},
                    ],
                },
                "contacts_phone",
            ),
            (None, "contacts_created"),
        ],
        ids=lambda value: f"{value.get('field', '')} {value['operator']}" if isinstance(value, dict) else None,
    )
    async def test_an_index_answers(
        self,
        store: ContactStore,
        explain: Callable[..., Awaitable[list[str]]],
        query: dict[str, Any] | None,
        index: str,
    ) -> None:
        """Identifiers and times are never looked for by reading all records; the usual order is an index's own."""
        await insert(store, *crowd())
        search = searched(query)
        dialect = type(store).dialect  # type: ignore[attr-defined]  # both have it
        statements = [
            page_statement(dialect, WORKSPACE, search, None, 51),
            page_statement(dialect, WORKSPACE, search, Position(value=NOW + 4_995, id="f" * 24), 51),
            *([] if query is None else [count_statement(dialect, WORKSPACE, search)]),
        ]
        for statement in statements:
            plan = await explain(statement.sql, statement.arguments)
            assert any(re.search(index, line) for line in plan), plan
            assert not any("Seq Scan" in line or line.startswith("SCAN") for line in plan), plan
            # SQLite's words for all records of a workspace.
            assert query is None or not any(line.endswith("(workspace_id=?)") for line in plan), plan
            assert query is not None or not any("TEMP B-TREE" in line or "Sort" in line for line in plan), plan


async def delete(store: ContactStore, record: Contact) -> None:
    """Remove a record."""
    await do(store, lambda transaction: transaction.delete(record.workspace_id, record.id))


def crowd() -> Sequence[Contact]:
    """People enough for an engine's planner to care."""
    return [
        contact(
            external_id=f"U-{number}",
            email=f"a{number}@example.com",
            phone=f"+{number}",
            created_at=NOW + number,
            updated_at=NOW + number,
        )
        for number in range(5_000)
    ]


def _anybody(chance: random.Random, owner: str) -> Contact:
    return contact(
        owner_id=owner,
        name=chance.choice([None, *(f"n{number}" for number in range(9))]),
        created_at=NOW + chance.randrange(20),
        updated_at=NOW + chance.randrange(20),
    )


def _external_id(record: Contact) -> str:
    return record.external_id or record.id


_ORACLE_TYPES = {"seats": "number", "born": "date", "seen": "number", "plan": "text", "paid": "boolean"}
