"""`X-Identity-Assertion`: a short-lived token of our own for an upstream, so that it need not trust the network.

It says what the identity headers say, signed: with keys, `iss`, `aud` and `typ` that nothing else has (advisory B13).
`identity/unverified.py` refuses it as a login token by its `typ`; an upstream that checks the four takes nothing else
for one. An assertion is given out again for half its life, so a session costs two signatures a minute and an upstream
always has half a minute to verify it: its `jti` names the assertion, not the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Outage
from gateway.identity.issuing import issue_token
from gateway.identity.unverified import ASSERTION_TYPE
from gateway.web.headers import proven_email

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contacts.resolver import Identity
    from gateway.web.authentication import Authenticated
    from keys.jwk import SigningKey
    from keys.keyring_source import KeyringSource

LIFETIME = 60
"""Seconds."""

LEEWAY = 60
"""Seconds for which an upstream may take an assertion past its end: so much longer its key verifies."""

_GIVEN_OUT = LIFETIME / 2


class Assertion(Struct, frozen=True):
    """A signed assertion. Its keyring had lost as many keys as `withdrawn` when it was signed, at `signed_at`."""

    text: bytes
    signed_at: float
    withdrawn: int


class Assertions:
    """Signs assertions by the key of a keyring that signs now; one for each configuration.

    `audience` is the `aud` where no other one is named; None where there is no such one.
    """

    def __init__(
        self,
        keys: KeyringSource,
        issuer: str,
        audience: str | None,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.keys = keys
        self.audience = audience
        self._issuer = issuer
        self._clock = clock
        self._random_bytes = random_bytes
        self._key: SigningKey | None = None

    @property
    def can_sign(self) -> bool:
        """Whether a key signs now."""
        entry = self.keys.signing()
        return entry is not None and not entry.is_secret  # somebody may have put another keyring in its place

    def of(self, authenticated: Authenticated, audience: str) -> bytes:
        """The assertion of an identity for an audience, kept with it; `Outage(keys_unavailable)`."""
        kept = authenticated.assertions.get(audience)
        if kept is None or not self.holds(kept):
            kept = authenticated.assertions[audience] = self.sign(authenticated.identity, audience)
        return kept.text

    def holds(self, assertion: Assertion) -> bool:
        """Whether it may be given out once more: it is young, and no key was withdrawn since, such as its own."""
        return (
            0 <= self._clock() - assertion.signed_at < _GIVEN_OUT  # a clock that was set back makes none older
            and assertion.withdrawn == self.keys.withdrawn
        )

    def sign(self, identity: Identity, audience: str) -> Assertion:
        """A new assertion; `Outage(keys_unavailable)` when no key signs."""
        key, withdrawn, now = self._signing_key(), self.keys.withdrawn, self._clock()
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": identity.contact.id,
            "user_id": identity.principal.user_id,
            "email": proven_email(identity.contact),
            "app_id": identity.contact.workspace_id,
            "matched_by": identity.matched_by.value,
            "jti": self._random_bytes(16).hex(),
        }
        said = {name: value for name, value in claims.items() if value is not None}
        token = issue_token(said, key, ttl=LIFETIME, now=now, header={"typ": ASSERTION_TYPE})
        return Assertion(token.encode("ascii"), now, withdrawn)

    def _signing_key(self) -> SigningKey:
        entry = self.keys.signing()
        if entry is None or entry.is_secret:
            raise Outage(Code.KEYS_UNAVAILABLE, "no key signs assertions now")
        if self._key is None or self._key.kid != entry.kid:  # which is the key's thumbprint
            self._key = entry.signing_key()
        return self._key
