"""Moving ids from a custom attribute to external_id, for any back end: its test inherits this (S17, S19)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gateway.contacts.attribute_editing import AttributeEditor
from gateway.contacts.csv.backfill import ERRORS_HEADER, Backfill, errors_text
from gateway.contacts.csv.match_rule import MatchRule
from gateway.contacts.csv.outcome import Outcome, RowResult
from gateway.identity.principal import IdRules
from tests.contacts.imports import everybody, import_rows
from tests.contacts.people import kinds, person
from tests.contacts.records import NOW, WORKSPACE, insert

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.store import ContactStore, ContactTransaction


async def backfill(store: ContactStore, *, applies: bool = True) -> tuple[list[tuple[str, RowResult]], str]:
    """The contact id and outcome of each record, and the text for the errors."""
    work = Backfill(
        store,
        WORKSPACE,
        IdRules(),
        "customer_id",
        applies=applies,
        actor="command",
        clock=lambda: NOW,
        random_bytes=os.urandom,
    )
    await work.look()
    results: list[tuple[str, RowResult]] = []
    errors = ""
    async for batch in work.batches():
        results += [(cells[0], one) for cells, one in batch]
        errors += errors_text(batch)
    assert work.total == len(results) == work.counts.total()
    return results, errors


class BackfillConformance:
    """`store` is an open, empty store."""

    async def test_s19_a_thousand_contacts_with_three_clashes(self, store: ContactStore) -> None:
        """997 get their user_id, 3 are reported with the holder, no contact id changes; again changes nothing."""
        holders = [person(external_id=f"c{n}") for n in (10, 20, 30)]
        people = [person(custom_attributes={"customer_id": f"c{n}"}) for n in range(1000)]
        await insert(store, *holders, *people)
        before = await everybody(store)
        rehearsed, _ = await backfill(store, applies=False)
        assert await everybody(store) == before
        applied, _ = await backfill(store)
        assert applied == rehearsed
        rejected = {contact_id: one for contact_id, one in applied if one.outcome is Outcome.REJECTED}
        assert rejected.keys() == {people[n].id for n in (10, 20, 30)}
        assert {str(one.code) for one in rejected.values()} == {"conflict_user_id"}
        assert {one.other_id for one in rejected.values()} == {holder.id for holder in holders}
        assert [one.outcome for _, one in applied].count(Outcome.UPDATED) == 997
        after = await everybody(store)
        assert [one.id for one in after] == [one.id for one in before]
        for number in (0, 999):
            found = await store.find_by_external_id(WORKSPACE, f"c{number}")
            assert found is not None
            assert found.id == people[number].id
        again, _ = await backfill(store)
        assert [one.outcome for _, one in again].count(Outcome.UNCHANGED) == 997
        assert await everybody(store) == after
        assert await kinds(store, people[0].id) == ["updated"]

    async def test_a_value_of_two_is_nobodys(self, store: ContactStore) -> None:
        """Two records with one value, a placeholder, another user_id: reported, with the record, and left alone."""
        twins = [person(custom_attributes={"customer_id": "7"}), person(custom_attributes={"customer_id": 7})]
        placeholder = person(custom_attributes={"customer_id": "undefined"})
        other = person(external_id="u1", custom_attributes={"customer_id": "c1"})
        same = person(external_id="c2", custom_attributes={"customer_id": "c2"})
        number = person(custom_attributes={"customer_id": 42.0})
        people = [*twins, placeholder, other, same, number]
        await insert(store, *people, person(), person(external_id="c3"))
        results, errors = await backfill(store)
        assert {contact_id: str(one.code or one.outcome) for contact_id, one in results} == {
            twins[0].id: "duplicate_value",
            twins[1].id: "duplicate_value",
            placeholder.id: "user_id_placeholder",
            other.id: "user_id_set",
            same.id: "unchanged",
            number.id: "updated",
        }
        assert len(errors.splitlines()) == 4
        found = await store.find_by_external_id(WORKSPACE, "42")
        assert found is not None
        assert found.id == number.id

    async def test_s17_an_archived_attribute_fills_nothing_until_it_is_asked(
        self, store: ContactStore, tmp_path: Path
    ) -> None:
        """Archiving copies no value; the backfill reads them all the same, and so does a mended file of rejections."""

        async def declare(transaction: ContactTransaction) -> int:
            values = {"name": "customer_id", "model": "contact", "data_type": "string"}
            return (await AttributeEditor(transaction, WORKSPACE, now=NOW).create(values)).id

        attribute_id = await store.write(declare)
        known, wrong = (person(custom_attributes={"customer_id": value}) for value in ("c1", "null"))
        await insert(store, known, wrong)

        async def archive(transaction: ContactTransaction) -> None:
            await AttributeEditor(transaction, WORKSPACE, now=NOW).update(attribute_id, {"archived": True})

        await store.write(archive)
        assert [one.external_id for one in await everybody(store)] == [None, None]
        _, errors = await backfill(store)
        found = await store.find_by_external_id(WORKSPACE, "c1")
        assert found is not None
        assert (found.id, found.custom_attributes) == (known.id, known.custom_attributes)
        file = tmp_path / "errors.csv"
        mended = ERRORS_HEADER + errors.replace("null", "c2")
        done = await import_rows(store, file, mended, MatchRule.ID)
        assert done.outcomes == ["updated"]
        assert done.results[0].contact_id == wrong.id
