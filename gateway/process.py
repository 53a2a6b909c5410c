"""One process of the gateway: both listeners over one `Gateway`, from its first answer to its last."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import signal
import socket
from typing import TYPE_CHECKING

from msgspec import Struct
from uvicorn import Server

from gateway.app import Gateway
from gateway.reloading import Reloader
from gateway.web.express import express_protocol
from gateway.web.limits.shared_slots import SharedSlots
from gateway.web.protocol import StrictProtocol, listener_config, with_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uvicorn import Config

    from gateway.reloading import ConfigurationFiles
    from gateway.settings import Settings

NOTICE_SECONDS = 2.0
"""How long the listeners still accept after readiness went off, so that a load balancer can look away first."""


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


def run(files: ConfigurationFiles, settings: Settings, shared: Shared, listening: Callable[[], None]) -> None:
    """One process with both listeners; `listening` is called when they answer."""
    serving = _serve_both(files, settings, shared, listening)
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


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
