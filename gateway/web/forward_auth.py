"""`/auth`: the answer that nginx `auth_request`, Envoy `ext_authz`, HAProxy and Traefik ask for.

Any method, no body work: 200 with the identity headers, or 401, 403, 503 with the code in `X-Identity-Error`. The
workspace is the default one or, as `/auth/<app_id>`, the one that the proxy's own configuration names: never a query
that a client could have written (C04).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.decision import Presented
from gateway.web.transport import Answer, one_token

if TYPE_CHECKING:
    from gateway.contacts.resolver import Identity
    from gateway.web.headers import IdentityHeaders
    from gateway.web.transport import Head, Request


class ForwardAuth:
    """The forward-auth ending for one workspace; None is the default one."""

    methods: frozenset[bytes] | None = None
    forward_auth = True

    def __init__(self, identity_headers: IdentityHeaders, workspace: str | None = None) -> None:
        self.path = b"/auth" if workspace is None else b"/auth/" + workspace.encode("ascii")
        self._identity_headers = identity_headers
        self._workspace = workspace

    def presented(self, request: Request, head: Head) -> Presented:  # noqa: ARG002 - the shape of every ending
        """Read the token from the header."""
        return Presented(one_token(head.token), self._workspace)

    def welcome(self, identity: Identity) -> Answer:
        """200 and the identity headers, no body."""
        return Answer(200, ((b"cache-control", b"no-store"), *self._identity_headers.of(identity)))
