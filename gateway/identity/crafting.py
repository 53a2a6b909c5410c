"""Making tokens that should not be: any bytes, any members, any segments, and yet well signed.

`issuing.py` makes tokens that are meant to be accepted. A `Signer` makes the others: for the catalogue of broken tokens
and for tests. Only the signature is made as for every other token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuing import encode_segment
from gateway.identity.jose import sign
from gateway.identity.principal import IdRules
from keys.jwk import SigningKey


class LeftOut:
    """The mark of a member that is not there."""


LEFT_OUT = LeftOut()


class Signer(Struct, frozen=True):
    """Who signs: the header and the claims of a token that is accepted, the key, and how strictly it will be read.

    `key` is bytes for HS*, else a private key of `cryptography`. `now` is the time, in seconds, around which the claims
    stand. `policy`, `rules` and `user_id_claim` are those of the issuer that will verify the tokens. `beside_secrets`
    says that its workspace also takes Messenger tokens, whatever their `iss`: a wrong `iss` then ends at the algorithm.
    """

    algorithm: str
    key: Any
    now: float
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    policy: ClaimPolicy = ClaimPolicy()
    beside_secrets: bool = False
    rules: IdRules = IdRules()
    user_id_claim: str = "user_id"

    def __repr__(self) -> str:
        """Without the key."""
        return f"Signer(algorithm={self.algorithm!r}, header={self.header!r})"

    @property
    def symmetric(self) -> bool:
        """Whether the key is a shared secret."""
        return isinstance(self.key, bytes)

    @property
    def public_key(self) -> Any:
        """The public half of an asymmetric key."""
        return self.key.public_key()

    def token(self, header: Mapping[str, Any] | None = None, claims: Mapping[str, Any] | None = None) -> bytes:
        """A token with these members set over the good ones; a member set to `LEFT_OUT` is left out."""
        return self.seal(encoded(over(self.header, header)), encoded(over(self.claims, claims)))

    def seal(self, header: bytes, payload: bytes) -> bytes:
        """Any two texts as a signed token."""
        return self.sign(encode_segment(header), encode_segment(payload))

    def sign(self, header_segment: bytes, payload_segment: bytes) -> bytes:
        """Any two segments as a signed token."""
        signing_input = header_segment + b"." + payload_segment
        return signing_input + b"." + encode_segment(self.signature(signing_input))

    def signature(self, signing_input: bytes) -> bytes:
        """The signature of any bytes."""
        return sign(signing_input, SigningKey(None, self.algorithm, self.key))


def signer_for(  # noqa: PLR0913 - who verifies, in all that counts
    key: SigningKey,
    now: float,
    claims: Mapping[str, Any],
    *,
    policy: ClaimPolicy,
    rules: IdRules,
    user_id_claim: str = "user_id",
    beside_secrets: bool = False,
) -> Signer:
    """A signer for an issuer that trusts the key; `claims` say who the tokens are for, and live for ten minutes."""
    header = {"alg": key.algorithm, "typ": "JWT", **({} if key.kid is None else {"kid": key.kid})}
    times = {"iat": int(now), "exp": int(now) + min(600, policy.max_lifetime or 600)}
    return Signer(
        key.algorithm, key.material, now, header, {**claims, **times}, policy, beside_secrets, rules, user_id_claim
    )


def encoded(value: object) -> bytes:
    """JSON without blanks, in ASCII; also what is no text, such as half of a surrogate pair."""
    return json.dumps(value, separators=(",", ":")).encode()


def over(base: Mapping[str, Any], members: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members set over the base, without those that are `LEFT_OUT`."""
    merged = {**base, **(members or {})}
    return {name: value for name, value in merged.items() if value is not LEFT_OUT}
