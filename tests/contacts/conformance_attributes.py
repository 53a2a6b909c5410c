"""Data attributes and what they decide, for any store: each back end's test inherits this."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.contacts.attribute_editing import AttributeEditor
from gateway.contacts.attributes import Catalogue, DataAttribute, DataType, Model
from gateway.contacts.contact import Contact, State
from gateway.contacts.editing import ATTRIBUTES_LIMIT, Editor
from gateway.contacts.resolver import Identity, MatchedBy
from gateway.contacts.unsigned_values import with_user_data
from gateway.errors import ChangeProblem, ChangeRefused
from tests.contacts.people import Clock, Counted, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, contact, do, insert, update

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.principal import Principal

LIST = [{"value": "small"}, {"value": "large"}]


async def declare(store: ContactStore, name: str, data_type: str = "string", **more: Any) -> DataAttribute:
    """Declare a custom attribute of contacts."""
    values = {"name": name, "model": "contact", "data_type": data_type, **more}
    declared: DataAttribute = await do(store, lambda t: AttributeEditor(t, WORKSPACE, now=NOW).create(values))
    return declared


async def change(store: ContactStore, attribute: DataAttribute, **values: Any) -> DataAttribute:
    """Change a declared attribute a minute later."""
    editing = lambda t: AttributeEditor(t, attribute.workspace_id, now=NOW + 60).update(attribute.id, values)  # noqa: E731
    changed: DataAttribute = await do(store, editing)
    return changed


async def _insert(attribute: DataAttribute, transaction: ContactTransaction) -> bool:
    return await transaction.insert_data_attribute(attribute)


async def edit(store: ContactStore, contact_id: str | None, custom: dict[str, Any], **more: Any) -> Contact:
    """Write custom attributes as an operator does; a new user for no id."""

    async def work(transaction: ContactTransaction) -> Contact:
        editor = Editor(transaction, WORKSPACE, actor="test", now=NOW + 9, random_bytes=os.urandom, **more)
        fields = {"custom_attributes": custom}
        if contact_id is None:
            return await editor.create({"external_id": "made", **fields})
        return await editor.update(contact_id, fields)

    return await store.write(work)


def problem(refusal: pytest.ExceptionInfo[ChangeRefused]) -> tuple[ChangeProblem, str | None]:
    """What a refused change was refused for."""
    return refusal.value.problem, refusal.value.field


async def standing(store: ContactStore, who: Contact) -> Contact:
    """A record as it stands now."""
    found = await store.find(WORKSPACE, who.id)
    assert found is not None
    return found


class AttributesConformance:
    """What a workspace declares, what an operator's edits, a token and a client may write of it."""

    async def test_what_is_declared_is_listed(self, store: ContactStore) -> None:
        """All of it in the order of its ids, archived ones too, with every field; another workspace has its own."""
        assert await store.data_attributes(WORKSPACE) == []
        plain = await declare(store, "plan")
        listed = await declare(store, "size", "options", options=LIST, description="d", messenger_writable=True)
        assert (plain.id, plain.created_at, plain.model, plain.archived) == (1, NOW, Model.CONTACT, False)
        assert (listed.id, listed.options, listed.data_type) == (2, ("small", "large"), DataType.OPTIONS)
        assert await store.data_attributes(WORKSPACE) == [plain, listed]
        changed = await change(store, listed, archived=True, description=None, options=[{"value": "S"}, {"value": "L"}])
        fields = {"archived": True, "description": None, "options": ("S", "L"), "updated_at": NOW + 60}
        assert changed == replace(listed, **fields)
        assert await store.data_attributes(WORKSPACE) == [plain, changed]
        assert await store.data_attributes("other") == []
        assert (await declare(store, "third")).id == 3

    async def test_a_name_is_used_once(self, store: ContactStore) -> None:
        """Over contacts and companies, archived ones too, and standard ones; byte by byte."""
        plan = await declare(store, "plan")
        await change(store, plan, archived=True)
        for name in ("plan", "email"):
            for model in Model:
                with pytest.raises(ChangeRefused) as refusal:
                    await declare(store, name, model=model)
                assert problem(refusal) == (ChangeProblem.VALUE_INVALID, "name")
        await declare(store, "Plan")
        assert len(await store.data_attributes(WORKSPACE)) == 2

    async def test_parallel_declarations_get_ids_of_their_own(self, store: ContactStore, other: ContactStore) -> None:
        """Through two doors at once: every id once, and of two with one name one is refused."""
        names = [f"n{number // 2}" for number in range(20)]
        doors = [store, other] * 10
        made = await asyncio.gather(
            *(declare(door, name) for door, name in zip(doors, names, strict=True)), return_exceptions=True
        )
        assert sum(isinstance(one, ChangeRefused) for one in made) == 10
        assert [one.id for one in await store.data_attributes(WORKSPACE)] == list(range(1, 11))

    async def test_the_store_keeps_names_and_ids_unique(self, store: ContactStore) -> None:
        """Also without the editor's care; and what does not stand is not written."""
        plan = await declare(store, "plan")
        for twin in (replace(plan, id=7), replace(plan, name="other")):
            assert await do(store, partial(_insert, twin)) is False
        assert await do(store, lambda t: t.update_data_attribute(replace(plan, id=7))) is False
        assert await store.data_attributes(WORKSPACE) == [plan]

    async def test_a_workspace_has_room_for_250(self, store: ContactStore) -> None:
        """Active ones; archived ones take no room, and do not come back into a full house."""
        old = await declare(store, "old")
        await change(store, old, archived=True)

        async def fill(transaction: ContactTransaction) -> None:
            for number in range(ATTRIBUTES_LIMIT):
                await transaction.insert_data_attribute(replace(old, id=10 + number, name=f"n{number}"))

        await store.write(fill)
        for step in (declare(store, "one more"), change(store, old, archived=False)):
            with pytest.raises(ChangeRefused):
                await step
        assert (await change(store, old, description="still editable")).archived is True

    async def test_s17_archiving_touches_no_contact(self, store: ContactStore) -> None:
        """S17: values stay where they are, external_id stays empty, and the store counts whom it concerns."""
        declared = await declare(store, "User ID")
        custom = {"User ID": "u-17"}
        concerned = [
            person(email="a@example.com", custom_attributes=custom),
            person(custom_attributes={**custom, "x": 1}),
        ]
        others = [
            person(external_id="u-17", custom_attributes=custom),
            person(custom_attributes=custom, state=State.ARCHIVED),
            person(custom_attributes={"user id": "u-17", "text": "User ID", "x": '{"User ID": 1}'}),
            person(),
            person(custom_attributes=custom, workspace_id="other"),
        ]
        await insert(store, *concerned, *others)
        await change(store, declared, archived=True)
        assert await store.count_without_external_id(WORKSPACE, "User ID") == 2
        assert await store.count_without_external_id(WORKSPACE, "nothing") == 0
        for one in (*concerned, *others):
            assert await store.find(one.workspace_id, one.id) == one
        await update(store, replace(concerned[0], external_id="filled"))
        assert await store.count_without_external_id(WORKSPACE, "User ID") == 1

    async def test_an_edit_writes_declared_types_only(self, store: ContactStore) -> None:
        """Undeclared, archived, of another type or another model: refused by name, nothing written."""
        await declare(store, "seats", "integer")
        await declare(store, "of a company", model="company")
        await change(store, await declare(store, "old"), archived=True)
        known = contact(external_id="u-1", custom_attributes={"old": "kept", "never declared": 1})
        await insert(store, known)
        refusals = {
            "seats": ("5", ChangeProblem.VALUE_INVALID),
            "of a company": ("x", ChangeProblem.ATTRIBUTE_UNKNOWN),
            "old": ("new", ChangeProblem.ATTRIBUTE_UNKNOWN),
            "never declared": (2, ChangeProblem.ATTRIBUTE_UNKNOWN),
            "unheard of": (None, ChangeProblem.ATTRIBUTE_UNKNOWN),
        }
        for name, (value, expected) in refusals.items():
            with pytest.raises(ChangeRefused) as refusal:
                await edit(store, known.id, {"seats": 1, name: value})
            assert problem(refusal) == (expected, f"custom_attributes.{name}")
            with pytest.raises(ChangeRefused):
                await edit(store, None, {name: value})
        assert await standing(store, known) == known
        assert await store.find_by_external_id(WORKSPACE, "made") is None
        edited = await edit(store, known.id, {"seats": 5.0, "old": None})
        assert edited.custom_attributes == {"never declared": 1, "seats": 5}
        assert isinstance(edited.custom_attributes["seats"], int)
        assert (await edit(store, known.id, {"never declared": None})).custom_attributes == {"seats": 5}
        assert (await edit(store, None, {"seats": 2})).custom_attributes == {"seats": 2}

    async def test_an_edit_brings_a_value_into_its_declared_type(self, store: ContactStore) -> None:
        """A claim from before the declaration: `true` is written where 1 stood, though Python finds them equal."""
        known = contact(external_id="u-1", custom_attributes={"flag": 1})
        await insert(store, known)
        await declare(store, "flag", "boolean")
        assert (await edit(store, known.id, {"flag": True})).custom_attributes["flag"] is True
        assert (await standing(store, known)).custom_attributes["flag"] is True
        (line,) = await store.events(WORKSPACE, known.id)
        assert (line.before, line.after) == ({"custom_attributes": {"flag": 1}}, {"custom_attributes": {"flag": True}})
        assert line.after["custom_attributes"]["flag"] is True
        await edit(store, known.id, {"flag": True})
        assert len(await store.events(WORKSPACE, known.id)) == 1

    async def test_an_edit_takes_a_catalogue_that_is_at_hand(self, store: ContactStore) -> None:
        """Who edits a million records looks the attributes up once."""
        plan = await declare(store, "plan")
        made = await edit(store, None, {"plan": "pro"}, catalogue=Catalogue([plan]))
        assert made.custom_attributes == {"plan": "pro"}
        with pytest.raises(ChangeRefused):
            await edit(store, made.id, {"plan": "free"}, catalogue=Catalogue([]))

    async def test_a_contact_holds_250_custom_attributes(self, store: ContactStore) -> None:
        """What tokens left there counts, too."""
        await declare(store, "one more", "boolean")
        full = contact(
            external_id="u-1", custom_attributes={f"n{number}": number for number in range(ATTRIBUTES_LIMIT)}
        )
        await insert(store, full)
        with pytest.raises(ChangeRefused):
            await edit(store, full.id, {"one more": True})
        assert len((await edit(store, full.id, {"one more": True, "n0": None})).custom_attributes) == ATTRIBUTES_LIMIT

    async def test_a_signed_value_of_another_type_is_left_out(self, store: ContactStore) -> None:
        """It costs nobody the login, and no login a write; undeclared claims are kept as they are signed."""
        await declare(store, "seats", "integer")
        await declare(store, "rate", "float")
        signed = {"seats": "many", "rate": 2, "free": "text"}
        first = await resolver_of(store).resolve(principal("u-1", custom_attributes=signed))
        assert (first.created, first.contact.custom_attributes) == (True, {"rate": 2.0, "free": "text"})
        assert isinstance(first.contact.custom_attributes["rate"], float)
        assert first.contact == await standing(store, first.contact)
        counted: Any = Counted(store)
        for issued_at in (NOW, NOW + 1):
            again = await resolver_of(counted).resolve(principal("u-1", custom_attributes=signed, issued_at=issued_at))
            assert (again.contact, again.matched_by) == (first.contact, MatchedBy.EXTERNAL_ID)
            assert again.principal.custom_attributes == signed
        assert (counted.look_ups, counted.writes) == (4, 0)
        fitting = principal("u-1", custom_attributes={**signed, "seats": 5})
        assert (await resolver_of(store).resolve(fitting)).contact.custom_attributes["seats"] == 5

    async def test_a_signed_value_without_custom_attributes_needs_no_catalogue(self, store: ContactStore) -> None:
        """One look-up, as ever."""
        await resolver_of(store).resolve(principal("u-1"))
        counted: Any = Counted(store)
        await resolver_of(counted).resolve(principal("u-1"))
        assert (counted.look_ups, counted.writes) == (1, 0)


class UserDataConformance:
    """What a client says unsigned at its login."""

    async def says(self, store: ContactStore, who: Principal, **user_data: Any) -> Identity:
        """Log in, and say something unsigned."""
        identity = await resolver_of(store, Clock()).resolve(who)
        return await with_user_data(store, identity, user_data, now=NOW + 5)

    async def test_only_what_is_declared_for_it_is_written(self, store: ContactStore) -> None:
        """messenger_writable ones, in their types, at the top level or below custom_attributes; the rest in silence."""
        await declare(store, "plan", messenger_writable=True)
        await declare(store, "seats", "integer", messenger_writable=True)
        await declare(store, "size", "options", options=LIST, messenger_writable=True)
        await declare(store, "protected")
        await declare(store, "of a company", model="company", messenger_writable=True)
        await change(store, await declare(store, "old", messenger_writable=True), archived=True)
        identity = await self.says(
            store,
            principal("u-1"),
            plan="pro",
            size="medium",
            protected="x",
            undeclared="x",
            old="x",
            custom_attributes={"seats": 5, "plan": "nested", "of a company": "x"},
            company={"id": 1},
        )
        assert identity.contact.custom_attributes == {"plan": "nested", "seats": 5}
        assert identity.contact == await standing(store, identity.contact)
        assert (identity.created, identity.contact.updated_at) == (True, NOW + 5)
        line, created = await store.events(WORKSPACE, identity.identity)
        assert (line.kind, line.actor, created.kind) == ("updated", "user_data:messenger", "created")
        assert line.after == {"custom_attributes": {"plan": "nested", "seats": 5}}
        cleared = await self.says(store, principal("u-1"), plan="", seats=None, custom_attributes=["seats"])
        assert cleared.contact.custom_attributes == {"seats": 5}

    async def test_c01_nothing_that_says_who_somebody_is(self, store: ContactStore) -> None:
        """Identifiers, role, owner and proofs are ignored, also where a custom attribute has a name of theirs."""
        await declare(store, "user_id", messenger_writable=True)
        known = person(external_id="u-1", phone="1")
        await insert(store, known)
        text = dict.fromkeys(
            ("email", "phone", "external_id", "user_id", "id", "avatar", "owner_id"), "eve@example.com"
        )
        odd = {
            "role": "lead",
            "state": "archived",
            "email_proof": "signed",
            "workspace_id": "other",
            "merged_into": "x",
        }
        said = {**text, **odd, "signed_up_at": 1, "unsubscribed_from_emails": True, "email_verified": True}
        identity = await self.says(store, principal("u-1"), **said)
        assert identity.contact == known == await standing(store, known)

    async def test_a_blank_is_filled_and_nothing_overwritten(self, store: ContactStore) -> None:
        """Name and language: unsigned text never replaces what a token signed or an operator imported."""
        blank, named = person(external_id="u-1"), person(external_id="u-2", name="Imported", language_override="de")
        await insert(store, blank, named)
        said = {"name": "Eve", "language_override": "fr"}
        filled = (await self.says(store, principal("u-1"), **said)).contact
        assert (filled.name, filled.language_override) == ("Eve", "fr")
        assert (await self.says(store, principal("u-2"), **said)).contact == named
        assert (await self.says(store, principal("u-1"), name="Mallory")).contact.name == "Eve"
        signed = principal("u-1", attributes={"name": "Signed"})
        assert (await self.says(store, signed, name="Mallory")).contact.name == "Signed"
        for value in (1, True, None, "", ["x"], {"a": 1}, "x" * 256):
            assert (await self.says(store, principal("u-3"), name=value)).contact.name is None

    async def test_what_the_same_token_signs_stands(self, store: ContactStore) -> None:
        """Also where the signed value was left out, or comes from an older token that writes nothing any more."""
        await declare(store, "seats", "integer", messenger_writable=True)
        for signed, expected in ((5, {"seats": 5}), ("many", {"seats": 5})):
            who = principal("u-1", custom_attributes={"seats": signed}, issued_at=NOW)
            assert (await self.says(store, who, seats=7)).contact.custom_attributes == expected
        older = principal("u-1", custom_attributes={"seats": 1}, issued_at=NOW - 9)
        assert (await self.says(store, older, seats=7)).contact.custom_attributes == {"seats": 5}
        assert (await self.says(store, principal("u-1"), seats=7)).contact.custom_attributes == {"seats": 7}

    async def test_what_stands_already_costs_no_write(self, store: ContactStore) -> None:
        """The very same identity comes back; a value of another type that Python finds equal is written."""
        await declare(store, "flag", "boolean", messenger_writable=True)
        await insert(store, person(external_id="u-1", name="Ada", custom_attributes={"flag": 1}))
        identity = await self.says(store, principal("u-1"), flag=True)
        assert identity.contact.custom_attributes["flag"] is True
        counted: Any = Counted(store)
        assert await with_user_data(counted, identity, {"name": "Eve", "email": "eve@example.com"}, now=NOW) is identity
        assert (counted.look_ups, counted.writes) == (0, 0)
        assert await with_user_data(counted, identity, {"flag": True, "name": "Eve"}, now=NOW) is identity
        assert (counted.look_ups, counted.writes) == (1, 0)

    async def test_names_are_spelled_as_the_messenger_spells_them(self, store: ContactStore) -> None:
        """A character that no name holds becomes `_` (facts: Intercom 1.7)."""
        await declare(store, "plan_name", messenger_writable=True)
        identity = await self.says(store, principal("u-1"), **{"plan.name": "pro"})
        assert identity.contact.custom_attributes == {"plan_name": "pro"}

    @pytest.mark.parametrize("state", [State.ARCHIVED, State.BLOCKED])
    async def test_nothing_is_written_to_a_record_that_went(self, store: ContactStore, state: State) -> None:
        """Archived, blocked, merged or deleted between the verdict and the write."""
        known, into = person(external_id="u-1"), person(external_id="u-2")
        await insert(store, known, into)
        identity = await resolver_of(store).resolve(principal("u-1"))
        gone = replace(known, state=state)
        await update(store, gone)
        assert (await with_user_data(store, identity, {"name": "Eve"}, now=NOW)).contact == known
        assert await standing(store, known) == gone
        await do(store, lambda t: t.merge(WORKSPACE, known.id, into.id, now=NOW))
        assert (await with_user_data(store, identity, {"name": "Eve"}, now=NOW)).contact == known
        assert await standing(store, into) == into
        await do(store, lambda t: t.delete(WORKSPACE, into.id))
        assert (await with_user_data(store, identity, {"name": "Eve"}, now=NOW)).contact == known
        assert await store.find(WORKSPACE, known.id) is None
