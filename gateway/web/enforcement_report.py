"""What enforcing would break, as the command and the admin listener tell it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.contacts.rollout import DAY, KEPT_DAYS, VERIFIED
from gateway.identity.platforms import Platform
from gateway.web.enforcement import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.contacts.rollout import EnforcementCount
    from gateway.web.enforcement import Enforcement

DEFAULT_DAYS = 7


class PlatformReport(Struct, frozen=True, kw_only=True):
    """The requests of one platform while it was in `report`; of those that named none where `platform` is None.

    `mode` is today's. `codes` tells for what the unverified ones would have been refused, the most frequent first.
    """

    platform: Platform | None
    mode: Mode
    verified: int
    unverified: int
    codes: dict[str, int]

    def share(self, requests: int) -> float | None:
        """A number of its requests as a share of all; None where there are none."""
        total = self.verified + self.unverified
        return requests / total if total else None


class EnforcementReport(Struct, frozen=True, kw_only=True):
    """A workspace's report over some days, `since` and `until` included: dates in UTC."""

    type: str = "enforcement_report"
    workspace_id: str
    since: str
    until: str
    platforms: list[PlatformReport]


def first_day(days: int, now: float) -> int:
    """The first of the last `days` days, the one of `now` (seconds) included, in days since 1970."""
    return int(now) // DAY - min(days, KEPT_DAYS) + 1


def enforcement_report(
    enforcement: Enforcement, workspace_id: str, counts: Iterable[EnforcementCount], *, since: int, now: float
) -> EnforcementReport:
    """The report over the counts from the day `since` on."""
    found: dict[str, dict[str, int]] = {}
    for count in counts:
        outcomes = found.setdefault(count.platform, {})
        outcomes[count.outcome] = outcomes.get(count.outcome, 0) + count.total
    platforms = []
    for platform in (*Platform, None):
        outcomes = found.get(platform or "", {})
        verified = outcomes.pop(VERIFIED, 0)
        platforms.append(
            PlatformReport(
                platform=platform,
                mode=enforcement.mode(workspace_id, platform),
                verified=verified,
                unverified=sum(outcomes.values()),
                codes=dict(sorted(outcomes.items(), key=lambda outcome: (-outcome[1], outcome[0]))),
            )
        )
    return EnforcementReport(
        workspace_id=workspace_id, since=_date(since), until=_date(int(now) // DAY), platforms=platforms
    )


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()
