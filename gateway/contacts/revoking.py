"""What an operator revokes: one token, an id, a person's tokens, or everything that was issued before a moment.

How long a revocation is kept follows from how long the tokens that it concerns can live: `lifetimes` says for each
issuer of the workspace, by name, within how many seconds of its issue a token is dead, leeway included; None says that
nobody knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gateway.contacts.contact import is_contact_id
from gateway.contacts.revocation import (
    CLOCKS_DIFFER,
    WORKSPACE_DIGEST,
    Revocation,
    RevocationKind,
    contact_revocations,
    issuer_digest,
    jti_digest,
    keep_revocations,
    kept_until,
    token_digest,
)
from gateway.identity.claims import check_exp, check_iat, check_session, ends_at
from gateway.identity.unverified import parse_token
from gateway.identity.verifier import choose_issuer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactReader, ContactTransaction
    from gateway.identity.issuer import TrustedIssuer

_PAGE = 1000


class Revoker:
    """Revokes in one transaction and workspace; each step returns what stands now for what was asked.

    With `lift` each step takes back what it would else revoke, whenever that was, and returns what stood.
    """

    def __init__(  # noqa: PLR0913 - where, for how long, who, when, and which way
        self,
        transaction: ContactTransaction,
        workspace: str,
        lifetimes: Mapping[str, int | None],
        *,
        actor: str,
        now: float,
        lift: bool = False,
    ) -> None:
        self._transaction = transaction
        self._lifetimes = lifetimes
        self._now = now
        self._lift = lift
        self._blank = Revocation(
            workspace_id=workspace, kind=RevocationKind.TOKEN, digest=b"", revoked_at=int(now), actor=actor
        )

    async def token(self, token: bytes, issuers: Sequence[TrustedIssuer]) -> Sequence[Revocation]:
        """One token, whether its signature can be checked now or not: only this very token is concerned.

        Raises `Refusal` for what is no token of these issuers, or is dead already.
        """
        unverified = parse_token(token)
        issuer = choose_issuer(unverified, issuers)
        claims, policy = unverified.unverified_claims, issuer.policy
        check_exp(claims, policy, self._now)
        check_iat(claims, policy, self._now)
        check_session(claims, policy, self._now)
        end = ends_at(claims, policy)
        until = kept_until(None if end is None else end + policy.leeway)
        return await self._keep(RevocationKind.TOKEN, token_digest(token), subject=issuer.name, until=until)

    async def jti(self, issuer: str, token_id: str) -> Sequence[Revocation]:
        """The tokens of an issuer with an id, whatever else they say."""
        until = self._until([issuer], self._now)
        return await self._keep(RevocationKind.JTI, jti_digest(issuer, token_id), subject=issuer, until=until)

    async def contact(self, contact: Contact, moment: int) -> Sequence[Revocation]:
        """Everything issued before a moment for a record that stands."""
        until = self._until(self._lifetimes, moment)
        template = replace(self._blank, issued_before=moment, until=until)
        made = await contact_revocations(self._transaction, template, contact.id)
        return await self._stand(made)

    async def issued_before(self, moment: int, issuer: str | None = None) -> Sequence[Revocation]:
        """Everything that an issuer, or anybody, issued before a moment."""
        until = self._until(self._lifetimes if issuer is None else [issuer], moment)
        kind = RevocationKind.WORKSPACE if issuer is None else RevocationKind.ISSUER
        digest = WORKSPACE_DIGEST if issuer is None else issuer_digest(issuer)
        return await self._keep(kind, digest, subject=issuer, issued_before=moment, until=until)

    def _until(self, issuers: Iterable[str], moment: float) -> int | None:
        """When the last token that these issued before a moment, or until now, is dead."""
        lifetimes = [self._lifetimes[name] for name in issuers]
        known = [lifetime for lifetime in lifetimes if lifetime is not None]
        return kept_until(max(moment, self._now) + max(known)) if len(known) == len(lifetimes) else None

    async def _keep(
        self,
        kind: RevocationKind,
        digest: bytes,
        *,
        subject: str | None,
        until: int | None,
        issued_before: int | None = None,
    ) -> Sequence[Revocation]:
        made = replace(self._blank, kind=kind, digest=digest, subject=subject, until=until, issued_before=issued_before)
        return await self._stand([made])

    async def _stand(self, made: Sequence[Revocation]) -> Sequence[Revocation]:
        workspace, digests = self._blank.workspace_id, [one.digest for one in made]
        if self._lift:
            return told(await self._transaction.lift_revocations(workspace, digests))
        await keep_revocations(self._transaction, made, now=int(self._now))
        return told(await self._transaction.find_revocations(workspace, digests))


async def live_page(
    reader: ContactReader, workspace: str, *, after: int, limit: int, now: float
) -> tuple[Sequence[Revocation], int | None]:
    """What is revoked in a workspace at `now`, oldest first, from behind a `seq`; and the `seq` where the next begins.

    A page may hold fewer than `limit`, for what is dead and of a person's revocation all but the record is left out.
    """
    page = await reader.revocations_since(workspace, after, limit=limit)
    living = [one for one in page if one.until is None or now < one.until]
    return told(living), page[-1].seq if len(page) == limit else None


async def live_revocations(reader: ContactReader, workspace: str, now: float) -> Sequence[Revocation]:
    """All pages of `live_page`."""
    found: list[Revocation] = []
    after: int | None = 0
    while after is not None:
        page, after = await live_page(reader, workspace, after=after, limit=_PAGE, now=now)
        found += page
    return found


async def person_of(reader: ContactReader, workspace: str, identifier: str) -> Contact | None:
    """The record that answers for a contact id or a user_id today."""
    found = await reader.find(workspace, identifier) if is_contact_id(identifier) else None
    return found or await reader.find_by_external_id(workspace, identifier)


def is_past(moment: int, now: float) -> bool:
    """Whether before a moment something can have been issued; one in milliseconds would lock everybody out."""
    return 0 <= moment <= now + CLOCKS_DIFFER


def plain(revocation: Revocation) -> dict[str, Any]:
    """A revocation as people and programs are told of it: without its digest."""
    return {
        "kind": revocation.kind.value,
        "subject": revocation.subject,
        "issued_before": revocation.issued_before,
        "revoked_at": revocation.revoked_at,
        "until": revocation.until,
        "actor": revocation.actor,
    }


def told(revocations: Iterable[Revocation]) -> Sequence[Revocation]:
    """Without those by user_id, which only repeat what the record's own says."""
    return [one for one in revocations if one.kind is not RevocationKind.USER_ID]


def lifetimes_of(issuers: Iterable[TrustedIssuer]) -> dict[str, int | None]:
    """Within how many seconds of its issue every token of each issuer is dead everywhere; None where nobody knows.

    A `user_hash` never dies, so where an issuer's secrets serve that, too, nobody knows.
    """
    return {
        issuer.name: None
        if issuer.user_hash or issuer.policy.longest_life is None
        else issuer.policy.longest_life + issuer.policy.leeway
        for issuer in issuers
    }
