"""`POST /tokens/inspect`: the answer of `gateway token inspect --json`, for whoever holds the token.

The body is `{token, app_id?, platform?}`; 200 whatever the token is, with the code that a client would meet. A token is
judged in the access token's own workspace, and `app_id` may only say the same. It is never stored and never logged, and
nothing is written: the resolver's transaction is undone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.explaining import RehearsedStore, explain, rehearse
from gateway.contacts.resolver import Resolver
from gateway.identity.platforms import Platform
from gateway.web.admin.endpoints import AdminEndpoints, Shared, answer, json_object
from gateway.web.admin.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.contacts.resolver import ResolutionPolicy
    from gateway.identity.verifier import TokenVerifier


class InspectApi(AdminEndpoints):
    """Explanations by the engine that judges logins: the same keys, the same checks, the same resolver."""

    def __init__(self, shared: Shared, verifier: TokenVerifier, policies: Mapping[str, ResolutionPolicy]) -> None:
        super().__init__(shared)
        self._verifier = verifier
        rehearsed: Any = RehearsedStore(shared.store)  # as far as a resolver can see, the store
        self._resolver = Resolver(rehearsed, policies, shared.clock, shared.random_bytes)

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/tokens/inspect", self.inspect, methods=["POST"])]

    async def inspect(self, request: Request) -> Response:
        """Explain the token in the body."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        body = await json_object(request)
        token, app_id = _text(body, "token"), _text(body, "app_id")
        if token is None:
            raise AdminError(400, "parameter_missing", "token is needed: the text of a token", field="token")
        if app_id not in {None, workspace}:
            # The same words whether there is such a workspace or not.
            raise AdminError(404, "not_found", "app_id names no workspace of this access token", field="app_id")
        presented = token.encode().strip()  # blanks around it, as copying leaves them, are no part of it
        explained = await explain(
            presented,
            workspace,
            self._verifier,
            partial(rehearse, self._resolver),
            now=self.clock(),
            platform=_platform(_text(body, "platform")),
        )
        return answer(explained.plain())


def _platform(name: str | None) -> Platform | None:
    try:
        return None if name is None else Platform(name)
    except ValueError:
        message = "platform must be web, ios or android"
        raise AdminError(400, "parameter_invalid", message, field="platform") from None


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise AdminError(400, "parameter_invalid", f"{name} must be a string", field=name)
