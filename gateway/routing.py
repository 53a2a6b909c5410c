"""From settings to the reverse proxy: its routes, the connections to their upstreams, whose word on origins counts."""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING

from gateway.errors import SettingsInvalid
from gateway.settings import place
from gateway.web.headers import IdentityHeaders
from gateway.web.proxy.forwarder import Forwarder
from gateway.web.proxy.heads import Heads
from gateway.web.proxy.route import Route, Routes
from gateway.web.proxy.upstreams import Upstreams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.settings import RouteSettings, Settings
    from gateway.web.assertion import Assertions
    from gateway.web.authentication import Authenticator
    from gateway.web.limits.client_limits import ClientLimits
    from gateway.web.limits.overload import Overload
    from gateway.web.problems import Problems
    from gateway.web.proxy.live import Live

_Key = tuple[object, ...]


class UpstreamPools:
    """The connections of all routes. Routes with the same upstreams and limits share theirs, also over a reload."""

    def __init__(self) -> None:
        self._pools: dict[_Key, Upstreams] = {}

    def of(self, route: RouteSettings) -> Upstreams:
        """The upstreams of a route; `OSError` when its file of authorities cannot be used."""
        addresses, limits = route.addresses(), route.limits()
        encrypted = any(address.tls for address in addresses)
        file = route.ca_file if encrypted else None
        # By what the file holds: another authority under the same name is another trust.
        key = (addresses, limits, None if file is None else file.read_bytes())
        if key not in self._pools:
            tls = ssl.create_default_context(cafile=file) if encrypted else None
            self._pools[key] = Upstreams(addresses, limits, tls)
        return self._pools[key]

    def keep(self, routes: Iterable[Route]) -> None:
        """Let go of the connections that no route needs any more."""
        needed = {id(route.upstreams) for route in routes}
        for key, upstreams in list(self._pools.items()):
            if id(upstreams) not in needed:
                del self._pools[key]
                upstreams.close()


def create_routes(settings: Settings, pools: UpstreamPools, audience: str | None = None) -> list[Route]:
    """The routes of all workspaces; `audience` is that of assertions where a route names none.

    Raises `SettingsInvalid` for files that cannot be used.
    """
    routes: list[Route] = []
    unusable: list[str] = []
    for app_id, workspace in settings.workspaces.items():
        for index, route in enumerate(workspace.routes):
            try:
                upstreams = pools.of(route)
            except OSError as error:  # of TLS, too
                at = place(("workspaces", app_id, "routes", index, "ca_file"))
                unusable.append(f"{at}: cannot be used ({error.strerror or type(error).__name__})")
                continue
            routes.append(
                Route(
                    workspace=app_id,
                    prefix=route.prefix.encode(),
                    upstreams=upstreams,
                    access=route.access,
                    host=None if route.host is None else route.host.encode(),
                    cookie=None if route.cookie is None else route.cookie.encode(),
                    platform=route.platform,
                    origins=frozenset(origin.encode() for origin in route.origins),
                    keeps_token=route.keep_token,
                    audience=route.audience or audience,
                    max_body=route.max_body,
                )
            )
    if unusable:
        raise SettingsInvalid(unusable)
    return routes


def trusted_proxies(settings: Settings) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The peers whose word on where a request came from is believed."""
    return [ipaddress.ip_network(network) for network in settings.public.trusted_proxies]


def create_forwarder(  # noqa: PLR0913 - what the wiring has
    settings: Settings,
    authenticator: Authenticator,
    *,
    problems: Problems,
    pools: UpstreamPools,
    live: Live,
    assertions: Assertions | None = None,
    reserved: Iterable[bytes],
    limits: ClientLimits | None = None,
    overload: Overload | None = None,
) -> Forwarder | None:
    """The reverse proxy, None where no route is configured; `reserved` are our own addresses."""
    routes = create_routes(settings, pools, None if assertions is None else assertions.audience)
    if not routes:
        return None
    identity_headers = IdentityHeaders(settings.public.headers.names())
    trusted = trusted_proxies(settings)
    return Forwarder(
        routes=Routes(routes, reserved),
        authenticator=authenticator,
        identity_headers=identity_headers,
        heads=Heads(identity_headers, trusted),
        problems=problems,
        live=live,
        limits=limits,
        overload=overload,
        assertions=assertions,
    )
