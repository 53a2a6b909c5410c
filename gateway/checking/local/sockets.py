"""Are there enough open files for the connections to come, and are the addresses free, or the gateway's own?"""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import TYPE_CHECKING

from gateway.checking.row import Row, failed, passed, warning

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.settings import Settings

PLENTY = 8192
LEAST = 512
_PATIENCE = 2.0
_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def open_files() -> int:
    """How many files and connections one process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return PLENTY if soft == resource.RLIM_INFINITY else soft


def check_open_files(limit: Callable[[], int] = open_files) -> Row:
    """Each connection is an open file, in each worker."""
    name, expected = "open files", f"{PLENTY:,} or more for each process: a connection is one"
    found, hint = f"{limit():,}", f"`ulimit -n {PLENTY}`, or LimitNOFILE={PLENTY} in a systemd unit"
    if limit() < LEAST:
        return failed(name, expected, found, hint)
    return warning(name, expected, found, hint) if limit() < PLENTY else passed(name, expected, found)


def check_addresses(settings: Settings) -> list[Row]:
    """A row for each listener."""
    binds = {"public": settings.public.bind, "admin": settings.admin.bind}
    return [_check_address(f"{name} address", bind) for name, bind in binds.items()]


def _check_address(name: str, bind: str) -> Row:
    expected = "free, or answered by a gateway"
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    answer = _answer((host, int(port)), family)
    if answer is None:
        with contextlib.closing(socket.socket(family)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, int(port)))
            except OSError as error:
                return failed(name, expected, f"{bind}: {error.strerror}", "choose another address")
        return passed(name, expected, f"{bind} is free")
    if answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'{"status":"ok"}'):
        return passed(name, expected, f"{bind} is answered by a gateway")
    return failed(name, expected, f"{bind} is answered by another program", "stop it, or choose another address")


def _answer(address: tuple[str, int], family: socket.AddressFamily) -> bytes | None:
    """What somebody answers who is asked for his health; None when nobody listens."""
    try:
        with contextlib.closing(socket.socket(family)) as asking:
            asking.settimeout(_PATIENCE)
            asking.connect(address)
            received = b""
            with contextlib.suppress(OSError):
                asking.sendall(_HEALTH)
                until = time.monotonic() + _PATIENCE
                while time.monotonic() < until and (chunk := asking.recv(4096)) and len(received) < 65_536:
                    received += chunk
            return received
    except OSError:
        return None
