"""Every check of the installation, in order; nothing is changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway.checking.local.clock import check_steadiness, check_synchronised, check_year
from gateway.checking.local.configuration import check_choices, check_valid
from gateway.checking.local.database import check_contents, check_log, check_opens
from gateway.checking.local.disk import check_inodes, check_space
from gateway.checking.local.files import check_configuration_file, check_folder, check_private, standing
from gateway.checking.local.issuers import check_issuers, check_keyrings
from gateway.checking.local.sockets import check_addresses, check_open_files
from gateway.checking.local.versions import check_versions, floors
from gateway.checking.row import Outcome, not_performed
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.checking.row import Row


class Installation(Struct, frozen=True, kw_only=True):
    """What is to be checked: the settings, or what is wrong with them; where they came from; the files that they name.

    `configuration` is their file, if there is one, `private` the files that hold secrets.
    """

    settings: Settings | None
    source: str
    problems: tuple[str, ...] = ()
    configuration: Path | None = None
    holds_secrets: bool = False
    private: tuple[Path, ...] = ()

    @property
    def database(self) -> Path | None:
        """The SQLite file."""
        url = self.settings.store.url if self.settings is not None else ""
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def check_installation(installation: Installation, *, deep: bool) -> Iterator[Row]:
    """Check the installation; `deep` reads the whole store."""
    began = time.monotonic()
    for row in _rows(installation, deep=deep):
        ended = time.monotonic()
        yield msgspec.structs.replace(row, seconds=ended - began)
        began = ended


def _rows(installation: Installation, *, deep: bool) -> Iterator[Row]:
    settings = installation.settings
    yield check_valid(settings, installation.problems, installation.source)
    yield check_configuration_file(installation.configuration, holds_secrets=installation.holds_secrets)
    yield check_private("secret files", installation.private)
    yield from check_versions(floors())
    yield check_year(time.time())
    yield check_steadiness()
    yield check_synchronised()
    yield check_open_files()
    if settings is None:
        hint = "mend the configuration first"
        yield not_performed("all others", "a configuration to go by", "there is none", hint)
        return
    yield from check_choices(settings, _cores())
    yield from check_issuers(settings)
    yield from check_keyrings(settings, time.time())
    yield from _store(settings, installation.database, deep=deep)
    yield from check_addresses(settings)


def _store(settings: Settings, database: Path | None, *, deep: bool) -> Iterable[Row]:
    folder = None if database is None else database.parent
    yield check_folder(folder)
    yield check_private("store file", [] if database is None else _files(database))
    yield check_space(folder, os.statvfs)
    yield check_inodes(folder, os.statvfs)
    yield check_log(database)  # before the store opens, and tidies up
    opens = check_opens(settings.store.url)
    yield opens
    if opens.outcome is Outcome.PASSED:
        yield check_contents(settings.store.url, database, deep=deep)
    else:
        yield not_performed("contents", "no damage, every identifier unique", "it does not open", "mend that first")


def _files(database: Path) -> list[Path]:
    """The database's files that are there."""
    return standing([database, *(database.with_name(f"{database.name}-{end}") for end in ("wal", "shm"))])


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
