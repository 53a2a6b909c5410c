"""Every bad token of the corpus is refused with its code, by every kind of issuer; what is odd but right is taken."""

from __future__ import annotations

import base64
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.crafting import LEFT_OUT, Signer
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.verifier import TokenVerifier
from keys.errors import KeyMaterialError
from keys.jwk import VerificationKey, key_from_jwk, key_from_pem, key_from_secret, public_jwk
from keys.keyset import KeySet
from keys.secrets import looks_like_public_key
from tests.awaited import at_once
from tests.corpus import bad_tokens, generate_key, key_signer, public_key_forms, shared_secret_signer

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_800_000_000.0
ISSUER, AUDIENCE, KID = "https://login.acme.example", "messenger", "key-1"
ALGORITHMS = ("HS256", "RS256", "PS256", "ES256", "ES512", "EdDSA")


def signer_for(algorithm: str) -> Signer:
    """A Messenger signer for HS*, else an issuer with keys; with a key made here."""
    if algorithm.startswith("HS"):
        return shared_secret_signer(generate_key(algorithm), NOW, kid=KID, algorithm=algorithm)
    return key_signer(algorithm, NOW, issuer=ISSUER, audience=AUDIENCE, kid=KID)


def verifier_for(*signers: Signer, now: float = NOW) -> TokenVerifier:
    """A workspace `acme` that trusts these signers, as profile intercom or with iss and aud."""
    return TokenVerifier([trusted(signer) for signer in signers], lambda: now)


def trusted(signer: Signer) -> TrustedIssuer:
    if signer.symmetric:
        return TrustedIssuer(
            name="messenger",
            workspace="acme",
            algorithms=(signer.algorithm,),
            keys=KeySet([key_from_secret(signer.key.decode(), KID, (signer.algorithm,))]),
            policy=signer.policy,
            email_authoritative=True,
            ignores_iss=True,
        )
    return TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=(signer.algorithm,),
        keys=KeySet([key_from_jwk(public_jwk(signer.public_key, kid=KID))]),
        policy=signer.policy,
        email_authoritative=True,
        issuer=ISSUER,
    )


def verdict(verifier: TokenVerifier, token: bytes, workspace: str = "acme") -> str:
    """`accepted`, or the refusal's code; any other exception is a defect and goes up."""
    try:
        at_once(verifier.verify(token, workspace))
    except Refusal as refusal:
        return refusal.code
    return "accepted"


@pytest.fixture(scope="module", params=ALGORITHMS)
def signer(request: pytest.FixtureRequest) -> Signer:
    return signer_for(request.param)


def test_every_bad_token_is_refused_with_its_code(signer: Signer) -> None:
    """Each case ends as a `Refusal` with the code in the table; nothing is accepted, nothing else is raised."""
    verifier = verifier_for(signer)
    cases = bad_tokens(signer)
    assert len({case.name for case in cases}) == len(cases) > 400
    wrong = {case.name: found for case in cases if (found := verdict(verifier, case.token)) != case.code}
    assert wrong == {}


def test_every_bad_token_is_refused_beside_a_messenger_secret() -> None:
    """The workspace of the listener's tests has both kinds of issuer; neither takes what is bad for the other."""
    secrets = signer_for("HS256")
    login = key_signer("ES256", NOW, issuer=ISSUER, audience=AUDIENCE, kid=KID, beside_secrets=True)
    verifier = verifier_for(secrets, login)
    cases = [*bad_tokens(secrets), *bad_tokens(login)]
    wrong = {case.name: found for case in cases if (found := verdict(verifier, case.token)) != case.code}
    assert wrong == {}


def test_no_refusal_repeats_what_was_sent(signer: Signer) -> None:
    """A17, R12: the reason that goes to the log names the problem, never a segment, a claim's value or the secret."""
    verifier = verifier_for(signer)
    marked = {**signer.claims, "user_id": "tell-tale-id", "email": "tell-tale@example.com", "name": "tell-tale"}
    seen = 0
    for case in bad_tokens(Signer(signer.algorithm, signer.key, NOW, signer.header, marked, signer.policy)):
        try:
            at_once(verifier.verify(case.token, "acme"))
        except Refusal as refusal:
            seen += 1
            said = f"{refusal} {refusal.reason} {refusal.field}"
            segments = [
                segment[:40].decode("latin-1") for segment in case.token.split(b".", 5)[:3] if len(segment) > 15
            ]
            told = "tell-tale" in said or any(segment in said for segment in segments)
            assert (told, len(said) < 300) == (False, True), case.name
    assert seen > 400


@pytest.mark.parametrize("size", [1_000_000, 10_000_000])
@pytest.mark.parametrize("filling", [b".", b"A", b"[", b"\xff"])
def test_a16_an_over_long_token_costs_no_memory(size: int, filling: bytes) -> None:
    """A16, R2: ten megabytes of anything, dots first of all, are refused with less than a megabyte of work."""
    verifier, token = verifier_for(signer_for("HS256")), filling * size
    tracemalloc.start()
    try:
        found = verdict(verifier, token)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found, peak < 1_000_000) == (Code.TOKEN_TOO_LARGE, True)


@pytest.mark.parametrize("filling", [b".", b"[", b'{"a":', b'"', b"\\", b"9", b"\\ud800"])
def test_the_longest_token_costs_little(filling: bytes) -> None:
    """A12: what just fits the limit stays cheap however it is filled: no recursion, no work beyond its own size."""
    signer = signer_for("HS256")
    verifier = verifier_for(signer)
    payload = b'{"a":' + filling * (5500 // len(filling))
    token = signer.seal(b'{"alg":"HS256"}', payload)
    assert 7000 < len(token) <= 8192
    tracemalloc.start()
    try:
        found = verdict(verifier, token)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found, peak < 1_000_000) == (Code.TOKEN_MALFORMED, True)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES512", "EdDSA", "Ed448"])
def test_a01_a_public_key_is_no_secret(algorithm: str) -> None:
    """A01, R9, R10: every published form of a public key is refused as a shared secret when it is configured."""
    forms = public_key_forms(generate_key(algorithm), KID, NOW)
    assert [name for name, form in forms.items() if not looks_like_public_key(form)] == []
    for name, form in forms.items():
        try:
            text = form.decode()
        except UnicodeDecodeError:
            continue  # a secret is text; DER is not
        with pytest.raises(KeyMaterialError) as caught:
            key_from_secret(text)
        assert text[:40] not in str(caught.value), name


def test_a01_the_two_families_never_share_an_issuer() -> None:
    """A01: an issuer cannot be built with an HS algorithm beside an asymmetric key or algorithm."""
    key, secret = signer_for("RS256"), signer_for("HS256")
    public = key_from_jwk(public_jwk(key.public_key, kid="k"))
    shared = key_from_secret(secret.key.decode(), "s")
    mixes: list[tuple[tuple[str, ...], tuple[VerificationKey, ...]]] = [
        (("HS256", "RS256"), (public,)),
        (("HS256",), (public,)),
        (("RS256",), (shared,)),
        (("RS256",), (public, shared)),
        (("HS256", "ES256"), ()),
    ]
    for algorithms, keys in mixes:
        with pytest.raises(ValueError, match="HS algorithms"):
            TrustedIssuer(
                name="mixed",
                workspace="acme",
                algorithms=algorithms,
                keys=KeySet(keys),
                policy=ClaimPolicy(),
                email_authoritative=False,
            )


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "ES256K", "dir", "hs256"])
def test_a03_no_issuer_lists_none(name: str) -> None:
    """A03: `none`, in any letter case, and unknown names cannot be configured."""
    with pytest.raises(ValueError, match="algorithms"):
        TrustedIssuer(
            name="open",
            workspace="acme",
            algorithms=(name,),
            keys=KeySet([]),
            policy=ClaimPolicy(),
            email_authoritative=False,
        )


def test_a02_the_key_decides_the_algorithm() -> None:
    """A02, R7: a key that declares RS256 verifies neither RS512 nor PS256, though its issuer lists them."""
    signer = signer_for("RS256")
    declared = key_from_jwk(public_jwk(signer.public_key, kid=KID, algorithm="RS256"))
    issuer = TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=("RS256", "RS512", "PS256"),
        keys=KeySet([declared]),
        policy=ClaimPolicy(),
        email_authoritative=True,
        issuer=ISSUER,
    )
    verifier = TokenVerifier([issuer], lambda: NOW)
    assert verdict(verifier, signer.token()) == "accepted"
    for algorithm in ("RS512", "PS256"):
        other = Signer(algorithm, signer.key, NOW, {**signer.header, "alg": algorithm}, signer.claims)
        assert verdict(verifier, other.token()) == Code.ALG_NOT_ALLOWED
        assert verdict(verifier, other.token({"kid": LEFT_OUT})) in {Code.ALG_NOT_ALLOWED, Code.SIGNATURE_INVALID}


def test_a04_headers_that_name_keys_change_nothing() -> None:
    """A04, R8: beside the right signature, jwk, jku, x5u and x5c are not looked at, whatever they hold."""
    signer = signer_for("ES256")
    verifier = verifier_for(signer)
    for value in ("http://127.0.0.1:9/keys.json", "", None, 1, [], {"kty": "oct", "k": "AA"}, ["AA"]):
        for member in ("jwk", "jku", "x5u", "x5c", "x5t"):
            assert verdict(verifier, signer.token({member: value})) == "accepted"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": NOW - 59, "iat": LEFT_OUT}, "accepted"),
        ({"exp": NOW - 60, "iat": LEFT_OUT}, Code.TOKEN_EXPIRED),
        ({"exp": NOW - 59.75, "iat": LEFT_OUT}, "accepted"),
        ({"exp": NOW - 60.25, "iat": LEFT_OUT}, Code.TOKEN_EXPIRED),
        ({"nbf": NOW + 60}, "accepted"),
        ({"nbf": NOW + 60.25}, Code.TOKEN_NOT_YET_VALID),
        ({"nbf": NOW + 61}, Code.TOKEN_NOT_YET_VALID),
        ({"iat": NOW + 60}, "accepted"),
        ({"iat": NOW + 60.25}, Code.ISSUED_IN_FUTURE),
        ({"iat": NOW + 61}, Code.ISSUED_IN_FUTURE),
        ({"iat": NOW, "exp": NOW + 86_400}, "accepted"),
        ({"iat": NOW, "exp": NOW + 86_401}, Code.LIFETIME_TOO_LONG),
        ({"iat": LEFT_OUT, "exp": NOW + 86_400}, "accepted"),
        ({"iat": LEFT_OUT, "exp": NOW + 86_401}, Code.LIFETIME_TOO_LONG),
        ({"iat": NOW - 86_400, "exp": NOW + 1}, Code.LIFETIME_TOO_LONG),
        ({"user_id": "ab" * 127 + "c"}, "accepted"),
        ({"user_id": "ab" * 128}, Code.USER_ID_INVALID),
        ({"user_id": "張三" * 127 + "張"}, "accepted"),
        ({"user_id": "aaa"}, "accepted"),
        ({"user_id": "aaaa"}, Code.USER_ID_PLACEHOLDER),
        ({"aud": ["somebody", AUDIENCE]}, "accepted"),
    ],
)
def test_borders(claims: Mapping[str, Any], expected: str) -> None:
    """R13, R14, design 3.7 and 4: what lies on the border is decided one way, to the second and to the character."""
    signer = signer_for("ES256")
    assert verdict(verifier_for(signer), signer.token(claims=claims)) == expected


@pytest.mark.parametrize("length", [8192, 8193])
def test_the_limit_is_8_kib(length: int) -> None:
    """Design 3.2: 8192 bytes are read, one more is not."""
    signer = signer_for("HS256")
    token = b""
    for fill in range(5800, 6200):
        token = signer.token(claims={"note": "x" * fill})
        if len(token) >= length:
            break
    assert len(token) in {length, length + 1}
    assert verdict(verifier_for(signer), token) == ("accepted" if len(token) <= 8192 else Code.TOKEN_TOO_LARGE)


ODD_IDS = (
    *("Jennifer Null", "0x1F600", "張", "😀", "👩🏽", "null@example.org", "user_id_7", "id-1", "007", "00a"),
    *(
        "https://example.com/u/1?x=y#z",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "auth0|5f7c8ec7c33c6c004bbafe82",
    ),
    *("a b", "O'Brien", '"quoted" name', "a/../b", "%41", "a%20b", "{}", "<b", "=1+1", "-5", "+1", "@handle", "a@b@c"),
    *(
        "Ω",
        "ß",
        "ẞ",
        "İ",
        "\u0131",
        "m\u0131ke",
        "mike",
        "Mike",
        "שלום",
        "नमस्ते",
        "أحمد",
        "nullable",
        "guest-1",
        "testuser",
    ),
)


@pytest.mark.parametrize("user_id", ODD_IDS)
def test_odd_but_real_ids_are_taken_as_they_are(user_id: str) -> None:
    """R19, R20: an unusual id works, and comes out byte for byte as it was signed."""
    signer = signer_for("HS256")
    token = signer.token(claims={"user_id": user_id, "email": LEFT_OUT})
    assert at_once(verifier_for(signer).verify(token, "acme")).user_id == user_id


def test_an_integer_is_its_decimal_text() -> None:
    """R17: 42 and "42" are one id; 42.0 is none."""
    signer = signer_for("HS256")
    verifier = verifier_for(signer)
    assert {at_once(verifier.verify(signer.token(claims={"user_id": one}), "acme")).user_id for one in (42, "42")} == {
        "42"
    }


def test_every_altered_character_is_refused() -> None:
    """R5: no character of a genuine token can be exchanged for another of the alphabet, nor dropped, nor doubled."""
    signer = signer_for("ES256")
    verifier, token = verifier_for(signer), signer.token()
    alphabet = base64.urlsafe_b64encode(bytes(range(256))).rstrip(b"=")
    altered = set()
    for place in range(len(token)):
        for other in (alphabet[place % 64], alphabet[(place * 7 + 1) % 64], 0x2E, 0x3D, 0x0A, 0x00):
            altered.add(token[:place] + bytes([other]) + token[place + 1 :])
        altered |= {token[:place] + token[place + 1 :], token[: place + 1] + token[place:]}
    assert [one for one in altered - {token} if verdict(verifier, one) == "accepted"] == []


def test_a_retired_key_and_a_new_one_live_side_by_side() -> None:
    """Design 3.5: without a kid each live key of the issuer is tried; with one, only that key."""
    old, new = signer_for("ES256"), signer_for("ES256")
    keys = KeySet([key_from_jwk(public_jwk(one.public_key, kid=kid)) for one, kid in ((old, "old"), (new, "new"))])
    issuer = TrustedIssuer(
        name="login",
        workspace="acme",
        algorithms=("ES256",),
        keys=keys,
        policy=ClaimPolicy(),
        email_authoritative=True,
        issuer=ISSUER,
    )
    verifier = TokenVerifier([issuer], lambda: NOW)
    for one, kid, other in ((old, "old", "new"), (new, "new", "old")):
        assert verdict(verifier, one.token({"kid": LEFT_OUT})) == "accepted"
        assert verdict(verifier, one.token({"kid": kid})) == "accepted"
        assert verdict(verifier, one.token({"kid": other})) == Code.SIGNATURE_INVALID


def test_b21_keys_stay_with_their_issuer() -> None:
    """B21, R8: two issuers with the same kid; the key of one never verifies a token of the other."""
    first, second = (
        signer_for("ES256"),
        key_signer("ES256", NOW, issuer="https://b.example", audience=AUDIENCE, kid=KID),
    )
    other = TrustedIssuer(
        name="second",
        workspace="acme",
        algorithms=("ES256",),
        keys=KeySet([key_from_pem(_pem(second), KID)]),
        policy=ClaimPolicy(issuer="https://b.example", audience=(AUDIENCE,)),
        email_authoritative=True,
        issuer="https://b.example",
    )
    verifier = TokenVerifier([trusted(first), other], lambda: NOW)
    assert at_once(verifier.verify(first.token(), "acme")).issuer == "login"
    assert at_once(verifier.verify(second.token(), "acme")).issuer == "second"
    assert verdict(verifier, first.token(claims={"iss": "https://b.example"})) == Code.SIGNATURE_INVALID
    assert verdict(verifier, second.token(claims={"iss": ISSUER})) == Code.SIGNATURE_INVALID


def _pem(signer: Signer) -> bytes:
    return public_key_forms(signer.key, None, NOW)["PEM"]
