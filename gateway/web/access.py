"""Access tokens at the door of the admin listener: every route and verb needs one (R30)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contacts.access_token import digest_of
from gateway.errors import Outage, Refusal, StoreUnusable
from gateway.web.admin_errors import AdminError, error_list, outage, unauthorized
from gateway.web.problems import status_of
from gateway.web.transport import read_head

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.contacts.store import ContactStore


class AccessTokenMiddleware:
    """Pure ASGI, on the protected mount: 401 without a standing token, else `request.user` is the `AccessToken`.

    The look-up is by SHA-256 digest, so there is no comparison whose time could tell anything (advisory A20).
    """

    def __init__(self, app: ASGIApp, *, store: ContactStore) -> None:
        self.app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI."""
        try:
            head = read_head(scope["headers"])
            token = None
            if head.token is not None:
                token = await self._store.find_access_token(digest_of(head.token.decode("latin-1")))
            if token is None or token.revoked_at is not None:
                raise unauthorized()
        except Refusal as error:
            status = status_of(error.code)
            unfit = AdminError(status, "bad_request", error.reason, field=error.field)
            await error_list(unauthorized() if status == 401 else unfit)(scope, receive, send)
        except AdminError as error:
            await error_list(error)(scope, receive, send)
        except (Outage, StoreUnusable) as error:
            await (await outage(scope, error))(scope, receive, send)
        else:
            await self.app({**scope, "user": token}, receive, send)
