"""From a principal to one contact: the table of design section 5.

The order is external_id, then, only where the table says so, email; never a silent fall-through (facts: Intercom 1.3).
An email joins records only when both sides are proven: the token signs it, and the record holds it as signed or
imported. An address that somebody merely claimed links nothing and hides nobody (advisories C01, C02, C06, C07).

A contact that stands as the token says is found with one look-up by its user_id, with two by its email, and nothing is
written; `signed_values.py` says what a token writes, and when. Everything else (create, link, restore, changed values)
is decided inside one transaction that holds the identifiers, so parallel first logins make one contact.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.contacts.alarm import EMAIL_CHANGED, SHARED_USER_ID, email_change, looks_shared
from gateway.contacts.attributes import Catalogue
from gateway.contacts.contact import Contact, Role, State, is_contact_id, mint_contact_id
from gateway.contacts.revocation_memory import Revocations
from gateway.contacts.signed_values import with_signed_values
from gateway.contacts.store import Event
from gateway.errors import Code, ContactConflict, Outage, Refusal
from gateway.identity.principal import Principal, Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.contacts.store import ContactReader, ContactStore, ContactTransaction

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_LISTED = 10  # holders of an email that are named beside a new contact


class EmailConflict(StrEnum):
    """What to do with a new user_id whose proven email stands on somebody else's record."""

    FLAG = "flag"
    REJECT = "reject"
    ALLOW = "allow"


class MatchedBy(StrEnum):
    """What found the contact."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    FIRST_SIGHT = "first_sight"


class ResolutionPolicy(Struct, frozen=True):
    """A workspace's choices. `alarm_emails` emails on one user_id within `alarm_window` seconds raise an alarm."""

    email_conflict: EmailConflict = EmailConflict.FLAG
    create_on_first_sight: bool = True
    restore_archived: bool = True
    alarm_emails: int = 3
    alarm_window: int = 86_400


class Identity(Struct, frozen=True):
    """Who a verified token, or `user_hash`, is to us: the principal and the contact, and how the one led to the other.

    Offers what Starlette expects of `request.user`. `alarmed` says that this user_id looks shared by several people.
    """

    principal: Principal
    contact: Contact
    matched_by: MatchedBy
    created: bool = False
    linked: bool = False
    alarmed: bool = False

    @property
    def is_authenticated(self) -> bool:
        """Always true: there is no identity without a verified token."""
        return True

    @property
    def display_name(self) -> str:
        """The contact's name, else its email, else its user_id."""
        return self.contact.name or self.contact.email or self.principal.user_id

    @property
    def identity(self) -> str:
        """The immutable contact id."""
        return self.contact.id

    @property
    def as_found(self) -> bool:
        """Whether the same token will lead to the same answer again, as long as the contact does not change."""
        return self.matched_by is MatchedBy.EXTERNAL_ID and not (self.created or self.linked or self.alarmed)


class Resolver:
    """Finds or makes the contact of a principal; `policies` maps each workspace to its choices.

    Nobody is admitted to a contact whose tokens were revoked: `revocations` remembers them for whoever opens it, and
    until then the store is asked.
    """

    def __init__(
        self,
        store: ContactStore,
        policies: Mapping[str, ResolutionPolicy],
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._policies = policies
        self._clock = clock
        self._random_bytes = random_bytes
        self.revocations = Revocations(store, clock)

    async def resolve(self, principal: Principal) -> Identity:
        """Return the identity; raise `Refusal` (identity and contact codes) or `Outage(store_unavailable)`."""
        standing = await self._standing(principal)
        if standing is not None:
            return standing
        for _ in range(_ATTEMPTS):
            try:
                identity = await self._store.write(lambda transaction: self._settled(transaction, principal))
            except ContactConflict:  # a writer that does not lock, such as an API client, took the user_id meanwhile
                continue
            if identity.alarmed:
                _log.warning(
                    "%s/%s: its user_id looks shared by several people", principal.workspace, identity.identity
                )
            return identity
        raise Outage(Code.STORE_UNAVAILABLE, "the user_id was taken and released over and over")

    async def find(self, principal: Principal) -> Contact:
        """Whom a principal leads to as things stand, with nothing written: nobody is made, linked, restored or changed.

        Raises `Refusal` and `Outage` as `resolve` does, and `contact_unknown` or `contact_archived` where that would
        have had to write.
        """
        contact, _ = await self._found(principal)
        if contact is None:
            raise Refusal(Code.CONTACT_UNKNOWN, "nobody is found by what the token says")
        await self._admit(self._store, principal, contact)
        if contact.state is not State.LIVE:
            raise Refusal(Code.CONTACT_ARCHIVED, "the contact is archived")
        return contact

    async def _found(self, principal: Principal) -> tuple[Contact | None, MatchedBy]:
        contact = await self._store.find_by_external_id(principal.workspace, principal.user_id)
        if contact is None and principal.by_email:
            holders = await self._proven_holders(self._store, principal)
            return (holders[0] if len(holders) == 1 else None), MatchedBy.EMAIL
        return contact, MatchedBy.EXTERNAL_ID

    async def _standing(self, principal: Principal) -> Identity | None:
        """The identity that is found as the token says, with nothing to write; None when there is more to do."""
        contact, matched_by = await self._found(principal)
        if contact is None:
            return None
        await self._admit(self._store, principal, contact)
        if contact.state is not State.LIVE:
            return None
        if with_signed_values(contact, principal) is contact:
            return Identity(principal, contact, matched_by)
        if principal.custom_attributes:  # a value that contradicts its declared type costs a look-up, but no write
            fitting = await _fitting(self._store, principal)
            if with_signed_values(contact, fitting) is contact:
                return Identity(principal, contact, matched_by)
        return None

    async def _settled(self, transaction: ContactTransaction, principal: Principal) -> Identity:
        """Who the token says, with those of its values written that its workspace's declarations let stand."""
        identity = await self._settle(transaction, await _fitting(transaction, principal))
        return replace(identity, principal=principal)

    async def _settle(self, transaction: ContactTransaction, principal: Principal) -> Identity:
        """Walk the table with the identifiers held, and write what it says."""
        emails = [f"email:{principal.email}"] if principal.email else []
        await transaction.lock(principal.workspace, f"user_id:{principal.user_id}", *emails)

        contact = await transaction.find_by_external_id(principal.workspace, principal.user_id)
        if contact is not None:
            return await self._known(transaction, principal, contact, MatchedBy.EXTERNAL_ID)

        holders = await self._proven_holders(transaction, principal)
        if principal.by_email and holders:
            return await self._known(transaction, principal, _only(holders), MatchedBy.EMAIL)

        if is_contact_id(principal.user_id) and await transaction.find(principal.workspace, principal.user_id):
            raise Refusal(Code.USER_ID_IS_CONTACT_ID, "the user_id is the id of a standing contact", field="user_id")

        if len(holders) == 1 and holders[0].external_id in (None, principal.email):
            return await self._linked(transaction, principal, holders[0])

        policy = self._policies[principal.workspace]
        if holders and policy.email_conflict is EmailConflict.REJECT:
            raise Refusal(Code.IDENTITY_CONFLICT, "the email stands on a contact with another user_id", field="email")
        if not policy.create_on_first_sight:
            raise Refusal(Code.CONTACT_UNKNOWN, "nobody has this user_id, and first sight creates nobody here")
        flagged = holders if policy.email_conflict is EmailConflict.FLAG else ()
        return await self._created(transaction, principal, flagged)

    async def _proven_holders(self, reader: ContactReader, principal: Principal) -> Sequence[Contact]:
        """The live contacts that hold the principal's email with proof; nobody when the token does not prove it.

        A `user_hash` over the email stands for the one person who holds it. Beside a user_id it leads to nobody, so it
        never links.
        """
        identifies = principal.email_proof is Proof.SIGNED or (
            principal.email_proof is Proof.HASHED and principal.by_email
        )
        if principal.email is None or not identifies:
            return ()
        return await reader.find_by_email(principal.workspace, principal.email, limit=_LISTED, proven=True)

    async def _admit(self, reader: ContactReader, principal: Principal, contact: Contact) -> None:
        """Refuse what was revoked (step 9, B14), the blocked, and the archived where a login does not restore them."""
        if self.revocations.may_concern_contacts_of(principal):
            await self.revocations.check_contact(reader, principal, contact.id)
        if contact.state is State.BLOCKED:
            raise Refusal(Code.CONTACT_BLOCKED, "the contact is blocked")
        if contact.state is State.ARCHIVED and not self._policies[contact.workspace_id].restore_archived:
            raise Refusal(Code.CONTACT_ARCHIVED, "the contact is archived, and a login does not restore it here")

    async def _known(
        self, transaction: ContactTransaction, principal: Principal, contact: Contact, matched_by: MatchedBy
    ) -> Identity:
        """A standing contact: restored if archived, brought up to what the token signs."""
        await self._admit(transaction, principal, contact)
        live = contact if contact.state is State.LIVE else replace(contact, state=State.LIVE)
        updated = with_signed_values(live, principal)
        if updated is contact:
            return Identity(principal, contact, matched_by)
        updated = replace(updated, updated_at=int(self._clock()))
        await transaction.update(updated)
        if contact.state is State.ARCHIVED:
            before, after = {"state": contact.state}, {"state": updated.state}
            await self._note(transaction, principal, contact, "restored", before, after)
        alarmed = updated.email != contact.email and await self._email_changed(transaction, principal, contact, updated)
        return Identity(principal, updated, matched_by, alarmed=alarmed)

    async def _email_changed(
        self, transaction: ContactTransaction, principal: Principal, contact: Contact, updated: Contact
    ) -> bool:
        """Note a change of email, and the alarm that it may raise, once in its window; whether it did."""
        policy = self._policies[contact.workspace_id]
        alarmed = await looks_shared(
            transaction,
            contact,
            updated,
            principal,
            emails=policy.alarm_emails,
            since=int(self._clock()) - policy.alarm_window,
        )
        before, after = email_change(contact, updated, principal)
        await self._note(transaction, principal, contact, EMAIL_CHANGED, before, after)
        if alarmed:
            await self._note(transaction, principal, contact, SHARED_USER_ID, {}, after)
        return alarmed

    async def _linked(self, transaction: ContactTransaction, principal: Principal, contact: Contact) -> Identity:
        """The backfill: a contact known by its email gets its user_id; its contact id stays."""
        await self._admit(transaction, principal, contact)
        linked = replace(
            with_signed_values(contact, principal),
            external_id=principal.user_id,
            role=Role.USER,
            updated_at=int(self._clock()),
        )
        await transaction.update(linked)
        before, after = (
            {"external_id": one.external_id, "role": one.role, "email_proof": one.email_proof}
            for one in (contact, linked)
        )
        await self._note(transaction, principal, contact, "linked", before, after)
        return Identity(principal, linked, MatchedBy.EMAIL, linked=True)

    async def _created(
        self, transaction: ContactTransaction, principal: Principal, flagged: Sequence[Contact]
    ) -> Identity:
        """First sight; `flagged` are the other holders of the email, for the duplicates report."""
        now = int(self._clock())
        blank = Contact(
            workspace_id=principal.workspace,
            id=mint_contact_id(now, self._random_bytes),
            external_id=principal.user_id,
            role=Role.USER,
            created_at=now,
            updated_at=now,
        )
        contact = with_signed_values(blank, principal)
        await transaction.insert(contact)
        after = {"external_id": contact.external_id, "email": contact.email}
        await self._note(transaction, principal, contact, "created", {}, after)
        if flagged:
            pair = {"email": contact.email, "held_by": [holder.id for holder in flagged]}
            await self._note(transaction, principal, contact, "email_conflict", {}, pair)
        return Identity(principal, contact, MatchedBy.FIRST_SIGHT, created=True)

    async def _note(  # noqa: PLR0913, PLR0917 - the columns of a line of history
        self,
        transaction: ContactTransaction,
        principal: Principal,
        contact: Contact,
        kind: str,
        before: dict[str, Any],
        after: dict[str, Any],
    ) -> None:
        await transaction.record(
            Event(
                workspace_id=contact.workspace_id,
                contact_id=contact.id,
                kind=kind,
                actor=f"issuer:{principal.issuer}",
                at=int(self._clock()),
                before=before,
                after=after,
            )
        )


async def _fitting(reader: ContactReader, principal: Principal) -> Principal:
    """The principal without the custom attributes that contradict a declared type; all others in their types."""
    if not principal.custom_attributes:
        return principal
    catalogue = Catalogue(await reader.data_attributes(principal.workspace))
    return replace(principal, custom_attributes=catalogue.fitting(principal.custom_attributes))


def _only(holders: Sequence[Contact]) -> Contact:
    """The one holder of an email; several are never guessed between (facts: Intercom 1.3, 409)."""
    if len(holders) > 1:
        raise Refusal(Code.EMAIL_AMBIGUOUS, f"{len(holders)} contacts hold this email", field="email")
    return holders[0]
