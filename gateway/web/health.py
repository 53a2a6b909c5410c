"""`/healthz`: the process is alive. `/readyz`: keys and store are at hand, and the process is not draining.

On the admin listener `/readyz` also says how the keys of each issuer are; the public one names the check, no more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.errors import Outage, StoreUnusable
from gateway.web.configuration_state import ConfigurationState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.identity.issuer import TrustedIssuer
    from gateway.web.assertion import Assertions
    from gateway.web.authentication import Authenticator

_HEADERS = {"cache-control": "no-store"}


class Health:
    """The health of one process; `draining` is set when it is told to stop, the others by each configuration."""

    authenticator: Authenticator
    assertions: Assertions | None = None

    def __init__(self) -> None:
        self.draining = False
        self.configuration = ConfigurationState(time.time)

    def routes(self) -> list[Route]:
        """Both addresses, for the public listener."""
        return [Route("/healthz", self.alive), Route("/readyz", self.ready)]

    def admin_routes(self) -> list[Route]:
        """Both addresses, for the admin listener: what an operator wants to know stands beside the checks."""
        return [Route("/healthz", self.alive), Route("/readyz", self.ready_in_detail)]

    async def alive(self, _request: Request) -> Response:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def ready(self, _request: Request) -> Response:
        """200 when logins can be answered, else 503; each check by name."""
        return _answer(await self._readiness())

    async def ready_in_detail(self, _request: Request) -> Response:
        """The same, how the keys of each issuer are, and whether the newest configuration is in force.

        A broken configuration leaves the last good one ready.
        """
        issuers = issuers_health(self.authenticator.verifier.all_issuers)
        if self.assertions is not None:
            health = msgspec.to_builtins(self.assertions.keys.health())
            issuers.append({"workspace": None, "issuer": "assertion", **health})
        details = {
            "issuers": issuers,
            "configuration": self.configuration.shown(),
        }
        return _answer(await self._readiness() | details)

    async def _readiness(self) -> dict[str, Any]:
        keys = self.authenticator.verifier.has_keys and (self.assertions is None or self.assertions.can_sign)
        checks = {
            "keys": "ok" if keys else "no keys",
            "store": await self._store(),
            "process": "draining" if self.draining else "ok",
        }
        ready = all(state == "ok" for state in checks.values())
        return {"status": "ok" if ready else "unavailable", "checks": checks}

    async def _store(self) -> str:
        try:
            await self.authenticator.store.find("", "")
        except (Outage, StoreUnusable):
            return "unavailable"
        return "ok"


def _answer(body: dict[str, Any]) -> Response:
    return JSONResponse(body, 200 if body["status"] == "ok" else 503, headers=_HEADERS)


def issuers_health(issuers: Iterable[TrustedIssuer]) -> list[dict[str, Any]]:
    """How the keys of each issuer are: its workspace and name, and the members of `keys.keyset.KeyHealth`."""
    return [
        {"workspace": issuer.workspace, "issuer": issuer.name, **msgspec.to_builtins(issuer.keys.health())}
        for issuer in issuers
    ]
