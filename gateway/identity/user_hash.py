"""`user_hash`, the messenger's older proof, for applications that do not sign tokens yet (facts: Intercom 1.8).

It is the HMAC-SHA256, in lower-case hex, of the user_id where one is sent and else of the email, made with the very
secrets that sign the messenger's tokens. It proves that one value and nothing else: no time, no attributes, no email
beside a user_id. So it never expires, and whoever has seen one can use it until its secret is retired.

It is off unless an issuer says `user_hash = true`. Before that is said: **a secret that serves both proofs must not
hash what people choose for themselves.** The signature of an HS256 token is the same HMAC over `header.payload`, so an
application that would hash a user_id of that shape would sign a token for whoever chose it. The other way round is
closed here: the signing input of a token is no user_id, so a token's signature proves nobody but whom the token names.

Whatever is wrong with the hash itself is `signature_invalid`, so that the answer tells no more of it; the log says
what it was.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import Code, Refusal
from gateway.identity.platforms import Platform, is_enabled
from gateway.identity.principal import (
    USER_ID_LIMIT,
    Principal,
    Proof,
    fallback_user_id,
    named_user_id,
    normalise_email,
)
from gateway.identity.unverified import decode_segment, strict_json_object
from gateway.identity.verifier import seek_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.identity.issuer import TrustedIssuer

_HASH = re.compile("[0-9a-f]{64}")


class UnverifiedUserHash(Struct, frozen=True):
    """The members `user_id`, `email` and `user_hash` of a login's body as they came: any JSON."""

    unverified_user_id: object
    unverified_email: object
    user_hash: object


def takes_user_hash(issuers: Sequence[TrustedIssuer]) -> bool:
    """Whether one of the issuers lets its secrets serve this proof."""
    return any(issuer.user_hash for issuer in issuers)


async def verify_user_hash(
    unverified: UnverifiedUserHash, issuers: Sequence[TrustedIssuer], platform: Platform | None
) -> Principal:
    """Who is proven by a `user_hash`; `issuers` are those of one workspace, and those that do not take it are left out.

    It waits for nothing but keys that are not at hand. Raises `Refusal`: request_invalid, signature_invalid, then what
    the value itself is refused for (claim_type, user_id_..., email_...); or `Outage(keys_unavailable)`.
    """
    if not isinstance(unverified.user_hash, str):
        raise Refusal(Code.REQUEST_INVALID, "the member must be a string", field="user_hash")
    by_email = unverified.unverified_user_id is None
    message = _message(unverified)
    presented = unverified.user_hash.encode("utf-8", "surrogatepass")
    if not _HASH.fullmatch(unverified.user_hash):
        raise Refusal(Code.SIGNATURE_INVALID, "not 64 lower-case hex digits", field="user_hash")
    for issuer in issuers:
        if not issuer.user_hash:
            continue
        for key in issuer.keys.find(None) or await seek_keys(issuer, None):
            if key.kind != "oct" or not is_enabled(key, platform):
                continue
            # In constant time (advisory A20). That the loop ends at the secret that fits tells which one it is, and
            # that is no secret: it says nothing of the hash that would be right for anybody else.
            if hmac.compare_digest(hmac.digest(key.material, message, "sha256").hex().encode(), presented):
                return _principal(unverified, issuer, by_email=by_email)
    raise Refusal(
        Code.SIGNATURE_INVALID, f"no secret makes it of the {'email' if by_email else 'user_id'}", field="user_hash"
    )


def _message(unverified: UnverifiedUserHash) -> bytes:
    """What must have been hashed: the user_id where one is sent, also beside an email; else the email, as it came."""
    field, value = "user_id", unverified.unverified_user_id
    if value is None:
        field, value = "email", unverified.unverified_email
    if value is None:
        raise Refusal(Code.USER_ID_MISSING, "a user_hash, and neither user_id nor email", field="user_id")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**USER_ID_LIMIT:
        value = str(value)
    if not isinstance(value, str):
        raise Refusal(Code.CLAIM_TYPE, "neither text nor a short integer", field=field)
    return value.encode("utf-8", "surrogatepass")


def _principal(unverified: UnverifiedUserHash, issuer: TrustedIssuer, *, by_email: bool) -> Principal:
    given = unverified.unverified_email
    email = None if given is None else normalise_email(given)
    if by_email and email is not None:
        user_id = fallback_user_id(email, issuer.rules, field="user_id")
    else:
        user_id = named_user_id(unverified.unverified_user_id, email, issuer.rules, field="user_id")
    if _is_signing_input(user_id):
        raise Refusal(Code.USER_ID_INVALID, "what a token signs, not a person's id", field="user_id")
    # Where the email was put into both fields (facts: Intercom 1.3, S16), it is what was hashed.
    hashed = by_email or given == unverified.unverified_user_id
    proof = None if email is None else Proof.HASHED if hashed else Proof.CLAIMED
    return Principal(
        workspace=issuer.workspace,
        issuer=issuer.name,
        user_id=user_id,
        by_email=by_email,
        email=email,
        email_proof=proof,
        attributes={},
        custom_attributes={},
        token_id=None,
        issued_at=None,
        expires_at=None,
        proof=Proof.HASHED,
    )


def _is_signing_input(text: str) -> bool:
    """Whether a text begins as a token does: with a JSON object in base64url, and a dot."""
    header, dot, _ = text.partition(".")
    if not dot:
        return False
    try:
        strict_json_object(decode_segment(header.encode()))
    except ValueError:
        return False
    return True
