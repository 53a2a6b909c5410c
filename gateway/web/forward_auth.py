"""`/auth`: the answer that nginx `auth_request`, Envoy `ext_authz`, HAProxy and Traefik ask for.

Any method, no body work: 200 with the identity headers, or 401, 403, 503 with the code in `X-Identity-Error`. The
workspace is the default one or, as `/auth/<app_id>`, the one that the proxy's own configuration names, and so is the
platform, as `/auth/<app_id>/<platform>`: never a query that a client could have written (C04).

Where a platform is not enforced, who is not proven gets 200 without any identity header, and the code in
`X-Identity-Error`. So an upstream must take a request without `X-Contact-Id` for anonymous, whatever else it says, and
the proxy must remove a client's own copies of these headers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.web.decision import Presented
from gateway.web.headers import IDENTITY_ASSERTION, IDENTITY_ERROR
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from gateway.contacts.resolver import Identity
    from gateway.identity.platforms import Platform
    from gateway.web.assertion import Assertions
    from gateway.web.enforcement import Unverified
    from gateway.web.headers import IdentityHeaders
    from gateway.web.transport import Head, Request


class ForwardAuth:
    """The forward-auth ending for one workspace and platform; None are the default one, and no platform."""

    methods: frozenset[bytes] | None = None
    forward_auth = True

    def __init__(
        self,
        identity_headers: IdentityHeaders,
        workspace: str | None = None,
        platform: Platform | None = None,
        assertions: Assertions | None = None,
    ) -> None:
        named = [part.encode("ascii") for part in (workspace, platform) if part is not None]
        self.path = b"/".join([b"/auth", *named])
        self._identity_headers = identity_headers
        self._workspace = workspace
        self._platform = platform
        self._assertions = assertions

    def presented(self, request: Request, head: Head) -> Presented:  # noqa: ARG002 - the shape of every ending
        """The token stands in the header."""
        return Presented(head, self._workspace, self._platform)

    def welcome(self, identity: Identity) -> Answer:
        """200 and the identity headers, no body. With an assertion among them it holds as long as that."""
        headers = ((b"cache-control", b"no-store"), *self._identity_headers.of(identity))
        if self._assertions is None or self._assertions.audience is None:
            return Answer(200, headers)
        assertion = self._assertions.sign(identity, self._assertions.audience)
        field = (IDENTITY_ASSERTION.lower().encode(), assertion.text)
        return Answer(200, (*headers, field), holds=partial(self._assertions.holds, assertion))

    def unverified(self, unverified: Unverified) -> Answer:
        """200 without an identity header, and the code for which it would be refused."""
        code = (IDENTITY_ERROR.lower().encode(), unverified.code.value.encode())
        return Answer(200, ((b"cache-control", b"no-store"), code))
