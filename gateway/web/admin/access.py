"""Access tokens at the door of the admin listener: every route and verb needs one (R30), and each has its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.access_token import AccessToken, digest_of
from gateway.errors import Outage, Refusal, StoreUnusable
from gateway.web.admin.errors import AdminError, error_list, outage, unauthorized
from gateway.web.admin.rate_limits import with_headers
from gateway.web.problems import status_of
from gateway.web.transport import read_head

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.contacts.store import ContactStore
    from gateway.web.admin.rate_limits import RateLimits


class AccessTokenMiddleware:
    """Pure ASGI, on the protected mount: 401 without a standing token, else `request.user` is the `AccessToken`.

    429 when the token has spent its budget; a refused credential is counted, and stays 401.

    The look-up is by SHA-256 digest, so there is no comparison whose time could tell anything (advisory A20).
    """

    def __init__(self, app: ASGIApp, *, store: ContactStore, limits: RateLimits) -> None:
        self.app = app
        self._store = store
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        admitted = await self._admitted(scope)
        allowance = self._limits.take(admitted.id if isinstance(admitted, AccessToken) else None)
        if isinstance(admitted, AccessToken) and not allowance.granted:
            admitted = error_list(allowance.refusal())
        send = with_headers(send, allowance)
        if isinstance(admitted, AccessToken):
            await self.app({**scope, "user": admitted}, receive, send)
        else:
            await admitted(scope, receive, send)

    async def _admitted(self, scope: Scope) -> AccessToken | Response:
        """The access token that was presented, or the refusal."""
        try:
            head = read_head(scope["headers"])
            token = None
            if head.token is not None:
                token = await self._store.find_access_token(digest_of(head.token.decode("latin-1")))
        except Refusal as error:
            status = status_of(error.code)
            unfit = AdminError(status, "bad_request", error.reason, field=error.field)
            return error_list(unauthorized() if status == 401 else unfit)
        except (Outage, StoreUnusable) as error:
            return await outage(scope, error)
        return error_list(unauthorized()) if token is None or token.revoked_at is not None else token
