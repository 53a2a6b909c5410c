"""The decision: one plain function from a request to an answer, whoever carries it.

`decide` is a coroutine that runs to its end without waiting when keys are at hand and the store is embedded, so the
express lane can answer inside the parser's callback; the ASGI carrier awaits the very same one. The numbers are those
of the way of a request (design section 3); steps 2 to 10 are the authenticator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from gateway.errors import Code, Outage, Refusal
from gateway.web.transport import Answer, Head, Request, read_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.resolver import Identity
    from gateway.web.authentication import Authenticator
    from gateway.web.problems import Problems


class Presented(Struct, frozen=True):
    """The one token of a request and the workspace that it is presented to; None is the default workspace.

    `user_data` is what the client says beside the token, unsigned.
    """

    token: bytes
    workspace: str | None
    user_data: Mapping[str, Any] | None = None


class Ending(Protocol):
    """How one address of the public listener reads its credential and words its answer."""

    path: bytes
    methods: frozenset[bytes] | None
    forward_auth: bool

    def presented(self, request: Request, head: Head) -> Presented:
        """Find the one token; raises `Refusal`."""

    def welcome(self, identity: Identity) -> Answer:
        """The answer for an identity. It depends on the identity alone, so it may be kept with it."""


class Decision:
    """Answers the requests to its endings' paths. Both carriers hold it for good; a reload takes it over."""

    def __init__(self, authenticator: Authenticator, endings: Sequence[Ending], problems: Problems) -> None:
        self.problems = problems
        self.take_over(authenticator, endings)

    def take_over(self, authenticator: Authenticator, endings: Sequence[Ending]) -> None:
        """Decide by another configuration from the next request on."""
        self.authenticator = authenticator
        self.endings = {ending.path: ending for ending in endings}

    async def decide(self, request: Request) -> Answer:
        """The answer to a request whose path is one of `endings`. It never raises: what fails is a 500, and logged.

        One configuration decides, the one that stands when the whole request is there: a request that comes byte by
        byte does not keep an old key alive. Its path may be gone by then.
        """
        authenticator, ending = self.authenticator, self.endings.get(request.path)
        if ending is None:
            return self.problems.nothing_here()
        try:
            if ending.methods is not None and request.method not in ending.methods:
                unfit = Refusal(Code.REQUEST_INVALID, "the address does not have this method")
                return self.problems.answer(unfit, allow=b", ".join(sorted(ending.methods)))
            # 1. Transport: size, Host, one credential.
            presented = ending.presented(request, read_head(request.headers))
            # 2 to 10. From the token to one contact.
            authenticated = await authenticator.authenticate(presented.token, presented.workspace)
            if presented.user_data:
                authenticated = await authenticator.with_user_data(authenticated, presented.user_data)
            # 11. The ending.
            answer = authenticated.answers.get(request.path)
            if answer is None:
                answer = authenticated.answers[request.path] = ending.welcome(authenticated.identity)
        except (Refusal, Outage) as error:
            return self.problems.answer(error, forward_auth=ending.forward_auth)
        except Exception as error:  # noqa: BLE001 - whatever it is, both carriers answer it alike, and nobody is let in
            return self.problems.failure(error, forward_auth=ending.forward_auth)
        return answer
