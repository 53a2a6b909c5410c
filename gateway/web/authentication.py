"""From a token to an identity, remembered for as long as it stays true (steps 2 to 10 of the way of a request).

A verified token is remembered under a SHA-256 over length-prefixed (workspace, platform, configuration generation,
token), so that no token is kept, no two can be mistaken for each other, and what a secret of one platform verified is
not taken for verified by another one's (advisories B09, B10): its principal, never past its `exp` and never once its
issuer withdrew a key, and the identity that it resolved to, until the store says that the contact changed. While the
store cannot hear of other processes' changes, no remembered identity is used, and whether a token was revoked is asked
of the store. What a `user_hash` proves is not remembered: it costs an HMAC.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.contacts.revocation import (
    Revocation,
    RevocationKind,
    keep_revocations,
    kept_until,
    merged,
    token_digest,
)
from gateway.contacts.store import EVERYTHING
from gateway.contacts.unsigned_values import with_user_data
from gateway.errors import Code, Outage, Refusal, StoreUnusable
from gateway.identity.platforms import Platform
from gateway.identity.unverified import TOKEN_LIMIT
from gateway.identity.user_hash import takes_user_hash, verify_user_hash
from gateway.web.enforcement import Enforcement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.contacts.resolver import Identity, Resolver
    from gateway.contacts.revocation_memory import Heard
    from gateway.contacts.store import ContactStore
    from gateway.identity.principal import Principal
    from gateway.identity.user_hash import UnverifiedUserHash
    from gateway.identity.verifier import TokenVerifier
    from gateway.web.assertion import Assertion
    from gateway.web.transport import Answer
    from keys.keyset import KeySource

CAPACITY = 10_000
"""How many verified tokens, and how many changed contacts, one process remembers."""


class Authenticated:
    """An identity, and what was written for it already.

    `answers` by the path of their ending, its `headers` for upstreams, and `assertions` by their audience.
    """

    __slots__ = ("answers", "assertions", "headers", "identity")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.answers: dict[bytes, Answer] = {}
        self.assertions: dict[str, Assertion] = {}
        self.headers: bytes | None = None


class _Verified:
    """A verified token: its principal, and whom it led to when `asked` changes had been heard of.

    It was not revoked when its workspace's `revocable.heard` was `cleared`, nor its contact at that `contacts_heard`.
    Its issuer's `keys` had lost as many as `withdrawn` before one of them verified it.
    """

    __slots__ = (
        *("asked", "authenticated", "cleared", "contact_cleared", "ends_at", "keys", "principal", "revocable"),
        "withdrawn",
    )

    def __init__(self, principal: Principal, keys: KeySource, withdrawn: int, revocable: Heard) -> None:
        self.principal = principal
        self.keys = keys
        self.withdrawn = withdrawn
        self.revocable = revocable
        self.cleared = self.contact_cleared = -1
        self.ends_at = math.inf if principal.expires_at is None else principal.expires_at
        self.authenticated: Authenticated | None = None
        self.asked = 0


class _HeardChanges:
    """Which contact changed when, counted in changes; what is too long ago to be kept counts as changed for all."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._last: dict[str, int] = {}
        self._forgotten = 0
        self.count = 0

    def hear(self, _workspace: str, contact_id: str) -> None:
        """A `ChangeListener`. Ids are random, so they are told apart without their workspace."""
        self.count += 1
        self._last[contact_id] = self.count
        if contact_id == EVERYTHING or len(self._last) > self._capacity:
            self._last.clear()
            self._forgotten = self.count

    def since(self, asked: int, contact_id: str) -> bool:
        """Whether the contact may have changed after `asked` changes."""
        return asked < self._forgotten or asked < self._last.get(contact_id, 0)


class Authenticator:
    """Verifies tokens and resolves their principals; one for each process and configuration."""

    def __init__(  # noqa: PLR0913 - the parts of the pipeline, each given by the wiring
        self,
        *,
        verifier: TokenVerifier,
        resolver: Resolver,
        store: ContactStore,
        clock: Callable[[], float],
        generation: bytes,
        default_workspace: str | None = None,
        enforcement: Enforcement | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.verifier = verifier
        self.store = store
        self.default_workspace = default_workspace
        self.enforcement = enforcement or Enforcement()
        self.resolver = resolver
        self._revocations = resolver.revocations
        self.clock = clock
        self._capacity = capacity
        self._prefixes: dict[tuple[str | None, Platform | None], Any] = {
            (workspace, platform): hashlib.sha256(
                _length_prefixed(workspace.encode(), (platform or "").encode(), generation)
            )
            for workspace in verifier.workspaces
            for platform in (None, *Platform)
        }
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self.changes = _HeardChanges(capacity)
        self.is_open = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Open the store unless it is open, once however many ask; `StoreUnusable` or `Outage` when that fails.

        Remote key sets are kept current from now on; for the first keys it waits a moment, no longer.
        """
        async with self._opening:
            if not self.is_open:
                await self.store.open()
                self.store.subscribe(self.changes.hear)
                await self._revocations.open(self.verifier.workspaces)
                await asyncio.gather(*(issuer.keys.open() for issuer in self.verifier.all_issuers))
                self.enforcement.begin()
                self.is_open = True

    async def close(self) -> None:
        """Close the store and forget everything; key sets are fetched no more."""
        self.retire()
        await asyncio.gather(*(issuer.keys.close() for issuer in self.verifier.all_issuers))
        await self.enforcement.end()
        await self.store.close()
        self._opening = asyncio.Lock()  # one that was waited for belongs to its loop; the next life may have another

    def retire(self) -> None:
        """Forget everything, and leave store and keys to whoever takes this one's place; what is under way ends."""
        self.is_open = False
        self._verified.clear()
        self._revocations.close()
        self.store.unsubscribe(self.changes.hear)

    async def authenticate(
        self, token: bytes, workspace: str | None, platform: Platform | None = None
    ) -> Authenticated:
        """The identity behind a token in a workspace (None: the default one); raises `Refusal` or `Outage`."""
        # 2 to 8.
        verified = await self._verify(token, workspace, platform)
        # 9. Of a remembered token, too: whenever anything was revoked since, and always while the store is deaf.
        hears = self.store.hears_changes
        revocable = verified.revocable
        if verified.cleared != revocable.heard or not hears:
            if hears and revocable.is_empty:
                verified.cleared = revocable.heard
            else:
                await self._check_revoked(verified, token)
        # 10.
        known = verified.authenticated
        if known is not None and hears and not self.changes.since(verified.asked, known.identity.contact.id):
            return known
        if self._outside_a_task():
            await asyncio.sleep(0)
        asked, contacts_heard = self.changes.count, revocable.contacts_heard
        authenticated = await self._resolved(verified.principal)
        if authenticated.identity.as_found:
            verified.authenticated, verified.asked = authenticated, asked
            verified.contact_cleared = contacts_heard
        return authenticated

    async def authenticate_user_hash(
        self, unverified: UnverifiedUserHash, workspace: str | None, platform: Platform | None = None
    ) -> Authenticated:
        """The identity behind a `user_hash`; raises `Refusal` or `Outage`."""
        issuers = self.verifier.issuers(workspace or self.default_workspace or "")
        principal = await verify_user_hash(unverified, issuers, platform)
        if self._outside_a_task():
            await asyncio.sleep(0)
        await self._not_revoked(principal, None)
        return await self._resolved(principal)

    def takes_user_hash(self, workspace: str | None) -> bool:
        """Whether people of a workspace may be proven by `user_hash`; raises `Refusal` when there is no such one."""
        return takes_user_hash(self.verifier.issuers(workspace or self.default_workspace or ""))

    async def _resolved(self, principal: Principal) -> Authenticated:
        try:
            return Authenticated(await self.resolver.resolve(principal))
        except StoreUnusable as error:  # it was usable once: somebody changed it under our feet
            raise Outage(Code.STORE_UNAVAILABLE, str(error)) from error

    async def with_user_data(self, authenticated: Authenticated, user_data: Mapping[str, Any]) -> Authenticated:
        """The identity with what its client says unsigned, as far as that may be written; raises `Outage`.

        It is not remembered: the next request says something else, or nothing.
        """
        if self._outside_a_task():
            await asyncio.sleep(0)
        identity = authenticated.identity
        try:
            written = await with_user_data(self.store, identity, user_data, now=int(self.clock()))
        except StoreUnusable as error:
            raise Outage(Code.STORE_UNAVAILABLE, str(error)) from error
        return authenticated if written is identity else Authenticated(written)

    async def revoke(self, token: bytes, workspace: str | None, platform: Platform | None = None) -> None:
        """Revoke a token for the rest of its life; one that is revoked already stays so. Raises `Refusal` or `Outage`.

        Durable when this returns. Whose token it is does not matter: nobody's contact is looked for, or made.
        """
        verified = await self._verify(token, workspace, platform)
        if self._outside_a_task():
            await asyncio.sleep(0)
        principal, now, digest = verified.principal, int(self.clock()), token_digest(token)
        leeway = self.verifier.issuer(principal.workspace, principal.issuer).policy.leeway
        revocation = Revocation(
            workspace_id=principal.workspace,
            kind=RevocationKind.TOKEN,
            digest=digest,
            until=kept_until(None if principal.expires_at is None else principal.expires_at + leeway),
            revoked_at=now,
            actor="logout",
        )
        try:
            # What else revokes the token may be lifted, so this very revocation must stand, and for as long.
            standing = await self.store.find_revocations(principal.workspace, [digest])
            if all(merged(one, revocation).until != one.until for one in standing):
                await self.store.write(partial(keep_revocations, revocations=[revocation], now=now))
        except StoreUnusable as error:
            raise Outage(Code.STORE_UNAVAILABLE, str(error)) from error

    async def _verify(self, token: bytes, workspace: str | None, platform: Platform | None) -> _Verified:
        """Steps 2 to 8, or what is remembered of them."""
        if len(token) > TOKEN_LIMIT:
            raise Refusal(Code.TOKEN_TOO_LARGE, f"the token is longer than {TOKEN_LIMIT} bytes")
        if workspace is None:
            workspace = self.default_workspace
        prefix = self._prefixes.get((workspace, platform))
        if workspace is None or prefix is None:
            raise Refusal(Code.REQUEST_INVALID, "app_id names no workspace", field="app_id")
        hasher = prefix.copy()
        hasher.update(token)
        key = hasher.digest()

        verified = self._verified.get(key)
        if verified is None or self.clock() >= verified.ends_at or verified.withdrawn != verified.keys.withdrawn:
            withdrawn = self.verifier.withdrawn(workspace)
            principal = await self.verifier.verify(token, workspace, platform)
            verified = self._remember(key, principal, withdrawn[principal.issuer])
        return verified

    async def _check_revoked(self, verified: _Verified, token: bytes) -> None:
        """Step 9, but for what only the contact tells: its own check stands in the resolver, so ask there anew."""
        if self._outside_a_task():
            await asyncio.sleep(0)
        verified.cleared = await self._not_revoked(verified.principal, token)
        if verified.contact_cleared != verified.revocable.contacts_heard:
            verified.authenticated = None

    async def _not_revoked(self, principal: Principal, token: bytes | None) -> int:
        try:
            return await self._revocations.check_token(principal, token)
        except StoreUnusable as error:
            raise Outage(Code.STORE_UNAVAILABLE, str(error)) from error

    def _outside_a_task(self) -> bool:
        """The express lane begins us by hand; a store that waits may need a task from its first step (time-outs do)."""
        return not self.store.embedded and asyncio.current_task() is None

    def _remember(self, key: bytes, principal: Principal, withdrawn: int) -> _Verified:
        keys = self.verifier.issuer(principal.workspace, principal.issuer).keys
        revocable = self._revocations.of(principal.workspace)
        verified = self._verified[key] = _Verified(principal, keys, withdrawn, revocable)
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)
        return verified


def _length_prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)
