"""Enforcement: whether a workspace refuses who is not proven, platform by platform (facts: Intercom 1.6).

| mode | a request that a token, or its lack, is refused for |
|---|---|
| `on` (default) | is refused |
| `report` | passes as *unverified*, is counted by platform and code, and logged as `would be refused` |
| `off` | passes as unverified |

Unverified is nobody: no identity, no identity header, no contact found, made, linked or written. Who is proven is
treated as ever, in every mode. A request that names no platform meets the strictest of the three modes.

`report` shows what `on` would break before it does, so the requests that were verified are counted beside the others,
while a platform is in that mode and not otherwise: where everything is enforced, a request costs a look at one flag.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.contacts.rollout import VERIFIED
from gateway.errors import Code
from gateway.identity.platforms import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contacts.rollout import EnforcementCounter
    from gateway.errors import Refusal
    from gateway.web.problems import Problems

_log = logging.getLogger(__name__)

EXCUSED: frozenset[Code] = frozenset(
    {
        Code.CREDENTIALS_MISSING,
        Code.TOKEN_MALFORMED,
        Code.TOKEN_TOO_LARGE,
        Code.ALG_NOT_ALLOWED,
        Code.ISSUER_UNKNOWN,
        Code.KID_UNKNOWN,
        Code.SIGNATURE_INVALID,
        Code.CRIT_UNSUPPORTED,
        Code.TOKEN_EXPIRED,
        Code.TOKEN_NOT_YET_VALID,
        Code.ISSUED_IN_FUTURE,
        Code.LIFETIME_TOO_LONG,
        Code.AUDIENCE_MISMATCH,
        Code.CLAIM_MISSING,
        Code.CLAIM_TYPE,
        Code.USER_ID_MISSING,
        Code.USER_ID_PLACEHOLDER,
        Code.USER_ID_INVALID,
        Code.USER_ID_IS_CONTACT_ID,
        Code.EMAIL_INVALID,
        Code.EMAIL_MISMATCH,
        Code.EMAIL_AMBIGUOUS,
        Code.IDENTITY_CONFLICT,
    }
)
"""What passes as unverified where nothing is enforced: what a signer or an application that is not ready gets wrong.

Everything else is refused in every mode. `contact_*` and `token_revoked` are an operator's decision about somebody,
which no roll-out takes back. A request that is no request of ours (`request_invalid`, `credentials_conflict`,
`payload_too_large`) is not made better by letting it pass. An outage or a limit is no verdict on a token.
"""


class Mode(StrEnum):
    """How a platform's requests are treated when nobody is proven by them."""

    ON = "on"
    REPORT = "report"
    OFF = "off"


class Unverified(Struct, frozen=True):
    """A request that passes although nobody is proven by it: the code that it would be refused with.

    `request_id` finds its line in the log; None where none was written.
    """

    code: Code
    request_id: str | None


class Enforcement:
    """The modes of all workspaces, and the counting that `report` asks for; without arguments, everything is enforced.

    `modes` maps an app_id to the modes of its platforms; what is not named is `on`.
    """

    def __init__(
        self,
        modes: Mapping[str, Mapping[Platform, Mode]] | None = None,
        counter: EnforcementCounter | None = None,
        *,
        default_workspace: str | None = None,
    ) -> None:
        self._modes: dict[tuple[str | None, Platform | None], Mode] = {}
        for workspace, by_platform in (modes or {}).items():
            each = {platform: by_platform.get(platform, Mode.ON) for platform in Platform}
            strictest = next(mode for mode in Mode if mode in each.values())
            self._modes |= {(workspace, platform): mode for platform, mode in [*each.items(), (None, strictest)]}
        self._default_workspace = default_workspace
        self.counter = counter
        self.counts = counter is not None and Mode.REPORT in self._modes.values()

    def begin(self) -> None:
        """Say where verification is not enforced, and begin to bring the counts into the store where there are any."""
        if lenient := self.lenient():
            _log.warning("verification is not enforced everywhere", extra={"platforms": lenient})
        if self.counter is not None and self.counts:
            self.counter.open()

    async def end(self) -> None:
        """Bring what was counted into the store."""
        if self.counter is not None:
            await self.counter.close()

    def lenient(self) -> list[str]:
        """Where verification is not enforced, as `<app_id>/<platform>: <mode>`."""
        return [
            f"{workspace}/{platform}: {mode}"
            for (workspace, platform), mode in self._modes.items()
            if platform is not None and mode is not Mode.ON
        ]

    def mode(self, workspace: str | None, platform: Platform | None) -> Mode:
        """The mode of a request; None stands for the default workspace, and for no platform."""
        return self._modes.get((workspace or self._default_workspace, platform), Mode.ON)

    def count_verified(self, workspace: str | None, platform: Platform | None) -> None:
        """Count a request that was verified, where its platform is in `report`. Worth asking only if `counts`."""
        if self.mode(workspace, platform) is Mode.REPORT:
            self._count(workspace, platform, VERIFIED)

    def excuse(
        self, refusal: Refusal, workspace: str | None, platform: Platform | None, problems: Problems
    ) -> Unverified | None:
        """How a request passes in spite of a refusal, counted and logged where that is asked for; None: it does not."""
        mode = self.mode(workspace, platform)
        if mode is Mode.ON or refusal.code not in EXCUSED:
            return None
        if mode is Mode.OFF:
            return Unverified(refusal.code, None)
        self._count(workspace, platform, refusal.code.value)
        return Unverified(refusal.code, problems.would_be_refused(refusal))

    def _count(self, workspace: str | None, platform: Platform | None, outcome: str) -> None:
        if self.counter is not None:
            self.counter.add(workspace or self._default_workspace or "", platform or "", outcome)
