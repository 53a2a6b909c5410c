"""The examples that the RFCs publish: what they sign verifies, what they leave unsigned does not.

Their payloads are not our claims, so they are held against shape and signature, not against the whole verifier. Each
example is first verified by joserfc: a vector that was copied wrong fails there.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from gateway.errors import Code, Refusal
from gateway.identity.claims import ClaimPolicy
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jose import verify_signature
from gateway.identity.unverified import UnverifiedToken, parse_token
from gateway.identity.verifier import TokenVerifier
from keys.errors import KeyMaterialError
from keys.jwk import VerificationKey, key_from_jwk, key_from_secret, thumbprint
from keys.keyset import KeySet
from tests.awaited import at_once

# joserfc warns that RFC 9864 renames EdDSA, the name that RFC 8037 uses.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated:UserWarning")

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["examples"]
    return examples


EXAMPLES = [*load("rfc7515.json"), *load("rfc8037.json")]
SIGNED = [example for example in EXAMPLES if example["accepted"]]
UNSIGNED = [example for example in EXAMPLES if not example["accepted"]]


def name_of(example: dict[str, Any]) -> str:
    return f"{example['section']}-{example.get('algorithm', 'thumbprint')}"


def key_of(example: dict[str, Any]) -> VerificationKey:
    """The example's key. Its symmetric key is published, so no loader takes it: it is built by hand."""
    jwk = example["key"]
    if jwk["kty"] != "oct":
        return key_from_jwk(jwk)
    return VerificationKey(None, "oct", frozenset({example["algorithm"]}), decoded(jwk["k"]))


def decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "==")


def token_of(example: dict[str, Any]) -> UnverifiedToken:
    """The parts of an example: by `parse_token` where its payload is a JSON object, by hand where it is not."""
    compact: str = example["token"]
    if isinstance(example["payload"], dict):
        return parse_token(compact.encode())
    header, payload, signature = compact.split(".")
    return UnverifiedToken(
        header=json.loads(decoded(header)),
        algorithm=example["algorithm"],
        key_id=None,
        unverified_claims={},
        signing_input=f"{header}.{payload}".encode(),
        signature=decoded(signature),
    )


@pytest.mark.parametrize("example", SIGNED, ids=name_of)
def test_the_vectors_are_copied_right(example: dict[str, Any]) -> None:
    """A library of other people verifies each example and finds the payload that the RFC shows."""
    found = jws.deserialize_compact(example["token"], import_key(example["key"]), algorithms=[example["algorithm"]])
    payload = found.payload.decode()
    assert (json.loads(payload) if isinstance(example["payload"], dict) else payload) == example["payload"]


@pytest.mark.parametrize("example", SIGNED, ids=name_of)
def test_what_the_rfc_signs_verifies(example: dict[str, Any]) -> None:
    """RFC 7515 appendix A.1 to A.4, RFC 8037 appendix A.4: the signature is taken, the claims come out as shown."""
    token = token_of(example)
    assert token.algorithm == example["algorithm"]
    signed = verify_signature(token, [key_of(example)])
    assert signed.claims == (example["payload"] if isinstance(example["payload"], dict) else {})


@pytest.mark.parametrize("example", SIGNED, ids=name_of)
def test_one_bit_off_is_refused(example: dict[str, Any]) -> None:
    """R5: with any one bit of the signature, or of what is signed, turned, no example verifies; joserfc agrees."""
    token, key = token_of(example), key_of(example)
    for place in range(len(token.signature)):
        altered = bytearray(token.signature)
        altered[place] ^= 1 << place % 8
        with pytest.raises(Refusal) as caught:
            verify_signature(_with(token, signature=bytes(altered)), [key])
        assert caught.value.code == Code.SIGNATURE_INVALID
    head = example["token"].rpartition(".")[0]
    text = f"{head}.{base64.urlsafe_b64encode(bytes(altered)).rstrip(b'=').decode()}"
    with pytest.raises(JoseError):
        jws.deserialize_compact(text, import_key(example["key"]), algorithms=[example["algorithm"]])
    for place in (0, len(token.signing_input) // 2, len(token.signing_input) - 1):
        changed = bytearray(token.signing_input)
        changed[place] ^= 1
        with pytest.raises(Refusal):
            verify_signature(_with(token, signing_input=bytes(changed)), [key])


@pytest.mark.parametrize("example", SIGNED, ids=name_of)
def test_no_example_verifies_with_the_key_of_another(example: dict[str, Any]) -> None:
    """R7: a signature counts under its own key only."""
    others = [key_of(other) for other in SIGNED if other is not example]
    with pytest.raises(Refusal) as caught:
        verify_signature(token_of(example), others)
    assert caught.value.code == Code.SIGNATURE_INVALID


@pytest.mark.parametrize("example", UNSIGNED, ids=name_of)
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a03_what_the_rfc_leaves_unsigned_is_refused(example: dict[str, Any], algorithm: str) -> None:
    """A03, RFC 7515 appendix A.5: the unsecured example is well formed, and no issuer takes its algorithm."""
    assert parse_token(example["token"].encode()).algorithm == "none"
    signed = next(one for one in SIGNED if one["algorithm"] == algorithm)
    issuer = TrustedIssuer(
        name="example",
        workspace="acme",
        algorithms=(algorithm,),
        keys=KeySet([key_of(signed)]),
        policy=ClaimPolicy(),
        email_authoritative=True,
        ignores_iss=True,
    )
    with pytest.raises(Refusal) as caught:
        at_once(TokenVerifier([issuer], lambda: 1300819000.0).verify(example["token"].encode(), "acme"))
    assert caught.value.code == Code.ALG_NOT_ALLOWED


@pytest.mark.parametrize("example", [one for one in SIGNED if not isinstance(one["payload"], dict)], ids=name_of)
def test_a_payload_that_is_no_object_is_no_token_of_ours(example: dict[str, Any]) -> None:
    """RFC 7519 section 7.2: the payload of a JWT is a JSON object; that of A.4 and of RFC 8037 is plain text."""
    with pytest.raises(Refusal) as caught:
        parse_token(example["token"].encode())
    assert caught.value.code == Code.TOKEN_MALFORMED


def test_the_json_serialisations_are_no_tokens() -> None:
    """R6, RFC 7515 appendix A.6 and A.7: the examples of A.2 and A.3 in JSON, general and flattened, are refused."""
    first, second = (next(one for one in SIGNED if one["section"] == section) for section in ("A.2", "A.3"))
    payload = first["token"].split(".")[1]
    signatures = [
        {"protected": header, "header": {"kid": kid}, "signature": signature}
        for (header, _, signature), kid in (
            (first["token"].split("."), "2010-12-29"),
            (second["token"].split("."), "e9bc097a-ce51-4036-9562-d2ade882db0d"),
        )
    ]
    general = {"payload": payload, "signatures": signatures}
    flattened = {"payload": payload, **signatures[1]}
    for serialised in (general, flattened):
        for text in (json.dumps(serialised), base64.urlsafe_b64encode(json.dumps(serialised).encode()).decode()):
            with pytest.raises(Refusal) as caught:
                parse_token(text.encode())
            assert caught.value.code == Code.TOKEN_MALFORMED


def test_a15_a_published_secret_is_no_secret() -> None:
    """A15, R10: the symmetric key of appendix A.1 stands in a public document."""
    with pytest.raises(KeyMaterialError):
        key_from_secret(SIGNED[0]["key"]["k"])


@pytest.mark.parametrize("example", load("thumbprints.json"), ids=name_of)
def test_thumbprints(example: dict[str, Any]) -> None:
    """RFC 7638 section 3.1 and RFC 8037 appendix A.3: only the required members count, in their order."""
    assert import_key(example["key"]).thumbprint() == example["thumbprint"]
    assert thumbprint(example["key"]) == example["thumbprint"]
    shuffled = dict(reversed({**example["key"], "use": "sig", "kid": "other", "x5t": "AAAA"}.items()))
    assert thumbprint(shuffled) == example["thumbprint"]


def _with(
    token: UnverifiedToken, *, signature: bytes | None = None, signing_input: bytes | None = None
) -> UnverifiedToken:
    return UnverifiedToken(
        header=token.header,
        algorithm=token.algorithm,
        key_id=token.key_id,
        unverified_claims=token.unverified_claims,
        signing_input=signing_input or token.signing_input,
        signature=signature or token.signature,
    )
