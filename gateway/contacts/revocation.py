"""Revocations: which tokens are refused although they verify, and what the store keeps of them.

    token       one token, by its header and payload: anybody can make a second signature of an ECDSA one, (r, n - s)
    jti         the tokens of an issuer with this id
    contact     the tokens that lead to a record, issued before a moment
    user_id     the tokens with a user_id, issued before a moment; a revoked record's own, for merges and deletions
    issuer      the tokens of an issuer, issued before a moment
    workspace   all tokens, issued before a moment

A token that does not say when it was issued counts as issued before. What is revoked is kept as a SHA-256 alone: no
list of revocations holds a token, or says who signed out. It is kept until the last token that it can concern is dead,
and for ever where that moment is unknown.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.contacts.store import ContactReader, ContactTransaction
    from gateway.identity.principal import Principal

REVOCATIONS = "revocations"
"""In place of a contact id: the workspace's revocations changed, and nothing else did."""

CLOCKS_DIFFER = 60
"""Seconds; what one node takes for dead, another one with a slower clock may still accept."""


class RevocationKind(StrEnum):
    """What a revocation goes by."""

    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    JTI = "jti"
    CONTACT = "contact"
    USER_ID = "user_id"
    ISSUER = "issuer"
    WORKSPACE = "workspace"


class Revocation(Struct, frozen=True, kw_only=True):
    """One revocation. Times are whole seconds UTC.

    `subject` says for people what it is about: the issuer's name, the contact's id. `issued_before` is None where the
    time of issue does not matter, `until` where it is kept for ever. `seq` is given by the store and grows with every
    write in the workspace. `actor` says who in words such as `logout`, `command`, `access_token:<id>`.
    """

    workspace_id: str
    kind: RevocationKind
    digest: bytes
    subject: str | None = None
    issued_before: int | None = None
    until: int | None = None
    revoked_at: int
    actor: str
    seq: int = 0

    def concerns(self, issued_at: float | None, now: float) -> bool:
        """Whether it refuses, at `now`, a token that its digest names and that was issued then."""
        return is_concerned(self.issued_before, self.until, issued_at, now)


class RevocationReader(Protocol):
    """The look-ups."""

    async def revocations_since(self, workspace_id: str, seq: int, *, limit: int) -> Sequence[Revocation]:
        """The revocations whose `seq` is greater, by their `seq`, at most `limit`.

        None is ever found later with a `seq` below one that was found: in a workspace they are written one by one.
        """

    async def find_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        """The revocations with one of these digests."""


class RevocationWriter(RevocationReader, Protocol):
    """What a transaction may do. Subscribers hear `REVOCATIONS` of what it kept."""

    async def keep_revocation(self, revocation: Revocation) -> bool:
        """Keep a revocation; False when one with its digest says as much already.

        Of two with the same digest, what refuses more stands: the later `issued_before`, the later `until`.
        """

    async def lift_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        """Take back the revocations with these digests and return them; subscribers hear `EVERYTHING`, if any stood."""

    async def forget_revocations(self, workspace_id: str, *, now: int) -> int:
        """Forget what concerns no living token any more; return how many that were."""


async def keep_revocations(transaction: ContactTransaction, revocations: Iterable[Revocation], *, now: int) -> bool:
    """Keep revocations of one workspace, and forget its dead ones; False when all of them stood already."""
    new = False
    for number, revocation in enumerate(revocations):
        if not number:
            # One writer at a time: who has read up to a `seq` has seen all that are below it.
            await transaction.lock(revocation.workspace_id, "revocations")
            await transaction.forget_revocations(revocation.workspace_id, now=now)
        new |= await transaction.keep_revocation(revocation)
    return new


def is_concerned(issued_before: int | None, until: int | None, issued_at: float | None, now: float) -> bool:
    """Whether a revocation with these bounds refuses, at `now`, a token that was issued then."""
    if until is not None and now >= until:
        return False
    return issued_before is None or issued_at is None or issued_at < issued_before


def merged(old: Revocation, new: Revocation) -> Revocation:
    """Two revocations with the same digest as one that refuses what either does."""
    early = old.issued_before is None or new.issued_before is None
    ever = old.until is None or new.until is None
    return replace(
        new,
        issued_before=None if early else max(old.issued_before or 0, new.issued_before or 0),
        until=None if ever else max(old.until or 0, new.until or 0),
        seq=old.seq,
    )


def kept_until(dead_at: float | None) -> int | None:
    """The `until` of a revocation of tokens that are dead everywhere, leeway included, at `dead_at`."""
    return None if dead_at is None else math.ceil(dead_at) + CLOCKS_DIFFER


def from_now_on(now: float) -> int:
    """The `issued_before` that catches every token of the past; what the rest of this second issues, too."""
    return int(now) + 1


def token_digest(token: bytes) -> bytes:
    """What stands for a token: header and payload as they were signed, whatever its signature is."""
    return _digest(RevocationKind.TOKEN, token.rpartition(b".")[0])


def jti_digest(issuer: str, token_id: str) -> bytes:
    """What stands for the tokens of an issuer with an id; two issuers may give the same one."""
    return _digest(RevocationKind.JTI, issuer.encode(), token_id.encode())


def contact_digest(contact_id: str) -> bytes:
    """What stands for a record."""
    return _digest(RevocationKind.CONTACT, contact_id.encode())


def user_id_digest(user_id: str) -> bytes:
    """What stands for a user_id."""
    return _digest(RevocationKind.USER_ID, user_id.encode())


def issuer_digest(issuer: str) -> bytes:
    """What stands for an issuer, by its configured name."""
    return _digest(RevocationKind.ISSUER, issuer.encode())


WORKSPACE_DIGEST = hashlib.sha256(RevocationKind.WORKSPACE.encode()).digest()
"""What stands for all tokens of the workspace."""


def digests_of(principal: Principal, token: bytes | None) -> tuple[bytes, ...]:
    """Everything that a principal can be revoked by before its contact is known; without a token for a `user_hash`."""
    tokens = () if token is None else (token_digest(token),)
    ids = () if principal.token_id is None else (jti_digest(principal.issuer, principal.token_id),)
    return (
        *tokens,
        *ids,
        user_id_digest(principal.user_id),
        issuer_digest(principal.issuer),
        WORKSPACE_DIGEST,
    )


async def contact_revocations(reader: ContactReader, template: Revocation, contact_id: str) -> Sequence[Revocation]:
    """The revocations of everybody whom a standing record answers for, made of one that lacks kind and digest.

    By their ids and by their user_ids: the one outlasts a new user_id, the other a merge, its undoing and a deletion.
    """
    made: list[Revocation] = []
    for one in (contact_id, *await reader.absorbed(template.workspace_id, contact_id)):
        made.append(replace(template, kind=RevocationKind.CONTACT, digest=contact_digest(one), subject=one))
        record = await reader.stored(template.workspace_id, one)
        if record is not None and record.external_id is not None:
            digest = user_id_digest(record.external_id)
            made.append(replace(template, kind=RevocationKind.USER_ID, digest=digest, subject=one))
    return made


def _digest(kind: RevocationKind, *parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(_prefixed((kind.encode(), *parts)))).digest()


def _prefixed(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield len(part).to_bytes(4)
        yield part
