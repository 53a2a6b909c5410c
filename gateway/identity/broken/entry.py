"""One entry of the catalogue: a token that is broken in one way, and the code that it must meet."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from gateway.errors import Code
from gateway.identity.crafting import Signer


def _suits_everybody(_signer: Signer) -> str | None:
    return None


class BrokenToken(Struct, frozen=True):
    """A way to break a token: its slug, the code that refuses it, what is wrong and why it matters, and who makes it.

    `unsuited` gives the reason why a signer's token would not be refused for this, None where it would.
    """

    slug: str
    code: Code
    about: str
    make: Callable[[Signer], bytes]
    unsuited: Callable[[Signer], str | None] = _suits_everybody
    beside_secrets: Code | None = None

    def code_for(self, signer: Signer) -> Code:
        """The code that this signer's token meets.

        Beside Messenger secrets, which take any `iss`, one that nobody trusts ends at their list of algorithms.
        """
        return self.beside_secrets if signer.beside_secrets and self.beside_secrets else self.code


def asymmetric_only(signer: Signer) -> str | None:
    """Needs a public key."""
    return "the issuer signs with a shared secret, so there is no public key" if signer.symmetric else None


def symmetric_only(signer: Signer) -> str | None:
    """Needs a shared secret."""
    return None if signer.symmetric else "the issuer signs with a private key; `wrong-key` is its like"


def elliptic_only(signer: Signer) -> str | None:
    """Needs an ECDSA signature."""
    return None if signer.algorithm.startswith("ES") else "only ECDSA signatures are two numbers"


def named_key_only(signer: Signer) -> str | None:
    """Needs a key with an id."""
    return "the issuer's key has no kid" if signer.header.get("kid") is None else None


def exp_required(signer: Signer) -> str | None:
    """Needs an issuer that insists on `exp`."""
    return None if signer.policy.require_exp else "this issuer takes tokens without exp"


def lifetime_bounded(signer: Signer) -> str | None:
    """Needs an issuer with a longest lifetime."""
    return None if signer.policy.max_lifetime else "this issuer sets no longest lifetime"


def session_known(signer: Signer) -> str | None:
    """Needs an issuer whose tokens may end a session of their own."""
    return None if signer.policy.session_claim else "this issuer's tokens carry no session_duration"


def issuer_checked(signer: Signer) -> str | None:
    """Needs an issuer with an `iss`, whose tokens nobody else in the workspace takes with another one."""
    if signer.policy.issuer is None:
        return "tokens of this issuer carry no iss"
    if signer.beside_secrets and signer.symmetric:
        return "the workspace's Messenger secrets take tokens with any iss"
    return None


def issuer_named(signer: Signer) -> str | None:
    """Needs an issuer with an `iss`."""
    return "tokens of this issuer carry no iss" if signer.policy.issuer is None else None


def audience_checked(signer: Signer) -> str | None:
    """Needs an issuer with an `aud`."""
    return None if signer.policy.audience else "this issuer checks no aud"


def free_ids(signer: Signer) -> str | None:
    """Needs ids that are not emails."""
    return "the ids of this issuer are emails" if signer.user_id_claim == "email" else None


def placeholder(text: str) -> Callable[[Signer], str | None]:
    """Needs a workspace that does not exempt this placeholder."""

    def unsuited(signer: Signer) -> str | None:
        exempt = text in signer.rules.exempt_placeholders
        return f"the workspace exempts the placeholder {text}" if exempt else free_ids(signer)

    return unsuited
