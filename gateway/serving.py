"""Running the gateway: both listeners in one process, or in each of several workers over the same sockets."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

from gateway.errors import SettingsInvalid
from gateway.logs import configure_logging
from gateway.process import Shared, run
from gateway.supervisor import Supervisor
from gateway.web.limits.connections import raise_open_files
from gateway.web.limits.shared_slots import SharedSlots

if TYPE_CHECKING:
    from gateway.reloading import ConfigurationFiles
    from gateway.settings import Settings

BACKLOG = 2048


def serve(files: ConfigurationFiles, settings: Settings, *, banner: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. `settings` are what `files` said when they were read.

    Each process follows its configuration by itself (`reloading.py`); SIGHUP makes it look at once. In development mode
    SIGHUP is what a terminal says when it is closed, and ends the process.

    On SIGTERM readiness goes off; a moment later (a tenth of `drain_seconds`, at most `process.NOTICE_SECONDS`) the
    listeners close, and requests under way have the rest of `drain_seconds` to end. SIGINT, or a second SIGTERM, closes
    the listeners at once. `banner` is printed when the listeners answer. Raises `SettingsInvalid` when an address
    cannot be bound or a key not be used, `StoreUnusable` or `Outage` when the store cannot be opened.
    """
    if files.source.development is None:
        # It waits until somebody is there who reloads. Processes that are started inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    raise_open_files()
    shared = Shared({name: _bound(name, bind) for name, bind in _binds(settings).items()}, SharedSlots())
    configure_logging(settings.log_level)
    if settings.workers > 1:
        return Supervisor(files.source, settings, shared).run(lambda: _print(banner))
    run(files, settings, shared, lambda: _print(banner))
    return 0


def _print(banner: str | None) -> None:
    if banner:
        sys.stdout.write(banner)
        sys.stdout.flush()


def _binds(settings: Settings) -> dict[str, str]:
    return {"public": settings.public.bind, "admin": settings.admin.bind}


def _bound(name: str, bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsInvalid([f"{name}.bind: cannot listen on {bind}: {error.strerror}"]) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
