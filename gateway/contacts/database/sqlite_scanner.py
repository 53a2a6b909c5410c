"""Statements that may read very many rows, on a thread and a connection of their own: the event loop never waits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gateway.contacts.database.sqlite_file import connect, execute
from gateway.contacts.merging.duplicates import folded_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import apsw

    from gateway.contacts.database.rows import Row


class Scanner:
    """One thread, which takes one statement after the other. It connects when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="contact-scanner")
        self._connection: apsw.Connection | None = None
        self._running: object = None
        self._turn = threading.Lock()  # so that nobody's statement is given up in place of another's

    async def run(self, sql: str, arguments: Sequence[Any], *, seconds: float | None = None) -> Sequence[Row]:
        """Run a statement and return its rows; raises `Outage`.

        `TimeoutError` when `seconds` go by first, the time in the queue among them; then the statement is given up, as
        it is when nobody waits for its rows any more.
        """
        job = object()
        try:
            async with asyncio.timeout(seconds):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._thread, self._run, job, sql, arguments)
        finally:
            self._give_up(job)

    async def close(self) -> None:
        """Interrupt what runs, and end the thread."""
        if self._connection is not None:
            self._connection.interrupt()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    def _run(self, job: object, sql: str, arguments: Sequence[Any]) -> Sequence[Row]:
        if self._connection is None:
            self._connection = connect(self._path)
            execute(self._connection, "PRAGMA query_only = ON")
            self._connection.create_scalar_function("folded_id", _folded, 1, deterministic=True)
        with self._turn:
            self._running = job
        try:
            return execute(self._connection, sql, arguments)
        finally:
            with self._turn:
                self._running = None

    def _give_up(self, job: object) -> None:
        with self._turn:
            if self._running is job and self._connection is not None:
                self._connection.interrupt()


def _folded(*arguments: object) -> str:
    """`folded_id` as SQLite calls it."""
    return folded_id(str(arguments[0]))
