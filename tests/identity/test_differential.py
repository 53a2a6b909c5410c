"""Our verdict against those of PyJWT and joserfc, with the same keys and the same policy, on the same tokens.

What we accept, they accept, and they read the same claims in it. What they accept and we refuse is in one table, each
row with its reason and an example that shows it to be true. Their clocks cannot be set, so the tokens stand around now,
and no time lies within a minute of a border.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, import_key
from joserfc.jws import JWSRegistry
from msgspec import Struct

from gateway.errors import Refusal
from gateway.identity.claims import ClaimPolicy, check_claims
from gateway.identity.crafting import LEFT_OUT, Signer, encoded, over
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import encode_segment
from gateway.identity.jose import verify_signature
from gateway.identity.unverified import parse_token
from gateway.identity.verifier import TokenVerifier, choose_keys
from keys.jwk import key_from_jwk, key_from_secret, public_jwk
from keys.keyset import KeySet
from tests.awaited import at_once
from tests.corpus import generate_key, key_signer
from tests.corpus.form import nested
from tests.identity.differences import DIFFERENCES, KID, is_only_theirs, seen

if TYPE_CHECKING:
    from collections.abc import Callable

# joserfc warns that RFC 9864 renames EdDSA.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated:UserWarning")

NOW = int(time.time())
ISSUER, AUDIENCE = "https://login.acme.example", "messenger"
ALGORITHMS = ("HS256", "HS512", "RS256", "PS384", "ES256", "ES512", "EdDSA")
REFUSED = None


class Party(Struct, frozen=True):
    """A signer, and the three who verify what it signs. Each answers with the claims, or with None."""

    signer: Signer
    issuer: TrustedIssuer

    def ours(self, token: bytes) -> tuple[dict[str, Any] | None, str]:
        """The verdict of the whole verifier, and the claims that it saw."""
        try:
            at_once(TokenVerifier([self.issuer], lambda: NOW).verify(token, "acme"))
        except Refusal as refusal:
            return None, refusal.code
        unverified = parse_token(token)
        signed = verify_signature(unverified, at_once(choose_keys(unverified, self.issuer)))
        return check_claims(signed, self.issuer.policy, NOW).claims, "accepted"

    def pyjwt(self, token: bytes) -> dict[str, Any] | None:
        key = self.signer.key if self.signer.symmetric else self.signer.public_key
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[self.signer.algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=60,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, UnicodeError, RecursionError, OverflowError, ValueError):
            return None  # a library may also fail in ways that we may not
        return claims

    def joserfc(self, token: bytes) -> dict[str, Any] | None:
        if self.signer.symmetric:
            key: Any = OctKey.import_key(self.signer.key)
        else:
            key = import_key(public_jwk(self.signer.public_key))
        required = joserfc_jwt.JWTClaimsRegistry(
            leeway=60,
            exp={"essential": True},
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
        )
        algorithms = [self.signer.algorithm]
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        try:
            found = joserfc_jwt.decode(token, key, algorithms=algorithms, registry=registry)
            required.validate(found.claims)
        except (JoseError, UnicodeError, RecursionError, OverflowError, ValueError, TypeError, AttributeError):
            return None
        return found.claims


@cache
def party(algorithm: str) -> Party:
    """The same key for everybody, made once for each algorithm."""
    key = generate_key(algorithm)
    signer = key_signer(algorithm, NOW, issuer=ISSUER, audience=AUDIENCE, key=key, kid=KID)
    if signer.symmetric:
        trusted = key_from_secret(key.decode(), KID, (algorithm,))
    else:
        trusted = key_from_jwk(public_jwk(signer.public_key, kid=KID))
    issuer = TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=(algorithm,),
        keys=KeySet([trusted]),
        policy=ClaimPolicy(issuer=ISSUER, audience=(AUDIENCE,)),
        email_authoritative=True,
        issuer=ISSUER,
    )
    return Party(signer, issuer)


def compare(party: Party, token: bytes) -> None:
    """Hold the three verdicts against each other."""
    (ours, code), pyjwt, joserfc = party.ours(token), party.pyjwt(token), party.joserfc(token)
    event(code)
    for name, theirs in (("PyJWT", pyjwt), ("joserfc", joserfc)):
        if ours is not REFUSED and theirs is REFUSED:
            assert is_only_theirs(seen(token)), f"we accept what {name} refuses"
        elif ours is not REFUSED:
            assert theirs == ours, f"{name} reads other claims"
        elif theirs is not REFUSED:
            known = [row.why for row in DIFFERENCES.values() if row.code == code and row.applies(seen(token))]
            assert known, f"{name} accepts what we refuse as {code}, and the table has no reason for it"


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_in_the_table_is_real(name: str, algorithm: str) -> None:
    """A row stays only as long as a library does what it says."""
    here, row = party(algorithm), DIFFERENCES[name]
    token = row.example(here.signer)
    assert here.ours(token) == (REFUSED, row.code)
    assert row.applies(seen(token))
    assert here.pyjwt(token) is not REFUSED or here.joserfc(token) is not REFUSED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_three_take_a_good_token(algorithm: str) -> None:
    """The comparison compares: each of the three accepts what is good, and refuses what is forged."""
    here = party(algorithm)
    good = here.signer.token()
    assert here.ours(good)[0] == here.pyjwt(good) == here.joserfc(good) == here.signer.claims
    forged = Signer(algorithm, generate_key(algorithm), NOW, here.signer.header, here.signer.claims).token()
    assert here.ours(forged)[0] is here.pyjwt(forged) is here.joserfc(forged) is REFUSED


NUMBERS: tuple[object, ...] = (0, -1, 0.5, 1e15, 10**18, 2**70, -0.0, 1e308, True, None, "1", [], {})
TIMES = st.sampled_from([NOW + offset for offset in (-90_000, -3600, -600, -120, 120, 600, 3600, 80_000, 90_000)])
VALUES = st.sampled_from(["", "user-1", "null", "x" * 300, "a b", "\u5f35", "\ud800", "a\0", *NUMBERS])
CLAIMS: dict[str, st.SearchStrategy[Any]] = {
    **{name: TIMES | TIMES.map(float) | TIMES.map(str) | st.sampled_from(NUMBERS) for name in ("exp", "nbf", "iat")},
    "iss": st.sampled_from([ISSUER, ISSUER + "/", ISSUER.upper(), [ISSUER], "", None, 1]),
    "aud": st.sampled_from([AUDIENCE, [AUDIENCE], ["x", AUDIENCE], [], ["x"], "x", None, [AUDIENCE, 1], {AUDIENCE: 1}]),
    "user_id": VALUES | st.sampled_from(["ada@example.com", "eve@example.com", 42, "user-2"]),
    "email": VALUES | st.sampled_from(["ada@example.com", "Ada@Example.com", "a@b@c.example"]),
    "email_verified": st.sampled_from([True, False, "true", None, 1]),
    "jti": VALUES,
    "sub": VALUES,
    "name": VALUES | st.text(max_size=20),
}
HEADERS: dict[str, st.SearchStrategy[Any]] = {
    "alg": st.sampled_from([*ALGORITHMS, "none", "None", "", None, "Ed25519", ["HS256"], "ES256K"]),
    "kid": st.sampled_from([KID, "other", "", None, 7, [KID]]),
    "typ": st.sampled_from(["JWT", "jwt", "at+jwt", "", None, 7]),
    "cty": st.sampled_from(["JWT", "json", None, 7]),
    "crit": st.sampled_from([["exp"], ["b64"], [], None, "b64"]),
    "b64": st.sampled_from([True, False, None]),
    "jwk": st.sampled_from([{}, {"kty": "oct", "k": "AAAA"}, None, "x"]),
    "jku": st.sampled_from(["http://127.0.0.1:9/", None, 7]),
    "x5c": st.sampled_from([["AAAA"], [], "AAAA", [1], None]),
    "zip": st.sampled_from(["DEF", None]),
    "enc": st.sampled_from(["A256GCM"]),
    "other": VALUES,
}


def overlays(members: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Up to so many members set to something, or left out."""
    return st.lists(st.sampled_from(sorted(members)), max_size=most, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: members[name] | st.just(LEFT_OUT) for name in names})
    )


TEXT_CHANGES: tuple[Callable[[bytes], bytes], ...] = (
    *[lambda text: text] * 30,
    lambda text: b" " + text.replace(b",", b" ,\n") + b"\t",
    lambda text: text[:-1] + b"," + text[1:],
    lambda text: b'{"user_id":"user-2","alg":"none",' + text[1:],
    lambda text: b'{"\\u0061lg":"none",' + text[1:],
    lambda text: text[:-1] + b',"n":NaN}',
    lambda text: text[:-1] + b',"n":-1e999}',
    lambda text: text[:-1] + b',"n":' + b"7" * 30 + b"}",
    lambda text: text[:-1] + b',"n":1.0e0,"m":-0,"o":18446744073709551616}',
    lambda text: text[:-1] + b',"n":"\\ud83d\\ude00 \\/ \\u0000"}',
    lambda text: text[:-1] + b',"n":"\\udc00"}',
    lambda text: text[:-1] + b',"n":{"a":[{"b":null}],"a":1}}',
    lambda text: text[:-1] + b',"n":' + nested(14) + b"}",
    lambda text: text[:-1] + b',"n":' + nested(30) + b"}",
    lambda text: b"\xef\xbb\xbf" + text,
    lambda text: text.decode().encode("utf-16"),
    lambda text: text.decode().encode("utf-32-le"),
    lambda text: text[:-1] + b',"n":"\xe9"}',
    lambda text: b"[" + text + b"]",
    lambda text: text + b"x",
    lambda _: b"null",
    lambda _: b"",
)


def changed(token: bytes, place: int, how: str, byte: int) -> bytes:
    """A token with one byte changed, dropped, doubled or put in."""
    place %= len(token)
    head, tail = token[:place], token[place + 1 :]
    put = bytes([byte])
    return {"set": head + put + tail, "drop": head + tail, "put": head + put + token[place:], "cut": head}[how]


@settings(max_examples=1200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ALGORITHMS),
    overlays(HEADERS, 2),
    overlays(CLAIMS, 3),
    st.sampled_from(TEXT_CHANGES),
    st.sampled_from(TEXT_CHANGES),
)
def test_headers_and_claims(
    algorithm: str,
    header: dict[str, Any],
    claims: dict[str, Any],
    of_header: Callable[[bytes], bytes],
    of_claims: Callable[[bytes], bytes],
) -> None:
    """Rightly signed tokens with anything in them: the three agree, or the table says why not."""
    here = party(algorithm)
    texts = of_header(encoded(over(here.signer.header, header))), of_claims(encoded(over(here.signer.claims, claims)))
    compare(here, here.signer.seal(*texts))


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(ALGORITHMS),
    st.integers(0, 5000),
    st.sampled_from(["set", "drop", "put", "cut"]),
    st.sampled_from(b"Aa0-_=.+/ \n\0\xff") | st.integers(0, 255),
)
def test_bytes(algorithm: str, place: int, how: str, byte: int) -> None:
    """A genuine token with one byte changed: nobody takes it, or all who take it read the same."""
    here = party(algorithm)
    compare(here, changed(here.signer.token(), place, how, byte))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALGORITHMS), st.sampled_from(ALGORITHMS), overlays(HEADERS, 1))
def test_signatures_of_others(algorithm: str, other: str, header: dict[str, Any]) -> None:
    """The signature of one issuer in the token of another, whatever the header says."""
    here, there = party(algorithm), party(other)
    head = there.signer.token({"alg": algorithm, **header}, None)
    compare(here, head)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_at_all(data: bytes) -> None:
    """Any bytes, alone and as each of the segments: nothing but a refusal, from any of the three."""
    here = party("HS256")
    header, claims, signature = here.signer.token().split(b".")
    for token in (
        data,
        b".".join([encode_segment(data), claims, signature]),
        here.signer.sign(header, encode_segment(data)),
    ):
        compare(here, token)
