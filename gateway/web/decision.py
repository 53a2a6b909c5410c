"""The decision: one plain function from a request to an answer, whoever carries it.

`decide` is a coroutine that runs to its end without waiting when keys are at hand and the store is embedded, so the
express lane can answer inside the parser's callback; the ASGI carrier awaits the very same one. The numbers are those
of the way of a request (design section 3); steps 2 to 10 are the authenticator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

from gateway.errors import Code, Outage, Refusal
from gateway.identity.platforms import Platform
from gateway.identity.user_hash import UnverifiedUserHash
from gateway.web.limits.overload import Overload
from gateway.web.transport import Answer, Head, Request, one_token, read_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.resolver import Identity
    from gateway.web.authentication import Authenticated, Authenticator
    from gateway.web.enforcement import Enforcement, Unverified
    from gateway.web.limits.client_limits import ClientLimits
    from gateway.web.problems import Problems
    from gateway.web.proxy.forwarder import Forwarder


class Presented(Struct, frozen=True):
    """What a request presents, and where: the workspace (None: the default one) and the platform (None: not named).

    `body_token` is a token in the body, `user_hash` a proof of the older kind there. `user_data` is what the client
    says beside its proof, unsigned.
    """

    head: Head
    workspace: str | None
    platform: Platform | None = None
    body_token: bytes | None = None
    user_data: Mapping[str, Any] | None = None
    user_hash: UnverifiedUserHash | None = None

    def token(self) -> bytes:
        """The one token; raises `Refusal`: credentials_missing, credentials_conflict, token_malformed."""
        return one_token(self.head.token, self.body_token)


class Ending(Protocol):
    """How one address of the public listener reads its credential and words its answer."""

    path: bytes
    methods: frozenset[bytes] | None
    forward_auth: bool

    def presented(self, request: Request, head: Head) -> Presented:
        """Find what is presented, and where; raises `Refusal` for a request that cannot be read.

        Which token it is, if any, is asked afterwards: what is wrong with that may pass as unverified.
        """

    def welcome(self, identity: Identity) -> Answer:
        """The answer for an identity; raises `Outage`. It may be kept with the identity, for as long as it `holds`."""

    def unverified(self, unverified: Unverified) -> Answer:
        """The answer for a request that passes although nobody is proven by it: it names nobody."""


@runtime_checkable
class Acting(Protocol):
    """What an ending is, besides, that does something with a token instead of welcoming whom it leads to."""

    async def act(self, authenticator: Authenticator, presented: Presented) -> Answer:
        """Do it, durably, and say so; raises `Refusal` or `Outage`. A token that is refused never passes here."""


class Decision:
    """Answers the requests to its endings' paths. Both carriers hold it for good; a reload takes it over."""

    def __init__(  # noqa: PLR0913 - the parts of the way, each given by the wiring
        self,
        authenticator: Authenticator,
        endings: Sequence[Ending],
        problems: Problems,
        forwarder: Forwarder | None = None,
        limits: ClientLimits | None = None,
        *,
        overload: Overload | None = None,
    ) -> None:
        self.problems = problems
        self.overload = overload or Overload(problems)
        self.take_over(authenticator, endings, forwarder, limits)

    def take_over(
        self,
        authenticator: Authenticator,
        endings: Sequence[Ending],
        forwarder: Forwarder | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        """Decide by another configuration from the next request on; `forwarder` is None where there are no routes.

        `limits` None is without end.
        """
        self.limits = limits
        self.authenticator = authenticator
        self.endings = {ending.path: ending for ending in endings}
        self._acts = {ending.path: ending.act for ending in endings if isinstance(ending, Acting)}
        self.forwarder = forwarder

    async def decide(self, request: Request) -> Answer:  # noqa: C901, PLR0911, PLR0912 - the whole way, and nothing else
        """The answer to a request whose path is one of `endings`. It never raises: what fails is a 500, and logged.

        One configuration decides, the one that stands when the whole request is there: a request that comes byte by
        byte does not keep an old key alive. Its path may be gone by then.
        """
        authenticator, limits, ending = self.authenticator, self.limits, self.endings.get(request.path)
        if ending is None:
            return self.problems.nothing_here()
        if self.overload.sheds:
            return self.overload.refusal(forward_auth=ending.forward_auth)
        presented: Presented | None = None
        try:
            if limits is not None and limits.counts_addresses:
                limits.charge_address(request.client, request.headers)
            if ending.methods is not None and request.method not in ending.methods:
                unfit = Refusal(Code.REQUEST_INVALID, "the address does not have this method")
                return self.problems.answer(unfit, allow=b", ".join(sorted(ending.methods)))
            act = self._acts.get(request.path)
            if act is not None:
                return await act(authenticator, ending.presented(request, read_head(request.headers)))
            # 1. Transport: size, Host, one credential.
            presented = ending.presented(request, read_head(request.headers))
            # 2 to 10. From the token to one contact.
            if presented.user_hash is None:
                authenticated = await authenticator.authenticate(
                    presented.token(), presented.workspace, presented.platform
                )
            else:
                authenticated = await _by_user_hash(authenticator, presented, presented.user_hash)
            if limits is not None and limits.counts_contacts:
                limits.charge_contact(authenticated.identity.contact)
            if presented.user_data:
                authenticated = await authenticator.with_user_data(authenticated, presented.user_data)
            # 11. The ending.
            answer = authenticated.answers.get(request.path)
            if answer is None or (answer.holds is not None and not answer.holds()):
                answer = authenticated.answers[request.path] = ending.welcome(authenticated.identity)
            if authenticator.enforcement.counts:
                authenticator.enforcement.count_verified(presented.workspace, presented.platform)
        except Refusal as refusal:
            return self._refused(refusal, ending, presented, authenticator.enforcement)
        except Outage as outage:
            return self.problems.answer(outage, forward_auth=ending.forward_auth)
        except Exception as error:  # noqa: BLE001 - whatever it is, both carriers answer it alike, and nobody is let in
            return self.problems.failure(error, forward_auth=ending.forward_auth)
        return answer

    def _refused(
        self, refusal: Refusal, ending: Ending, presented: Presented | None, enforcement: Enforcement
    ) -> Answer:
        """The refusal, unless it is one that passes as unverified where the request was presented."""
        if presented is not None:
            unverified = enforcement.excuse(refusal, presented.workspace, presented.platform, self.problems)
            if unverified is not None:
                return ending.unverified(unverified)
        return self.problems.answer(refusal, forward_auth=ending.forward_auth)


async def _by_user_hash(
    authenticator: Authenticator, presented: Presented, user_hash: UnverifiedUserHash
) -> Authenticated:
    """The identity behind a `user_hash`; where the workspace takes none, it is as if it had not been sent."""
    workspace, platform = presented.workspace, presented.platform
    if not authenticator.takes_user_hash(workspace):
        return await authenticator.authenticate(presented.token(), workspace, platform)
    if presented.body_token is not None or presented.head.token is not None:
        raise Refusal(Code.CREDENTIALS_CONFLICT, "a token and a user_hash in one request", field="user_hash")
    return await authenticator.authenticate_user_hash(user_hash, workspace, platform)
