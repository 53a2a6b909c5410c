"""What a client says of itself at a login, unsigned: `user_data` (facts: Intercom 1.2, 1.7, design section 6).

Whoever holds a token can write anything here, and so can a script that runs on their page. So it writes only

* custom attributes that the workspace declared `messenger_writable`, in their declared type; `""` clears one;
* the standard attributes marked so, and those only where they are blank: what a token signed or an operator imported
  is never overwritten by what nobody proved.

Names stand at the top level, as the Messenger's settings have them, or in `custom_attributes`, as its mobile SDKs send
them. Protected and unknown names, and values that do not fit, are ignored without a word. What the token of the same
login signs stands, whatever is said beside it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict, replace

from gateway.contacts.attributes import Catalogue, checked_text, spelled_name
from gateway.contacts.contact import Contact, State
from gateway.contacts.editing import changed_fields
from gateway.contacts.signed_values import differ
from gateway.contacts.standard_attributes import STANDARD_ATTRIBUTES, STANDARD_NAMES
from gateway.contacts.store import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contacts.resolver import Identity
    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.principal import Principal

_FILLED = tuple(attribute.name for attribute in STANDARD_ATTRIBUTES if attribute.messenger_writable)
_NEVER_CUSTOM = STANDARD_NAMES | {"user_id", "user_hash", "custom_attributes"}
"""What these say at the top level is who somebody is, even where a custom attribute is called the same."""


async def with_user_data(
    store: ContactStore, identity: Identity, user_data: Mapping[str, Any], *, now: int
) -> Identity:
    """The identity with what `user_data` may write, written; the very same object when that is nothing.

    Raises `Outage`.
    """
    known, principal = identity.contact, identity.principal
    declared = await store.data_attributes(known.workspace_id) if _custom_values(user_data) else ()
    catalogue = Catalogue(declared)
    if with_unsigned_values(known, user_data, principal, catalogue) is known:
        return identity

    async def write(transaction: ContactTransaction) -> Contact:
        standing = await transaction.find(known.workspace_id, known.id)
        if standing is None or standing.id != known.id or standing.state is not State.LIVE:
            return known  # it went while we looked, and nothing unsigned brings it back
        updated = with_unsigned_values(standing, user_data, principal, catalogue)
        if updated is standing:
            return standing
        updated = replace(updated, updated_at=now)
        await transaction.update(updated)
        await transaction.record(
            Event(
                workspace_id=updated.workspace_id,
                contact_id=updated.id,
                kind="updated",
                actor=f"user_data:{principal.issuer}",
                at=now,
                before=changed_fields(asdict(updated), standing),
                after=changed_fields(asdict(standing), updated),
            )
        )
        return updated

    return replace(identity, contact=await store.write(write))


def with_unsigned_values(
    contact: Contact, user_data: Mapping[str, Any], principal: Principal, catalogue: Catalogue
) -> Contact:
    """The contact as the client says, as far as it may; the very same object when nothing is to be written."""
    changes = _filled(contact, user_data, principal)
    custom = _custom_attributes(contact, user_data, principal, catalogue)
    if custom is not None:
        changes["custom_attributes"] = custom
    return replace(contact, **changes) if changes else contact


def _filled(contact: Contact, user_data: Mapping[str, Any], principal: Principal) -> dict[str, Any]:
    """The standard attributes that are blank and may be filled in."""
    filled = {}
    for name in _FILLED:
        if name in user_data and name not in principal.attributes and getattr(contact, name) is None:
            with contextlib.suppress(ValueError):
                filled[name] = checked_text(user_data[name])
    return filled


def _custom_attributes(
    contact: Contact, user_data: Mapping[str, Any], principal: Principal, catalogue: Catalogue
) -> dict[str, Any] | None:
    """The contact's custom attributes with those that may be written; None when nothing changes."""
    custom = dict(contact.custom_attributes)
    changed = False
    for name, value in _custom_values(user_data).items():
        attribute = catalogue.get(name)
        if attribute is None or attribute.archived or not attribute.messenger_writable:
            continue
        if name in principal.custom_attributes:
            continue
        if value == "":
            changed |= custom.pop(name, None) is not None
            continue
        with contextlib.suppress(ValueError):
            typed = attribute.typed(value)
            if differ(custom.get(name, msgspec.UNSET), typed):
                custom[name], changed = typed, True
    return custom if changed else None


def _custom_values(user_data: Mapping[str, Any]) -> dict[str, Any]:
    """What may be meant for custom attributes, by the names that they would be declared with."""
    nested = user_data.get("custom_attributes")
    values = {name: value for name, value in user_data.items() if name not in _NEVER_CUSTOM}
    if isinstance(nested, dict):
        values |= nested
    return {spelled_name(name): value for name, value in values.items()}
