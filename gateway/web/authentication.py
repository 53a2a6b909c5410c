"""From a token to an identity, remembered for as long as it stays true (steps 2 to 10 of the way of a request).

Two things are remembered, both under a SHA-256 over length-prefixed (workspace, configuration generation, token), so
that no token is kept and no two can be mistaken for each other (advisories B09, B10): the principal of a verified token,
never past its `exp`, and the identity that it resolved to, until the store says that the contact changed. While the
store cannot hear of other processes' changes, no identity is remembered.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, TypeVar

from gateway.contacts.store import EVERYTHING
from gateway.errors import Code, Refusal
from gateway.identity.unverified import TOKEN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contacts.resolver import Identity, Resolver
    from gateway.contacts.store import ContactStore
    from gateway.identity.principal import Principal
    from gateway.identity.verifier import TokenVerifier
    from gateway.web.transport import Answer

T = TypeVar("T")

CAPACITY = 10_000
"""How many verified tokens, and how many identities, one process remembers."""


class Authenticated:
    """An identity and the answers already written for it, by the path of their ending."""

    __slots__ = ("answers", "identity")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.answers: dict[bytes, Answer] = {}


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
        capacity: int = CAPACITY,
    ) -> None:
        self.verifier = verifier
        self.store = store
        self.default_workspace = default_workspace
        self._resolver = resolver
        self._clock = clock
        self._capacity = capacity
        self._prefixes = {
            workspace: hashlib.sha256(_length_prefixed(workspace.encode(), generation))
            for workspace in verifier.workspaces
        }
        self._principals: dict[bytes, Principal] = {}
        self._identities: dict[bytes, Authenticated] = {}
        self._keys_of: dict[tuple[str, str], set[bytes]] = {}
        self._changes = 0
        self.is_open = False
        store.subscribe(self._contact_changed)

    async def open(self) -> None:
        """Open the store; `StoreUnusable` or `Outage` when it cannot be used."""
        await self.store.open()
        self.is_open = True

    async def close(self) -> None:
        """Close the store and forget everything."""
        self.is_open = False
        self._principals.clear()
        self._contact_changed("", EVERYTHING)
        await self.store.close()

    async def authenticate(self, token: bytes, workspace: str | None) -> Authenticated:
        """The identity behind a token in a workspace (None: the default one); raises `Refusal` or `Outage`."""
        if len(token) > TOKEN_LIMIT:
            raise Refusal(Code.TOKEN_TOO_LARGE, f"the token is longer than {TOKEN_LIMIT} bytes")
        workspace = workspace or self.default_workspace
        prefix = self._prefixes.get(workspace or "")
        if workspace is None or prefix is None:
            raise Refusal(Code.REQUEST_INVALID, "app_id names no workspace", field="app_id")
        hasher = prefix.copy()
        hasher.update(token)
        key = hasher.digest()

        known = self._identities.get(key)
        if known is not None and self.store.hears_changes and self._clock() < _end_of(known.identity.principal):
            return known

        principal = self._principals.get(key)
        if principal is None or self._clock() >= _end_of(principal):
            principal = self.verifier.verify(token, workspace)
            _remember(self._principals, key, principal, self._capacity)

        changes = self._changes
        authenticated = Authenticated(await self._resolver.resolve(principal))
        if authenticated.identity.as_found and self.store.hears_changes and changes == self._changes:
            self._keep(key, authenticated)
        return authenticated

    def _keep(self, key: bytes, authenticated: Authenticated) -> None:
        forgotten = _remember(self._identities, key, authenticated, self._capacity)
        if forgotten is not None:
            old_key, old = forgotten
            self._keys_of.get(_name_of(old.identity), set()).discard(old_key)
            if not self._keys_of.get(_name_of(old.identity), True):
                del self._keys_of[_name_of(old.identity)]
        self._keys_of.setdefault(_name_of(authenticated.identity), set()).add(key)

    def _contact_changed(self, workspace: str, contact_id: str) -> None:
        self._changes += 1
        if contact_id == EVERYTHING:
            self._identities.clear()
            self._keys_of.clear()
            return
        for key in self._keys_of.pop((workspace, contact_id), ()):
            self._identities.pop(key, None)


def _remember(memory: dict[bytes, T], key: bytes, value: T, capacity: int) -> tuple[bytes, T] | None:
    """Keep a value, letting go of the oldest one when the memory is full; return what was let go."""
    forgotten = None
    if key not in memory and len(memory) >= capacity:
        oldest = next(iter(memory))
        forgotten = oldest, memory.pop(oldest)
    memory[key] = value
    return forgotten


def _name_of(identity: Identity) -> tuple[str, str]:
    return identity.contact.workspace_id, identity.contact.id


def _end_of(principal: Principal) -> float:
    return math.inf if principal.expires_at is None else principal.expires_at


def _length_prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)
