"""What is checked, and with what: the gateway, whoever signs for it, and the test contact of this run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.checking.staging.site import Site
from gateway.identity.crafting import Signer

if TYPE_CHECKING:
    from gateway.checking.staging.site import Reply

PREFIX = "gateway-check-"
"""How the user_id of every test contact begins."""


class Subject(Struct, kw_only=True):
    """A gateway under test. `signer` makes tokens for `user_id` as of a time in seconds.

    `identity_headers` are the names of which no client's copy may arrive, the first of them that of the contact id.
    `made` are the contacts that this run has made, by id.
    """

    site: Site
    workspace: str
    user_id: str
    signer: Callable[[float], Signer]
    issuer: str
    leeway: float
    identity_headers: Sequence[str]
    admin: Site | None = None
    access_token: str | None = None
    echo: Site | None = None
    contact_id: str | None = None
    made: list[str] = []

    def token(self, *, shorter: int = 0) -> str:
        """A good token; one that is some seconds `shorter` is another token."""
        signer = self.signer(time.time())
        return signer.token(claims={"exp": signer.claims["exp"] - shorter}).decode()

    def login(self, token: str) -> Reply:
        """`POST /messenger/login` with the token as a Bearer credential."""
        return self._noted(self.site.ask("POST", "/messenger/login", token=token, body={"app_id": self.workspace}))

    def login_in_body(self, token: str) -> Reply:
        """The same with the token in the body."""
        body = {"app_id": self.workspace, "intercom_user_jwt": token}
        return self._noted(self.site.ask("POST", "/messenger/login", body=body))

    def forward_auth(self, token: str | None) -> Reply:
        """`GET /auth/{app_id}`."""
        return self.site.ask("GET", f"/auth/{self.workspace}", token=token)

    def _noted(self, reply: Reply) -> Reply:
        """Whoever was made is to be removed, also by a token that should have been refused."""
        contact_id = reply.member("contact", "id")
        if reply.member("identity", "created") is True and isinstance(contact_id, str) and contact_id not in self.made:
            self.made.append(contact_id)
        return reply
