"""What is published: the discovery document and the key set, where there are any."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.checking.row import Row, failed, not_performed, passed, verdict
from keys.errors import KeyMaterialError, KeyOfOtherUse
from keys.jwk import key_from_jwk, public_jwk, thumbprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.checking.staging.site import Reply
    from gateway.checking.staging.subject import Subject

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/.well-known/jwks.json"
_HINT = "an issuer with a keyring of asymmetric keys has them published"


def check_discovery(subject: Subject) -> Row:
    """The discovery document names its issuer and a key set at the same place."""
    expected = "JSON with the text members issuer and jwks_uri"
    reply = subject.site.ask("GET", DISCOVERY)
    if reply.status == 404:
        return not_performed("discovery", expected, "none is published", _HINT)
    if reply.status != 200:
        return failed("discovery", expected, reply.told)
    issuer, jwks_uri = reply.member("issuer"), reply.member("jwks_uri")
    if not isinstance(issuer, str) or not isinstance(jwks_uri, str):
        return failed("discovery", expected, "no issuer, or no jwks_uri")
    if not jwks_uri.startswith(f"{issuer.rstrip('/')}/"):
        return failed("discovery", expected, f"issuer {issuer} and jwks_uri {jwks_uri}, which is elsewhere")
    return passed("discovery", expected, f"issuer {issuer}")


def check_key_set(subject: Subject) -> Row:
    """The key set holds usable public keys with a kid each, and the one that signs our tokens if they are its own."""
    expected = "usable public keys, each with a kid of its own"
    reply = subject.site.ask("GET", JWKS)
    if reply.status == 404:
        return not_performed("key set", expected, "none is published", _HINT)
    members = reply.member("keys")
    if reply.status != 200 or not isinstance(members, list) or not all(isinstance(one, dict) for one in members):
        return failed("key set", expected, f"{reply.told}, no JWK set")
    problems = _problems(members)
    ours = _missing_signer(subject, reply, members)
    if ours is not None:
        problems.append(ours)
    found = "; ".join(problems) or f"{len(members)} key{'s' if len(members) != 1 else ''}"
    return verdict("key set", expected, found, good=not problems)


def _problems(members: Sequence[dict[str, Any]]) -> list[str]:
    problems, usable = [], 0
    for index, member in enumerate(members):
        try:
            key_from_jwk(member)
            usable += 1
        except KeyOfOtherUse:
            continue
        except KeyMaterialError as error:
            problems.append(f"keys[{index}]: {error}")
        if not isinstance(member.get("kid"), str):
            problems.append(f"keys[{index}]: no kid")
    named = Counter(member["kid"] for member in members if isinstance(member.get("kid"), str))
    problems += [f"{count} keys have the same kid" for count in named.values() if count > 1]
    return problems if usable else [*problems, "no key that verifies"]


def _missing_signer(subject: Subject, reply: Reply, members: Sequence[dict[str, Any]]) -> str | None:
    """What is wrong when the set is that of the issuer who signs here, and lacks his key."""
    signer = subject.signer(reply.sent)
    published_for = subject.site.ask("GET", DISCOVERY).member("issuer")
    if signer.symmetric or signer.claims.get("iss") != published_for:
        return None
    own = public_jwk(signer.public_key)
    for member in members:
        try:
            if thumbprint(member) == thumbprint(own):
                return None if member.get("kid") == signer.header.get("kid") else "the key that signs has another kid"
        except (KeyError, TypeError):  # a key of another type, or of none
            continue
    return f"the key that signs for {subject.issuer} is not among them"
