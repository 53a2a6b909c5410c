"""The alarm for one user_id that several people seem to share (facts: intercom S9, peers C09).

Somebody hands one id to everybody: their tokens then prove many emails for it, or the same few in turn. What counts is
what tokens of this user_id wrote within the window. So neither an older token that is still valid, which writes
nothing, nor a merge of two people with an email each, whose tokens lead to one contact, looks like it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contacts.signed_values import PROVEN

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactTransaction
    from gateway.identity.principal import Principal

EMAIL_CHANGED = "email_changed"
SHARED_USER_ID = "shared_user_id"


def email_change(contact: Contact, updated: Contact, principal: Principal) -> tuple[dict[str, Any], dict[str, Any]]:
    """Before and after, as the history keeps a change of email, and by which user_id it came."""
    before = {"email": contact.email, "email_proof": contact.email_proof}
    after = {"email": updated.email, "email_proof": updated.email_proof, "user_id": principal.user_id}
    return before, after


async def looks_shared(  # noqa: PLR0913 - a change, whose it is, and what is too much of it
    transaction: ContactTransaction,
    contact: Contact,
    updated: Contact,
    principal: Principal,
    *,
    emails: int,
    since: int,
) -> bool:
    """Whether this change of a proven email is one too many since a moment, and nobody was alarmed since.

    Too many is the `emails`-th proven email of one user_id, or one that it had left behind (A, B, A).
    """
    if updated.email_proof not in PROVEN:
        return False
    alarms = await transaction.events(contact.workspace_id, contact.id, kind=SHARED_USER_ID, limit=1)
    if any(alarm.at >= since for alarm in alarms):
        return False
    changes = await transaction.events(contact.workspace_id, contact.id, kind=EMAIL_CHANGED)
    left_behind = {
        change.before["email"]
        for change in changes
        if change.at >= since
        and change.after.get("user_id") == principal.user_id
        and change.before.get("email_proof") in PROVEN
    }
    standing = {contact.email} if contact.email_proof in PROVEN else set()
    return updated.email in left_behind or len(left_behind | standing | {updated.email}) >= emails
