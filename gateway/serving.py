"""Running the gateway: both listeners in one process, or in each of several workers over the same sockets."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from uvicorn import Server

from gateway.app import create_gateway
from gateway.errors import SettingsInvalid
from gateway.logs import configure_logging
from gateway.web.express import express_protocol
from gateway.web.protocol import StrictProtocol, listener_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

    from gateway.settings import Settings

BACKLOG = 2048
_RESTART_PAUSE = 1.0


class _Listener(Server):
    """A uvicorn server that leaves signals to us: two of them share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def serve(settings: Settings, *, banner: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    On the signal readiness goes off, the listeners close, and requests under way have `drain_seconds` to end. Raises
    `SettingsInvalid` when an address cannot be bound, `StoreUnusable` when the store cannot be used.
    """
    sockets = {name: _bound(name, bind) for name, bind in _binds(settings).items()}
    if settings.workers == 1:
        return _run(settings, sockets, banner)
    return _supervise(settings, sockets, banner)


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
    except OSError as error:
        listener.close()
        raise SettingsInvalid([f"{name}.bind: cannot listen on {bind}: {error.strerror}"]) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _run(settings: Settings, sockets: dict[str, socket.socket], banner: str | None = None) -> int:
    """One process with both listeners."""
    configure_logging(settings.log_level)
    run = _serve_both(settings, sockets, banner)
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(run)
    else:
        uvloop.run(run)
    return 0


async def _serve_both(settings: Settings, sockets: dict[str, socket.socket], banner: str | None) -> None:
    gateway = create_gateway(settings)
    await gateway.authenticator.open()
    protocol = express_protocol(gateway.decision) if settings.public.express_lane else StrictProtocol
    drain = settings.drain_seconds
    servers = {
        "public": _Listener(listener_config(gateway.public, protocol, drain_seconds=drain)),
        "admin": _Listener(listener_config(gateway.admin, StrictProtocol, drain_seconds=drain)),
    }

    def stop() -> None:
        gateway.health.draining = True
        for server in servers.values():
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    if banner:
        sys.stdout.write(banner)
        sys.stdout.flush()
    try:
        await asyncio.gather(*(server.serve([sockets[name]]) for name, server in servers.items()))
    finally:
        await gateway.authenticator.close()


def _supervise(settings: Settings, sockets: dict[str, socket.socket], banner: str | None) -> int:
    """Several workers over the same sockets; one that dies is started again, a stop reaches all of them."""
    context = multiprocessing.get_context("spawn")
    stopping = False

    def start() -> BaseProcess:
        process = context.Process(target=_run, args=(settings, sockets))
        process.start()
        return process

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    workers = [start() for _ in range(settings.workers)]
    if banner:
        sys.stdout.write(banner)
        sys.stdout.flush()
    while not stopping:
        time.sleep(0.2)
        for index, worker in enumerate(workers):
            if not worker.is_alive() and not stopping:
                time.sleep(_RESTART_PAUSE)
                workers[index] = start()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(settings.drain_seconds + 5)
        if worker.is_alive():
            worker.kill()
    return 0
