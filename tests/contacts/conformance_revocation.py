"""Revocations, for any back end: its test inherits this. What is revoked is refused, and stays so to its end."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.contacts.contact import State
from gateway.contacts.revocation import (
    REVOCATIONS,
    WORKSPACE_DIGEST,
    Revocation,
    RevocationKind,
    contact_revocations,
    issuer_digest,
    jti_digest,
    keep_revocations,
    token_digest,
)
from gateway.contacts.revocation_memory import CAPACITY, Revocations
from gateway.errors import Code, Refusal
from tests.contacts.merges import merge as merge_undoably
from tests.contacts.merges import unmerge
from tests.contacts.people import Clock, person, principal, resolver_of
from tests.contacts.records import NOW, WORKSPACE, do, insert, merge, until, update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.contact import Contact
    from gateway.contacts.store import ContactStore, ContactTransaction
    from gateway.identity.principal import Principal

TOKEN = b"header.payload.signature"


def revocation(digest: bytes | None = None, **fields: Any) -> Revocation:
    """The revocation of a token that is dead in an hour, with what a test does not care about filled in."""
    return Revocation(
        **{
            "workspace_id": WORKSPACE,
            "kind": RevocationKind.TOKEN,
            "digest": digest or os.urandom(32),
            "until": NOW + 3600,
            "revoked_at": NOW,
            "actor": "test",
            **fields,
        }
    )


async def keep(store: ContactStore, *revocations: Revocation, now: int = NOW) -> bool:
    """Keep revocations in one transaction."""

    async def work(transaction: ContactTransaction) -> bool:
        return await keep_revocations(transaction, revocations, now=now)

    return await store.write(work)


async def revoke_contact(store: ContactStore, contact: Contact, before: int = NOW, **fields: Any) -> None:
    """Revoke what was issued for a contact before a moment."""
    template = revocation(kind=RevocationKind.CONTACT, issued_before=before, **fields)
    await keep(store, *await contact_revocations(store, template, contact.id))


async def kept(store: ContactStore, workspace: str = WORKSPACE) -> Sequence[Revocation]:
    """All revocations of a workspace."""
    return await store.revocations_since(workspace, 0, limit=1_000_000)


async def is_refused(store: ContactStore, who: Principal, clock: Clock | None = None) -> bool:
    """Whether a login with this principal is refused as revoked; the code is no other one."""
    resolver = resolver_of(store, clock)
    code = None
    try:
        await resolver.revocations.check_token(who, TOKEN)
        await resolver.resolve(who)
    except Refusal as refusal:
        code = refusal.code
    assert code in {None, Code.TOKEN_REVOKED}
    return code is not None


class RevocationConformance:
    """What is kept, who is refused by it, and until when; `store` is an open, empty store."""

    async def test_what_is_kept_is_found_again(self, store: ContactStore) -> None:
        """Every field, by its digest and by its place, each in its own workspace alone (C04)."""
        whole = revocation(
            kind=RevocationKind.ISSUER, subject="login", issued_before=NOW - 5, until=None, actor="command"
        )
        assert await keep(store, whole)
        (found,) = await store.find_revocations(WORKSPACE, [os.urandom(32), whole.digest])
        assert replace(found, seq=0) == whole
        assert await kept(store) == [found]
        assert await store.find_revocations("other", [whole.digest]) == []
        assert await kept(store, "other") == []

    async def test_the_same_twice_is_once(self, store: ContactStore) -> None:
        """Idempotent: nothing changes, nobody hears of it, and False says so."""
        one = revocation()
        assert await keep(store, one)
        before = await kept(store)
        heard: list[tuple[str, str]] = []
        store.subscribe(lambda *change: heard.append(change))
        assert not await keep(store, replace(one, revoked_at=NOW + 9, actor="other"))
        assert not await keep(store, replace(one, until=NOW + 60))
        assert await kept(store) == before
        assert heard == []

    async def test_of_two_the_stricter_stands(self, store: ContactStore) -> None:
        """A later moment, a later end, and what does not ask when: the union of both, under a new place."""
        digest = os.urandom(32)
        steps: list[tuple[dict[str, Any], tuple[int | None, int | None]]] = [
            ({"issued_before": 100, "until": NOW + 10}, (100, NOW + 10)),
            ({"issued_before": 50, "until": NOW + 20}, (100, NOW + 20)),
            ({"issued_before": 200, "until": NOW + 5}, (200, NOW + 20)),
            ({"issued_before": 150, "until": None}, (200, None)),
            ({"issued_before": None, "until": NOW + 1}, (None, None)),
        ]
        seq = 0
        for fields, bounds in steps:
            assert await keep(store, revocation(digest, **fields))
            (found,) = await kept(store)
            assert (found.issued_before, found.until) == bounds
            assert found.seq > seq
            seq = found.seq

    async def test_nothing_is_kept_longer_than_it_can_concern_anybody(self, store: ContactStore) -> None:
        """The next write of the workspace forgets what is dead; what is kept for ever stays."""
        ever, dead, living = revocation(until=None), revocation(until=NOW), revocation(until=NOW + 1)
        await keep(store, ever, dead, living, now=NOW - 1)
        assert len(await kept(store)) == 3
        await keep(store, revocation(workspace_id="other"), now=NOW + 10)
        assert len(await kept(store)) == 3
        new = revocation()
        await keep(store, new, now=NOW)
        assert [one.digest for one in await kept(store)] == [ever.digest, living.digest, new.digest]

    async def test_what_is_new_comes_in_order_and_in_pages(self, store: ContactStore) -> None:
        """By `seq`, each once, also in the pages of somebody who comes back with the last one."""
        all_of_them = [revocation() for _ in range(25)]
        await keep(store, *all_of_them[:10])
        await keep(store, *all_of_them[10:])
        seen: list[Revocation] = []
        while page := await store.revocations_since(WORKSPACE, seen[-1].seq if seen else 0, limit=4):
            assert len(page) <= 4
            seen += page
        assert [one.digest for one in seen] == [one.digest for one in all_of_them]

    async def test_a_revocation_is_told_to_everybody(self, store: ContactStore, other: ContactStore) -> None:
        """Here before the write returns, elsewhere soon: as `REVOCATIONS`, in place of a contact id."""
        here: list[tuple[str, str]] = []
        there: list[tuple[str, str]] = []
        store.subscribe(lambda *change: here.append(change))
        other.subscribe(lambda *change: there.append(change))
        await keep(store, revocation())
        assert here == [(WORKSPACE, REVOCATIONS)]
        await until(lambda: (WORKSPACE, REVOCATIONS) in there)

    async def test_parallel_revocations_are_none_of_them_missed(self, store: ContactStore, other: ContactStore) -> None:
        """Whoever has read up to a `seq` has read all below it, from however many doors they are written."""
        all_of_them = [revocation() for _ in range(60)]
        seen: list[bytes] = []

        async def read() -> None:
            last = 0
            while len(seen) < len(all_of_them):
                for one in await store.revocations_since(WORKSPACE, last, limit=1000):
                    seen.append(one.digest)
                    last = one.seq
                await asyncio.sleep(0)

        async with asyncio.timeout(60):
            reading = asyncio.create_task(read())
            await asyncio.gather(
                *(keep((store, other)[number % 2], one) for number, one in enumerate(all_of_them)), reading
            )
        assert sorted(seen) == sorted(one.digest for one in all_of_them)

    @pytest.mark.parametrize(
        ("kind", "digest", "issued_before"),
        [
            (RevocationKind.TOKEN, token_digest(TOKEN), None),
            (RevocationKind.JTI, jti_digest("messenger", "t-1"), None),
            (RevocationKind.ISSUER, issuer_digest("messenger"), NOW),
            (RevocationKind.WORKSPACE, WORKSPACE_DIGEST, NOW),
        ],
        ids=["token", "jti", "issuer", "workspace"],
    )
    async def test_each_kind_refuses_what_it_names(
        self, store: ContactStore, kind: RevocationKind, digest: bytes, issued_before: int | None
    ) -> None:
        """The token, its id, its issuer, its workspace; in another workspace, nobody."""
        who = principal("u-1", issued_at=NOW - 1, token_id="t-1")
        await keep(store, revocation(digest, kind=kind, issued_before=issued_before, workspace_id="other"))
        assert not await is_refused(store, who)
        await keep(store, revocation(digest, kind=kind, issued_before=issued_before))
        assert await is_refused(store, who)

    async def test_a_jti_is_its_issuers_own(self, store: ContactStore) -> None:
        """Two issuers give the same jti; and no way of putting name and id together makes two pairs one."""
        await keep(store, revocation(jti_digest("messenger", "t-1"), kind=RevocationKind.JTI))
        assert not await is_refused(store, principal("u-1", token_id="t-1", issuer="login"))
        assert not await is_refused(store, principal("u-1", token_id="-1", issuer="messengert"))
        assert not await is_refused(store, principal("u-1", token_id=None))

    async def test_issued_before_is_before(self, store: ContactStore) -> None:
        """To the moment; a token that does not say when it was issued counts as issued before."""
        await keep(store, revocation(WORKSPACE_DIGEST, kind=RevocationKind.WORKSPACE, issued_before=NOW))
        for issued_at, refused in ((NOW - 1, True), (NOW - 0.001, True), (NOW, False), (NOW + 1, False), (None, True)):
            assert await is_refused(store, principal("u-1", issued_at=issued_at)) is refused

    async def test_at_its_end_it_concerns_nobody(self, store: ContactStore) -> None:
        """Whether it was purged by then or not."""
        clock = Clock()
        await keep(store, revocation(WORKSPACE_DIGEST, kind=RevocationKind.WORKSPACE, issued_before=NOW))
        clock.now = NOW + 3599.9
        assert await is_refused(store, principal("u-1"), clock)
        clock.now = NOW + 3600
        assert not await is_refused(store, principal("u-1"), clock)

    async def test_b14_a_revoked_contact_is_refused_and_nothing_is_written(self, store: ContactStore) -> None:
        """Not an email, not a restoration, not a link: a revoked token leaves no trace."""
        archived = person(external_id="u-1", email="a@example.com", state=State.ARCHIVED)
        unlinked = person(email="b@example.com")
        await insert(store, archived, unlinked)
        await revoke_contact(store, archived)
        await revoke_contact(store, unlinked)
        for who in (
            principal("u-1", "new@example.com", issued_at=NOW - 1),
            principal("u-2", "b@example.com", issued_at=NOW - 1),
            principal(None, "b@example.com", issued_at=NOW - 1),
        ):
            assert await is_refused(store, who)
        assert await store.find(WORKSPACE, archived.id) == archived
        assert await store.find(WORKSPACE, unlinked.id) == unlinked
        assert not await store.events(WORKSPACE, archived.id)
        assert not await is_refused(store, principal("u-1", "a@example.com", issued_at=NOW))

    async def test_a_merge_lifts_no_revocation(self, store: ContactStore) -> None:
        """The source's tokens stay refused when they lead to the survivor; the survivor's own were never revoked."""
        source, into = person(external_id="u-1"), person(external_id="u-2")
        await insert(store, source, into)
        await revoke_contact(store, source)
        await merge(store, source, into)
        assert await is_refused(store, principal("u-1", issued_at=NOW - 1))
        assert not await is_refused(store, principal("u-1", issued_at=NOW))

    async def test_a_new_user_id_lifts_no_revocation(self, store: ContactStore) -> None:
        """By the record's id under the new one, by the old one itself, and by both after a merge."""
        corrected, into = person(external_id="u-1"), person(external_id="u-2")
        await insert(store, corrected, into)
        await revoke_contact(store, corrected)
        await update(store, replace(corrected, external_id="u-9"))
        old, new = principal("u-1", issued_at=NOW - 1), principal("u-9", issued_at=NOW - 1)
        assert await is_refused(store, old)
        assert await is_refused(store, new)
        await merge(store, replace(corrected, external_id="u-9"), into)
        assert await is_refused(store, old)
        assert await is_refused(store, new)

    async def test_what_a_revoked_survivor_answers_for_stays_revoked_when_parted(self, store: ContactStore) -> None:
        """Everybody whom the record answers for is revoked by an own id; undoing the merge lifts nothing."""
        source, into = (
            person(external_id="u-1", email="a@example.com"),
            person(external_id="u-2", email="a@example.com"),
        )
        await insert(store, source, into)
        await merge_undoably(store, source.id, into.id, now=NOW)
        await revoke_contact(store, into)
        await unmerge(store, source.id, now=NOW)
        for user_id in ("u-1", "u-2"):
            assert await is_refused(store, principal(user_id, "a@example.com", issued_at=NOW - 1))

    async def test_a_deletion_lifts_no_revocation(self, store: ContactStore) -> None:
        """A deleted person's old token makes nobody anew; a new one does. What is kept says nothing of the person."""
        gone = person(external_id="ada@example.com", email="ada@example.com")
        await insert(store, gone)
        await revoke_contact(store, gone)
        await do(store, lambda transaction: transaction.delete(WORKSPACE, gone.id))
        assert await is_refused(store, principal("ada@example.com", issued_at=NOW - 1))
        assert await store.find_by_external_id(WORKSPACE, "ada@example.com") is None
        assert "ada" not in repr(await kept(store))
        assert not await is_refused(store, principal("ada@example.com", issued_at=NOW))


class RevocationMemoryConformance:
    """One process's memory of them: it never says less than the store, and asks it as rarely as it may."""

    capacity = CAPACITY

    async def test_memory_takes_in_what_is_new(self, store: ContactStore, other: ContactStore) -> None:
        """Revoked here: refused at the next question. Elsewhere: as soon as that is heard."""
        revocations = await opened(store)
        await asked(revocations, principal("u-1"), refused=False)
        await keep(store, revocation(token_digest(TOKEN)))
        await asked(revocations, principal("u-1"), refused=True)

        elsewhere = await opened(other)
        await asked(elsewhere, principal("u-1"), refused=True)
        who = principal("u-2", token_id="t-2")
        heard = elsewhere.of(WORKSPACE).heard
        await keep(store, revocation(jti_digest("messenger", "t-2"), kind=RevocationKind.JTI))
        await until(lambda: elsewhere.of(WORKSPACE).heard > heard)
        with pytest.raises(Refusal):
            await elsewhere.check_token(who, b"another.token.s")
        revocations.close()
        elsewhere.close()

    async def test_with_nothing_new_the_store_is_not_asked(self, store: ContactStore) -> None:
        """Known and unknown tokens are judged from memory; each change costs one reading of what is new."""
        counting: Any = Asked(store)
        revocations = await opened(counting)
        await keep(store, revocation(token_digest(TOKEN)))
        await asked(revocations, principal("u-1"), refused=True)
        counting.questions = 0
        for number in range(50):
            await revocations.check_token(principal(f"u-{number}"), b"token.%d.s" % number)
            await revocations.check_contact(counting, principal(f"u-{number}"), "0" * 24)
        assert counting.questions == 0
        await keep(store, revocation())
        for number in range(50):
            await revocations.check_token(principal(f"u-{number}"), b"token.%d.s" % number)
        assert counting.questions == 1
        revocations.close()

    async def test_who_is_closed_asks_the_store(self, store: ContactStore) -> None:
        """As after a reload: what a request of before still holds is told of no change, and vouches for nothing."""
        revocations = await opened(store)
        held = revocations.of(WORKSPACE)
        assert held.is_empty
        revocations.close()
        assert not held.is_empty
        await keep(store, revocation(token_digest(TOKEN)))
        await asked(revocations, principal("u-1"), refused=True)
        assert revocations.may_concern_contacts_of(principal("u-1"))

    async def test_while_deaf_nothing_remembered_is_trusted(self, store: ContactStore) -> None:
        """A store that cannot hear of other processes' revocations is asked each time."""
        counting: Any = Asked(store)
        revocations = await opened(counting)
        store.unsubscribe(revocations.hear)
        await keep(store, revocation(token_digest(TOKEN)))
        await asked(
            revocations, principal("u-1"), refused=False
        )  # what it would be to trust a memory that hears nothing
        counting.hears_changes, counting.questions = False, 0
        await asked(revocations, principal("u-1"), refused=True)
        assert counting.questions == 1
        revocations.close()

    async def test_more_than_is_remembered_is_asked_of_the_store(self, store: ContactStore) -> None:
        """One more than the capacity, which is 100,000: nothing is forgotten by it, and nobody else is refused."""
        clock = Clock()
        many = [revocation(number.to_bytes(32), until=NOW + 10) for number in range(self.capacity)]
        await keep(store, *many)
        revocations = await opened(store, clock, self.capacity)
        assert revocations.of(WORKSPACE).size == self.capacity
        await keep(store, revocation(token_digest(TOKEN)))
        await asked(revocations, principal("u-1"), refused=True)
        assert revocations.of(WORKSPACE).size == 0
        with pytest.raises(Refusal):
            await revocations.check_token(principal("u-2"), TOKEN)
        await revocations.check_token(principal("u-2"), b"another.token.s")
        contact = person(external_id="u-3")
        await insert(store, contact)
        await revoke_contact(store, contact)
        with pytest.raises(Refusal):
            await revocations.check_contact(store, principal("u-4", issued_at=NOW - 1), contact.id)

        clock.now = NOW + 10
        await revocations.purge()
        await asked(revocations, principal("u-1"), refused=True)
        assert revocations.of(WORKSPACE).size == 3
        revocations.close()

    async def test_what_is_lifted_is_lifted_everywhere(self, store: ContactStore, other: ContactStore) -> None:
        """In this memory at the next question, in another one as soon as it is heard; what stays revoked, stays."""
        here, there = await opened(store), await opened(other)
        stays = revocation(jti_digest("messenger", "t-2"), kind=RevocationKind.JTI)
        await keep(store, revocation(token_digest(TOKEN)), stays)
        who, still = principal("u-1"), principal("u-2", token_id="t-2")
        await asked(here, who, refused=True)
        await until(lambda: there.of(WORKSPACE).heard > 0)
        await asked(there, who, refused=True)
        heard = there.of(WORKSPACE).heard
        digests = [token_digest(TOKEN), os.urandom(32)]
        lifted = await do(store, lambda transaction: transaction.lift_revocations(WORKSPACE, digests))
        assert [one.digest for one in lifted] == digests[:1]
        await asked(here, who, refused=False)
        await until(lambda: there.of(WORKSPACE).heard > heard)
        for revocations in (here, there):
            await asked(revocations, who, refused=False)
            with pytest.raises(Refusal):
                await revocations.check_token(still, b"another.token.s")
            revocations.close()
        assert await do(store, lambda transaction: transaction.lift_revocations("other", [stays.digest])) == []

    async def test_what_is_dead_is_purged_here_and_there(self, store: ContactStore) -> None:
        """By the given clock, at a slow interval, without any write of anybody; for ever stays for ever."""
        clock = Clock()
        revocations = await opened(store, clock)
        ever = revocation(until=None)
        await keep(store, ever, *[revocation(until=NOW + 60) for _ in range(5)])
        await revocations.check_token(principal("u-1"), TOKEN)
        await revocations.purge()
        assert (revocations.of(WORKSPACE).size, len(await kept(store))) == (6, 6)
        clock.now = NOW + 60
        await revocations.purge()
        assert revocations.of(WORKSPACE).size == 1
        assert [one.digest for one in await kept(store)] == [ever.digest]
        revocations.close()

    async def test_a_backup_put_back_is_read_anew(self, store: ContactStore) -> None:
        """After EVERYTHING, what is remembered begins again at the store's beginning."""
        revocations = await opened(store)
        await keep(store, revocation(token_digest(TOKEN), until=NOW + 1), revocation())
        await asked(revocations, principal("u-1"), refused=True)
        await do(store, lambda transaction: transaction.forget_revocations(WORKSPACE, now=NOW + 1))
        assert len(await kept(store)) == 1
        revocations.hear("", "*")
        await asked(revocations, principal("u-1"), refused=False)
        assert revocations.of(WORKSPACE).size == 1
        revocations.close()


class Asked:
    """A store that counts how often it is asked about revocations."""

    def __init__(self, store: ContactStore) -> None:
        self._store = store
        self.questions = 0
        self.hears_changes = True

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's own."""
        return getattr(self._store, name)

    async def revocations_since(self, workspace_id: str, seq: int, *, limit: int) -> Sequence[Revocation]:
        self.questions += 1
        return await self._store.revocations_since(workspace_id, seq, limit=limit)

    async def find_revocations(self, workspace_id: str, digests: Sequence[bytes]) -> Sequence[Revocation]:
        self.questions += 1
        return await self._store.find_revocations(workspace_id, digests)


async def opened(store: ContactStore, clock: Clock | None = None, capacity: int = CAPACITY) -> Revocations:
    """A process's memory of a store."""
    revocations = Revocations(store, clock or Clock(), capacity)
    await revocations.open([WORKSPACE])
    return revocations


async def asked(revocations: Revocations, who: Principal, *, refused: bool) -> None:
    """Ask about the one token."""
    if refused:
        with pytest.raises(Refusal) as refusal:
            await revocations.check_token(who, TOKEN)
        assert refusal.value.code is Code.TOKEN_REVOKED
    else:
        await revocations.check_token(who, TOKEN)
