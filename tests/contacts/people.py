"""Principals, resolvers and what they leave behind, for the tests of logins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.resolver import ResolutionPolicy, Resolver
from gateway.errors import Code, Refusal
from gateway.identity.principal import Principal, Proof
from tests.contacts import records
from tests.contacts.records import NOW, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.attributes import DataAttribute
    from gateway.contacts.contact import Contact
    from gateway.contacts.revocation import Revocation
    from gateway.contacts.store import ContactStore, T, Work


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


def principal(user_id: str | None, email: str | None = None, proof: Proof = Proof.SIGNED, **fields: Any) -> Principal:
    """What a verified token said; without a user_id the email stands in, as the normaliser does it."""
    return Principal(
        **{
            "workspace": WORKSPACE,
            "issuer": "messenger",
            "user_id": user_id or email,
            "by_email": user_id is None,
            "email": email,
            "email_proof": proof if email else None,
            "attributes": {},
            "custom_attributes": {},
            "token_id": None,
            "issued_at": None,
            "expires_at": None,
            **fields,
        }
    )


def person(**fields: Any) -> Contact:
    """A record as somebody left it in the store; its email is proven unless said otherwise."""
    proven = {"email_proof": Proof.IMPORTED} if fields.get("email") else {}
    return records.contact(**{**proven, **fields})


def resolver_of(store: ContactStore, clock: Clock | None = None, **policy: Any) -> Resolver:
    """A resolver with these choices for the workspace."""
    return Resolver(store, {WORKSPACE: ResolutionPolicy(**policy)}, clock or Clock(), os.urandom)


async def kinds(store: ContactStore, contact_id: str) -> list[str]:
    """The kinds of the events of a record, oldest first."""
    return [event.kind for event in reversed(await store.events(WORKSPACE, contact_id, limit=10_000))]


async def refused(resolver: Resolver, who: Principal) -> Code:
    """The code with which a principal is refused."""
    with pytest.raises(Refusal) as refusal:
        await resolver.resolve(who)
    return refusal.value.code


class Counted:
    """A store that counts what is asked of it."""

    def __init__(self, store: ContactStore) -> None:
        self._store = store
        self.look_ups = 0
        self.writes = 0

    async def find_by_external_id(self, workspace_id: str, external_id: str) -> Contact | None:
        self.look_ups += 1
        return await self._store.find_by_external_id(workspace_id, external_id)

    async def find_by_email(self, workspace_id: str, email: str, *, limit: int, proven: bool) -> Sequence[Contact]:
        self.look_ups += 1
        return await self._store.find_by_email(workspace_id, email, limit=limit, proven=proven)

    async def data_attributes(self, workspace_id: str) -> Sequence[DataAttribute]:
        self.look_ups += 1
        return await self._store.data_attributes(workspace_id)

    async def absorbed(self, workspace_id: str, contact_id: str) -> Sequence[str]:
        return await self._store.absorbed(workspace_id, contact_id)  # not counted: a gateway remembers revocations

    async def find_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        return await self._store.find_revocations(workspace_id, digests)

    async def write(self, work: Work[T]) -> T:
        self.writes += 1
        return await self._store.write(work)
