"""One thread that writes for all: it takes what waits, and commits it together, so that one fsync serves many.

Work never suspends there: each statement runs at once, so its coroutine is run by hand to its end, in a savepoint.
A work that raises is undone alone; when the commit fails, nothing of the group was kept, and everybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from gateway.contacts.database.statements import SqlTransaction
from gateway.errors import Code, Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from gateway.contacts.database.rows import Row
    from gateway.contacts.store import T, Work

_GROUP = 512


class GroupTransaction(SqlTransaction):
    """A transaction whose statements run at once, on the thread that calls them."""

    @property
    @abstractmethod
    def standing(self) -> bool:
        """Whether the transaction is open; an engine may have given it up."""

    @abstractmethod
    def run(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Run a statement and return its rows; raises `Outage`."""

    @abstractmethod
    def keep_changes(self) -> int:
        """Write what `changed` holds where other processes read it; return the number of its first line, or 0."""

    def check_standing(self) -> None:
        """`Outage` unless the transaction is open: a work that hides its end would write without one."""
        if not self.standing:
            raise Outage(Code.STORE_UNAVAILABLE, "the transaction was given up")

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        self.check_standing()
        return self.run(sql, *arguments)


class _Job:
    """One piece of work, what became of it, and the future of whoever waits for it."""

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self._work = work
        self._future = future
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self, transaction: GroupTransaction) -> None:
        """Run the work. Its exception is its caller's; `Outage` when the engine gave up the whole transaction."""
        if self._future.cancelled():
            return
        heard = len(transaction.changed)
        transaction.run("SAVEPOINT work")
        try:
            self._result = run_now(self._work(transaction))
        except BaseException as error:  # whatever it is, it must not end the thread on which everybody else waits
            self._error = error
            del transaction.changed[heard:]
            if not transaction.standing:  # a full disk, or an error of it
                raise Outage(Code.STORE_UNAVAILABLE, "the transaction was given up") from error
            transaction.run("ROLLBACK TO work")
        transaction.run("RELEASE work")

    def lose(self, error: BaseException) -> None:
        """Nothing of the group was kept."""
        self._error = self._error or error

    def settle(self) -> None:
        """Tell the caller, on its loop."""
        if self._future.done():
            return
        if self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._result)


class GroupWriter:
    """The thread, and the way to it.

    `begin` makes the transaction of each group and `end` closes what they run on; both are called on the thread.
    `committed` is called on the loop with what each group changed, before the callers get their results.
    """

    def __init__(
        self,
        begin: Callable[[], GroupTransaction],
        end: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[Sequence[tuple[str, str]], int], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._loop = loop
        self._committed = committed
        self._waiting: list[_Job] = []
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._write_all, name="contact-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Any]) -> asyncio.Future[Any]:
        """Queue work. What is submitted within one turn of the loop is handed over, and committed, together."""
        future = self._loop.create_future()
        self._waiting.append(_Job(work, future))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._hand_over)
        return future

    async def close(self) -> None:
        """Write what waits, and end the thread."""
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._waiting:
            self._queue.put(self._waiting)
            self._waiting = []

    def _write_all(self) -> None:
        """The thread: take what waits, run it in one transaction, answer once it is on disk."""
        while group := self._take():
            changed, first = self._commit(group)
            with contextlib.suppress(RuntimeError):  # the loop was closed first: nobody waits for the answers
                self._loop.call_soon_threadsafe(self._settle, group, changed, first)
        self._end()

    def _take(self) -> list[_Job]:
        """All that waits now, in groups; nothing at the end."""
        group: list[_Job] = []
        while not self._stopping and len(group) < _GROUP:
            try:
                jobs = self._queue.get(block=not group)
            except queue.Empty:
                break
            if jobs is None:
                self._stopping = True
            else:
                group += jobs
        return group

    def _commit(self, group: Sequence[_Job]) -> tuple[Sequence[tuple[str, str]], int]:
        transaction = self._begin()
        try:
            transaction.run("BEGIN IMMEDIATE")
            for job in group:
                job.run(transaction)
            first = transaction.keep_changes()
            transaction.run("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is, everybody in the group must hear of it
            if transaction.standing:
                with contextlib.suppress(Outage):
                    transaction.run("ROLLBACK")
            for job in group:
                job.lose(error)
            return (), 0
        return transaction.changed, first

    def _settle(self, group: Sequence[_Job], changed: Sequence[tuple[str, str]], first: int) -> None:
        """On the loop: first the subscribers hear of the changes, then the writers of their results."""
        try:
            self._committed(changed, first)
        finally:
            for job in group:
                job.settle()


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for; `RuntimeError` when it waits all the same."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("work may wait for nothing but its transaction")
