"""What becomes of a request that no address of ours answers: which route takes it, who sends it, what is sent on.

The path is looked at first, in the bytes in which it will be sent (B06); then the route decides what is asked of the
client; the identity's headers are the last thing that is put on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Outage, Refusal
from gateway.web.authentication import Authenticated
from gateway.web.limits.overload import Overload
from gateway.web.proxy.route import Access, Route, body_too_large
from gateway.web.proxy.target import check_path
from gateway.web.proxy.upstreams import Upstreams
from gateway.web.standing import Standing
from gateway.web.transport import Answer, one_token, read_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.web.assertion import Assertions
    from gateway.web.authentication import Authenticator
    from gateway.web.headers import IdentityHeaders
    from gateway.web.limits.client_limits import ClientLimits
    from gateway.web.problems import Problems
    from gateway.web.proxy.heads import Field, Heads, Peer
    from gateway.web.proxy.live import Live
    from gateway.web.proxy.route import Routes
    from gateway.web.transport import Request

OWN_SUBPROTOCOL = "identity"
"""Offered beside `bearer.<token>` by a client that speaks no other subprotocol, so that there is one to choose."""

_SUBPROTOCOL = b"sec-websocket-protocol"
_BEARER = b"bearer."
_NEVER = frozenset({b"CONNECT", b"TRACE"})
"""Methods that ask the proxy itself for something: a tunnel, or an echo of what others may not see."""


class Admitted(Struct, frozen=True):
    """Who a request is from: nobody, or an identity with the token that proves it, to be asked for again later."""

    authenticated: Authenticated | None = None
    token: bytes = b""


class Forwarding(Struct, frozen=True):
    """A request that goes on, as its upstream gets it."""

    upstreams: Upstreams
    method: bytes
    head: bytes
    has_body: bool
    chunked: bool
    route: Route
    admitted: Admitted


class Socket(Struct, frozen=True):
    """A WebSocket that goes on: the handshake as the upstream gets it, without what `websockets` writes itself."""

    host: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    subprotocols: list[str]
    own_subprotocol: str | None
    route: Route
    admitted: Admitted


class Forwarder:
    """Decides about the requests to its routes; one for each configuration."""

    def __init__(  # noqa: PLR0913 - the parts of the way, each given by the wiring
        self,
        *,
        routes: Routes,
        authenticator: Authenticator,
        identity_headers: IdentityHeaders,
        heads: Heads,
        problems: Problems,
        live: Live,
        assertions: Assertions | None = None,
        limits: ClientLimits | None = None,
        overload: Overload | None = None,
    ) -> None:
        self.routes = routes
        self.heads = heads
        self.problems = problems
        self.live = live
        self._authenticator = authenticator
        self._limits = limits
        self._overload = overload or Overload(problems)
        self._identity_headers = identity_headers
        self._assertions = assertions

    async def decide(self, request: Request, peer: Peer) -> Answer | Forwarding:
        """What becomes of a request. It never raises: what fails is a 500, and logged."""
        if self._overload.sheds:
            return self._overload.refusal()
        try:
            self._charge_address(request, peer)
            route = self.route(request)
            if route is None:
                return self.problems.nothing_here()
            admitted = await self.admit(request, route)
            return self._forwarding(request, route, admitted, peer)
        except (Refusal, Outage) as error:
            return self.problems.answer(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, both carriers answer it alike, and nobody is let in
            return self.problems.failure(error)

    async def decide_socket(self, request: Request, peer: Peer) -> Answer | Socket:
        """What becomes of the handshake of a WebSocket; never raises, as `decide`.

        The token may also stand among the subprotocols, as `bearer.<token>`, for a browser can send no header.
        """
        if self._overload.sheds:
            return self._overload.refusal()
        offered = [one.strip() for name, value in request.headers if name == _SUBPROTOCOL for one in value.split(b",")]
        tokens = [one[len(_BEARER) :] for one in offered if _is_bearer(one)]
        try:
            self._charge_address(request, peer)
            route = self.route(request)
            if route is None:
                return self.problems.nothing_here()
            _check_origin(request, route)
            admitted = await self.admit(request, route, *tokens)
            ours = self._ours(admitted, route)
            passing = self.heads.passing(request.headers, keeps_token=route.keeps_token, cookie=route.cookie)
        except (Refusal, Outage) as error:
            return self.problems.answer(error)
        except Exception as error:  # noqa: BLE001 - as in `decide`
            return self.problems.failure(error)
        subprotocols = [one.decode("latin-1") for one in offered if one and not _is_bearer(one)]
        own = OWN_SUBPROTOCOL if OWN_SUBPROTOCOL in subprotocols else None
        lines = b"".join(
            [
                *passing.lines,
                ours,
                self.heads.origin(request.headers, passing.host, peer),
            ]
        )
        fields = [line.partition(": ")[::2] for line in lines.decode("latin-1").split("\r\n") if line]
        return Socket(
            host=_field(request.headers, b"host").decode("latin-1"),
            path=request.path.decode("ascii"),
            query=request.query.decode("latin-1"),
            headers=[field for field in fields if field[0] != "host" and not field[0].startswith("sec-websocket-")],
            subprotocols=[one for one in subprotocols if one != own],
            own_subprotocol=own,
            route=route,
            admitted=admitted,
        )

    def _charge_address(self, request: Request, peer: Peer) -> None:
        if self._limits is not None and self._limits.counts_addresses:
            self._limits.charge_address(peer.address, request.headers)

    def route(self, request: Request) -> Route | None:
        """The route of a request, None when there is none; `Refusal(request_invalid)`."""
        if request.method in _NEVER:
            raise Refusal(Code.REQUEST_INVALID, "a method that is not forwarded", field="method")
        check_path(request.path)
        return self.routes.match(request.path, _field(request.headers, b"host") if self.routes.has_hosts else b"")

    async def admit(self, request: Request, route: Route, *others: bytes) -> Admitted:
        """Who the request is from, as the route asks for it; raises `Refusal` and `Outage`.

        `others` are tokens that came some other way. Of a public route no token is looked at; of an optional one a
        request without any is nobody's (B18). Where nothing is enforced, so is one whose token is refused.
        """
        head = read_head(request.headers)
        if route.access is Access.PUBLIC:
            return Admitted()
        tokens = (head.token, *_cookies(request.headers, route.cookie), *others)
        if route.access is Access.OPTIONAL and not any(token is not None for token in tokens):
            return Admitted()
        enforcement = self._authenticator.enforcement
        try:
            token = one_token(*tokens)
            authenticated = await self._authenticator.authenticate(token, route.workspace, route.platform)
        except Refusal as refusal:
            if enforcement.excuse(refusal, route.workspace, route.platform, self.problems) is None:
                raise
            return Admitted()
        if self._limits is not None and self._limits.counts_contacts:
            self._limits.charge_contact(authenticated.identity.contact)
        if enforcement.counts:
            enforcement.count_verified(route.workspace, route.platform)
        return Admitted(authenticated, token)

    def standing(self, admitted: Admitted, route: Route) -> Standing:
        """Who was let in with an identity, to be asked about again while the connection stands (B14)."""
        contact_id = "" if admitted.authenticated is None else admitted.authenticated.identity.contact.id
        return Standing(self._authenticator, admitted.token, route.workspace, route.platform, contact_id)

    def _ours(self, admitted: Admitted, route: Route) -> bytes:
        """The headers that we put on for an identity, as they are sent; none for nobody. Raises `Outage`."""
        authenticated = admitted.authenticated
        if authenticated is None:
            return b""
        if authenticated.headers is None:
            fields = self._identity_headers.of(authenticated.identity)
            authenticated.headers = b"".join([b"%b: %b\r\n" % field for field in fields])
        if self._assertions is None or route.audience is None:
            return authenticated.headers
        assertion = self._assertions.of(authenticated, route.audience)
        return b"%bx-identity-assertion: %b\r\n" % (authenticated.headers, assertion)

    def _forwarding(self, request: Request, route: Route, admitted: Admitted, peer: Peer) -> Forwarding:
        passing = self.heads.passing(request.headers, keeps_token=route.keeps_token, cookie=route.cookie)
        if route.max_body is not None and (passing.length or 0) > route.max_body:
            raise body_too_large(route)
        framing = b""
        if passing.chunked:
            framing = b"transfer-encoding: chunked\r\n"
        elif passing.length is not None:
            framing = b"content-length: %d\r\n" % passing.length
        head = b"".join(
            [
                b"%b %b HTTP/1.1\r\n" % (request.method, _target(request)),
                self.heads.origin(request.headers, passing.host, peer),
                *passing.lines,
                self._ours(admitted, route),
                framing,
                b"\r\n",
            ]
        )
        has_body = passing.chunked or bool(passing.length)
        return Forwarding(route.upstreams, request.method, head, has_body, passing.chunked, route, admitted)


def _check_origin(request: Request, route: Route) -> None:
    """Refuse a socket that another site's page opens with its visitor's cookie (RFC 6455 section 10.2).

    A browser sends the cookie whoever asks, and no rule of its own keeps the page from reading what comes back. It
    always says `Origin`; what says none is no browser, and has the cookie from where it could have had the token.
    """
    origin = _field(request.headers, b"origin").lower()
    if not origin or not _cookies(request.headers, route.cookie) or origin in route.origins:
        return
    if origin.partition(b"://")[2] != _field(request.headers, b"host").lower():
        raise Refusal(Code.REQUEST_INVALID, "a socket with a cookie, opened by another site", field="origin")


def _is_bearer(subprotocol: bytes) -> bool:
    return subprotocol[: len(_BEARER)].lower() == _BEARER  # whatever begins like a credential is one (B18)


def _target(request: Request) -> bytes:
    return request.path + b"?" + request.query if request.query else request.path


def _field(headers: Sequence[Field], wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _cookies(headers: Sequence[Field], wanted: bytes | None) -> list[bytes]:
    """Every value of a cookie."""
    if wanted is None:
        return []
    pairs = [part.strip().partition(b"=") for name, value in headers if name == b"cookie" for part in value.split(b";")]
    return [value.strip() for name, _, value in pairs if name.strip() == wanted]
