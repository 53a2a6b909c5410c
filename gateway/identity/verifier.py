"""From a token to a principal: steps 2 to 8 of the way of a request (design section 3).

    2. Shape        three canonical segments, strict JSON                     `parse_token`
    3. Issuer       the unverified `iss` picks a trusted issuer, nothing else  `choose_issuer`
    4. Algorithm    on that issuer's own list                                  `check_algorithm`
    5. Key          of that issuer, by `kid`; permitting the algorithm         `choose_keys`
    6. Signature    by PyJWT's algorithm objects                               `verify_signature`
    7. Claims       times, lifetime, issuer, audience                          `check_claims`
    8. Normalise    the identity in its one spelling                           `principal_of`

Cheap checks stand before dear ones. A forged token is `signature_invalid` whatever else is wrong with it (advisory
A19). Inspection runs the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Code, Outage, Refusal
from gateway.identity.claims import check_claims
from gateway.identity.jose import verify_signature
from gateway.identity.platforms import Platform, is_enabled
from gateway.identity.principal import Principal, principal_of
from gateway.identity.unverified import UnverifiedToken, parse_token
from keys.errors import KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.identity.issuer import TrustedIssuer
    from keys.jwk import VerificationKey


class TokenVerifier:
    """Verifies tokens against the trusted issuers of each workspace."""

    def __init__(self, issuers: Iterable[TrustedIssuer], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._issuers: dict[str, list[TrustedIssuer]] = {}
        for issuer in issuers:
            self._issuers.setdefault(issuer.workspace, []).append(issuer)

    @property
    def workspaces(self) -> frozenset[str]:
        """The workspaces that have an issuer."""
        return frozenset(self._issuers)

    @property
    def has_keys(self) -> bool:
        """Whether every issuer has a key to verify with."""
        return all(issuer.keys.keys for issuer in self.all_issuers)

    @property
    def all_issuers(self) -> tuple[TrustedIssuer, ...]:
        """The issuers of every workspace."""
        return tuple(issuer for issuers in self._issuers.values() for issuer in issuers)

    def issuers(self, workspace: str) -> Sequence[TrustedIssuer]:
        """The issuers of a workspace; `Refusal(request_invalid)` when there is no such workspace."""
        if workspace not in self._issuers:
            raise Refusal(Code.REQUEST_INVALID, "app_id names no workspace", field="app_id")
        return self._issuers[workspace]

    def issuer(self, workspace: str, name: str) -> TrustedIssuer:
        """The issuer of a workspace with this name, such as that of a principal."""
        for issuer in self._issuers[workspace]:
            if issuer.name == name:
                return issuer
        raise KeyError(name)

    def withdrawn(self, workspace: str) -> dict[str, int]:
        """How many keys each issuer of a workspace has lost, by its name.

        Who remembers what one verified counts before that: a key that goes meanwhile must not count as gone before.
        """
        return {issuer.name: issuer.keys.withdrawn for issuer in self.issuers(workspace)}

    async def verify(self, token: bytes, workspace: str, platform: Platform | None = None) -> Principal:
        """The principal of a token from a platform; it waits for nothing but a key that is not at hand.

        Raises `Refusal` or `Outage(keys_unavailable)`.
        """
        issuers = self.issuers(workspace)
        # 2. Shape.
        unverified = parse_token(token)
        # 3. Issuer.
        issuer = choose_issuer(unverified, issuers)
        # 4. Algorithm.
        check_algorithm(unverified, issuer)
        # 5. Key.
        keys = await choose_keys(unverified, issuer, platform)
        # 6. Signature.
        signed = verify_signature(unverified, keys)
        # 7. Claims.
        verified = check_claims(signed, issuer.policy, self._clock())
        # 8. Normalise.
        return principal_of(verified, issuer)


def choose_issuer(token: UnverifiedToken, issuers: Sequence[TrustedIssuer]) -> TrustedIssuer:
    """The trusted issuer that a token may be from; raises `Refusal`: issuer_unknown, claim_type."""
    unverified_issuer = token.unverified_claims.get("iss")
    if "iss" in token.unverified_claims and not isinstance(unverified_issuer, str):
        raise Refusal(Code.CLAIM_TYPE, "iss is not a string", field="iss")
    for issuer in issuers:
        if issuer.issuer == unverified_issuer:
            return issuer
    for issuer in issuers:
        if issuer.ignores_iss:
            return issuer
    raise Refusal(Code.ISSUER_UNKNOWN, "no trusted issuer of this workspace has this iss", field="iss")


def check_algorithm(token: UnverifiedToken, issuer: TrustedIssuer) -> None:
    """`alg` is on the issuer's own list, exactly (R7, advisories A02 and A03)."""
    if token.algorithm not in issuer.algorithms:
        raise Refusal(Code.ALG_NOT_ALLOWED, "alg is not on the issuer's list", field="alg")


async def choose_keys(
    token: UnverifiedToken, issuer: TrustedIssuer, platform: Platform | None = None
) -> Sequence[VerificationKey]:
    """The issuer's keys that may have signed, of those enabled for the platform; one at hand costs no waiting.

    Raises `Outage(keys_unavailable)` or `Refusal`: kid_unknown, alg_not_allowed; signature_invalid where a token that
    names no key comes from a platform that none is enabled for.
    """
    keys = issuer.keys.find(token.key_id) or await seek_keys(issuer, token.key_id)
    if not keys:
        raise Refusal(Code.KID_UNKNOWN, "the issuer has no key with this kid", field="kid")
    if platform is not None:
        keys = [key for key in keys if is_enabled(key, platform)]
        if not keys and token.key_id is not None:
            raise Refusal(Code.KID_UNKNOWN, f"the key is not enabled for the platform {platform}", field="kid")
        if not keys:
            raise Refusal(Code.SIGNATURE_INVALID, f"no key of the issuer is enabled for the platform {platform}")
    if not any(token.algorithm in key.algorithms for key in keys):
        raise Refusal(Code.ALG_NOT_ALLOWED, "the key does not permit this alg", field="alg")
    return keys


async def seek_keys(issuer: TrustedIssuer, kid: str | None) -> Sequence[VerificationKey]:
    """What `KeySource.seek` finds; raises `Outage(keys_unavailable)`."""
    try:
        return await issuer.keys.seek(kid)
    except KeysUnavailable as error:
        raise Outage(Code.KEYS_UNAVAILABLE, str(error)) from error
