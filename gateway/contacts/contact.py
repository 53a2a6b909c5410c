"""A contact: a person's record.

`id` is ours: 24 lower-case hex digits, minted once, never changed (facts: Intercom 2.1, S1, S2). `external_id`
is the customer's own key, in tokens, CSV and visitors called `user_id`; it can be set and corrected.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.identity.principal import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTACT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


class Role(StrEnum):
    """What a contact is to the workspace; a lead can become a user, never the other way round."""

    USER = "user"
    LEAD = "lead"


class State(StrEnum):
    """Where a record is in its life. Every state but `LIVE` keeps its identifiers reserved."""

    LIVE = "live"
    ARCHIVED = "archived"
    BLOCKED = "blocked"
    MERGED = "merged"


class Contact(Struct, frozen=True, kw_only=True):
    """One record as the store keeps it. Times are whole seconds UTC; `email` is in its compared spelling.

    `identified_at` is the `iat` of the token whose signed values were written last: an older token that is still
    valid does not bring old values back.
    """

    workspace_id: str
    id: str
    external_id: str | None = None
    role: Role
    email: str | None = None
    email_proof: Proof | None = None
    phone: str | None = None
    name: str | None = None
    avatar: str | None = None
    owner_id: str | None = None
    language_override: str | None = None
    unsubscribed_from_emails: bool = False
    signed_up_at: int | None = None
    last_seen_at: int | None = None
    created_at: int
    updated_at: int
    identified_at: int | None = None
    custom_attributes: dict[str, Any] = {}
    state: State = State.LIVE
    merged_into: str | None = None


def mint_contact_id(now: float, random_bytes: Callable[[int], bytes]) -> str:
    """Make a new contact id: 8 hex digits of creation seconds, 16 of randomness (`os.urandom` in production)."""
    return f"{int(now) & 0xFFFFFFFF:08x}{random_bytes(8).hex()}"


def is_contact_id(text: str) -> bool:
    """Say whether a text has the shape of a contact id; whether such a record stands is the store's to say."""
    return _CONTACT_ID.fullmatch(text) is not None
