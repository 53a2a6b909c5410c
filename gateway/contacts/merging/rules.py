"""Who may be merged into whom, what becomes of every field, and what an undo gives back. Pure: no store.

A lead may be merged into a user that shares its email or phone, or into any user when that check is skipped; a user
into a user only when both hold the same email with proof, or the same phone; nothing else (facts: Intercom 2.6, R34).
Both stand live: a merge would let somebody in who is blocked, or bring back who is archived.

The survivor keeps its id, its external_id and all that it has; it adopts what it lacks, and custom attributes are
united. Who opted out of emails stays out. An undo gives back every field that nobody wrote since the merge.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.editing import ATTRIBUTES_LIMIT
from gateway.contacts.signed_values import PROVEN, differ

if TYPE_CHECKING:
    from gateway.contacts.merging.journal import Kept

UNDO_SECONDS = 30 * 86_400
"""How long a merge can be undone."""

_ADOPTED = (
    "external_id",
    "phone",
    "name",
    "avatar",
    "owner_id",
    "language_override",
    "signed_up_at",
    "last_seen_at",
)
_EMAIL = ("email", "email_proof")  # one value in two fields: a proof is worth nothing beside another email
_APART = frozenset({*_EMAIL, "custom_attributes", "updated_at", "identified_at"})
_BETWEEN_DIGITS = str.maketrans("", "", " -./()")
_PHONE = re.compile(r"\+?[0-9]{5,15}", re.ASCII)


class Because(StrEnum):
    """Why a merge is not allowed; the first three are Intercom's words, the others our own."""

    ROLE_PAIR = "invalid_merge_role_pair"
    NOT_SHARED = "no_shared_identifier"
    USERS_NOT_SHARED = "u2u_no_shared_identifier"
    SAME_CONTACT = "same_contact"
    BLOCKED = "contact_blocked"
    ARCHIVED = "contact_archived"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"


class Reason(Struct, frozen=True):
    """One reason why a merge is not allowed, and words for whoever asked."""

    code: Because
    message: str


class Outcome(StrEnum):
    """What becomes of the source's value: the survivor takes it, keeps its own, or gets one made of both."""

    ADOPTED = "adopted"
    DISCARDED = "discarded"
    MERGED = "merged"


class FieldOutcome(Struct, frozen=True, kw_only=True):
    """What becomes of one field; None stands for no value. Fields in which both agree have no outcome."""

    field: str
    outcome: Outcome
    from_value: Any
    into_value: Any
    new_into_value: Any


class Plan(Struct, frozen=True, kw_only=True):
    """What a merge would do: `merged` is the survivor afterwards. It is allowed when there are no `reasons`."""

    source: Contact
    into: Contact
    merged: Contact
    outcomes: tuple[FieldOutcome, ...]
    reasons: tuple[Reason, ...]


class KeptChange(Struct, frozen=True, kw_only=True):
    """A field of the survivor that was written after the merge, so that the undo left it: what it was, what it is."""

    field: str
    before_merge: Any
    after_merge: Any
    value: Any


def plan_of(source: Contact, into: Contact, *, unchecked: bool, email_taken: bool, now: int) -> Plan:
    """What a merge at `now` would do, and what speaks against it.

    `unchecked` spares a lead the shared email or phone. `email_taken` says that a third user holds the source's email:
    then the survivor does not adopt it, for two users with one proven email are a duplicate.
    """
    merged = _merged(source, into, email_taken=email_taken, now=now)
    return Plan(
        source=source,
        into=into,
        merged=merged,
        outcomes=_outcomes(source, into, merged),
        reasons=_reasons(source, into, merged, unchecked=unchecked),
    )


def restored(kept: Kept, standing: Contact) -> tuple[Contact, tuple[KeptChange, ...]]:
    """The survivor without the merge, and the changes since then that stay on it.

    Without such changes it is the record of before, to the last field.
    """
    into, after = kept.into, kept.after
    fields: dict[str, Any] = {}
    changes = []
    for names in (_EMAIL, *((name,) for name in Contact.__struct_fields__ if name not in _APART)):
        old, then, now = ([getattr(one, name) for name in names] for one in (into, after, standing))
        fields.update(zip(names, old if now == then else now, strict=True))
        if now != then:
            changes.append(KeptChange(field=names[0], before_merge=old[0], after_merge=then[0], value=now[0]))
    custom = dict(into.custom_attributes)
    for name in {**after.custom_attributes, **standing.custom_attributes}:
        old, then, now = (one.custom_attributes.get(name, msgspec.UNSET) for one in (into, after, standing))
        if not differ(then, now):
            continue
        if now is msgspec.UNSET:
            custom.pop(name, None)
        else:
            custom[name] = now
        values = {"before_merge": old, "after_merge": then, "value": now}
        changes.append(
            KeptChange(
                field=f"custom_attributes.{name}",
                **{key: None if value is msgspec.UNSET else value for key, value in values.items()},
            )
        )
    untouched = not changes and standing.updated_at == after.updated_at
    return (
        replace(
            into,
            **fields,
            custom_attributes=custom,
            updated_at=into.updated_at if untouched else standing.updated_at,
            identified_at=(into if standing.identified_at == after.identified_at else standing).identified_at,
        ),
        tuple(changes),
    )


def _reasons(source: Contact, into: Contact, merged: Contact, *, unchecked: bool) -> tuple[Reason, ...]:
    if source.id == into.id:
        return (Reason(Because.SAME_CONTACT, "a contact cannot be merged into itself"),)
    reasons = []
    if into.role is not Role.USER:
        reasons.append(Reason(Because.ROLE_PAIR, "a contact can be merged into a user only, never into a lead"))
    elif source.role is Role.USER:
        if not (_share_email(source, into, proven=True) or _share_phone(source, into)):
            text = "two users are merged only when both hold the same proven email, or the same phone"
            reasons.append(Reason(Because.USERS_NOT_SHARED, text))
    elif not (unchecked or _share_email(source, into, proven=False) or _share_phone(source, into)):
        text = "these are no duplicates by email or phone; skip_duplicate_validation merges them all the same"
        reasons.append(Reason(Because.NOT_SHARED, text))
    for name, contact in (("from", source), ("into", into)):
        if contact.state is State.BLOCKED:
            reasons.append(
                Reason(Because.BLOCKED, f"`{name}` is blocked, and a merge unblocks nobody: unblock it first")
            )
        if contact.state is State.ARCHIVED:
            reasons.append(Reason(Because.ARCHIVED, f"`{name}` is archived: bring it back first"))
    if len(merged.custom_attributes) > ATTRIBUTES_LIMIT:
        text = f"together they have more than {ATTRIBUTES_LIMIT} custom attributes"
        reasons.append(Reason(Because.TOO_MANY_ATTRIBUTES, text))
    return tuple(reasons)


def _share_email(source: Contact, into: Contact, *, proven: bool) -> bool:
    both = source.email is not None and source.email == into.email
    return both and (not proven or {source.email_proof, into.email_proof} <= PROVEN)


def _share_phone(source: Contact, into: Contact) -> bool:
    """Whether both have one number; what is too short to be one is nobody's."""
    numbers = [(one.phone or "").translate(_BETWEEN_DIGITS) for one in (source, into)]
    return numbers[0] == numbers[1] and _PHONE.fullmatch(numbers[0]) is not None


def _merged(source: Contact, into: Contact, *, email_taken: bool, now: int) -> Contact:
    adopted = {name: getattr(source, name) for name in _ADOPTED if getattr(into, name) is None}
    if into.email is None and not email_taken:
        adopted |= {name: getattr(source, name) for name in _EMAIL}
    # A token of either that is older than what either signed last brings no old value back.
    signed = [one.identified_at for one in (source, into) if one.identified_at is not None]
    return replace(
        into,
        **adopted,
        unsubscribed_from_emails=into.unsubscribed_from_emails or source.unsubscribed_from_emails,
        custom_attributes={**source.custom_attributes, **into.custom_attributes},
        identified_at=max(signed, default=None),
        updated_at=now,
    )


def _outcomes(source: Contact, into: Contact, merged: Contact) -> tuple[FieldOutcome, ...]:
    outcomes = []
    for name in ("email", *_ADOPTED):
        theirs, own, new = (getattr(one, name) for one in (source, into, merged))
        if theirs is not None and theirs != own:
            outcomes.append(_outcome(name, theirs, own, new))
    if source.unsubscribed_from_emails and not into.unsubscribed_from_emails:
        outcomes.append(
            FieldOutcome(
                field="unsubscribed_from_emails",
                outcome=Outcome.MERGED,
                from_value=True,
                into_value=False,
                new_into_value=True,
            )
        )
    for name, theirs in source.custom_attributes.items():
        own = into.custom_attributes.get(name)
        if differ(theirs, own):
            outcomes.append(_outcome(f"custom_attributes.{name}", theirs, own, merged.custom_attributes[name]))
    return tuple(outcomes)


def _outcome(field: str, theirs: Any, own: Any, new: Any) -> FieldOutcome:
    outcome = Outcome.DISCARDED if differ(new, theirs) else Outcome.ADOPTED
    return FieldOutcome(field=field, outcome=outcome, from_value=theirs, into_value=own, new_into_value=new)
