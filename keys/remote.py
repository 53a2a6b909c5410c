"""The keys that an issuer publishes, kept current and kept through its outages (facts: peers 2 and 3.6).

    found      a key at hand answers at once, whatever a fetch is doing meanwhile (0.3)
    fresh      the publisher had the set within its time to live; it is fetched again well before that ends
    stale      the publisher does not answer: the last good set serves, up to a cap
    none       there never was a set, or it is older than the cap: `KeysUnavailable`, an outage and no verdict

Two budgets pay for fetches. The schedule has its own: ahead of expiry, and with a growing wait after failures. Tokens
with an unknown kid, which anybody can write, share another one: a fetch in a cool-down that begins with the attempt,
failed or not (A11, 0.2). So a flood of them neither floods the issuer nor keeps a real rotation out for longer than a
cool-down. There is one fetch under way at most; each process counts for itself.

"There is no such key" is said only while the last attempt succeeded and the set is fresh. A key is looked for by its
kid: under a kid that is known already, or without any kid, a new key is met at the next scheduled fetch.

Times are those of a monotonic clock, in seconds; only the age of the set on disk is taken from the wall clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from keys.errors import FetchFailed, KeyMaterialError, KeysUnavailable
from keys.jwks import PublishedSet, published_set
from keys.keyset import KeyHealth, KeySet
from keys.publication import Publication

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from keys.fetching import Document
    from keys.jwk import VerificationKey
    from keys.last_good import LastGoodSet
    from keys.publication import Fetch, Held, Publisher

FETCH_SECONDS = 5.0
"""How long a fetch may take in all, discovery included."""

FIRST_SET_SECONDS = 1.0
"""How long `open` waits for the first set; the listener starts without it."""

SHORTEST_FRESH, LONGEST_FRESH = 60.0, 3600.0
LONGEST_BACK_OFF = 60.0
ABSENT_KIDS, ABSENT_SECONDS = 1024, 300.0

_log = logging.getLogger(__name__)


class Timing(Struct, frozen=True):
    """Seconds: how long a set is fresh that does not say it, the cool-down, and the cap for stale sets."""

    fresh: float = 300
    cooldown: float = 30
    stale_limit: float = 86_400


class Environment(Struct, frozen=True):
    """What a key set takes from the world. `random` gives 0 to 1; `sleep` sleeps by the clock `now`."""

    now: Callable[[], float]
    wall_clock: Callable[[], float]
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class RemoteKeySet:
    """The `KeySource` of an issuer that publishes its keys."""

    def __init__(
        self,
        publisher: Publisher,
        fetch: Fetch,
        environment: Environment,
        *,
        timing: Timing | None = None,
        saved: LastGoodSet | None = None,
    ) -> None:
        self.withdrawn = 0
        self._name = publisher.name
        self._publication = Publication(publisher, fetch, environment.now)
        self._env = environment
        self._timing = timing or Timing()
        self._saved = saved
        self._read_saved = False

        self._set: PublishedSet | None = None
        self._keys = KeySet(())
        self._seen_at = self._fresh_until = self._usable_until = -math.inf
        self._held: Held | None = None
        self._error: str | None = "not fetched yet"
        self._not_saved: str | None = None

        self._scheduled_at = self._tokens_may_at = -math.inf
        self._failures = 0
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._landing: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys at hand; none when they are older than the cap."""
        return self.find(None)

    def find(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """The key at hand with this kid, or all of them; it never waits."""
        return self._keys.find(kid) if self._env.now() < self._usable_until else ()

    async def seek(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """The same once the publisher was asked, if a token may ask now; raises `KeysUnavailable`.

        Who comes while a fetch is under way waits for it, except with a kid that was looked for in vain a while ago:
        that one waits only for a fetch of its own.
        """
        self._take_saved()
        was_absent = kid is not None and self._absent.get(kid, -math.inf) > self._env.now()
        for _ in range(2):  # a fetch that was under way may have begun too early to see the key: then one of our own
            found = self.find(kid)
            landing = None if was_absent else self._landing
            if found:
                return found
            if landing is None:
                if self._landing is not None or self._env.now() < self._tokens_may_at:
                    break
                self._tokens_may_at = self._env.now() + self._timing.cooldown
                landing = self._launch()
            await asyncio.shield(landing)
        return self.find(kid) or self._verdict(kid)

    async def open(self) -> None:
        """Read the set on disk, keep the set current from now on, and wait a moment for the first one."""
        if self._keeper is not None and not self._keeper.done():
            return
        self._take_saved()
        self._keeper = asyncio.get_running_loop().create_task(self._keep_current())
        if not self.keys:
            await asyncio.wait({self._launch()}, timeout=FIRST_SET_SECONDS)

    async def close(self) -> None:
        """Stop keeping the set current; what is at hand stays."""
        tasks = {*self._tasks, *({self._keeper} if self._keeper else ())}
        self._keeper = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Fetch the set now."""
        self._take_saved()
        await asyncio.shield(self._launch())

    def health(self) -> KeyHealth:
        """How the set is; the words hold nothing secret."""
        at_hand, now = self.keys, self._env.now()
        left_out, exposed = (self._set.left_out, self._set.exposed) if self._set else ((), 0)
        return KeyHealth(
            source=self._publication.shown,
            keys=len(at_hand),
            state="none" if not at_hand else "fresh" if now < self._fresh_until else "stale",
            age=int(now - self._seen_at) if self._set else None,
            error=self._error or self._not_saved,
            left_out=left_out,
            exposed=exposed,
        )

    def _verdict(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """No key, when the publisher can be believed to have none; an outage is never a verdict."""
        now = self._env.now()
        if self._error is not None or now >= self._fresh_until:
            raise KeysUnavailable(f"the keys of {self._name} cannot be had: {self._error or 'too old'}")
        if kid is not None:
            self._absent[kid] = now + ABSENT_SECONDS
            self._absent.move_to_end(kid)
            if len(self._absent) > ABSENT_KIDS:
                self._absent.popitem(last=False)
        return ()

    async def _keep_current(self) -> None:
        """Fetch whenever it is time to, and put away a set that is too old, until cancelled."""
        while True:
            wait = self._scheduled_at - self._env.now()
            if wait > 0:
                if self._set is not None:
                    wait = min(wait, max(self._usable_until - self._env.now(), 0))
                await self._env.sleep(wait)
                self._put_away_if_too_old()
            else:
                await asyncio.shield(self._launch())

    def _launch(self) -> asyncio.Future[None]:
        """The landing of the fetch that is under way, or of a new one; it never fails."""
        if self._landing is None:
            self._landing = landing = asyncio.get_running_loop().create_future()

            def landed(flight: asyncio.Task[None]) -> None:
                if flight.cancelled():  # perhaps before it began
                    self._error = "the fetch was broken off"
                self._landing = None
                landing.set_result(None)

            self._start(self._fly()).add_done_callback(landed)
        return self._landing

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _fly(self) -> None:
        error: str | None
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document, held = await self._publication.fetch(self._held, failed_before=self._error is not None)
            self._adopt(document, held)
            error = None
        except (FetchFailed, KeyMaterialError) as failure:
            error = str(failure)
        except TimeoutError:
            error = f"no whole answer within {FETCH_SECONDS:.0f} s"
        except Exception as failure:  # noqa: BLE001 - one that breaks in a way unthought of is an outage, too
            error = f"the fetch broke ({type(failure).__name__})"
            _log.exception("a key set could not be fetched", extra={"issuer": self._name})
        self._land(error)

    def _adopt(self, document: Document, held: Held | None) -> None:
        """Take a document that arrived; `KeyMaterialError` when there is no set in it."""
        if document.body is not None:
            self._replace(published_set(document.body))
        elif self._set is None:
            raise FetchFailed("the answer was 304, but there is nothing that has not changed")
        now = self._env.now()
        said = self._timing.fresh if document.fresh_for is None else document.fresh_for
        fresh = min(max(said, SHORTEST_FRESH), LONGEST_FRESH)
        self._held = held
        self._seen_at, self._fresh_until = now, now + fresh
        self._usable_until = now + max(self._timing.stale_limit, fresh)
        self._scheduled_at = now + fresh * (0.7 + 0.1 * self._env.random())
        if self._saved is not None and self._set is not None and self._keeper is not None:
            self._start(self._save(self._saved, self._set))

    def _replace(self, published: PublishedSet) -> None:
        kept = KeySet(published.keys)
        if any(key not in kept.keys for key in self._keys.keys):
            self.withdrawn += 1
        is_news = self._set is None or self._set.left_out != published.left_out
        if published.exposed and is_news and self._keeper is not None:
            told = {"issuer": self._name, "exposed": published.exposed}
            _log.error("a published key set holds secrets: whoever reads it can sign", extra=told)
        self._set, self._keys = published, kept

    def _land(self, error: str | None) -> None:
        """Note how a fetch ended. One that a token paid for changes nothing in the schedule when it fails."""
        told = {"issuer": self._name, "reason": error}
        is_kept = self._keeper is not None  # else a command asks, which tells what it wants to
        if error is None:
            if self._failures and is_kept:
                _log.warning("a key set is fetched again", extra={"issuer": self._name})
            self._failures = 0
        elif self._env.now() >= self._scheduled_at:
            if not self._failures and is_kept:
                _log.warning("a key set cannot be fetched; the last good one serves, if there is one", extra=told)
            back_off = min(2.0 ** min(self._failures, 16), LONGEST_BACK_OFF)
            self._failures += 1
            self._scheduled_at = self._env.now() + back_off * (0.5 + 0.5 * self._env.random())
        self._error = error

    def _put_away_if_too_old(self) -> None:
        if self._set is not None and self._env.now() >= self._usable_until:
            self._set, self._keys, self._held = None, KeySet(()), None
            self.withdrawn += 1
            _log.error("a key set is too old to be trusted", extra={"issuer": self._name})

    def _take_saved(self) -> None:
        """Once, before anything was fetched: the set on disk, as old as it is."""
        if self._read_saved or self._saved is None:
            return
        self._read_saved = True
        if self._set is not None:
            return
        try:
            saved = self._saved.read(self._env.wall_clock())
        except KeyMaterialError as error:
            self._not_saved = f"not taken from disk: {error}"
            return
        if saved is not None and saved[1] < self._timing.stale_limit:
            published, age = saved
            self._replace(published)
            self._seen_at = self._fresh_until = self._env.now() - age
            self._usable_until = self._seen_at + self._timing.stale_limit

    async def _save(self, saved: LastGoodSet, published: PublishedSet) -> None:
        try:
            await asyncio.to_thread(saved.write, published, self._env.wall_clock())
        except OSError as error:
            if self._not_saved is None:
                told = {"issuer": self._name, "reason": error.strerror}
                _log.warning("a key set cannot be kept on disk: a start while its issuer is down has none", extra=told)
            self._not_saved = f"not kept on disk ({error.strerror})"
        else:
            self._not_saved = None
