"""The order of the checks, and whose keys verify whose tokens."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Code, Outage, Refusal
from gateway.identity.claims import ClaimPolicy, check_iss, numeric_date
from gateway.identity.crafting import LEFT_OUT, Signer, encoded
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.issuing import encode_segment, issue_token
from gateway.identity.unverified import _parse_header, parse_token
from gateway.identity.verifier import TokenVerifier
from keys.jwk import VerificationKey, generate_signing_key, key_from_jwk, key_from_secret, signing_key_from_secret
from keys.keyset import KeySet
from tests.awaited import at_once
from tests.corpus import generate_key, key_signer, shared_secret_signer

NOW = 1_800_000_000.0
ISSUER, OTHER, AUDIENCE, KID = "https://login.acme.example", "https://other.acme.example", "messenger", "key-1"


def key_of(signer: Signer, kid: str | None = KID) -> VerificationKey:
    """What the issuer hands over: its secret, or the JWK of its public key."""
    if signer.symmetric:
        return key_from_secret(signer.key.decode(), kid, (signer.algorithm,))
    from_signer = generate_signing_key(signer.algorithm)
    jwk = type(from_signer)(kid, signer.algorithm, signer.key).public_jwk()
    return key_from_jwk({name: value for name, value in jwk.items() if name != "kid" or kid is not None})


def trusted(*signers: Signer, name: str = "login", **more: Any) -> TrustedIssuer:
    """An issuer with the keys of these signers: with `iss` and `aud`, or in Messenger style for secrets."""
    symmetric = signers[0].symmetric
    iss = None if symmetric else signers[0].claims["iss"]
    settings: dict[str, Any] = {
        "workspace": "acme",
        "algorithms": tuple({signer.algorithm for signer in signers}),
        "keys": KeySet([key_of(signer, signer.header.get("kid")) for signer in signers]),
        "policy": ClaimPolicy(issuer=iss, audience=() if symmetric else (AUDIENCE,)),
        "email_authoritative": True,
        "issuer": iss,
        "ignores_iss": symmetric,
    }
    return TrustedIssuer(name=name, **{**settings, **more})


def verdict(verifier: TokenVerifier, token: bytes, workspace: str = "acme") -> str:
    """The name of the issuer whose token it is, or the code of the refusal."""
    try:
        return at_once(verifier.verify(token, workspace)).issuer
    except Refusal as refusal:
        return refusal.code


def login_signer(algorithm: str = "ES256", *, issuer: str = ISSUER, kid: str | None = KID) -> Signer:
    return key_signer(algorithm, NOW, issuer=issuer, audience=AUDIENCE, kid=kid)


def messenger_signer(*, kid: str | None = KID, algorithm: str = "HS256") -> Signer:
    return shared_secret_signer(generate_key(algorithm), NOW, kid=kid, algorithm=algorithm)


def test_a_secret_never_speaks_for_an_issuer_with_keys() -> None:
    """Design 3.3: who holds the messenger secret signs no token with the iss of another issuer, and the other way."""
    secret, login = messenger_signer(), login_signer()
    verifier = TokenVerifier([trusted(secret, name="messenger"), trusted(login)], lambda: NOW)
    assert verdict(verifier, secret.token()) == "messenger"
    assert verdict(verifier, login.token()) == "login"
    # The iss of an issuer with keys leads to its keys alone, whatever the algorithm says.
    assert verdict(verifier, secret.token(claims={"iss": ISSUER, "aud": AUDIENCE})) == Code.ALG_NOT_ALLOWED
    assert verdict(verifier, secret.token({"alg": "ES256"}, {"iss": ISSUER})) == Code.SIGNATURE_INVALID
    # No iss, or one that nobody has, leads to the secrets alone.
    for iss in (LEFT_OUT, "", OTHER, ISSUER + "/", ISSUER.upper()):
        assert verdict(verifier, login.token(claims={"iss": iss})) == Code.ALG_NOT_ALLOWED
        assert verdict(verifier, login.token({"alg": "HS256"}, {"iss": iss})) == Code.SIGNATURE_INVALID
        assert verdict(verifier, secret.token(claims={"iss": iss})) == "messenger"


@pytest.mark.parametrize("iss", [None, True, 0, 1.5, [], [ISSUER], {}, {"iss": ISSUER}], ids=repr)
def test_a14_an_iss_that_is_no_string_picks_nobody(iss: object) -> None:
    """A14, RFC 7519 section 4.1.1: a list or a null is not taken for an iss, nor for none."""
    for signer in (messenger_signer(), login_signer()):
        verifier = TokenVerifier([trusted(signer)], lambda: NOW)
        assert verdict(verifier, signer.token(claims={"iss": iss})) == Code.CLAIM_TYPE


@pytest.mark.parametrize("iss", [ISSUER + ".evil.example", ISSUER + "/", ISSUER[:-1], ISSUER.upper(), "", "https://"])
def test_a14_the_claim_check_compares_iss_exactly_once_more(iss: str) -> None:
    """A14: step 3 picks an issuer by its iss; step 7 does not rely on that."""
    check_iss({"iss": ISSUER}, ClaimPolicy(issuer=ISSUER), NOW)
    with pytest.raises(Refusal) as caught:
        check_iss({"iss": iss}, ClaimPolicy(issuer=ISSUER), NOW)
    assert caught.value.code == Code.ISSUER_UNKNOWN


def test_b09_a_token_of_one_workspace_is_nothing_in_another() -> None:
    """B09: the same iss, kid and audience in two workspaces with two keys; and one that nobody has configured."""
    first, second = login_signer(), login_signer()
    verifier = TokenVerifier([trusted(first), trusted(second, workspace="beta", name="beta")], lambda: NOW)
    assert (verdict(verifier, first.token()), verdict(verifier, second.token(), "beta")) == ("login", "beta")
    assert verdict(verifier, first.token(), "beta") == Code.SIGNATURE_INVALID
    assert verdict(verifier, second.token()) == Code.SIGNATURE_INVALID
    for nobody in ("", "ACME", "acme ", "gamma"):
        assert verdict(verifier, first.token(), nobody) == Code.REQUEST_INVALID


def test_b16_without_keys_there_is_no_verdict() -> None:
    """B16, design 3: no keys is an outage, for a good token and for a forged one; shape is judged all the same."""
    login = login_signer()
    verifier = TokenVerifier([trusted(login, keys=KeySet([]))], lambda: NOW)
    assert not verifier.has_keys
    for token in (
        login.token(),
        login_signer().token(),
        login.token({"kid": "nobody"}),
        login.token({"kid": LEFT_OUT}),
    ):
        with pytest.raises(Outage) as caught:
            at_once(verifier.verify(token, "acme"))
        assert caught.value.code == Code.KEYS_UNAVAILABLE
    assert verdict(verifier, b"no token") == Code.TOKEN_MALFORMED
    assert verdict(verifier, login.token({"alg": "none"})) == Code.ALG_NOT_ALLOWED


def test_a02_each_key_verifies_with_its_own_algorithms() -> None:
    """A02: three kinds of keys in one set and no kid: a key is never tried with what it does not permit."""
    signers = [login_signer(algorithm, kid=None) for algorithm in ("ES256", "RS256", "Ed25519", "ES256")]
    verifier = TokenVerifier([trusted(*signers)], lambda: NOW)
    for signer in signers:
        assert verdict(verifier, signer.token()) == "login"
        for alg in {"ES256", "RS256", "Ed25519"} - {signer.algorithm}:
            assert verdict(verifier, signer.token({"alg": alg})) == Code.SIGNATURE_INVALID
        for alg in ("PS256", "ES384", "EdDSA", "Ed448", "HS256"):
            assert verdict(verifier, signer.token({"alg": alg})) == Code.ALG_NOT_ALLOWED


def test_a02_a_named_key_of_another_algorithm_is_refused_before_it_is_used() -> None:
    """A02: the kid of an RSA key in a token with ES256."""
    elliptic, rsa = login_signer(kid="ec"), login_signer("RS256", kid="rsa")
    verifier = TokenVerifier([trusted(elliptic, rsa)], lambda: NOW)
    assert verdict(verifier, elliptic.token({"kid": "rsa"})) == Code.ALG_NOT_ALLOWED
    assert verdict(verifier, rsa.token({"kid": "ec"})) == Code.ALG_NOT_ALLOWED


def test_several_live_secrets_with_and_without_kid() -> None:
    """Design 3.5: each of the secrets verifies its own tokens; a kid is never a hint, and null is none."""
    old, new = messenger_signer(kid="2026-10"), messenger_signer(kid="2026-11")
    verifier = TokenVerifier([trusted(old, new, name="messenger")], lambda: NOW)
    for signer, other in ((old, "2026-11"), (new, "2026-10")):
        assert verdict(verifier, signer.token()) == "messenger"
        assert verdict(verifier, signer.token({"kid": LEFT_OUT})) == "messenger"
        assert verdict(verifier, signer.token({"kid": other})) == Code.SIGNATURE_INVALID
        assert verdict(verifier, signer.token({"kid": "2026-12"})) == Code.KID_UNKNOWN
        assert verdict(verifier, signer.token({"kid": ""})) == Code.KID_UNKNOWN
        assert verdict(verifier, signer.token({"kid": None})) == Code.TOKEN_MALFORMED
    assert verdict(verifier, messenger_signer(kid=None).token()) == Code.SIGNATURE_INVALID


def test_a19_a_forged_token_is_forged_first() -> None:
    """A19: whatever its claims say, and they say everything wrong at once, a wrong signature is what is told."""
    login = login_signer()
    verifier = TokenVerifier([trusted(login)], lambda: NOW)
    wrong = {"exp": True, "iat": NOW + 9999, "aud": "nobody", "user_id": None, "email": 7, "jti": []}
    assert verdict(verifier, login_signer().token(claims=wrong)) == Code.SIGNATURE_INVALID


def test_b21_an_assertion_of_ours_is_no_login() -> None:
    """B13, B21: what the gateway signs for upstreams, with its own key and iss, opens no public door."""
    own = generate_signing_key("ES256")
    secret, login = messenger_signer(), login_signer()
    claims = {**login.claims, "iss": "https://gateway.acme.example", "aud": "upstream"}
    alone = TokenVerifier([trusted(login)], lambda: NOW)
    both = TokenVerifier([trusted(login), trusted(secret, name="messenger")], lambda: NOW)
    assertion = issue_token(claims, own, ttl=60, now=NOW, header={"typ": "identity-assertion+jwt"}).encode()
    assert verdict(alone, assertion) == verdict(both, assertion) == Code.AUDIENCE_MISMATCH
    untyped = issue_token(claims, own, ttl=60, now=NOW).encode()
    assert verdict(alone, untyped) == Code.ISSUER_UNKNOWN
    assert verdict(both, untyped) == Code.ALG_NOT_ALLOWED


@pytest.mark.parametrize("value", [-0.0, 0, 0.0, 1, 253_402_300_799, 253_402_300_799.0])
def test_r13_what_is_a_time(value: float) -> None:
    """R13: a JSON number of a four-digit year, whole or not; minus zero is zero."""
    assert numeric_date({"exp": value}, "exp") == value


NO_TIMES: tuple[object, ...] = (
    *(True, False, None, "1", "", [], {}, -1, -1e-9, 253_402_300_799.5, 10**400, -(10**400), 1e308),
    *(float("inf"), float("-inf"), float("nan")),
)


@pytest.mark.parametrize("value", NO_TIMES, ids=range(len(NO_TIMES)))
def test_r13_what_is_no_time(value: object) -> None:
    """R13: neither a boolean nor text, nor a number without end; a huge integer does not overflow."""
    with pytest.raises(Refusal) as caught:
        numeric_date({"exp": value}, "exp")
    assert (caught.value.code, caught.value.field) == (Code.CLAIM_TYPE, "exp")


def test_r13_minus_zero_has_expired() -> None:
    """R13: -0.0 and -0 are the year 1970 in exp, and no placeholder slips through as a user_id."""
    login = login_signer()
    verifier = TokenVerifier([trusted(login)], lambda: NOW)
    for text, code in ((b'"exp":-0.0', Code.TOKEN_EXPIRED), (b'"exp":-0', Code.TOKEN_EXPIRED)):
        claims = encoded({name: value for name, value in login.claims.items() if name != "exp"})
        assert verdict(verifier, login.seal(encoded(login.header), claims[:-1] + b"," + text + b"}")) == code
    claims = encoded({name: value for name, value in login.claims.items() if name != "user_id"})
    zero = login.seal(encoded(login.header), claims[:-1] + b',"user_id":-0}')
    assert verdict(verifier, zero) == Code.USER_ID_PLACEHOLDER


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(-60, Code.TOKEN_EXPIRED), (-59.999, "login"), (-60.001, Code.TOKEN_EXPIRED), (0, "login")],
)
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.75])
def test_exp_at_the_border(offset: float, expected: str, fraction: float) -> None:
    """RFC 7519 section 4.1.4: on or after exp, leeway included, there is no token; fractions of a second count."""
    login, now = login_signer(), NOW + fraction
    verifier = TokenVerifier([trusted(login)], lambda: now)
    assert verdict(verifier, login.token(claims={"exp": now + offset, "iat": LEFT_OUT})) == expected


def test_an_issuer_without_exp_still_refuses_a_past_one() -> None:
    """Profile intercom: exp may be left out; one that is there counts."""
    secret = messenger_signer()
    lenient = trusted(secret, name="messenger", policy=ClaimPolicy(require_exp=False, max_lifetime=None))
    verifier = TokenVerifier([lenient], lambda: NOW)
    assert verdict(verifier, secret.token(claims={"exp": LEFT_OUT, "iat": LEFT_OUT})) == "messenger"
    assert verdict(verifier, secret.token(claims={"exp": NOW - 61, "iat": LEFT_OUT})) == Code.TOKEN_EXPIRED
    assert verdict(verifier, secret.token(claims={"exp": None})) == Code.CLAIM_TYPE


def test_the_memory_of_headers_holds_no_refusal_and_lends_nothing() -> None:
    """The cache of headers is bounded, keeps no exception, and a token sees only its own header."""
    _parse_header.cache_clear()
    bad = encode_segment(b'{"alg":"ES256","crit":["x"]}')
    for _ in range(3):
        with pytest.raises(Refusal):
            _parse_header(bad)
    assert _parse_header.cache_info().currsize == 0
    login = login_signer()
    for number in range(300):
        token = parse_token(login.token({"kid": f"key-{number}"}))
        assert (token.key_id, token.header["kid"]) == (f"key-{number}", f"key-{number}")
    assert _parse_header.cache_info().currsize == _parse_header.cache_info().maxsize == 256


def test_what_we_issue_is_ours_to_verify() -> None:
    """A token of `issue_token` passes the verifier, with and without a ttl, with a header of one's own."""
    key = signing_key_from_secret(generate_key("HS256").decode(), KID)
    issuer = TrustedIssuer(
        name="messenger",
        workspace="acme",
        algorithms=("HS256",),
        keys=KeySet([key_from_secret(key.material.decode(), KID)]),
        policy=ClaimPolicy(require_exp=False),
        email_authoritative=True,
        ignores_iss=True,
    )
    verifier = TokenVerifier([issuer], lambda: NOW)
    for ttl, header in ((60, None), (None, None), (60, {"typ": "at+jwt"}), (60.5, {"kid": KID})):
        token = issue_token({"user_id": "user-1"}, key, ttl=ttl, now=NOW, header=header)
        found = at_once(verifier.verify(token.encode(), "acme"))
        assert found.user_id == "user-1"
        assert found.expires_at == (None if ttl is None else NOW + 60)
    lying = issue_token({"user_id": "user-1"}, key, ttl=60, now=NOW, header={"alg": "none"})
    assert verdict(verifier, lying.encode()) == Code.ALG_NOT_ALLOWED
