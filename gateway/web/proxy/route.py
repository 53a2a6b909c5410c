"""Routes: which upstream a path belongs to, and what is asked of whoever comes there."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Refusal
from gateway.identity.platforms import Platform
from gateway.web.proxy.upstreams import Upstreams

if TYPE_CHECKING:
    from collections.abc import Iterable


class Access(StrEnum):
    """What a route asks for. A token that is present but bad is refused wherever one is looked at (advisory B18)."""

    REQUIRED = "required"
    """Without a good token the request is refused, unless its platform is not enforced (mode `report` or `off`): then
    it passes, and carries no identity."""

    OPTIONAL = "optional"
    """Without a token the request passes, and carries no identity."""
    PUBLIC = "public"
    """No token is looked at, and none reaches the upstream."""


class Route(Struct, frozen=True, kw_only=True):
    """One prefix of one workspace. `prefix` ends with `/`; `host` (lower case, without port) None means every host."""

    workspace: str
    prefix: bytes
    upstreams: Upstreams
    access: Access = Access.REQUIRED
    host: bytes | None = None
    cookie: bytes | None = None
    """The cookie in which a token may come as well."""
    origins: frozenset[bytes] = frozenset()
    """Other sites, in lower case, whose pages may open sockets with that cookie."""
    platform: Platform | None = None
    """Whose requests come here, for the secrets and the enforcement of that platform."""
    keeps_token: bool = False
    """Whether the upstream sees the token."""

    audience: str | None = None
    """The `aud` of the assertions that the upstream gets; None where it gets none."""

    max_body: int | None = None
    """How many bytes a request's body may have; None is without end."""


def body_too_large(route: Route) -> Refusal:
    """413: a body past the route's bound."""
    return Refusal(Code.PAYLOAD_TOO_LARGE, f"the body takes more than {route.max_body} bytes")


class Routes:
    """All routes; the longest prefix wins, one for the request's own host before one for every host.

    `reserved` are addresses of our own, which no route takes.
    """

    def __init__(self, routes: Iterable[Route] = (), reserved: Iterable[bytes] = ()) -> None:
        self._reserved = frozenset(reserved)
        self.all = tuple(sorted(routes, key=lambda route: (-len(route.prefix), route.host is None)))
        self._by_host: dict[bytes, tuple[Route, ...]] = {
            host: tuple(route for route in self.all if route.host in {None, host})
            for host in {route.host for route in self.all if route.host is not None}
        }
        self.has_hosts = bool(self._by_host)
        """Whether any route is one for a host, so that `match` looks at the request's own."""

        self._anywhere = tuple(route for route in self.all if route.host is None)

    def takes(self, path: bytes) -> bool:
        """Whether a path is not one of our own addresses."""
        return path not in self._reserved

    def match(self, path: bytes, host: bytes) -> Route | None:
        """The route of a path in its one spelling; `host` is the request's own, as it was sent.

        A prefix matches on the border of a segment alone: `/chat/` takes `/chat` and `/chat/1`, never `/chatter` (B05).
        """
        if not self.takes(path):
            return None
        routes = self._anywhere
        if self._by_host:
            routes = self._by_host.get(_name_of(host), routes)
        for route in routes:
            if path.startswith(route.prefix) or path == route.prefix[:-1]:
                return route
        return None


def _name_of(host: bytes) -> bytes:
    """A host without its port, in lower case, as routes spell it."""
    name = host[: host.index(b"]") + 1] if host.startswith(b"[") and b"]" in host else host.partition(b":")[0]
    return name.lower().rstrip(b".")  # the root of all names may stand at its end
