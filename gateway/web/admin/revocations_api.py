"""`/revocations`: revoke tokens, and see what is revoked. An extension: Intercom has nothing like it.

`POST` takes what is to be revoked by its `kind`: a `token`, a `jti` of an issuer, a `contact`, or what an `issuer` or
the whole `workspace` issued before a moment, which is now unless `issued_before` says another one. The answer is what
stands now. Asking twice is asking once; `lift` takes back what the same body revoked, and answers what that was. No
answer names a token: what is kept is a digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.contacts.access_token import Scope
from gateway.contacts.revocation import RevocationKind, from_now_on
from gateway.contacts.revoking import Revoker, is_past, lifetimes_of, live_page, person_of, plain
from gateway.errors import ContactNotFound, Refusal
from gateway.identity.principal import is_storable
from gateway.web.admin.endpoints import AdminEndpoints, Shared, answer, json_object
from gateway.web.admin.errors import AdminError
from gateway.web.admin.paging import page_size, read_position, written_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.contacts.revocation import Revocation
    from gateway.contacts.store import ContactTransaction
    from gateway.identity.verifier import TokenVerifier

KINDS = tuple(kind for kind in RevocationKind if kind is not RevocationKind.USER_ID)
"""What can be asked for; a person's user_id is revoked with the contact."""

_LAST_SEQ = 2**63 - 1


class RevocationsApi(AdminEndpoints):
    """The revocations of the access token's workspace."""

    def __init__(self, shared: Shared, verifier: TokenVerifier) -> None:
        super().__init__(shared)
        self._verifier = verifier

    def routes(self) -> list[Route]:
        """The one address."""
        return [
            Route("/revocations", self.revoke, methods=["POST"]),
            Route("/revocations", self.listed, methods=["GET"]),
        ]

    async def listed(self, request: Request) -> Response:
        """A page of what is revoked, oldest first; `pages.next.starting_after` leads to the next one."""
        workspace = self.permitted(request, Scope.CONTACTS_READ)
        size, after = page_size(request), _after(request)
        found, last = await live_page(self.store, workspace, after=after, limit=size, now=self.clock())
        following = None if last is None else {"per_page": size, "starting_after": written_position(last)}
        pages: dict[str, Any] = {"type": "pages", "per_page": size, "next": following}
        return answer({"type": "list", "data": [plain(one) for one in found], "pages": pages})

    async def revoke(self, request: Request) -> Response:
        """Revoke, and answer when it is durable."""
        workspace = self.permitted(request, Scope.CONTACTS_WRITE)
        body = await json_object(request)
        kind, now = _kind(body), self.clock()
        issuers = self._verifier.issuers(workspace)
        lifetimes = lifetimes_of(issuers)
        moment, lift = _moment(body, now), _lift(body)
        token = _text(body, "token") if kind is RevocationKind.TOKEN else ""
        jti = _text(body, "jti") if kind is RevocationKind.JTI else ""
        contact = _text(body, "id") if kind is RevocationKind.CONTACT else ""
        issuer = _text(body, "issuer") if kind in {RevocationKind.JTI, RevocationKind.ISSUER} else None
        if issuer is not None and issuer not in lifetimes:
            raise AdminError(422, "parameter_invalid", "issuer names no issuer of this workspace", field="issuer")

        async def work(transaction: ContactTransaction) -> Sequence[Revocation]:
            actor = f"access_token:{request.user.id}"
            revoker = Revoker(transaction, workspace, lifetimes, actor=actor, now=now, lift=lift)
            if kind is RevocationKind.TOKEN:
                return await revoker.token(token.encode().strip(), issuers)
            if kind is RevocationKind.JTI:
                return await revoker.jti(issuer or "", jti)
            if kind is RevocationKind.CONTACT:
                person = await person_of(transaction, workspace, contact)
                if person is None:
                    raise ContactNotFound
                return await revoker.contact(person, moment)
            return await revoker.issued_before(moment, issuer)

        try:
            revoked = await self.store.write(work)
        except Refusal as refusal:
            raise AdminError(422, "parameter_invalid", f"{refusal.code}: {refusal.reason}", field="token") from refusal
        return answer({"type": "list", "data": [plain(one) for one in revoked]})


def _kind(body: Mapping[str, Any]) -> RevocationKind:
    kind = body.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        return RevocationKind(kind)
    raise AdminError(400, "parameter_invalid", f"kind must be one of {', '.join(KINDS)}", field="kind")


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise AdminError(400, "parameter_missing", f"{name} is needed for this kind", field=name)
    if isinstance(value, str) and value and is_storable(value):
        return value
    raise AdminError(400, "parameter_invalid", f"{name} must be a text that can be kept", field=name)


def _moment(body: Mapping[str, Any], now: float) -> int:
    value = body.get("issued_before")
    if value is None:
        return from_now_on(now)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AdminError(400, "parameter_invalid", "issued_before must be Unix seconds", field="issued_before")
    if not is_past(value, now):
        raise AdminError(422, "parameter_invalid", "issued_before names no moment of the past", field="issued_before")
    return value


def _lift(body: Mapping[str, Any]) -> bool:
    value = body.get("lift", False)
    if isinstance(value, bool):
        return value
    raise AdminError(400, "parameter_invalid", "lift must be true or false", field="lift")


def _after(request: Request) -> int:
    text = request.query_params.get("starting_after")
    if text is None:
        return 0
    (seq,) = read_position(text, tuple[int], field="starting_after")
    return max(0, min(seq, _LAST_SEQ))
