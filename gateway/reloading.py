"""Reloading: a gateway follows its configuration without a restart, and keeps the last good one.

Each process does this for itself. It looks once a second whether the configuration file, or a file that the settings
name, is another one than when it was read (a replaced or rewritten file, a link that leads elsewhere, a mode that lets
us in or keeps us out), and it looks at once on SIGHUP. Looking costs one `stat` a file, so nothing that a network or
container file system might fail to announce is waited for.

What is read is checked whole before anything changes. A configuration with a problem changes nothing, be it half
written, be it that the file of a secret cannot be read (advisory B24): it is told in the log once and in the admin
listener's `/readyz` until it is mended. What only a new process can change stays as it was and is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.development import DevelopmentFolder
from gateway.errors import GatewayError, SettingsInvalid
from gateway.logs import configure_logging
from gateway.settings import ASSERTION_KEYS, Settings, files_of, read_file_layer, settings_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.app import Gateway
    from keys.jwk import VerificationKey

LOOK_SECONDS = 1.0
"""How often the files are looked at."""

QUIET_SECONDS = 0.25
"""For how long nobody may have written before a configuration is read: half a file can be a good one, with less in it.
It also is the rest between two reloads, however often somebody asks."""

RETRY_SECONDS = 10.0
"""How often a broken configuration is read again although no file changed: what broke it may have been the disk."""

_PATIENCE = 20  # times QUIET_SECONDS; a file that is written all the time is read as it is
_FIXED = (
    ("", "workers"),
    ("", "drain_seconds"),
    ("", "store"),
    ("", "keys"),
    ("public", "bind"),
    ("public", "express_lane"),
    ("admin", "bind"),
)

_log = logging.getLogger(__name__)

_Mark = tuple[int, ...]
_UNSEEN: _Mark = ()


class ConfigurationSource(Struct, frozen=True):
    """Where the settings of a gateway come from: what is handed to each of its processes.

    `path` is a `gateway.toml`; None when the environment alone says everything, or in development mode. `overrides`
    are the flags, as settings. `given` are the tables of a configuration that could be read only once.
    """

    path: Path | None
    overrides: dict[str, Any] = {}
    development: DevelopmentFolder | None = None
    given: dict[str, Any] | None = None

    @classmethod
    def at(cls, path: Path | None, overrides: Mapping[str, Any]) -> ConfigurationSource:
        """The source of a path, be it a pipe as in `--config <(decrypt gateway.toml)`; raises `SettingsInvalid`."""
        if path is None or path.is_file() or not path.exists():
            return cls(path, dict(overrides))
        return cls(None, dict(overrides), given=read_file_layer(path))

    def load(self, environ: Mapping[str, str]) -> Settings:
        """What it says now; `SettingsInvalid` with every problem."""
        return self.settings(self.tables(), environ)

    def tables(self) -> dict[str, Any]:
        """Its own tables, without environment and flags; `SettingsInvalid` when they cannot be read."""
        if self.development is not None:
            return self.development.tables()
        return read_file_layer(self.path) if self.path else self.given or {}

    def settings(self, tables: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
        """What its tables come to; `SettingsInvalid` with every problem."""
        if self.development is not None:
            return self.development.settings(environ, self.overrides)
        return settings_from(tables, environ, self.overrides)


class ConfigurationFiles:
    """The files of a configuration, and whether they are still what was read."""

    def __init__(self, source: ConfigurationSource, environ: Mapping[str, str]) -> None:
        self.source = source
        self._environ = environ
        self._marks = dict.fromkeys([source.path] if source.path else [], _UNSEEN)

    def look(self) -> dict[Path, _Mark]:
        """What they are now, without reading."""
        return {file: _mark(file) for file in self._marks}

    def read(self) -> Settings:
        """What they say now; `SettingsInvalid`. They are looked at first, so that a change meanwhile is a change."""
        self._marks = self.look()
        tables = self.source.tables()
        named = files_of(tables, self._environ) | ({self.source.path} if self.source.path else set())
        self._marks = {file: self._marks.get(file) or _mark(file) for file in named}
        return self.source.settings(tables, self._environ)

    def changed(self) -> bool:
        """Whether one of them is another one than when it was read."""
        return self.look() != self._marks


class Reloader:
    """Lets one gateway follow its configuration; `reloaded` is called after each that was taken over."""

    def __init__(
        self, gateway: Gateway, files: ConfigurationFiles, reloaded: Callable[[], None] = lambda: None
    ) -> None:
        self._gateway = gateway
        self._files = files
        self._reloaded = reloaded
        self._asked = asyncio.Event()
        self._again_at = math.inf
        self._keys = _keys(gateway)

    def ask(self) -> None:
        """Reload, whether or not a file changed."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever it is time to, for ever."""
        while True:
            await self.look(asked=await self._next_look())

    async def _next_look(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._asked.wait()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked

    async def look(self, *, asked: bool = False) -> None:
        """Where something changed, take over what the files say now, or keep what stands and say why.

        It raises nothing.
        """
        gateway = self._gateway
        try:
            # Off the loop: a file system that hangs, or a thousand keys, must not make a login wait.
            if not (asked or time.monotonic() >= self._again_at or await asyncio.to_thread(self._files.changed)):
                return
            await self._quiet()
            before = gateway.configured.settings
            settings, waiting = with_fixed(await asyncio.to_thread(self._files.read), before)
            await gateway.take_over(settings)
            self._reloaded()
        except SettingsInvalid as error:
            self._keep(error.problems, asked=asked)
        except GatewayError as error:
            self._keep((str(error),), asked=asked)
            self._again_at = 0.0  # nothing is wrong with the files: what is down may be up again
        except Exception as error:  # noqa: BLE001 - whatever it is, logins go on
            self._keep((f"it cannot be used: {type(error).__name__}; the log says where",), asked=asked, cause=error)
        else:
            self._tell(before, waiting, asked=asked)

    async def _quiet(self) -> None:
        """Wait until nobody writes."""
        for _ in range(_PATIENCE):
            seen = await asyncio.to_thread(self._files.look)
            await asyncio.sleep(QUIET_SECONDS)
            if await asyncio.to_thread(self._files.look) == seen:
                return

    def _keep(self, problems: tuple[str, ...], *, asked: bool, cause: Exception | None = None) -> None:
        state = self._gateway.health.configuration
        if asked or problems != state.problems:
            extra = {"problems": list(problems)}
            _log.error("the configuration is broken; the last good one stays", extra=extra, exc_info=cause)
        state.kept(problems)
        self._again_at = time.monotonic() + RETRY_SECONDS

    def _tell(self, before: Settings, waiting: tuple[str, ...], *, asked: bool) -> None:
        state = self._gateway.health.configuration
        settings = self._gateway.configured.settings
        # Since it was last told: a keyring or a published set may have changed without a reload.
        keys_before, keys = self._keys, _keys(self._gateway)
        self._keys = keys
        if settings.log_level != before.log_level:
            configure_logging(settings.log_level)
        news = {
            "changed": _changed(before, settings),
            "keys_added": sorted(keys.keys() - keys_before.keys()),
            "keys_removed": sorted(keys_before.keys() - keys.keys()),
            "keys_replaced": [name for name in keys if name in keys_before and keys[name] != keys_before[name]],
        }
        if asked or state.problems or any(news.values()):
            _log.info("configuration reloaded", extra={name: found for name, found in news.items() if found})
        if waiting and (asked or waiting != state.waiting):
            _log.warning("only a restart changes these settings", extra={"settings": list(waiting)})
        state.taken_over(waiting)
        self._again_at = math.inf


def with_fixed(settings: Settings, standing: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings with what only a new process can change as it stands, and the names of what they said otherwise."""
    names: list[str] = []
    for table, field in _FIXED:
        now, was = (getattr(one, table) if table else one for one in (settings, standing))
        if getattr(now, field) == getattr(was, field):
            continue
        names.append(f"{table}.{field}" if table else field)
        now = now.model_copy(update={field: getattr(was, field)})
        settings = settings.model_copy(update={table: now}) if table else now
    return settings, tuple(names)


def _changed(before: Settings, now: Settings) -> list[str]:
    """The tables that say something else, a workspace each by itself."""
    tables = [name for name in type(now).model_fields if name != "workspaces"]
    workspaces = sorted(before.workspaces.keys() | now.workspaces.keys())
    return [
        *(name for name in tables if getattr(now, name) != getattr(before, name)),
        *(f"workspaces.{name}" for name in workspaces if now.workspaces.get(name) != before.workspaces.get(name)),
    ]


def _keys(gateway: Gateway) -> dict[str, VerificationKey]:
    """The keys that verify now, by workspace, issuer and kid; and those of our assertions."""
    verifier, assertions = gateway.authenticator.verifier, gateway.configured.assertions
    asserting = () if assertions is None else assertions.keys.keys
    return {f"{ASSERTION_KEYS}/{key.kid}": key for key in asserting} | {
        f"{workspace}/{issuer.name}/{key.kid or '-'}": key
        for workspace in verifier.workspaces
        for issuer in verifier.issuers(workspace)
        for key in issuer.keys.keys
    }


def _mark(file: Path) -> _Mark:
    """What differs when a file does, or why it cannot be looked at. A link is what it leads to."""
    try:
        found = file.stat()
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", None) or 0,)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
