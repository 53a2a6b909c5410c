"""Statements that may read very many rows, on a thread and a connection of their own: the event loop never waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gateway.contacts.sqlite_file import connect, execute

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import apsw

    from gateway.contacts.rows import Row


class Scanner:
    """One thread, which takes one statement after the other. It connects when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="contact-scanner")
        self._connection: apsw.Connection | None = None

    async def run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Row]:
        """Run a statement and return its rows; raises `Outage`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, sql, arguments)

    async def close(self) -> None:
        """Interrupt what runs, and end the thread."""
        if self._connection is not None:
            self._connection.interrupt()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    def _run(self, sql: str, arguments: Sequence[Any]) -> Sequence[Row]:
        if self._connection is None:
            self._connection = connect(self._path)
            execute(self._connection, "PRAGMA query_only = ON")
        return execute(self._connection, sql, arguments)
