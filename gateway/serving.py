"""Running the gateway: both listeners in one process, or in each of several workers over the same sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from msgspec import Struct
from uvicorn import Server

from gateway.app import Gateway
from gateway.errors import GatewayError, SettingsInvalid
from gateway.logs import configure_logging
from gateway.reloading import ConfigurationFiles, Reloader, with_fixed
from gateway.web.express import express_protocol
from gateway.web.limits.connections import raise_open_files
from gateway.web.limits.shared_slots import SharedSlots
from gateway.web.protocol import StrictProtocol, listener_config, with_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.process import BaseProcess

    from uvicorn import Config

    from gateway.reloading import ConfigurationSource
    from gateway.settings import Settings

BACKLOG = 2048
NOTICE_SECONDS = 2.0
"""How long the listeners still accept after readiness went off, so that a load balancer can look away first."""

_RESTART_SECONDS = 1.0
_LONGEST_RESTART_SECONDS = 30.0
_LOOK_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Shared(Struct, frozen=True):
    """What all processes of a gateway have in common: the sockets of its listeners, and the budgets of its clients."""

    sockets: dict[str, socket.socket]
    slots: SharedSlots


class _Listener(Server):
    """A uvicorn server that leaves signals to us, for two of them share one process; `up` is set when it listens."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def serve(files: ConfigurationFiles, settings: Settings, *, banner: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. `settings` are what `files` said when they were read.

    Each process follows its configuration by itself (`reloading.py`); SIGHUP makes it look at once. In development mode
    SIGHUP is what a terminal says when it is closed, and ends the process.

    On SIGTERM readiness goes off; a moment later (a tenth of `drain_seconds`, at most `NOTICE_SECONDS`) the listeners
    close, and requests under way have the rest of `drain_seconds` to end. SIGINT, or a second SIGTERM, closes the
    listeners at once. `banner` is printed when the listeners answer. Raises `SettingsInvalid` when an address cannot be
    bound or a key not be used, `StoreUnusable` or `Outage` when the store cannot be opened.
    """
    if files.source.development is None:
        # It waits until somebody is there who reloads. Processes that are started inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    raise_open_files()
    shared = Shared({name: _bound(name, bind) for name, bind in _binds(settings).items()}, SharedSlots())
    configure_logging(settings.log_level)
    if settings.workers > 1:
        return _Supervisor(files.source, settings, shared).run(lambda: _print(banner))
    _run(files, settings, shared, lambda: _print(banner))
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


def _run(files: ConfigurationFiles, settings: Settings, shared: Shared, listening: Callable[[], None]) -> None:
    """One process with both listeners; `listening` is called when they answer."""
    run = _serve_both(files, settings, shared, listening)
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(run)
    else:
        uvloop.run(run)


async def _serve_both(
    files: ConfigurationFiles, settings: Settings, shared: Shared, listening: Callable[[], None]
) -> None:
    gateway = Gateway(settings, shared.slots)
    await gateway.authenticator.open()
    protocol = express_protocol(gateway.decision) if settings.public.express_lane else StrictProtocol
    protocol = with_room(protocol, gateway.connections)
    notice = min(NOTICE_SECONDS, settings.drain_seconds / 10)
    drain = round(settings.drain_seconds - notice)
    public = _Listener(
        listener_config(gateway.public, protocol, drain_seconds=drain, sockets=_socket_protocol(gateway))
    )
    admin = _Listener(listener_config(gateway.admin, StrictProtocol, drain_seconds=drain))
    loop = asyncio.get_running_loop()

    def close() -> None:
        gateway.health.draining = True
        public.should_exit = admin.should_exit = True

    def stop() -> None:
        if gateway.health.draining:
            close()
        gateway.health.draining = True
        loop.call_later(notice, close)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, close)
    _when_orphaned(loop, close)

    def reloaded() -> None:
        public.config.ws_protocol_class = _socket_protocol(
            gateway
        )  # the first routes may be new; connections look here

    reloader = Reloader(gateway, files, reloaded)
    if files.source.development is None:
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    reloading = loop.create_task(reloader.run())
    try:
        async with asyncio.TaskGroup() as group:
            for name, server in (("public", public), ("admin", admin)):
                group.create_task(server.serve([shared.sockets[name]]))
                await server.up.wait()
            # What stands by now stays for good: no collection needs to walk through it again, while logins wait.
            gc.collect()
            gc.freeze()
            gateway.overload.begin()
            listening()
    finally:
        gateway.overload.end()
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
        await gateway.authenticator.close()


def _socket_protocol(gateway: Gateway) -> type[asyncio.Protocol] | None:
    if gateway.decision.forwarder is None:
        return None
    from gateway.web.proxy.socket_protocol import SocketProtocol  # noqa: PLC0415 - only routes have WebSockets

    return SocketProtocol


def _when_orphaned(loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
    """Close when the supervisor is gone: one that was killed leaves nobody who goes on serving."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return
    sentinel = supervisor.sentinel

    def orphaned() -> None:
        loop.remove_reader(sentinel)
        close()

    loop.add_reader(sentinel, orphaned)


def _work(source: ConfigurationSource, standing: Settings, shared: Shared, listening: Callable[[], None]) -> None:
    """A worker: what the process of a `_Worker` runs. It reads the configuration for itself.

    A worker that takes a dead one's place can do no better than the files: what its supervisor once read may trust keys
    that are gone. With a broken configuration it does not serve, and others go on.
    """
    configure_logging(standing.log_level)
    files = ConfigurationFiles(source, os.environ)
    try:
        settings, _ = with_fixed(files.read(), standing)
        configure_logging(settings.log_level)
        _run(files, settings, shared, listening)
    except GatewayError as error:
        _log.error("a worker cannot serve", exc_info=error)
        sys.exit(1)


class _Worker:
    """One of several processes; `patience` is how long it is waited before it is started again."""

    def __init__(self, source: ConfigurationSource, settings: Settings, shared: Shared, patience: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._listening = context.Event()
        self.patience = patience
        self.process = context.Process(target=_work, args=(source, settings, shared, self._listening.set))
        self.process.start()
        self.ended: float | None = None

    @property
    def listens(self) -> bool:
        return self._listening.is_set()

    @property
    def failed(self) -> bool:
        """Whether it ended before it listened."""
        return not (self.process.is_alive() or self.listens)


class _Supervisor:
    """Starts the workers, starts one that dies again, and lets a stop or a SIGHUP reach all of them."""

    def __init__(self, source: ConfigurationSource, settings: Settings, shared: Shared) -> None:
        self._source = source
        self._settings = settings
        self._shared = shared
        self._workers: list[_Worker] = []
        self._signals: list[int] = []

    def run(self, listening: Callable[[], None]) -> int:
        """Supervise until SIGTERM or SIGINT; 1 when a worker cannot even start, and its error is in the log."""
        # What no worker could use (keys, store) is told here once, in one line, before there are workers.
        asyncio.run(_try_out(self._settings))
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda number, _frame: self._signals.append(number))
        self._workers = [self._start(_RESTART_SECONDS) for _ in range(self._settings.workers)]
        announced = False
        while not self._signals:
            if not announced and any(worker.failed for worker in self._workers):
                self._stop(signal.SIGTERM)
                return 1
            if not announced and all(worker.listens for worker in self._workers):
                announced = True
                listening()
            time.sleep(_LOOK_SECONDS)
            if signal.SIGHUP in signal.sigpending():
                signal.sigwait({signal.SIGHUP})
                _signal_all([worker.process for worker in self._workers], signal.SIGHUP)
            self._workers = [self._revived(worker) for worker in self._workers]
        self._stop(self._signals[0])
        return 0

    def _start(self, patience: float) -> _Worker:
        return _Worker(self._source, self._settings, self._shared, patience)

    def _revived(self, worker: _Worker) -> _Worker:
        """The worker, or its successor; the wait doubles with each one that dies before it listens."""
        if worker.process.is_alive():
            return worker
        now = time.monotonic()
        if worker.ended is None:
            worker.ended = now
            ended = {"pid": worker.process.pid, "exit_code": worker.process.exitcode}
            _log.error("a worker ended; another one takes its place", extra=ended)
        if now - worker.ended < worker.patience:
            return worker
        worker.process.close()
        patience = _RESTART_SECONDS if worker.listens else min(2 * worker.patience, _LONGEST_RESTART_SECONDS)
        return self._start(patience)

    def _stop(self, number: int) -> None:
        """Hand the signal, and each that follows, to the workers; end those that do not end in time."""
        for listener in self._shared.sockets.values():
            listener.close()
        processes = [worker.process for worker in self._workers]
        sent = len(self._signals)
        _signal_all(processes, number)
        deadline = time.monotonic() + self._settings.drain_seconds + 5
        while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            for following in self._signals[sent:]:
                _signal_all(processes, following)
            sent = len(self._signals)
        for process in processes:
            process.kill()
            process.join()


def _signal_all(processes: Iterable[BaseProcess], number: int) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)


async def _try_out(settings: Settings) -> None:
    authenticator = Gateway(settings).authenticator
    await authenticator.open()
    await authenticator.close()
