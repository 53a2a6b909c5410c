"""What an explanation of a token finds out: every check of the gateway, and the contact, without changing anything.

The contact comes from the resolver itself, whose transaction is undone at its end: a rehearsal cannot differ from
a login.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from gateway.contacts.resolver import MatchedBy
from gateway.errors import Code, Outage, Refusal, StoreUnusable
from gateway.identity.inspection import Check, Outcome, inspect_token
from gateway.identity.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.contacts.resolver import Identity, Resolver
    from gateway.contacts.store import ContactStore, ContactTransaction, T, Work
    from gateway.identity.platforms import Platform
    from gateway.identity.verifier import TokenVerifier

    Resolve = Callable[[Principal, bytes], Awaitable[Identity]]


class Explained(Struct, frozen=True, kw_only=True):
    """An explanation: the checks, who the token says it is, the contact in a sentence, and the code when refused."""

    checks: tuple[Check, ...]
    principal: Principal | None
    contact: str | None = None
    contact_id: str | None = None
    code: Code | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {"accepted": self.code is None, **plain}


async def explain(  # noqa: PLR0913 - where and when a token is presented, and what judges it
    token: bytes,
    workspace: str,
    verifier: TokenVerifier,
    resolve: Resolve | None,
    *,
    now: float,
    platform: Platform | None = None,
) -> Explained:
    """Explain a token as presented to a workspace, from a platform, at `now` (seconds).

    `resolve` is `rehearse` with a resolver over a `RehearsedStore`; without it nobody's contact is looked for, nor
    whether anything was revoked.
    """
    inspection = await inspect_token(token, workspace, verifier, now, platform)
    principal, code = inspection.principal, inspection.code
    if resolve is None:
        return Explained(checks=inspection.checks, principal=principal, code=code)
    told = partial(Explained, principal=principal)
    if principal is None or code is not None:
        return told(checks=(*inspection.checks, _revocation(Outcome.NOT_PERFORMED)), code=code)
    passed = (*inspection.checks, _revocation(Outcome.PASSED, "neither the token, nor its person's or issuer's"))
    try:
        identity = await resolve(principal, token)
    except Refusal as error:
        contact = f"none: {error.reason}"
        if error.code is Code.TOKEN_REVOKED:
            failed = _revocation(Outcome.FAILED, error.reason, error.code)
            return told(checks=(*inspection.checks, failed), contact=contact, code=error.code)
        return told(checks=passed, contact=contact, code=error.code)
    except (Outage, StoreUnusable) as error:
        contact = f"not known, for the store cannot be asked: {error}"
        return told(checks=(*inspection.checks, _revocation(Outcome.NOT_PERFORMED)), contact=contact)
    return told(checks=passed, contact=_why(identity), contact_id=None if identity.created else identity.contact.id)


async def rehearse(resolver: Resolver, principal: Principal, token: bytes) -> Identity:
    """Steps 9 and 10 of a login, over a resolver whose store is rehearsed; raises `Refusal` or `Outage`."""
    await resolver.revocations.check_token(principal, token)
    return await resolver.resolve(principal)


def _revocation(outcome: Outcome, found: str = "", code: Code | None = None) -> Check:
    """Step 9, as the checks before it are told."""
    return Check(9, "revocation", outcome, "nothing that was revoked", found, code)


class RehearsedStore:
    """A store whose writes happen, are seen by their own transaction, and are undone at its end."""

    def __init__(self, store: ContactStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """Everything else, which is reading, is the store's own."""
        return getattr(self._store, name)

    async def write(self, work: Work[T]) -> T:
        """Run work as `ContactStore.write` does, and keep nothing of it."""

        async def undone(transaction: ContactTransaction) -> None:
            raise _Undone(await work(transaction))

        try:
            await self._store.write(undone)
        except _Undone as done:
            result: T = done.result
            return result
        raise AssertionError("the work was kept")


class _Undone(Exception):
    """Carries a result out of a transaction that is undone."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def _why(identity: Identity) -> str:
    contact, user_id = identity.contact, identity.principal.user_id
    if identity.created:
        return f"a new one: nobody has the user_id {user_id}"
    if identity.linked:
        return f"{contact.id}, to be linked: it has the proven email {contact.email}, and gets the user_id {user_id}"
    if identity.matched_by is MatchedBy.EMAIL:
        return f"{contact.id}, by its email {contact.email}"
    return f"{contact.id}, by its user_id {user_id}"
