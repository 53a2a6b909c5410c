"""Would somebody who was let in be let in again? Asked over and over, cheaply, and nothing is written.

A connection that stands is no visit: its question makes no contact, restores no archived one and writes none of the
token's values, or two tokens of one person that sign different names would overwrite each other's for ever. So the ways
that a login settles end a connection here: of whom nothing is found any more, or whose record was archived, the next
request decides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.errors import Code, Outage, Refusal, StoreUnusable

if TYPE_CHECKING:
    from gateway.identity.platforms import Platform
    from gateway.identity.principal import Principal
    from gateway.web.authentication import Authenticator


class Standing:
    """One who was let in by a token as one contact, under one configuration.

    Each of the three questions (is the token good, is it revoked, whose is it) is asked again only when something was
    heard since that may change its answer, or when its time is over; while the store is deaf, always.
    """

    __slots__ = (
        *("_asked", "_authenticator", "_cleared", "_contact_cleared", "_contact_id", "_platform", "_principal"),
        *("_token", "_until", "_withdrawn", "_workspace"),
    )

    def __init__(
        self, authenticator: Authenticator, token: bytes, workspace: str, platform: Platform | None, contact_id: str
    ) -> None:
        self._authenticator = authenticator
        self._token = token
        self._workspace = workspace
        self._platform = platform
        self._contact_id = contact_id
        self._principal: Principal | None = None
        self._until = -math.inf
        self._withdrawn = self._cleared = self._contact_cleared = self._asked = -1

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing to ask; it costs no waiting."""
        principal = self._principal
        return principal is not None and self._is_good(principal) and self._is_cleared and self._is_found

    async def ask(self) -> None:
        """Raise the `Refusal` that a request would meet now, or `Outage` where that cannot be told."""
        principal = self._principal
        if principal is None or not self._is_good(principal):
            principal = await self._verify()
        try:
            if not self._is_cleared:
                self._cleared = await self._authenticator.resolver.revocations.check_token(principal, self._token)
            if not self._is_found:
                await self._find(principal)
        except StoreUnusable as error:
            raise Outage(Code.STORE_UNAVAILABLE, str(error)) from error

    def _is_good(self, principal: Principal) -> bool:
        keys = self._authenticator.verifier.issuer(principal.workspace, principal.issuer).keys
        return self._withdrawn == keys.withdrawn and self._authenticator.clock() < self._until

    @property
    def _is_cleared(self) -> bool:
        revocable = self._authenticator.resolver.revocations.of(self._workspace)
        return self._authenticator.store.hears_changes and self._cleared == revocable.heard

    @property
    def _is_found(self) -> bool:
        revocable = self._authenticator.resolver.revocations.of(self._workspace)
        return (
            self._authenticator.store.hears_changes
            and self._contact_cleared == revocable.contacts_heard
            and not self._authenticator.changes.since(self._asked, self._contact_id)
        )

    async def _verify(self) -> Principal:
        """Steps 2 to 8; remembered until the leeway behind `exp` is over, for nobody comes in."""
        verifier = self._authenticator.verifier
        withdrawn = verifier.withdrawn(self._workspace)
        principal = await verifier.verify(self._token, self._workspace, self._platform)
        issuer = verifier.issuer(principal.workspace, principal.issuer)
        self._withdrawn = withdrawn[principal.issuer]
        ends_at = principal.expires_at
        self._until = math.inf if ends_at is None else ends_at + issuer.policy.leeway
        self._principal = principal
        return principal

    async def _find(self, principal: Principal) -> None:
        """Steps 9 and 10, as far as the contact tells."""
        resolver = self._authenticator.resolver
        asked, contacts_heard = (
            self._authenticator.changes.count,
            resolver.revocations.of(self._workspace).contacts_heard,
        )
        contact = await resolver.find(principal)
        if contact.id != self._contact_id:
            raise Refusal(Code.IDENTITY_CONFLICT, "the token leads to another contact now")
        self._asked, self._contact_cleared = asked, contacts_heard
