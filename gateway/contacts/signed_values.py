"""What a token says of a contact, and when that is written.

* Values that differ are written, and `identified_at` becomes the token's `iat`. A token that says what stands already
  writes nothing, not even that: a login costs a write only when a value changes.
* A token older than `identified_at` writes nothing: while it is still valid, it does not bring old values back. Of two
  from the same second neither is older. The price of the line above: a newer token that said what stood already was
  not remembered, so one from between the two may still write, and the next presentation of the newest puts it right.
* A token without `iat` has no place in that order. It is taken as it comes, as a fresh one would have to be, and leaves
  `identified_at` as it is, so that a dated token can put right what it wrote.
* An email that the token only claims fills a blank or replaces another claim: it never overwrites a proven one (C01).
  One that a `user_hash` proves never overwrites one that a token signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact
    from gateway.identity.principal import Principal

PROVEN = frozenset({Proof.SIGNED, Proof.HASHED, Proof.IMPORTED})
"""The proofs with which an email that stands on a record may lead to that person."""

_STRENGTHS: dict[Proof | None, int] = {None: 0, Proof.CLAIMED: 1, Proof.IMPORTED: 2, Proof.HASHED: 3, Proof.SIGNED: 4}


def with_signed_values(contact: Contact, principal: Principal) -> Contact:
    """The contact as the token says; the very same object when nothing is to be written."""
    issued_at = principal.issued_at
    if issued_at is not None and contact.identified_at is not None and issued_at < contact.identified_at:
        return contact
    changes = {name: value for name, value in principal.attributes.items() if getattr(contact, name) != value}
    if principal.email is not None and (
        contact.email is None or _STRENGTHS[principal.email_proof] >= _STRENGTHS[contact.email_proof]
    ):
        if contact.email != principal.email:
            changes["email"] = principal.email
        if contact.email_proof is not principal.email_proof:
            changes["email_proof"] = principal.email_proof
    custom = contact.custom_attributes
    if any(differ(custom.get(name, msgspec.UNSET), value) for name, value in principal.custom_attributes.items()):
        changes["custom_attributes"] = {**custom, **principal.custom_attributes}
    if not changes:
        return contact
    if issued_at is not None:
        changes["identified_at"] = int(issued_at)
    return replace(contact, **changes)


def differ(one: Any, other: Any) -> bool:
    """Whether two JSON values differ; to Python alone, `true` and 1 are one."""
    return type(one) is not type(other) or one != other
