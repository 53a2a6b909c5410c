"""Importing CSV files, for any back end: its test inherits this (facts: Intercom 4, S10, S11, C07, C08)."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.contacts.attribute_editing import AttributeEditor
from gateway.contacts.contact import Role, State
from gateway.contacts.csv.exporting import exported
from gateway.contacts.csv.layout import Unknown
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome
from gateway.contacts.csv.rows import CsvProblem
from gateway.contacts.database.stores import store_for
from gateway.errors import ContactConflict
from gateway.identity.principal import Proof
from tests.contacts.imports import everybody, import_rows
from tests.contacts.people import kinds, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, do, insert, merge

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.bulk import Identifier
    from gateway.contacts.contact import Contact
    from gateway.contacts.csv.outcome import RowResult
    from gateway.contacts.store import ContactStore, ContactTransaction

BY_ID, BY_USER_ID, BY_EMAIL = MatchRule.ID, MatchRule.EXTERNAL_ID, MatchRule.EMAIL_IF_UNSET

_workspaces = itertools.count()
_IN_THE_WAY = {"conflict_email", "conflict_user_id", "ambiguous_email", "contact_unknown", "id_mismatch"}

IDS = [f"{number:024x}" for number in range(1, 6)]
_CELLS = {
    "id": ["", *IDS[:3]],
    "user_id": ["", "u1", "u2", "u3", "u4"],
    "email": ["", "a@example.com", "b@example.com", "B@Example.com"],
    "name": ["", "Ada", "Bob"],
    "role": ["", "", "", "", "user", "lead"],
    "signed_up_at": ["", "", "", "1700000000"],
}
_RARE = {"id": "f" * 24, "user_id": IDS[0], "email": "no address", "signed_up_at": "soon"}
_CELL = {name: st.sampled_from(cells) for name, cells in _CELLS.items()}
_ROW = st.fixed_dictionaries(_CELL)
_WITHOUT_ID = st.fixed_dictionaries({**_CELL, "id": st.just("")})
_SPOILT = st.builds(lambda row, name: {**row, name: _RARE[name]}, _ROW, st.sampled_from(sorted(_RARE)))
ROWS = st.lists(st.one_of(_WITHOUT_ID, _WITHOUT_ID, _WITHOUT_ID, _ROW, _SPOILT), min_size=3, max_size=8)
PEOPLE = st.lists(
    st.builds(
        lambda user_id, email, role, state, proof: {
            "external_id": user_id,
            "email": email,
            "email_proof": proof if email else None,
            "role": role,
            "state": state,
        },
        st.sampled_from([None, "u1", "u2", "u3", "u4"]),
        st.sampled_from([None, "a@example.com", "b@example.com", "c@example.com"]),
        st.sampled_from([Role.USER, Role.USER, Role.LEAD]),
        st.sampled_from([State.LIVE, State.LIVE, State.LIVE, State.ARCHIVED, State.BLOCKED]),
        st.sampled_from(Proof),
    ),
    max_size=5,
    unique_by=lambda fields: fields["external_id"] or object(),
)


class ImportConformance:
    """`store` is an open, empty store."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "people.csv"

    async def test_s11_the_customer_database_is_imported_and_imported_again(
        self, store: ContactStore, file: Path
    ) -> None:
        """Each row is a record with the fields that it names; the second run changes nothing and leaves no history."""
        rows = [
            {"user_id": "u1", "email": "Ada@Example.com", "name": "Ada", "signed_up_at": "31/12/2024"},
            {"user_id": "u2", "role": "lead", "unsubscribed_from_emails": "yes", "phone": "+49 30 1"},
            {"email": "c@example.com", "signed_up_at": "2024-02-29T12:00:00+02:00", "owner_id": "7"},
            {"user_id": "u4", "signed_up_at": "1700000000", "language_override": "de"},
        ]
        first = await import_rows(store, file, rows, BY_USER_ID)
        assert first.outcomes == ["created"] * 4
        ada = await store.find_by_external_id(WORKSPACE, "u1")
        assert ada is not None
        assert (ada.email, ada.email_proof, ada.name, ada.signed_up_at, ada.role) == (
            "ada@example.com",
            Proof.IMPORTED,
            "Ada",
            1735603200,
            Role.USER,
        )
        assert ada.id == first.results[0].contact_id
        before = await everybody(store)
        again = await import_rows(store, file, rows, BY_USER_ID)
        assert again.outcomes == ["unchanged"] * 4
        assert [one.contact_id for one in again.results] == [one.contact_id for one in first.results]
        assert await everybody(store) == before
        assert await kinds(store, ada.id) == ["created"]

    async def test_an_update_writes_what_the_row_says_and_nothing_else(self, store: ContactStore, file: Path) -> None:
        """An empty cell leaves the field; the history names the command."""
        known = person(external_id="u1", email="a@example.com", name="Ada", phone="1")
        await insert(store, known)
        done = await import_rows(store, file, [{"user_id": "u1", "name": "Countess", "phone": ""}], BY_USER_ID)
        assert done.outcomes == ["updated"]
        assert await store.find(WORKSPACE, known.id) == replace(known, name="Countess", updated_at=NOW)
        (event,) = await store.events(WORKSPACE, known.id)
        assert (event.kind, event.actor, event.before, event.after) == (
            "updated",
            "command",
            {"name": "Ada"},
            {"name": "Countess"},
        )

    async def test_s10_c07_the_trap_is_reported_and_has_a_way_out(self, store: ContactStore, file: Path) -> None:
        """A known email without user_id and a row with both: never a second record; `id` and email-if-unset link it."""
        first, second = person(email="a@example.com"), person(email="b@example.com")
        await insert(store, first, second)
        row = {"user_id": "u1", "email": "a@example.com"}
        trapped = await import_rows(store, file, [row], BY_USER_ID)
        assert trapped.outcomes == ["conflict_email"]
        assert (trapped.results[0].other_id, trapped.results[0].field) == (first.id, "email")
        assert (await import_rows(store, file, [row], BY_EMAIL)).outcomes == ["linked"]
        assert (await import_rows(store, file, [row], BY_EMAIL)).outcomes == ["unchanged"]
        assert await kinds(store, first.id) == ["linked"]
        by_id = {"id": second.id, "user_id": "u2"}
        assert (await import_rows(store, file, [by_id], BY_ID)).outcomes == ["updated"]
        for user_id, known in (("u1", first), ("u2", second)):
            found = await store.find_by_external_id(WORKSPACE, user_id)
            assert found is not None
            assert found.id == known.id
        assert len(await everybody(store)) == 2

    @pytest.mark.parametrize("rule", [BY_USER_ID, BY_EMAIL])
    async def test_c07_an_email_that_somebody_has_is_never_guessed_about(
        self, store: ContactStore, file: Path, rule: MatchRule
    ) -> None:
        """Held with another user_id, held by two, or merely claimed: nothing is linked, and the holder is named."""
        holder = person(external_id="other", email="a@example.com")
        twins = [person(email="b@example.com", role=Role.LEAD, created_at=NOW + n) for n in range(2)]
        claimed = person(email="c@example.com", email_proof=Proof.CLAIMED)
        await insert(store, holder, *twins, claimed)
        rows = [{"user_id": f"u-{name}", "email": f"{name}@example.com"} for name in "abc"]
        done = await import_rows(store, file, rows, rule)
        ambiguous = "ambiguous_email" if rule is BY_EMAIL else "conflict_email"
        assert done.outcomes == ["conflict_email", ambiguous, "conflict_email"]
        assert [one.other_id for one in done.results] == [holder.id, twins[0].id, claimed.id]
        assert len(await everybody(store)) == 4

    async def test_email_alone_matches_where_there_is_no_user_id(self, store: ContactStore, file: Path) -> None:
        """One user is updated whatever its user_id; several are ambiguous; a claimed address is nobody's."""
        one = person(external_id="u1", email="a@example.com")
        lead = person(email="a@example.com", role=Role.LEAD)
        claimed = person(email="c@example.com", email_proof=Proof.CLAIMED)
        await insert(store, one, lead, claimed)
        rows = [{"email": "a@example.com", "name": "N"}, {"email": "c@example.com", "name": "N"}]
        done = await import_rows(store, file, rows, BY_USER_ID)
        assert done.outcomes == ["updated", "conflict_email"]
        assert done.results[0].contact_id == one.id

    async def test_a_row_is_rejected_with_its_line_column_and_code(self, store: ContactStore, file: Path) -> None:
        """C08, S8: every row comes out, and what is wrong with it has a place; nothing of it is written."""
        blocked = person(external_id="blocked", state=State.BLOCKED)
        source, into = person(external_id="old"), person(external_id="new")
        await insert(store, blocked, source, into)
        await merge(store, source, into)
        rows: list[tuple[dict[str, str], str, str | None]] = [
            ({"name": "nobody"}, "missing_identifier", "user_id"),
            ({"user_id": "null"}, "user_id_placeholder", "user_id"),
            ({"user_id": " u"}, "user_id_invalid", "user_id"),
            ({"user_id": into.id}, "user_id_is_contact_id", "user_id"),
            ({"user_id": "u1", "email": "a@b@c.example"}, "email_invalid", "email"),
            ({"user_id": "u2", "signed_up_at": "30/02/2024"}, "invalid_date", "signed_up_at"),
            ({"user_id": "u3", "signed_up_at": "-5"}, "invalid_date", "signed_up_at"),
            ({"user_id": "u4", "role": "admin"}, "invalid_value", "role"),
            ({"user_id": "u5", "name": "x" * 256}, "invalid_value", "name"),
            ({"user_id": "u6", "unsubscribed_from_emails": "maybe"}, "invalid_value", "unsubscribed_from_emails"),
            ({"user_id": "blocked", "name": "N"}, "contact_blocked", None),
            ({"user_id": "new", "id": source.id}, "id_mismatch", "id"),
            ({"user_id": "u7", "id": "f" * 24}, "contact_unknown", "id"),
            ({"user_id": "u8", "id": "me"}, "contact_unknown", "id"),
            ({"user_id": "fine"}, "created", None),
            ({"user_id": "fine"}, "duplicate_in_file", "user_id"),
        ]
        done = await import_rows(store, file, [row for row, _, _ in rows], BY_USER_ID)
        assert done.outcomes == [code for _, code, _ in rows]
        assert [(one.line, one.field) for one in done.results] == [
            (line, field) for line, (_, _, field) in enumerate(rows, start=2)
        ]
        assert {one.external_id for one in await everybody(store)} == {"new", "fine"}

    async def test_by_id_nothing_is_created(self, store: ContactStore, file: Path) -> None:
        """The rule id finds standing records; what is missing, unknown or merged is said."""
        source, into = person(external_id="old"), person(external_id="new")
        holder = person(external_id="taken", state=State.ARCHIVED)
        await insert(store, source, into, holder)
        await merge(store, source, into)
        rows = [{"user_id": "x"}, {"id": "f" * 24}, {"id": source.id}, {"id": into.id, "user_id": "taken"}]
        done = await import_rows(store, file, rows, BY_ID)
        assert done.outcomes == ["missing_identifier", "contact_unknown", "contact_merged", "conflict_user_id"]
        assert [one.other_id for one in done.results[2:]] == [into.id, holder.id]

    @pytest.mark.parametrize("batch", [1, 400])
    async def test_a_rehearsal_sees_what_it_moved(self, store: ContactStore, file: Path, batch: int) -> None:
        """An identifier that one row lets go of is free for the next, in the rehearsal as in the import."""
        one, other = person(external_id="u1", email="a@example.com"), person(email="c@example.com")
        await insert(store, one, other)
        by_user_id = [{"user_id": "u1", "email": "b@example.com"}, {"user_id": "u9", "email": "a@example.com"}]
        by_id = [{"id": one.id, "user_id": "u5"}, {"id": other.id, "user_id": "u1"}]
        for rows, rule, outcomes in (
            (by_user_id, BY_USER_ID, ["updated", "created"]),
            (by_id, BY_ID, ["updated", "updated"]),
        ):
            for applies in (False, True):
                done = await import_rows(store, file, rows, rule, applies=applies, batch=batch)
                assert done.outcomes == outcomes
        found = await store.find_by_external_id(WORKSPACE, "u1")
        assert found is not None
        assert found.id == other.id

    async def test_a_row_for_a_lead_links_no_user(self, store: ContactStore, file: Path) -> None:
        """A user never becomes a lead, not even on the way to its user_id: the second run would be refused, too."""
        user, lead = person(email="a@example.com"), person(email="b@example.com", role=Role.LEAD)
        await insert(store, user, lead)
        rows = [{"user_id": f"u-{name}", "email": f"{name}@example.com", "role": "lead"} for name in "ab"]
        assert (await import_rows(store, file, rows, BY_EMAIL)).outcomes == ["invalid_value", "linked"]
        assert (await import_rows(store, file, rows, BY_EMAIL)).outcomes == ["invalid_value", "unchanged"]
        row = {"user_id": "u-b", "email": "b@example.com"}
        assert (await import_rows(store, file, [row], BY_EMAIL)).outcomes == ["unchanged"]

    async def test_an_archived_user_comes_back(self, store: ContactStore, file: Path) -> None:
        """A row with its user_id restores a record (facts: Intercom 4), also one that changes nothing else."""
        archived = person(external_id="u1", state=State.ARCHIVED)
        await insert(store, archived)
        assert (await import_rows(store, file, [{"user_id": "u1"}], BY_USER_ID)).outcomes == ["updated"]
        assert await kinds(store, archived.id) == ["restored"]
        found = await store.find(WORKSPACE, archived.id)
        assert found is not None
        assert found.state is State.LIVE

    async def test_a_record_is_written_by_one_row_of_a_file(self, store: ContactStore, file: Path) -> None:
        """Reached by an id, by a user_id that was merged into it and by its email: the later rows are duplicates."""
        source, into = person(external_id="old"), person(external_id="new", email="a@example.com")
        await insert(store, source, into)
        await merge(store, source, into)
        rows = [{"user_id": "old", "name": "1"}, {"user_id": "new", "name": "2"}, {"email": "a@example.com"}]
        done = await import_rows(store, file, rows, BY_USER_ID)
        assert done.outcomes == ["updated", "duplicate_in_file", "duplicate_in_file"]
        assert "line 2" in str(done.results[1].message)

    async def test_rejected_rows_are_mended_and_imported_again(self, store: ContactStore, file: Path) -> None:
        """The error file holds the rows as they were, takes a correction, and is a file to import."""
        rows = [{"user_id": "null", "name": "=1+1"}, {"user_id": "u2", "name": "B"}]
        done = await import_rows(store, file, rows, BY_USER_ID)
        assert "'=1+1" in done.errors_text
        mended = done.errors_text.replace("null", "u1")
        again = await import_rows(store, file, mended, BY_USER_ID)
        assert again.outcomes == ["created"]
        assert "error_line,error_line" not in again.errors_text
        found = await store.find_by_external_id(WORKSPACE, "u1")
        assert found is not None
        assert found.name == "=1+1"

    async def test_r41_an_export_is_no_formula_and_comes_back_unchanged(self, store: ContactStore, file: Path) -> None:
        """Values that begin with what a spreadsheet obeys are guarded, and read as they were, by either rule."""
        await _declare(store, plan="string", score="float", born="date", active="boolean", count="integer")
        starts = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'", "''", "'=", ","]
        people = [
            person(
                external_id=f"u{number}",
                name=f"{start}cmd|' /C calc'!A0",
                phone=f'{start}"quoted"\r\n',
                custom_attributes={"plan": f"{start}x", "score": -1.5, "born": -86400, "active": False, "count": -3},
            )
            for number, start in enumerate(starts)
        ]
        claimed = person(external_id="c", email="c@example.com", email_proof=Proof.CLAIMED)
        await insert(store, *people, claimed, person(email="lead@example.com", role=Role.LEAD), person())
        before = await everybody(store)
        text = "".join([piece async for piece, _ in exported(store, WORKSPACE)])
        cells = [cell.removeprefix('"') for line in text.split("\r\n") for cell in line.split(",")]
        assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\uff1d", "\uff0b"}]
        for rule in (BY_ID, BY_USER_ID):
            done = await import_rows(store, file, text, rule)
            assert set(done.outcomes) <= {"unchanged", "missing_identifier"}
            assert await everybody(store) == before

    async def test_custom_attributes_have_their_declared_types(self, store: ContactStore, file: Path) -> None:
        """Unknown ones are an error, passed over, or declared as text; a value of another type is the row's error."""
        row = {"user_id": "u1", "custom_attributes.plan": "007", "surprise": "1"}
        with pytest.raises(CsvProblem, match=r"'custom_attributes.plan', 'surprise'"):
            await import_rows(store, file, [row], BY_USER_ID)
        del row["surprise"]
        rehearsed = await import_rows(store, file, [row], BY_USER_ID, applies=False, unknown=Unknown.CREATE)
        assert rehearsed.outcomes == ["created"]
        assert await store.data_attributes(WORKSPACE) == []
        assert (await import_rows(store, file, [row], BY_USER_ID, unknown=Unknown.IGNORE)).outcomes == ["created"]
        assert (await import_rows(store, file, [row], BY_USER_ID, unknown=Unknown.CREATE)).outcomes == ["updated"]
        await _declare(store, seats="integer")
        rows = [
            {"user_id": "u1", "custom_attributes.seats": "3", "custom_attributes.plan": "007"},
            {"user_id": "u2", "custom_attributes.seats": "3.5"},
        ]
        assert (await import_rows(store, file, rows, BY_USER_ID)).outcomes == ["updated", "invalid_value"]
        found = await store.find_by_external_id(WORKSPACE, "u1")
        assert found is not None
        assert found.custom_attributes == {"plan": "007", "seats": 3}

    async def test_a_bad_file_is_refused_before_its_first_row(self, store: ContactStore, file: Path) -> None:
        """What is broken on the last line of a long file: nothing is half done."""
        text = "user_id,name\n" + "".join(f"u{number},N\n" for number in range(5000)) + 'u,"open\n'
        with pytest.raises(CsvProblem, match="line 5002"):
            await import_rows(store, file, text, BY_USER_ID)
        assert await everybody(store) == []

    async def test_many_rows_of_every_kind(self, store: ContactStore, file: Path) -> None:
        """A long file in several batches: all rows are accounted for, and the second run changes nothing."""
        await insert(store, *(person(external_id=f"u{n}", email=f"u{n}@example.com") for n in range(0, 3000, 7)))
        rows = [
            {"user_id": f"u{n}", "email": f"u{n}@example.com", "name": "N" if n % 5 else ""} for n in range(3000)
        ] + [{"user_id": "undefined", "email": "", "name": ""}, {"user_id": "u5", "email": "", "name": ""}]
        done = await import_rows(store, file, rows, BY_USER_ID)
        assert {name: done.outcomes.count(name) for name in set(done.outcomes)} == {
            "created": 2571,
            "updated": 343,
            "unchanged": 86,
            "user_id_placeholder": 1,
            "duplicate_in_file": 1,
        }
        again = await import_rows(store, file, rows, BY_USER_ID)
        assert again.outcomes.count("unchanged") == 3000
        assert await store.check() == []

    async def test_logins_beside_an_import_make_no_second_record(self, store: ContactStore, file: Path) -> None:
        """The same people sign in for the first time while they are imported: one record each, whoever is first."""
        resolver = resolver_of(store)
        people = {f"u{number}": f"u{number}@example.com" for number in range(400)}
        rows = [{"user_id": user_id, "email": email, "name": "N"} for user_id, email in people.items()]

        async def log_in() -> list[str]:
            ids = []
            for user_id, email in reversed(people.items()):
                ids.append((await resolver.resolve(principal(user_id, email))).contact.id)
                await asyncio.sleep(0)
            return ids

        imported, ids = await asyncio.gather(import_rows(store, file, rows, BY_USER_ID), log_in())
        assert set(imported.outcomes) <= {"created", "updated"}
        assert [one.contact_id for one in reversed(imported.results)] == ids
        assert len(await everybody(store)) == len(people)
        assert await store.check() == []

    async def test_a_look_up_for_many_values(self, store: ContactStore) -> None:
        """Records by any identifier; emails are found on archived records, too; a merged record comes itself."""
        one, archived = person(external_id="u1"), person(email="a@example.com", state=State.ARCHIVED)
        source = person(external_id='q"\\\n\u00e9', email="b@example.com")
        await insert(store, one, archived, source)
        await merge(store, source, one)
        asked: list[tuple[Identifier, list[str], set[str]]] = [
            ("id", [one.id, source.id, "f" * 24], {one.id, source.id}),
            ("external_id", ["u1", str(source.external_id), "u2", "it's"], {one.id, source.id}),
            ("email", ["a@example.com", "b@example.com"], {archived.id}),
        ]
        for field, values, ids in asked:
            assert {record.id for record in await store.find_each(WORKSPACE, field, values)} == ids
        assert await store.find_each("other", "id", [one.id]) == []
        assert list(await store.find_each(WORKSPACE, "id", [])) == []

    async def test_many_new_records_are_all_or_none(self, store: ContactStore) -> None:
        """One whose external id or id is taken is a conflict that names the holder, and nothing is kept."""
        holder = person(external_id="u1")
        await insert(store, holder)
        for taken in (person(external_id="u1"), person(id=holder.id)):
            with pytest.raises(ContactConflict) as conflict:
                await do(store, partial(_insert_all, people=[person(), taken, person()]))
            assert conflict.value.contact_id == holder.id
            assert await everybody(store) == [holder]

    def test_a_rehearsal_is_the_import(self, url: str, tmp_path: Path) -> None:
        """For any records and any file: the rehearsal says what the import does, and writes nothing.

        Whatever the size of its batches, every row comes out, and a second run changes nothing: unless a record was in
        a row's way, which a later row may have moved out of it.
        """
        store = store_for(url)
        with asyncio.Runner() as runner:
            runner.run(store.migrate())
            runner.run(store.open())

            @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
            @given(PEOPLE, ROWS, st.sampled_from(MatchRule), st.sampled_from([1, 2, 400]))
            def check(people: list[dict[str, Any]], rows: list[dict[str, str]], rule: MatchRule, batch: int) -> None:
                workspace = f"w{next(_workspaces)}"
                records = [
                    person(workspace_id=workspace, id=IDS[number], **fields) for number, fields in enumerate(people)
                ]
                runner.run(_rehearse_and_import(store, tmp_path / "any.csv", workspace, records, rows, rule, batch))

            check()
            assert runner.run(store.check()) == []
            runner.run(store.close())


async def _insert_all(transaction: ContactTransaction, people: list[Contact]) -> None:
    await transaction.insert_all(people)


async def _rehearse_and_import(  # noqa: PLR0917 - an example and what it is tried on
    store: ContactStore,
    file: Path,
    workspace: str,
    records: list[Contact],
    rows: list[dict[str, str]],
    rule: MatchRule,
    batch: int,
) -> None:
    await insert(store, *records)
    before = await _everybody(store, workspace)
    rehearsed = await import_rows(store, file, rows, rule, workspace=workspace, applies=False, batch=batch)
    assert await _everybody(store, workspace) == before
    applied = await import_rows(store, file, rows, rule, workspace=workspace)
    made = {one.contact_id for one in applied.results if one.outcome is Outcome.CREATED}
    assert [_known(one, made) for one in applied.results] == [_known(one, made) for one in rehearsed.results]
    standing = await _everybody(store, workspace)
    again = await import_rows(store, file, rows, rule, workspace=workspace)
    if not _IN_THE_WAY & set(applied.outcomes):
        for first, second in zip(applied.results, again.results, strict=True):
            accepted = first.outcome is not Outcome.REJECTED
            assert second.outcome is (Outcome.UNCHANGED if accepted else Outcome.REJECTED)
        assert await _everybody(store, workspace) == standing


async def _everybody(store: ContactStore, workspace: str) -> list[Contact]:
    return [*await everybody(store, workspace), *await store.put_away(workspace, limit=1000)]


def _known(result: RowResult, made: set[str | None]) -> RowResult:
    """A result without the ids that a rehearsal cannot know."""
    if result.contact_id in made:
        result = replace(result, contact_id=None)
    return replace(result, other_id=None) if result.other_id in made else result


async def _declare(store: ContactStore, **types: str) -> None:
    async def work(transaction: ContactTransaction) -> None:
        editor = AttributeEditor(transaction, WORKSPACE, now=NOW)
        for name, data_type in types.items():
            await editor.create({"name": name, "model": "contact", "data_type": data_type})

    await store.write(work)
