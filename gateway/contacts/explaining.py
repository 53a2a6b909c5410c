"""What an explanation of a token finds out: every check of the gateway, and the contact, without changing anything.

The contact comes from the resolver itself, whose transaction is undone at its end: a rehearsal cannot differ from
a login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from gateway.contacts.resolver import MatchedBy
from gateway.errors import Code, Outage, Refusal, StoreUnusable
from gateway.identity.inspection import Check, inspect_token
from gateway.identity.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.contacts.resolver import Identity
    from gateway.contacts.store import ContactStore, ContactTransaction, T, Work
    from gateway.identity.verifier import TokenVerifier

    Resolve = Callable[[Principal], Awaitable[Identity]]


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


async def explain(
    token: bytes, workspace: str, verifier: TokenVerifier, resolve: Resolve | None, *, now: float
) -> Explained:
    """Explain a token as presented to a workspace at `now` (seconds).

    `resolve` is a resolver's, over a `RehearsedStore`; without it nobody's contact is looked for.
    """
    inspection = await inspect_token(token, workspace, verifier, now)
    principal, code = inspection.principal, inspection.code
    if principal is None or code is not None or resolve is None:
        return Explained(checks=inspection.checks, principal=principal, code=code)
    try:
        identity = await resolve(principal)
    except Refusal as error:
        contact = f"none: {error.reason}"
        return Explained(checks=inspection.checks, principal=principal, contact=contact, code=error.code)
    except (Outage, StoreUnusable) as error:
        contact = f"not known, for the store cannot be asked: {error}"
        return Explained(checks=inspection.checks, principal=principal, contact=contact)
    return Explained(
        checks=inspection.checks,
        principal=principal,
        contact=_why(identity),
        contact_id=None if identity.created else identity.contact.id,
    )


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
