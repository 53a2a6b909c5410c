"""`/healthz`: the process is alive. `/readyz`: keys and store are at hand, and the process is not draining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.errors import Outage, StoreUnusable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.web.authentication import Authenticator

_HEADERS = {"cache-control": "no-store"}


class Health:
    """The health of one process; `draining` is set when it is told to stop, `authenticator` by each configuration."""

    authenticator: Authenticator

    def __init__(self) -> None:
        self.draining = False

    def routes(self) -> list[Route]:
        """Both addresses, for both listeners."""
        return [Route("/healthz", self.alive), Route("/readyz", self.ready)]

    async def alive(self, _request: Request) -> Response:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(self, _request: Request) -> Response:
        """200 when logins can be answered, else 503; each check by name."""
        checks = {
            "keys": "ok" if self.authenticator.verifier.has_keys else "no keys",
            "store": await self._store(),
            "process": "draining" if self.draining else "ok",
        }
        ready = all(state == "ok" for state in checks.values())
        body = {"status": "ok" if ready else "unavailable", "checks": checks}
        return JSONResponse(body, 200 if ready else 503, headers=_HEADERS)

    async def _store(self) -> str:
        try:
            await self.authenticator.store.find("", "")
        except (Outage, StoreUnusable):
            return "unavailable"
        return "ok"
