"""`POST /messenger/logout`: the token that is presented is refused from now on, wherever it is presented.

Deleting a cookie ends nothing: a request that somebody recorded would still be answered (facts: Intercom 1.10 b). So
the token itself is revoked, for as long as it could live, and that is durable before the answer is sent. Nobody's
contact is looked for or made: who was never seen is not seen by leaving. To log out twice is to be logged out: 200
again. A token that does not verify is refused as everywhere, also where enforcement lets it pass as unverified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.messenger import JSON_HEADERS, Login
from gateway.web.transport import Answer

if TYPE_CHECKING:
    from gateway.web.authentication import Authenticator
    from gateway.web.decision import Presented

_LOGGED_OUT = Answer(200, JSON_HEADERS, b'{"type":"logout","revoked":true}')


class Logout(Login):
    """Reads its credential as the login does, and welcomes nobody."""

    path = b"/messenger/logout"

    async def act(self, authenticator: Authenticator, presented: Presented) -> Answer:
        """Revoke the token; raises `Refusal` or `Outage`."""
        await authenticator.revoke(presented.token(), presented.workspace, presented.platform)
        return _LOGGED_OUT
