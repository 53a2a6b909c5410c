"""What an operator changes in records, whatever the way in: the API, a file, a command.

An `Editor` works inside one transaction, in somebody's name. It takes the same locks as a login does, so that both
decide on the same ground, and each change leaves its line of history in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict, replace

from gateway.contacts.attributes import Catalogue
from gateway.contacts.contact import Contact, Role, State, is_contact_id, mint_contact_id
from gateway.contacts.signed_values import differ
from gateway.contacts.store import Event
from gateway.errors import (
    ChangeProblem,
    ChangeRefused,
    Code,
    ContactConflict,
    ContactMerged,
    ContactNotFound,
    Refusal,
)
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.contacts.store import ContactTransaction

ATTRIBUTES_LIMIT = 250
"""How many custom attributes a contact holds at most."""

_NOT_WRITTEN = {"workspace_id", "id", "created_at", "updated_at", "identified_at", "state", "merged_into"}
_WRITTEN = tuple(name for name in Contact.__struct_fields__ if name not in _NOT_WRITTEN)
"""The fields of a contact that edits write; the history keeps these."""


class Editor:
    """Changes the records of a workspace in one transaction; `actor` says in whose name, `now` is in seconds.

    Who edits very many records gives the `catalogue` of data attributes; else it is looked up when it is needed.
    """

    def __init__(  # noqa: PLR0913 - what an edit depends on, each given by the caller
        self,
        transaction: ContactTransaction,
        workspace: str,
        *,
        actor: str,
        now: float,
        random_bytes: Callable[[int], bytes],
        catalogue: Catalogue | None = None,
    ) -> None:
        self._transaction = transaction
        self._workspace = workspace
        self._actor = actor
        self._now = int(now)
        self._random_bytes = random_bytes
        self._catalogue = catalogue

    @property
    def workspace(self) -> str:
        """Whose records it changes."""
        return self._workspace

    async def create(self, fields: Mapping[str, Any]) -> Contact:
        """Make a record; raises `ChangeRefused`, `ContactConflict` naming the holder of an identifier, `Refusal`."""
        contact = await self.new(fields)
        await self._check_identifiers(contact, standing=None)
        await self._transaction.insert(contact)
        await self._transaction.record(self._created(contact))
        return contact

    async def new(self, fields: Mapping[str, Any]) -> Contact:
        """A record with these fields, which nobody has stored yet; raises `ChangeRefused`."""
        contact = Contact(
            workspace_id=self._workspace,
            id=mint_contact_id(self._now, self._random_bytes),
            created_at=self._now,
            updated_at=self._now,
            **{"role": Role.USER, **fields, "custom_attributes": await self._attributes({}, fields)},
        )
        if contact.role is Role.USER and contact.external_id is None and contact.email is None:
            raise ChangeRefused(ChangeProblem.IDENTIFIER_MISSING, "a user needs an email or an external_id")
        return contact

    async def store_new(self, contacts: Sequence[Contact]) -> None:
        """Store what `new` made. The caller holds their identifiers, and has seen that nobody has them."""
        if contacts:
            await self._transaction.insert_all(contacts)
            await self._transaction.record_all([self._created(contact) for contact in contacts])

    async def update(
        self, contact_id: str, fields: Mapping[str, Any], *, kind: str = "updated", restores: bool = False
    ) -> Contact:
        """Write fields into a live record; the very same values write nothing. Raises as `create`, and `live` does.

        `kind` names the change in the history. `restores` brings an archived record back on the way.
        """
        if claimed := identifiers_of(fields.get("external_id"), fields.get("email")):
            # Before the record, as a login holds them: nobody waits for somebody who waits for him.
            await self._transaction.lock(self._workspace, *claimed)
        standing = await self.standing(contact_id)
        archived = standing.state is State.ARCHIVED
        if standing.state is not State.LIVE and not (restores and archived):
            raise ContactNotFound(contact_id)
        if standing.role is Role.USER and fields.get("role") is Role.LEAD:
            raise ChangeRefused(ChangeProblem.USER_STAYS_USER, "a user cannot become a lead", field="role")
        written = {**fields, "custom_attributes": await self._attributes(standing.custom_attributes, fields)}
        written_again = fields.get("email") == standing.email and fields.get("email_proof") is Proof.IMPORTED
        if written_again and standing.email_proof in {Proof.SIGNED, Proof.HASHED}:
            del written["email_proof"]  # what a token signed is not proven less by an operator's copy of it
        contact = replace(standing, **written, state=State.LIVE)
        if contact == standing and not _retyped(standing.custom_attributes, contact.custom_attributes):
            return standing
        contact = replace(contact, updated_at=self._now)
        await self._check_identifiers(contact, standing=standing)
        await self._transaction.update(contact)
        if archived:
            await self._note("restored", contact, before={"state": State.ARCHIVED}, after={"state": State.LIVE})
        before, after = changed_fields(asdict(contact), standing), changed_fields(asdict(standing), contact)
        if after or before:
            await self._note(kind, contact, before=before, after=after)
        return contact

    async def set_state(self, contact_id: str, state: State) -> Contact:
        """Archive, block or bring back a record (`LIVE`); what is so already is left alone.

        A block is lifted by `unblock` alone: archiving leaves it, and what is blocked does not come back
        (`ChangeRefused`). Raises as `standing`, too.
        """
        contact = await self.standing(contact_id)
        if contact.state is State.BLOCKED and state is State.LIVE:
            raise ChangeRefused(ChangeProblem.NOT_RESTORABLE, "the contact is blocked; unblock it")
        if contact.state in {state, State.BLOCKED}:
            return contact
        return await self._put(contact, state, _STATE_CHANGES[state])

    async def unblock(self, contact_id: str) -> Contact:
        """Lift a block: the record is live again. One that is not blocked stays as it is. Raises as `standing`."""
        contact = await self.standing(contact_id)
        if contact.state is not State.BLOCKED:
            return contact
        return await self._put(contact, State.LIVE, "unblocked")

    async def delete(self, contact_id: str) -> Contact:
        """Remove a record for ever, whatever its state, with the personal data in its history. Raises as `standing`."""
        contact = await self.standing(contact_id)
        await self._transaction.delete(self._workspace, contact_id)
        await self._note("deleted", contact)
        return contact

    async def standing(self, contact_id: str) -> Contact:
        """The record itself, in any state but merged; `ContactNotFound`, or `ContactMerged` naming who answers now."""
        contact = await self._transaction.find(self._workspace, contact_id)
        if contact is None:
            raise ContactNotFound(contact_id)
        if contact.id != contact_id:
            raise ContactMerged(contact.id)
        return contact

    async def live(self, contact_id: str) -> Contact:
        """The record, neither archived nor blocked; raises as `standing`."""
        contact = await self.standing(contact_id)
        if contact.state is not State.LIVE:
            raise ContactNotFound(contact_id)
        return contact

    async def _attributes(self, standing: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """The custom attributes with those that are written, each in its declared type; null removes one."""
        written = fields.get("custom_attributes")
        if not written:
            return dict(standing)
        if self._catalogue is None:
            self._catalogue = Catalogue(await self._transaction.data_attributes(self._workspace))
        custom = {**standing, **self._catalogue.checked(written, standing)}
        custom = {name: value for name, value in custom.items() if value is not None}
        if len(custom) > ATTRIBUTES_LIMIT:
            text = f"a contact has at most {ATTRIBUTES_LIMIT} custom attributes"
            raise ChangeRefused(ChangeProblem.VALUE_INVALID, text, field="custom_attributes")
        return custom

    async def _check_identifiers(self, contact: Contact, *, standing: Contact | None) -> None:
        """Hold the identifiers, and refuse those of another record: 409, or 422 for the id of a contact (S4, R34)."""
        external_id, email = contact.external_id, contact.email
        claimed = identifiers_of(external_id, email)
        if standing is not None and standing.role is contact.role:
            claimed -= identifiers_of(standing.external_id, standing.email)
        if claimed:
            await self._transaction.lock(self._workspace, *claimed)
        if external_id and (standing is None or standing.external_id != external_id):
            holder = await self._transaction.find_by_external_id(self._workspace, external_id)
            if holder is not None:
                raise conflict_with(holder, "external_id")
            if is_contact_id(external_id) and await self._transaction.find(self._workspace, external_id):
                raise Refusal(Code.USER_ID_IS_CONTACT_ID, "this is the id of a contact", field="external_id")
        known = standing is not None and (standing.email, standing.role) == (email, contact.role)
        if email and contact.role is Role.USER and not known:
            holder = await self._transaction.user_with_email(self._workspace, email, but=contact.id)
            if holder is not None:
                raise conflict_with(holder, "email")

    async def _put(self, contact: Contact, state: State, kind: str) -> Contact:
        """Bring a record into a state; who makes another one with its email waits for that."""
        if contact.email:
            await self._transaction.lock(self._workspace, f"email:{contact.email}")
        changed = replace(contact, state=state, updated_at=self._now)
        await self._transaction.update(changed)
        await self._note(kind, contact, before={"state": contact.state}, after={"state": state})
        return changed

    def _created(self, contact: Contact) -> Event:
        return self._event("created", contact, {}, changed_fields({}, contact))

    async def _note(
        self,
        kind: str,
        contact: Contact,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        await self._transaction.record(self._event(kind, contact, before or {}, after or {}))

    def _event(self, kind: str, contact: Contact, before: dict[str, Any], after: dict[str, Any]) -> Event:
        return Event(
            workspace_id=self._workspace,
            contact_id=contact.id,
            kind=kind,
            actor=self._actor,
            at=self._now,
            before=before,
            after=after,
        )


_STATE_CHANGES = {State.ARCHIVED: "archived", State.BLOCKED: "blocked", State.LIVE: "restored"}


def identifiers_of(external_id: str | None, email: str | None) -> set[str]:
    """What a login with them would lock."""
    named = {"user_id": external_id, "email": email}
    return {f"{kind}:{value}" for kind, value in named.items() if value}


def _retyped(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether one of equal custom attributes changed its type alone: to Python, `true` and 1 are one."""
    return any(differ(old[name], value) for name, value in new.items())


def conflict_with(holder: Contact, field: str) -> ContactConflict:
    """What to raise when a record holds what another one asks for."""
    archived, blocked = holder.state is State.ARCHIVED, holder.state is State.BLOCKED
    return ContactConflict(holder.id, field, archived=archived, blocked=blocked)


def changed_fields(other: Mapping[str, Any], contact: Contact) -> dict[str, Any]:
    """The fields in which a contact differs from another's, as the history keeps them."""
    changed = {name: value for name in _WRITTEN if (value := getattr(contact, name)) != other.get(name)}
    custom = contact.custom_attributes
    if custom and "custom_attributes" not in changed and _retyped(other["custom_attributes"], custom):
        changed["custom_attributes"] = custom
    return changed
