"""A trusted issuer: whose keys, which algorithms, what claims, and what its word is worth."""

from __future__ import annotations

from msgspec import Struct

from gateway.identity.claims import ClaimPolicy
from gateway.identity.jose import ALGORITHMS
from gateway.identity.principal import IdRules
from keys.jwk import HMAC
from keys.keyset import KeySource


class TrustedIssuer(Struct, frozen=True, kw_only=True):
    """One issuer of one workspace.

    `issuer` is its `iss`; None takes tokens without one. `ignores_iss` (profile `intercom`) also takes tokens with an
    `iss` that no other issuer of the workspace has. `email_authoritative` says that an email it signs is proven
    unless `email_verified` says otherwise. `custom_attributes` names the claims that become custom attributes.
    `user_hash` lets its secrets prove people by `user_hash`, too.
    """

    name: str
    workspace: str
    algorithms: tuple[str, ...]
    keys: KeySource
    policy: ClaimPolicy
    email_authoritative: bool
    rules: IdRules = IdRules()
    issuer: str | None = None
    user_id_claim: str = "user_id"
    custom_attributes: tuple[str, ...] = ()
    ignores_iss: bool = False
    user_hash: bool = False

    def __post_init__(self) -> None:
        """Refuse what could never be safe: no or unknown algorithms, and HMAC beside asymmetric keys (A01)."""
        if not self.algorithms or not ALGORITHMS.keys() >= set(self.algorithms):
            raise ValueError("algorithms must be named, and known")
        symmetric = {algorithm in HMAC for algorithm in self.algorithms} | {key.kind == "oct" for key in self.keys.keys}
        if len(symmetric) > 1:
            raise ValueError("HS algorithms never share an issuer with asymmetric ones")
