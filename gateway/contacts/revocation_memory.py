"""Step 9: is a token revoked? Answered from memory while that can be trusted, and by the store where it cannot.

`heard` of a workspace grows with each change of its revocations. Whoever has asked about a token at one `heard` need
not ask again until it is another one: with nothing revoked, a remembered token costs one comparison of two integers.
Memory takes in what is new by its `seq`, at the first question after a change, so that no answer is older than what was
heard. While the store cannot hear of changes, before `open`, and when there are more revocations than `capacity`, the
store is asked each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from functools import partial
from typing import TYPE_CHECKING

from gateway.contacts.revocation import REVOCATIONS, RevocationKind, contact_digest, digests_of, is_concerned
from gateway.contacts.store import EVERYTHING
from gateway.errors import Code, Outage, Refusal, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.contacts.revocation import Revocation
    from gateway.contacts.store import ContactReader, ContactStore, ContactTransaction
    from gateway.identity.principal import Principal

    Bounds = tuple[int | None, int | None]

_log = logging.getLogger(__name__)

CAPACITY = 100_000
"""How many revocations of all workspaces one process remembers: about 25 MB."""

PURGE_SECONDS = 300.0
_PAGE = 5_000


class Heard:
    """What one process knows of a workspace's revocations.

    `heard` counts their changes; `contacts_heard` those after which another contact may be revoked. `newest` is the
    latest `issued_before` of a contact: no younger token can be concerned by one.
    """

    __slots__ = ("contacts", "contacts_heard", "heard", "loaded", "newest", "others", "overflowed", "seq", "stale")

    def __init__(self) -> None:
        self.heard = 0
        self.contacts_heard = 0
        self.loaded = -1
        self.seq = 0
        self.stale = True  # what is remembered may be wrong from its beginning, and is to be read anew
        self.overflowed = False
        self.newest = -math.inf
        self.contacts: dict[bytes, Bounds] = {}
        self.others: dict[bytes, Bounds] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is revoked, as far as was heard."""
        return self.loaded == self.heard and not (self.others or self.contacts or self.overflowed)

    @property
    def size(self) -> int:
        """How many revocations are remembered."""
        return len(self.contacts) + len(self.others)

    def remember(self, revocation: Revocation) -> None:
        """Take in what the store has."""
        bounds = before, _ = revocation.issued_before, revocation.until
        self.seq = revocation.seq
        if revocation.kind is RevocationKind.CONTACT:
            self.contacts[revocation.digest] = bounds
            self.newest = math.inf if before is None else max(self.newest, before)
        else:
            self.others[revocation.digest] = bounds

    def forget(self) -> None:
        """Know nothing; whoever looks into what was known goes on with that."""
        self.seq, self.newest = 0, -math.inf
        self.contacts, self.others = {}, {}

    def forget_dead(self, now: int) -> bool:
        """Forget what concerns no living token any more; whether there was any."""
        dead = [
            (kept, digest)
            for kept in (self.contacts, self.others)
            for digest, (_, until) in kept.items()
            if until is not None and until <= now
        ]
        for kept, digest in dead:
            del kept[digest]
        return bool(dead)


class Revocations:
    """The revocations of a store, as one process asks about them.

    Questions may come from any thread; changes and `open` belong to the event loop.
    """

    def __init__(self, store: ContactStore, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._store = store
        self._clock = clock
        self._capacity = capacity
        self._workspaces: dict[str, Heard] = {}
        self._loading = asyncio.Lock()
        self._purging: asyncio.Task[None] | None = None

    async def open(self, workspaces: Iterable[str]) -> None:
        """Remember from now on, and forget what is dead now and then; the store is open. Raises `Outage`."""
        if self._purging is not None:
            return
        self._store.subscribe(self.hear)
        self._purging = asyncio.create_task(self._purge_now_and_then())
        for workspace in workspaces:
            await self._take_in(workspace, self.of(workspace))

    def close(self) -> None:
        """Remember nothing; whoever still asks is answered by the store."""
        if self._purging is not None:
            self._purging.cancel()
            self._purging = None
        self._store.unsubscribe(self.hear)
        for known in self._workspaces.values():
            known.loaded = -1  # whoever still holds it is told of no change
        self._workspaces.clear()
        self._loading = asyncio.Lock()  # one that was waited for belongs to its loop; the next life may have another

    def of(self, workspace: str) -> Heard:
        """What is known of a workspace."""
        known = self._workspaces.get(workspace)
        if known is None:
            known = self._workspaces[workspace] = Heard()
        return known

    def hear(self, workspace: str, contact_id: str) -> None:
        """A `ChangeListener`."""
        if contact_id == REVOCATIONS:
            if workspace in self._workspaces:
                self._workspaces[workspace].heard += 1
        elif contact_id == EVERYTHING:
            for known in self._workspaces.values():
                known.stale = True
                known.heard += 1
                known.contacts_heard += 1

    async def check_token(self, principal: Principal, token: bytes | None) -> int:
        """Refuse a token that was revoked, but for what only its contact tells; return the `heard` that this holds for.

        Raises `Refusal(token_revoked)` or `Outage`.
        """
        known = self.of(principal.workspace)
        heard = known.heard
        if self._purging is not None and self._store.hears_changes:
            if known.loaded != heard:
                await self._take_in(principal.workspace, known)
            if not known.overflowed:
                if known.others:
                    self._refuse_remembered(principal, known.others, digests_of(principal, token))
                return heard
        found = await self._store.find_revocations(principal.workspace, digests_of(principal, token))
        self._refuse_stored(principal, found)
        return heard

    def may_concern_contacts_of(self, principal: Principal) -> bool:
        """Whether `check_contact` has anything to look for; where it has not, asking this is all that a login pays."""
        known = self._trusted(principal.workspace)
        return known is None or (
            bool(known.contacts) and (principal.issued_at is None or principal.issued_at < known.newest)
        )

    async def check_contact(self, reader: ContactReader, principal: Principal, contact_id: str) -> None:
        """Refuse a token that leads to a record that was revoked, itself or as one that was merged into this one.

        `reader` is the store, or the transaction that found the record. Raises `Refusal(token_revoked)` or `Outage`.
        """
        workspace = principal.workspace
        digests = [contact_digest(one) for one in (contact_id, *await reader.absorbed(workspace, contact_id))]
        known = self._trusted(workspace)
        if known is None:
            self._refuse_stored(principal, await reader.find_revocations(workspace, digests))
        else:
            self._refuse_remembered(principal, known.contacts, digests)

    def _trusted(self, workspace: str) -> Heard | None:
        """What is known of a workspace, if it is all that there is to know now."""
        known = self._workspaces.get(workspace)
        if known is None or known.loaded != known.heard or known.overflowed or not self._store.hears_changes:
            return None
        return known

    def _refuse_remembered(self, principal: Principal, kept: Mapping[bytes, Bounds], digests: Iterable[bytes]) -> None:
        self._refuse_any(principal, (kept[digest] for digest in digests if digest in kept))

    def _refuse_stored(self, principal: Principal, found: Iterable[Revocation]) -> None:
        self._refuse_any(principal, ((one.issued_before, one.until) for one in found))

    def _refuse_any(self, principal: Principal, bounds: Iterable[Bounds]) -> None:
        for before, until in bounds:
            if is_concerned(before, until, principal.issued_at, self._clock()):
                raise Refusal(Code.TOKEN_REVOKED, "the token, or the tokens of its issuer or person, were revoked")

    async def _take_in(self, workspace: str, known: Heard) -> None:
        """Read what is new, up to at least what was heard when this was called; one reads, the others wait for it."""
        wanted = known.heard
        async with self._loading:
            while known.loaded < wanted:
                heard, stale = known.heard, known.stale
                if stale:
                    known.forget()
                    known.stale = known.overflowed = False
                try:
                    await self._read(workspace, known)
                except BaseException:
                    known.stale |= stale
                    raise
                known.loaded = heard

    async def _read(self, workspace: str, known: Heard) -> None:
        more = not known.overflowed
        known.contacts_heard += known.overflowed
        while more:
            page = await self._store.revocations_since(workspace, known.seq, limit=_PAGE)
            for one in page:
                known.remember(one)
            known.contacts_heard += any(one.kind is RevocationKind.CONTACT for one in page)
            more = len(page) == _PAGE
            if sum(each.size for each in self._workspaces.values()) > self._capacity:
                _log.warning("more revocations than are remembered; the store is asked", extra={"workspace": workspace})
                known.forget()
                known.overflowed, more = True, False

    async def purge(self) -> None:
        """Forget what is dead, here and in the store; look again whether what was too much fits by now."""
        now = int(self._clock())
        for workspace, known in list(self._workspaces.items()):
            if known.forget_dead(now) or known.overflowed:
                await self._store.write(partial(_forget, workspace=workspace, now=now))
            if known.overflowed:
                known.stale = True
                known.heard += 1

    async def _purge_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(PURGE_SECONDS)
            with contextlib.suppress(Outage, StoreUnusable):  # the next time will do: what is dead refuses nobody
                await self.purge()


async def _forget(transaction: ContactTransaction, *, workspace: str, now: int) -> None:
    await transaction.forget_revocations(workspace, now=now)
