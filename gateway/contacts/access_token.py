"""Access tokens of the admin listener: created once, shown once, kept as a SHA-256 digest.

The secret has 256 bits of randomness, so a plain hash is enough: there is nothing to guess from.
"""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "gwa_"


class Scope(StrEnum):
    """What an access token allows."""

    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"


class AccessToken(Struct, frozen=True, kw_only=True):
    """What is known of an access token afterwards; its secret is not part of it."""

    id: str
    workspace_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    revoked_at: int | None = None


def mint_access_token_secret(random_bytes: Callable[[int], bytes]) -> str:
    """Make the text that the client will present; `gwa_` lets secret scanners recognise it."""
    return PREFIX + base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"=").decode()


def digest_of(secret: str) -> bytes:
    """The 32 bytes under which the store keeps a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
