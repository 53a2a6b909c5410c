"""How records lie in the tables: one function each way, for both engines.

Texts are UTF-8 without NUL, since PostgreSQL keeps no other; what cannot be kept is a `ValueError`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.contacts.access_token import AccessToken, Scope
from gateway.contacts.contact import Contact, Role, State
from gateway.contacts.store import Event
from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = Sequence[Any]

COLUMNS = (
    "workspace_id",
    "id",
    "external_id",
    "role",
    "email",
    "email_proof",
    "phone",
    "name",
    "avatar",
    "owner_id",
    "language_override",
    "unsubscribed_from_emails",
    "signed_up_at",
    "last_seen_at",
    "created_at",
    "updated_at",
    "identified_at",
    "custom_attributes",
    "state",
    "merged_into",
)
INTEGER_COLUMNS = frozenset(
    {
        "unsubscribed_from_emails",
        "signed_up_at",
        "last_seen_at",
        "created_at",
        "updated_at",
        "identified_at",
        "at",
    }
)
"""The columns of contacts and of their history that hold integers; all others hold text."""

EVENT_COLUMNS = ("workspace_id", "contact_id", "kind", "actor", "at", "before", "after")
ACCESS_TOKEN_COLUMNS = ("id", "workspace_id", "name", "scopes", "created_at", "revoked_at")

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_WIDTH = len(COLUMNS)
_MERGED_INTO = COLUMNS.index("merged_into")
_SURVIVOR_ID = _WIDTH + COLUMNS.index("id")

_ROLES: dict[str, Role] = {role.value: role for role in Role}
_STATES: dict[str, State] = {state.value: state for state in State}
_PROOFS: dict[str | None, Proof | None] = {None: None, **{proof.value: proof for proof in Proof}}


def contact_of(row: Row) -> Contact:
    """The record in a row that begins with `COLUMNS`."""
    attributes = row[17]
    return Contact(
        workspace_id=row[0],
        id=row[1],
        external_id=row[2],
        role=_ROLES[row[3]],
        email=row[4],
        email_proof=_PROOFS[row[5]],
        phone=row[6],
        name=row[7],
        avatar=row[8],
        owner_id=row[9],
        language_override=row[10],
        unsubscribed_from_emails=row[11] != 0,
        signed_up_at=row[12],
        last_seen_at=row[13],
        created_at=row[14],
        updated_at=row[15],
        identified_at=row[16],
        custom_attributes={} if attributes == "{}" else msgspec.json.decode(attributes),
        state=_STATES[row[18]],
        merged_into=row[19],
    )


def answer_of(rows: Sequence[Row]) -> Contact | None:
    """Who answers: the record of the one row, or the survivor of its merges, which stands beside it."""
    if not rows:
        return None
    row = rows[0]
    if row[_MERGED_INTO] is None:
        return contact_of(row)
    return contact_of(row[_WIDTH:]) if row[_SURVIVOR_ID] is not None else None


def row_of(contact: Contact) -> tuple[Any, ...]:
    """The row of a record, in the order of `COLUMNS`.

    `ValueError` for what no engine could keep, and for a state and a `merged_into` that contradict each other.
    """
    if (contact.state is State.MERGED) != (contact.merged_into is not None):
        raise ValueError("a record is merged exactly when it names its survivor")
    row = (
        contact.workspace_id,
        contact.id,
        contact.external_id,
        contact.role.value,
        contact.email,
        contact.email_proof.value if contact.email_proof else None,
        contact.phone,
        contact.name,
        contact.avatar,
        contact.owner_id,
        contact.language_override,
        int(contact.unsubscribed_from_emails),
        contact.signed_up_at,
        contact.last_seen_at,
        contact.created_at,
        contact.updated_at,
        contact.identified_at,
        _json_of(contact.custom_attributes),
        contact.state.value,
        contact.merged_into,
    )
    check_storable(row)
    return row


def check_storable(values: Sequence[object]) -> None:
    """`ValueError` for a text with NUL or half of a surrogate pair, or an integer beyond 64 bits."""
    text = "".join([value for value in values if isinstance(value, str)])  # one look at all of them
    if "\0" in text:
        raise ValueError("a text with NUL cannot be kept")
    if not text.isascii():
        text.encode()  # UnicodeEncodeError is a ValueError
    for value in values:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("an integer beyond 64 bits cannot be kept")


def event_of(row: Row) -> Event:
    """The line of history in a row of `EVENT_COLUMNS`."""
    return Event(
        workspace_id=row[0],
        contact_id=row[1],
        kind=row[2],
        actor=row[3],
        at=row[4],
        before=msgspec.json.decode(row[5]),
        after=msgspec.json.decode(row[6]),
    )


def row_of_event(event: Event) -> tuple[Any, ...]:
    """The row of a line of history, in the order of `EVENT_COLUMNS`; `ValueError` as `row_of`."""
    who = (event.workspace_id, event.contact_id, event.kind, event.actor, event.at)
    row = (*who, _json_of(event.before), _json_of(event.after))
    check_storable(row)
    return row


def access_token_of(row: Row) -> AccessToken:
    """The access token in a row of `ACCESS_TOKEN_COLUMNS`."""
    return AccessToken(
        id=row[0],
        workspace_id=row[1],
        name=row[2],
        scopes=frozenset(Scope(scope) for scope in row[3].split()),
        created_at=row[4],
        revoked_at=row[5],
    )


def row_of_access_token(token: AccessToken) -> tuple[Any, ...]:
    """The row of an access token, in the order of `ACCESS_TOKEN_COLUMNS`; `ValueError` as `row_of`."""
    scopes = " ".join(sorted(token.scopes))
    row = (token.id, token.workspace_id, token.name, scopes, token.created_at, token.revoked_at)
    check_storable(row)
    return row


def _json_of(values: dict[str, Any]) -> str:
    """Compact JSON. The standard library's, since msgspec would keep NaN as null; NaN is a ValueError here."""
    return _ENCODER.encode(values) if values else "{}"
