"""The servers under measurement, each a real process pinned to the first core."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOR = Path(__file__).with_name("floor.py")


class Running(Struct, frozen=True):
    """A server that answers: its address, its processes, and how long it took to its first answer."""

    url: str
    port: int
    pid: int
    seconds_to_first_answer: float

    def cpu_seconds(self) -> float:
        """CPU time of the process and its children so far, user and system."""
        ticks = sum(_ticks(pid) for pid in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Resident memory of the process and its children, in MiB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._processes())
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def floor() -> Iterator[Running]:
    """The bare ASGI application."""
    port = free_port()
    with started([sys.executable, str(FLOOR), str(port)], port) as running:
        yield running


@contextlib.contextmanager
def gateway(config: Path, port: int, *arguments: str, core: int | None = 0) -> Iterator[Running]:
    """`gateway serve` with a configuration whose public listener has this port."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), *arguments]
    with started(command, port, core=core) as running:
        yield running


@contextlib.contextmanager
def started(command: list[str], port: int, *, core: int | None = 0) -> Iterator[Running]:
    """A command that answers on a port, on one core (None: on all of them)."""
    if core is not None and sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        command = ["taskset", "-c", str(core), *command]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await_answer(process, port)
        yield Running(f"http://127.0.0.1:{port}", port, process.pid, time.perf_counter() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.perf_counter() + 30
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with contextlib.suppress(OSError):
            connection.request("GET", "/healthz")
            connection.getresponse()
            connection.close()
            return
        time.sleep(0.005)
    raise RuntimeError("the server did not answer within 30 s")


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
