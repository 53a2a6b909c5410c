"""A group of the duplicates report, as the API and the command tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contacts.merging.duplicates import WORDS

if TYPE_CHECKING:
    from gateway.contacts.contact import Contact
    from gateway.contacts.merging.duplicates import DuplicateGroup


def group_json(group: DuplicateGroup) -> dict[str, Any]:
    """`{type, id, kind, key, total_count, flagged_at, contacts, proposal, doubt}`; times in seconds UTC.

    `proposal` is null where there is none, and `doubt` says why; else each contact tells why it needs somebody's word.
    """
    proposal = group.proposal
    return {
        "type": "duplicate_group",
        "id": group.id,
        "kind": group.kind,
        "key": group.key,
        "total_count": group.total,
        "flagged_at": group.flagged_at,
        "contacts": [_contact_json(contact, group) for contact in group.contacts],
        "proposal": proposal
        and {"into": proposal.into, "because": proposal.because, "message": WORDS[proposal.because]},
        "doubt": group.doubt and {"code": group.doubt, "message": WORDS[group.doubt]},
    }


def _contact_json(contact: Contact, group: DuplicateGroup) -> dict[str, Any]:
    doubt = group.proposal.doubts.get(contact.id) if group.proposal else None
    return {
        "type": "contact",
        "id": contact.id,
        "external_id": contact.external_id,
        "role": contact.role,
        "email": contact.email,
        "email_proof": contact.email_proof,
        "phone": contact.phone,
        "name": contact.name,
        "created_at": contact.created_at,
        "last_seen_at": contact.last_seen_at,
        "doubt": doubt and {"code": doubt, "message": WORDS[doubt]},
    }
