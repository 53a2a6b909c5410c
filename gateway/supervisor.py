"""Several workers over the same sockets: started, started again when one dies, stopped together."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from gateway.app import Gateway
from gateway.errors import GatewayError
from gateway.logs import configure_logging
from gateway.process import run
from gateway.reloading import ConfigurationFiles, with_fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.process import BaseProcess

    from gateway.process import Shared
    from gateway.reloading import ConfigurationSource
    from gateway.settings import Settings

_RESTART_SECONDS = 1.0
_LONGEST_RESTART_SECONDS = 30.0
_LOOK_SECONDS = 0.1

_log = logging.getLogger(__name__)


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
        run(files, settings, shared, listening)
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


class Supervisor:
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
