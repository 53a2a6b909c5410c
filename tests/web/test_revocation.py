"""Revoked anywhere, refused everywhere: other workers, other nodes, remembered tokens, a deaf process."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from gateway.contacts.database.stores import store_for
from gateway.contacts.resolver import ResolutionPolicy, Resolver
from gateway.contacts.revocation import (
    REVOCATIONS,
    Revocation,
    RevocationKind,
    contact_revocations,
    keep_revocations,
    token_digest,
)
from gateway.contacts.revoking import Revoker, lifetimes_of
from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.crafting import LEFT_OUT
from gateway.identity.verifier import TokenVerifier
from gateway.web.authentication import Authenticator
from tests.contacts.people import Clock
from tests.contacts.records import NOW, WORKSPACE
from tests.identity.test_verifier import messenger_signer, trusted
from tests.web.conftest import STORES, command, gateway_on, running_gateway
from tests.web.test_logout import logout, until, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.crafting import Signer
    from tests.web.conftest import Server

EVERY_WORKER = 40
"""So many connections in a row that none of two workers is left out, but once in a million million runs."""


def everywhere(server: Server, token: str) -> set[str | None]:
    """What the workers say to a token, each on many connections of their own."""
    return {server.login(token).code for _ in range(EVERY_WORKER)}


@pytest.mark.parametrize("store", STORES)
def test_b14_every_worker_hears_of_it(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two workers, both with the token in memory: logged out at one of them, refused by both soon, and for good."""
    with gateway_on(store, request, tmp_path, workers=2) as server:
        token = server.token("in-two-workers")
        assert everywhere(server, token) == {None}
        assert logout(server, token).status == 200
        until(lambda: everywhere(server, token) == {"token_revoked"})
        assert everywhere(server, token) == {"token_revoked"}


@pytest.mark.parametrize("store", STORES)
def test_b14_every_node_hears_of_it(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two gateways on one store; and a command beside them, which talks to neither."""
    url = url_of(store, request, tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with running_gateway(first, store_url=url) as one, running_gateway(second, store_url=url) as two:
        mine, theirs = one.token("on-one"), two.token("on-two")
        assert one.login(mine).status == two.login(theirs).status == 200
        # A person at both: who signed does not matter for a contact's revocation.
        both = [(one, one.token("on-both")), (two, two.token("on-both"))]
        contact_ids = {node.login(token).json()["contact"]["id"] for node, token in both}
        assert len(contact_ids) == 1
        command(one, "token", "revoke", "--contact", contact_ids.pop())
        for node, token in both:
            until(lambda node=node, token=token: node.login(token).code == "token_revoked")  # type: ignore[misc]  # defaults
        assert one.login(mine).status == two.login(theirs).status == 200
        command(one, "token", "revoke", "--issued-before", "now", "--issuer", "messenger")
        for node, token in ((one, mine), (two, theirs)):
            until(lambda node=node, token=token: node.login(token).code == "token_revoked")  # type: ignore[misc]  # defaults
            later = node.token("on-both", iat=int(time.time()) + 30)
            assert node.login(later).status == 200


def test_while_postgres_is_not_heard_nothing_revoked_passes(tmp_path: Path, postgres_database: str) -> None:
    """The connection that listens is killed again and again: the store is asked then, so a revocation acts as ever."""
    with running_gateway(tmp_path, store_url=postgres_database) as server:
        for number in range(5):
            token = server.token(f"deaf-{number}")
            assert server.login(token).status == server.login(token).status == 200
            asyncio.run(_revoke_unheard(postgres_database, token.encode()))
            # In no case later than the promise; deaf or hearing, nothing is let in for longer.
            until(lambda token=token: server.login(token).code == "token_revoked")  # type: ignore[misc]  # a default
            assert server.login(server.token(f"deaf-{number}", jti="new")).status == 200


_KILL_LISTENER = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND query IN ('SELECT 1', 'LISTEN \"gateway_contacts\"')"
)


async def _revoke_unheard(url: str, token: bytes) -> None:
    """Kill the connection that listens, and revoke as another process would."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(60):
            while not await connection.fetch(_KILL_LISTENER):  # noqa: ASYNC110 - it comes back ever more patiently
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
    store = store_for(url)
    await store.open()
    revocation = Revocation(
        workspace_id="acme",
        kind=RevocationKind.TOKEN,
        digest=token_digest(token),
        until=None,
        revoked_at=1,
        actor="test",
    )

    async def work(transaction: ContactTransaction) -> bool:
        return await keep_revocations(transaction, [revocation], now=1)

    await store.write(work)
    await store.close()


class Gate:
    """An authenticator over a store, with a clock that the test sets."""

    def __init__(self, store: ContactStore, **policy: Any) -> None:
        self.clock = Clock()
        self.signer: Signer = messenger_signer()
        self.clock.now = NOW
        issuer = trusted(self.signer, name="messenger", policy=ClaimPolicy(session_claim=True, **policy))
        resolver = Resolver(store, {WORKSPACE: ResolutionPolicy()}, self.clock, os.urandom)
        self.authenticator = Authenticator(
            verifier=TokenVerifier([issuer], self.clock),
            resolver=resolver,
            store=store,
            clock=self.clock,
            generation=b"1",
        )

    def token(self, **claims: Any) -> bytes:
        """A token that is issued now."""
        return self.signer.token(claims={"iat": NOW, "exp": NOW + 3600, "user_id": "u-1", **claims})

    async def verdict(self, token: bytes) -> Code | None:
        """The code of a refusal; None for a welcome."""
        try:
            await self.authenticator.authenticate(token, WORKSPACE)
        except Refusal as refusal:
            return refusal.code
        return None


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContactStore]:
    """An open, empty store."""
    made = store_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    await made.migrate()
    yield made
    await made.close()


async def test_exp_is_final_for_a_remembered_token(store: ContactStore) -> None:
    """Facts: Intercom 1.11, complaint 1. Used every minute, it ends at `exp` and leeway, to the second."""
    gate = Gate(store)
    await gate.authenticator.open()
    token = gate.token()
    for _ in range(60 + 1):
        assert await gate.verdict(token) is None
        gate.clock.now += 60
    gate.clock.now = NOW + 3600 + 59.9
    assert await gate.verdict(token) is None
    gate.clock.now = NOW + 3600 + 60
    assert await gate.verdict(token) is Code.TOKEN_EXPIRED


@pytest.mark.parametrize("session", [{}, {"session_duration": 600_000}])
async def test_a_session_is_final_for_a_remembered_token(store: ContactStore, session: dict[str, int]) -> None:
    """As `exp`: the issuer's duration, or the token's own, ends what is remembered."""
    gate = Gate(store, session_duration=1200 if not session else 3000)
    await gate.authenticator.open()
    token, end = gate.token(**session), NOW + (600 if session else 1200)
    authenticated = await gate.authenticator.authenticate(token, WORKSPACE)
    assert authenticated.identity.principal.expires_at == end
    gate.clock.now = end + 59.9
    assert await gate.verdict(token) is None
    gate.clock.now = end + 60
    assert await gate.verdict(token) is Code.TOKEN_EXPIRED


async def test_a_revocation_is_forgotten_only_with_its_token(store: ContactStore) -> None:
    """To the last second in which the token could pass, and beyond; then there is nothing left of it."""
    gate = Gate(store)
    await gate.authenticator.open()
    token = gate.token()
    await gate.authenticator.revoke(token, WORKSPACE)
    for elapsed in (0, 1800, 3600, 3659.9):
        gate.clock.now = NOW + elapsed
        await gate.authenticator._revocations.purge()
        assert await gate.verdict(token) is Code.TOKEN_REVOKED
    gate.clock.now = NOW + 3600 + 60 + 60
    await gate.authenticator._revocations.purge()
    assert await gate.verdict(token) is Code.TOKEN_EXPIRED
    assert await store.revocations_since(WORKSPACE, 0, limit=10) == []


async def test_without_exp_it_is_revoked_for_ever(store: ContactStore) -> None:
    """A token that never dies is never forgotten."""
    gate = Gate(store, require_exp=False, max_lifetime=None)
    await gate.authenticator.open()
    token = gate.token(exp=LEFT_OUT)
    await gate.authenticator.revoke(token, WORKSPACE)
    gate.clock.now = NOW + 1_000_000_000
    await gate.authenticator._revocations.purge()
    assert await gate.verdict(token) is Code.TOKEN_REVOKED


async def test_b09_what_is_remembered_is_asked_about_anew(store: ContactStore) -> None:
    """With the token and its identity in memory, and another door to the store that revokes its contact."""
    gate = Gate(store)
    await gate.authenticator.open()
    token, other = gate.token(), gate.token(user_id="u-2")
    for one in (token, other, token, other):
        assert await gate.verdict(one) is None
    contact = await store.find_by_external_id(WORKSPACE, "u-1")
    assert contact is not None
    blank = Revocation(
        workspace_id=WORKSPACE,
        kind=RevocationKind.CONTACT,
        digest=b"",
        issued_before=NOW + 1,
        revoked_at=NOW,
        actor="test",
    )

    async def work(transaction: ContactTransaction) -> bool:
        made = await contact_revocations(transaction, blank, contact.id)
        # By the record alone, as where its user_id was corrected since.
        return await keep_revocations(transaction, [one for one in made if one.kind is blank.kind], now=NOW)

    await store.write(work)
    assert await gate.verdict(token) is Code.TOKEN_REVOKED
    assert await gate.verdict(other) is None
    assert await gate.verdict(gate.token(iat=NOW + 1)) is None


@pytest.mark.parametrize("kind", ["issuer", "contact", "jti"])
async def test_a_token_that_sleeps_is_revoked_when_it_wakes(store: ContactStore, kind: str) -> None:
    """Without `iat` the longest lifetime counts from now: a token of a month is refused at first, and good in the end.

    After a leak `max_lifetime` is lowered and everything before is revoked: that is not forgotten before such a token.
    """
    gate = Gate(store)
    await gate.authenticator.open()
    month = 30 * 86_400
    sleeper = gate.token(iat=LEFT_OUT, exp=NOW + month, jti="one")
    assert await gate.verdict(sleeper) is Code.LIFETIME_TOO_LONG
    assert await gate.verdict(gate.token()) is None
    contact = await store.find_by_external_id(WORKSPACE, "u-1")
    assert contact is not None

    async def work(transaction: ContactTransaction) -> None:
        lifetimes = lifetimes_of(gate.authenticator.verifier.all_issuers)
        revoker = Revoker(transaction, WORKSPACE, lifetimes, actor="test", now=NOW)
        if kind == "issuer":
            await revoker.issued_before(NOW + 1, "messenger")
        elif kind == "contact":
            await revoker.contact(contact, NOW + 1)
        else:
            await revoker.jti("messenger", "one")

    await store.write(work)
    gate.clock.now = NOW + month - 3600
    await gate.authenticator._revocations.purge()
    assert await gate.verdict(sleeper) is Code.TOKEN_REVOKED


@pytest.mark.parametrize("kind", ["contact", "issuer"])
async def test_a_logout_outlasts_what_an_operator_lifts(store: ContactStore, kind: str) -> None:
    """Who logs out while an operator's revocation stands is logged out, too: lifting that one brings no token back."""
    gate = Gate(store)
    await gate.authenticator.open()
    token, other = gate.token(), gate.token(jti="another session")
    assert await gate.verdict(token) is await gate.verdict(other) is None
    contact = await store.find_by_external_id(WORKSPACE, "u-1")
    assert contact is not None

    async def work(transaction: ContactTransaction, *, lift: bool) -> None:
        revoker = Revoker(transaction, WORKSPACE, {"messenger": None}, actor="test", now=NOW, lift=lift)
        if kind == "contact":
            await revoker.contact(contact, NOW + 1)
        else:
            await revoker.issued_before(NOW + 1, "messenger")

    await store.write(partial(work, lift=False))
    assert await gate.verdict(token) is Code.TOKEN_REVOKED
    for _ in range(2):
        await gate.authenticator.revoke(token, WORKSPACE)
    await store.write(partial(work, lift=True))
    assert await gate.verdict(other) is None
    assert await gate.verdict(token) is Code.TOKEN_REVOKED
    assert len(await store.revocations_since(WORKSPACE, 0, limit=10)) == 1


def test_an_application_that_starts_again_in_another_loop(postgres_database: str) -> None:
    """A mounted gateway lives as often as its application does: people who come at once are judged in each life."""
    made = store_for(postgres_database)
    asyncio.run(made.migrate())
    gate = Gate(made)

    async def life() -> None:
        await gate.authenticator.open()
        gate.authenticator._revocations.hear(WORKSPACE, REVOCATIONS)
        tokens = [gate.token(user_id=f"u-{number}") for number in range(8)]
        assert set(await asyncio.gather(*map(gate.verdict, tokens))) == {None}
        await gate.authenticator.close()

    for _ in range(2):
        asyncio.run(life())
