"""Does the store open, is it whole, is its log in bounds?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, not_performed, passed, warning
from gateway.contacts.database.stores import store_for
from gateway.errors import Outage, StoreUnusable
from gateway.settings import without_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MIB = 1024 * 1024
QUICK = 256 * _MIB
"""Up to this size a file is read whole without being asked to."""

LONG_LOG = 256 * _MIB


def check_opens(url: str) -> Row:
    """The store opens, and its schema is that of this program."""
    name, expected = "database", "it opens, and has this program's schema"
    try:
        asyncio.run(_opened(url))
    except (StoreUnusable, Outage) as error:
        reason = error.reason if isinstance(error, Outage) else str(error)
        hint = "`gateway db migrate` makes it, or brings it to this program's schema"
        return failed(name, expected, reason, hint if isinstance(error, StoreUnusable) else "is its server running?")
    return passed(name, expected, without_password(url))


def check_contents(url: str, file: Path | None, *, deep: bool) -> Row:
    """Neither damage nor a broken promise; a large store is read only when that is asked for."""
    name, expected = "contents", "no damage, every identifier unique"
    hint = "--deep reads the whole store, as `gateway db check` does"
    if not deep and (file is None or not file.exists() or file.stat().st_size > QUICK):
        large = file is not None and file.exists()
        return not_performed(name, expected, "the store is large" if large else "no file to read", hint)
    try:
        problems = asyncio.run(_problems(url))
    except (StoreUnusable, Outage) as error:
        return failed(name, expected, error.reason if isinstance(error, Outage) else str(error))
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        return failed(name, expected, "; ".join(problems[:3]) + more, "restore a backup; `gateway db check` names all")
    return passed(name, expected, "sound")


def check_log(file: Path | None) -> Row:
    """SQLite's write-ahead log goes back into the database when nobody reads an old state any more."""
    name, expected = "write-ahead log", f"less than {LONG_LOG // _MIB} MiB"
    if file is None:
        return not_performed(name, expected, "the store is no SQLite file", "nothing to do")
    try:
        size = file.with_name(f"{file.name}-wal").stat().st_size
    except OSError:  # there is none; what cannot be looked at is told by the store file's own check
        size = 0
    found = f"{size / _MIB:.1f} MiB"
    hint = "another program holds an old state open: end it, or restart the gateway"
    return warning(name, expected, found, hint) if size >= LONG_LOG else passed(name, expected, found)


async def _opened(url: str) -> None:
    store = store_for(url)
    await store.open()
    await store.close()


async def _problems(url: str) -> Sequence[str]:
    store = store_for(url)
    await store.open()
    try:
        return await store.check()
    finally:
        await store.close()
