"""`GET /enforcement`: what enforcing verification would break. An extension: Intercom has nothing like it.

`days` says over how many days, today (UTC) included. The counts of the last few seconds may still lie in a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.rollout import KEPT_DAYS
from gateway.web.admin.endpoints import AdminEndpoints, Shared, answer
from gateway.web.admin.errors import AdminError
from gateway.web.enforcement_report import DEFAULT_DAYS, enforcement_report, first_day

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.web.enforcement import Enforcement


class EnforcementApi(AdminEndpoints):
    """The report of the access token's workspace."""

    def __init__(self, shared: Shared, enforcement: Enforcement) -> None:
        super().__init__(shared)
        self._enforcement = enforcement

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/enforcement", self.report, methods=["GET"])]

    async def report(self, request: Request) -> Response:
        """The platforms with their modes, and what was counted while they were in `report`."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        now = self.clock()
        since = first_day(_days(request), now)
        counts = await self.store.enforcement_counts(workspace, since=since)
        report = enforcement_report(self._enforcement, workspace, counts, since=since, now=now)
        return answer(msgspec.to_builtins(report))


def _days(request: Request) -> int:
    text = request.query_params.get("days", str(DEFAULT_DAYS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= KEPT_DAYS):
        raise AdminError(400, "parameter_invalid", f"days must be a number from 1 to {KEPT_DAYS}", field="days")
    return int(text)
