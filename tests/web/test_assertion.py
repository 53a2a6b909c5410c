"""An assertion: what it says, how long it is given out, and with which key it is signed as the time goes by."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from msgspec.structs import replace

from gateway.contacts.contact import Contact, Role
from gateway.contacts.resolver import Identity, MatchedBy
from gateway.errors import Code, Outage
from gateway.identity.principal import Principal, Proof
from gateway.web.assertion import LEEWAY, LIFETIME, Assertions
from gateway.web.authentication import Authenticated
from gateway.web.forward_auth import ForwardAuth
from gateway.web.headers import IdentityHeaders
from gateway.web.well_known import MAX_AGE
from keys.jwk import key_from_jwk
from keys.keyring import Keyring, load_keyring
from keys.keyring_file import change_keyring
from keys.keyring_source import KeyringSource
from keys.rotation import PUBLISH_AHEAD, added, new_entry, new_material, removed, rotated

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000
ISSUER, AUDIENCE = "https://gateway.acme.example", "https://chat.acme.example"
CONTACT = Contact(
    workspace_id="acme",
    id="6a1f0c2e9b3d5f7081a2b3c4",
    external_id="user-\u5f35",
    role=Role.USER,
    email="ada@example.com",
    email_proof=Proof.SIGNED,
    created_at=0,
    updated_at=0,
)
PRINCIPAL = Principal(
    workspace="acme",
    issuer="login",
    user_id="user-\u5f35",
    by_email=False,
    email="ada@example.com",
    email_proof=Proof.SIGNED,
    attributes={},
    custom_attributes={},
    token_id="token-1",
    issued_at=None,
    expires_at=None,
)
IDENTITY = Identity(PRINCIPAL, CONTACT, MatchedBy.EXTERNAL_ID)


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


class Signing:
    """Assertions over a keyring in a file, under a clock that tests set."""

    def __init__(self, folder: Path, algorithm: str = "ES256") -> None:
        self.clock = Clock()
        self.path = folder / "assertion.json"
        self.change(lambda keyring: added(keyring, self.entry(keyring, algorithm), int(self.clock.now)))
        self.assertions = Assertions(self.source(), ISSUER, AUDIENCE, self.clock, os.urandom)

    def source(self) -> KeyringSource:
        """The keyring as one more process sees it."""
        return KeyringSource(load_keyring(self.path), self.clock, self.path)

    def entry(self, keyring: Keyring, algorithm: str = "ES256") -> Any:
        return new_entry(keyring, algorithm, new_material(algorithm, os.urandom), int(self.clock.now))

    def change(self, change: Any) -> Keyring:
        return change_keyring(self.path, change)

    def rotate(self, publish_ahead: int = PUBLISH_AHEAD) -> Keyring:
        live = {"publish_ahead": publish_ahead, "tokens_live": LIFETIME + LEEWAY}
        return self.change(lambda keyring: rotated(keyring, self.entry(keyring), int(self.clock.now), **live))

    def verified(self, assertion: bytes) -> dict[str, Any]:
        """Header and claims, once the published keys have verified it at the time of the clock."""
        return verified(assertion, self.assertions.keys.public_jwks(), self.clock.now)


def verified(assertion: bytes, jwks: dict[str, Any], now: float) -> dict[str, Any]:
    """What an upstream reads that has these keys, and whose clock says `now`."""
    kid = jwt.get_unverified_header(assertion)["kid"]
    (jwk,) = [one for one in jwks["keys"] if one["kid"] == kid]
    found = jwt.decode_complete(
        assertion,
        jwt.PyJWK(jwk),
        algorithms=[jwk["alg"]],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False},  # the clock is the test's
    )
    assert found["payload"]["iat"] <= now < found["payload"]["exp"]
    return found


@pytest.fixture(name="signing")
def _signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_what_it_says(tmp_path: Path, algorithm: str) -> None:
    """Who it is, as the identity headers say it, for whom, from whom, and for a minute: nothing else."""
    signing = Signing(tmp_path, algorithm)
    found = signing.verified(signing.assertions.of(Authenticated(IDENTITY), AUDIENCE))
    assert found["header"] == {
        "alg": algorithm,
        "typ": "identity-assertion+jwt",
        "kid": load_keyring(signing.path).keys[0].kid,
    }
    assert len(bytes.fromhex(found["payload"].pop("jti"))) == 16
    assert found["payload"] == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": CONTACT.id,
        "user_id": "user-\u5f35",
        "email": "ada@example.com",
        "app_id": "acme",
        "matched_by": "external_id",
        "iat": NOW,
        "exp": NOW + 60,
    }


@pytest.mark.parametrize("proof", [Proof.CLAIMED, Proof.SIGNED, Proof.HASHED, Proof.IMPORTED, None])
def test_b19_an_email_is_asserted_when_it_is_proven(signing: Signing, proof: Proof | None) -> None:
    """The rule of the headers: what somebody merely claimed is not signed by us."""
    contact = replace(CONTACT, email=None if proof is None else CONTACT.email, email_proof=proof)
    claims = signing.verified(signing.assertions.sign(replace(IDENTITY, contact=contact), AUDIENCE).text)["payload"]
    assert claims.get("email") == (None if proof in {Proof.CLAIMED, None} else "ada@example.com")


def test_it_is_given_out_for_half_its_life(signing: Signing) -> None:
    """A session costs a signature in half a minute for each audience, and an upstream has half a minute at least."""
    session, given = Authenticated(IDENTITY), []
    for second in range(0, 121, 5):
        signing.clock.now = NOW + second
        given.append(signing.assertions.of(session, AUDIENCE))
        assert signing.verified(given[-1])["payload"]["exp"] - signing.clock.now > 30
    assert [len(list(same)) for _, same in itertools.groupby(given)] == [6, 6, 6, 6, 1]
    signing.assertions.of(session, "https://other.example")
    assert session.assertions.keys() == {AUDIENCE, "https://other.example"}
    assert signing.assertions.of(Authenticated(IDENTITY), AUDIENCE) not in given


def test_an_answer_of_forward_auth_is_kept_as_long(signing: Signing) -> None:
    """With an assertion in it, it is made anew after half a minute; without one it is kept as ever."""
    assert ForwardAuth(IdentityHeaders()).welcome(IDENTITY).holds is None
    answer = ForwardAuth(IdentityHeaders(), assertions=signing.assertions).welcome(IDENTITY)
    assert signing.verified(dict(answer.headers)[b"x-identity-assertion"])["payload"]["sub"] == CONTACT.id
    assert answer.holds is not None
    held = []
    for second in (0, 29.9, 30, -1):
        signing.clock.now = NOW + second
        held.append(answer.holds())
    assert held == [True, True, False, False]


def test_a_clock_that_was_set_back_makes_no_assertion_younger(signing: Signing) -> None:
    """One from the future would be refused by every upstream, for as long as the clock was wrong."""
    session = Authenticated(IDENTITY)
    signing.clock.now = NOW + 7200
    before = signing.assertions.of(session, AUDIENCE)
    signing.clock.now = NOW + 3600
    assert signing.verified(signing.assertions.of(session, AUDIENCE))
    assert signing.assertions.of(session, AUDIENCE) != before


def test_a_key_that_was_taken_away_signs_and_vouches_for_nothing(signing: Signing) -> None:
    """After a leak what is kept of it goes at once, not half a minute later: nobody could verify it any more."""
    session = Authenticated(IDENTITY)
    first = signing.assertions.of(session, AUDIENCE)
    signing.rotate(publish_ahead=0)
    signing.clock.now += 2
    assert signing.assertions.of(session, AUDIENCE) == first, "its key still verifies"
    leaked = jwt.get_unverified_header(first)["kid"]
    signing.change(lambda keyring: removed(keyring, leaked, int(signing.clock.now)))
    signing.clock.now += 2
    second = signing.assertions.of(session, AUDIENCE)
    assert signing.verified(second)["header"]["kid"] != leaked


@pytest.mark.parametrize("instead", ["no key", "secrets"])
def test_without_a_key_nobody_passes_unasserted(signing: Signing, instead: str) -> None:
    """Nothing fails open: an upstream that counts on assertions gets no request without one, and none made by HMAC."""
    session = Authenticated(IDENTITY)
    signing.assertions.of(session, AUDIENCE)
    if instead == "no key":
        (entry,) = load_keyring(signing.path).keys
        signing.change(lambda keyring: removed(keyring, entry.kid, int(signing.clock.now)))
    else:
        signing.path.unlink()
        signing.change(lambda keyring: added(keyring, signing.entry(keyring, "HS256"), int(signing.clock.now)))
    signing.clock.now += 2
    with pytest.raises(Outage) as outage:
        signing.assertions.of(session, AUDIENCE)
    assert outage.value.code is Code.KEYS_UNAVAILABLE


@pytest.mark.parametrize("copy_seconds", [MAX_AGE, 300, PUBLISH_AHEAD - 2])
def test_a_rotation_never_signs_what_a_reader_cannot_verify(tmp_path: Path, copy_seconds: int) -> None:
    """Readers keep their copy of the key set for a minute, five (PyJWT) or ten (jose), and ask for no unknown kid.

    The set is published by another process than the one that signs; each of them sees a change within two seconds.
    """
    signing = Signing(tmp_path)
    publisher = signing.source()
    sessions = [Authenticated(IDENTITY) for _ in range(3)]
    copy, read_at = publisher.public_jwks(), NOW
    kids, count = set(), 0
    for second in range(0, 4 * 1000, 7):
        signing.clock.now = NOW + second
        if second % 1000 < 7 and second >= 7:
            signing.rotate()
        if signing.clock.now - read_at >= copy_seconds - 7:
            copy, read_at = publisher.public_jwks(), int(signing.clock.now)
        for session in sessions[: 1 + second % 3]:
            assertion = signing.assertions.of(session, AUDIENCE)
            kids.add(verified(assertion, copy, signing.clock.now)["header"]["kid"])
            count += 1
    assert len(kids) == 4
    assert count > 1000


def test_what_was_given_out_verifies_until_its_end(signing: Signing) -> None:
    """The old key's last assertion, given out in its last second, finds its key published for its whole life."""
    session = Authenticated(IDENTITY)
    successor = signing.rotate().keys[-1]
    signing.clock.now = successor.signs_from - 0.5
    last = signing.assertions.of(session, AUDIENCE)
    for later in (0, 31, LIFETIME - 1, LIFETIME + LEEWAY - 1):
        signing.clock.now = successor.signs_from + later
        kids = {jwk["kid"] for jwk in signing.assertions.keys.public_jwks()["keys"]}
        assert jwt.get_unverified_header(last)["kid"] in kids
    signing.clock.now = successor.signs_from + LIFETIME + LEEWAY + 1
    assert [key_from_jwk(jwk).kid for jwk in signing.assertions.keys.public_jwks()["keys"]] == [successor.kid]
