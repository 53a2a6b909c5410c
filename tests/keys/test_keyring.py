"""Keyrings: what may lie in the file, who may read it, and what its keys do as time goes by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from keys.errors import KeyMaterialError, KeysUnavailable
from keys.files import write_private
from keys.jwk import key_from_jwk, public_jwk, signing_key_from_pem, thumbprint
from keys.keyring import Keyring, KeyringEntry, KeyState, encode_keyring, load_keyring
from keys.keyring_source import KeyringSource
from keys.rotation import new_material
from tests.awaited import at_once
from tests.keys.conformance_key_source import KeySourceConformance

if TYPE_CHECKING:
    from pathlib import Path

    from keys.jwk import SigningKey

NOW = 1_790_000_000
SECRET = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz"


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def pair(alg: str = "ES256", **times: Any) -> KeyringEntry:
    material = new_material(alg, lambda _: b"")
    kid = signing_key_from_pem(material.encode(), alg).kid or ""
    return KeyringEntry(**{"kid": kid, "alg": alg, "material": material, "created_at": NOW, "signs_from": NOW, **times})


def secret(kid: str = "a", text: str = SECRET, **more: Any) -> KeyringEntry:
    return KeyringEntry(**{"kid": kid, "alg": "HS256", "material": text, "created_at": NOW, "signs_from": NOW, **more})


def written(folder: Path, content: Any) -> Path:
    """A file as somebody may have written it by hand."""
    path = folder / "keyring.json"
    write_private(path, content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def plain(entry: KeyringEntry, **changes: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(entry), **changes}


def test_the_kid_is_the_thumbprint_of_rfc_7638() -> None:
    """RFC 7638 section 3.1: the thumbprint of the example key, whatever other members stand beside it."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
        "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
        "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap"
        "JzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert thumbprint(public_jwk(key_from_jwk(jwk).material)) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519", "Ed448", "HS512"])
def test_what_is_written_is_read_again(tmp_path: Path, alg: str) -> None:
    """Every algorithm that a key is made for; the key permits it, and no algorithm of another kind (R7)."""
    entry = secret(alg=alg, material=SECRET * 2) if alg.startswith("HS") else pair(alg)
    keyring = Keyring(3, (entry,))
    assert load_keyring(written(tmp_path, encode_keyring(keyring))) == keyring
    key = entry.verification_key()
    assert key.kid == entry.kid == entry.signing_key().kid
    assert alg in key.algorithms
    assert len(key.algorithms) == (2 if alg.startswith("Ed") else 1)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o777])
def test_b24_a_keyring_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can read it can sign; the line says what to do, and the file is left as it is."""
    path = written(tmp_path, encode_keyring(Keyring(1, (pair(),))))
    path.chmod(mode)
    with pytest.raises(KeyMaterialError) as caught:
        load_keyring(path)
    assert str(caught.value) == f"{path}: others than its owner may use it; `chmod 600 {path}`"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_keyring_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    """Also one that nothing may write to."""
    path = written(tmp_path, encode_keyring(Keyring(1, (pair(),))))
    path.chmod(mode)
    assert load_keyring(path).version == 1


def test_a_keyring_that_is_not_there(tmp_path: Path) -> None:
    """It is a problem with a path, never an empty keyring."""
    with pytest.raises(KeyMaterialError, match=r"keyring\.json: cannot be read"):
        load_keyring(tmp_path / "keyring.json")


GOOD = plain(secret())
BROKEN: dict[str, tuple[Any, str]] = {
    "empty file": (b"", "not JSON"),
    "half a file": (encode_keyring(Keyring(1, (secret(),)))[:-40], "not JSON"),
    "deep": (b"[" * 100_000, "not (JSON|a keyring)"),
    "a list": ([], "not a keyring"),
    "a JWKS": ({"keys": [{"kty": "EC"}]}, "not a keyring"),
    "unknown member": ({"version": 1, "keys": [], "kees": []}, "not a keyring"),
    "unknown member of a key": ({"version": 1, "keys": [{**GOOD, "secret": SECRET}]}, "not a keyring"),
    "time as text": ({"version": 1, "keys": [{**GOOD, "ends_at": "1790000000"}]}, r"not a keyring \(at `\$.keys"),
    "material missing": (
        {"version": 1, "keys": [{key: value for key, value in GOOD.items() if key != "material"}]},
        "not a keyring",
    ),
    "no such algorithm": ({"version": 1, "keys": [{**GOOD, "alg": "none"}]}, r"keys\[0\]"),
    "a15 short secret": (
        {"version": 1, "keys": [{**GOOD, "material": "x1Y" * 10}]},
        r"keys\[0\]: the secret is shorter",
    ),
    "a15 short for its hash": ({"version": 1, "keys": [{**GOOD, "alg": "HS512"}]}, r"keys\[0\]: the secret is shorter"),
    "a15 empty secret": ({"version": 1, "keys": [{**GOOD, "material": ""}]}, r"keys\[0\]: the secret is shorter"),
    "a15 common secret": (
        {"version": 1, "keys": [{**GOOD, "material": "a-string-secret-at-least-256-bits-long"}]},
        r"keys\[0\]: the secret is on the list",
    ),
    "a01 public key as secret": (
        {"version": 1, "keys": [{**GOOD, "material": json.dumps(pair().signing_key().public_jwk())}]},
        r"keys\[0\]: the secret is a public key",
    ),
    "odd id": ({"version": 1, "keys": [{**GOOD, "kid": "a b"}]}, r"keys\[0\]: an id has"),
    "two with one kid": ({"version": 1, "keys": [GOOD, {**GOOD, "material": SECRET[::-1]}]}, "two keys have the same"),
    "secrets beside key pairs": ({"version": 1, "keys": [GOOD, plain(pair())]}, "never share a keyring"),
    "kid of another key": (
        {"version": 1, "keys": [plain(pair(), kid=pair().kid)]},
        r"keys\[0\]: the kid is not the thumbprint",
    ),
    "key of another algorithm": ({"version": 1, "keys": [plain(pair("RS256"), alg="ES256")]}, "does not suit ES256"),
    "too many": ({"version": 1, "keys": [plain(secret(f"k{number}")) for number in range(65)]}, "at most 64 keys"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_keyrings(tmp_path: Path, name: str) -> None:
    """A15, B20, B24: refused with the path and the place, and never with a piece of the material."""
    content, told = BROKEN[name]
    path = written(tmp_path, content)
    with pytest.raises(KeyMaterialError, match=told) as caught:
        load_keyring(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert SECRET not in message
    assert "PRIVATE KEY" not in message


def test_nothing_prints_its_material() -> None:
    """B20: neither a keyring nor its keys show what they hold."""
    entry = secret()
    shown = [repr(entry), repr(Keyring(1, (entry,))), repr(entry.signing_key()), repr(entry.verification_key())]
    assert not any(SECRET in text for text in shown)


def test_times_alone_decide() -> None:
    """A key is published from the start, signs in its time, and verifies until it ends."""
    first = pair(signs_until=NOW + 600, ends_at=NOW + 4200)
    second = pair(signs_from=NOW + 600)
    keyring = Keyring(2, (first, second))
    seen = {
        after: (keyring.signing(NOW + after), [keyring.state(entry, NOW + after) for entry in keyring.keys])
        for after in (0, 599, 600, 4199, 4200)
    }
    early = (first, [KeyState.SIGNING, KeyState.NEXT])
    late = (second, [KeyState.RETIRING, KeyState.SIGNING])
    assert seen == {0: early, 599: early, 600: late, 4199: late, 4200: (second, [KeyState.ENDED, KeyState.SIGNING])}
    assert [len(keyring.published(NOW + after)) for after in (0, 4199, 4200)] == [2, 2, 1]


def test_the_newest_secret_signs_the_tests_and_the_others_verify() -> None:
    """Of several live secrets one is for test tokens; of two made in the same second, the later one."""
    keyring = Keyring(2, (secret("a"), secret("b", SECRET[::-1]), secret("c", SECRET[3:] + "xyz", created_at=NOW - 1)))
    signing = keyring.signing(NOW)
    assert signing is not None
    assert signing.kid == "b"
    assert [keyring.state(entry, NOW) for entry in keyring.keys] == ["verifying", "signing", "verifying"]


def test_a_source_follows_the_clock() -> None:
    """The same source publishes less when a key has ended, without anybody telling it; other keys are untouched."""
    clock = Clock()
    first, second = pair(ends_at=NOW + 10), pair()
    source = KeyringSource(Keyring(1, (first, second)), clock)
    assert [key.kid for key in source.keys] == [first.kid, second.kid]
    assert source.find(first.kid)[0].kid == first.kid
    assert len(source.public_jwks()["keys"]) == 2
    clock.now = NOW + 9.9
    assert source.find(first.kid)
    clock.now = NOW + 10
    assert source.find(first.kid) == ()
    assert at_once(source.seek(first.kid)) == ()
    assert [key.kid for key in source.find(None)] == [second.kid]
    assert [jwk["kid"] for jwk in source.public_jwks()["keys"]] == [second.kid]


def test_b24_without_a_key_it_is_an_outage() -> None:
    """The last key may have been removed because it leaked: no token gets a verdict, and no old key comes back."""
    clock = Clock()
    for keyring in (Keyring(7), Keyring(7, (pair(ends_at=NOW),))):
        source = KeyringSource(keyring, clock)
        assert not source.keys
        for kid in (None, "x"):
            assert source.find(kid) == ()
            with pytest.raises(KeysUnavailable):
                at_once(source.seek(kid))


def test_platforms_travel_with_a_secret() -> None:
    """A secret for the web alone says so where its key is used."""
    assert secret(platforms=("web",)).verification_key().platforms == {"web"}
    assert secret().verification_key().platforms == frozenset()


def test_r11_what_is_published_is_public() -> None:
    """No private member in the published set; a shared secret cannot be published at all."""
    (jwk,) = Keyring(1, (pair("RS256"),)).public_jwks(NOW)["keys"]
    assert jwk.keys() == {"kty", "n", "e", "kid", "alg", "use"}
    with pytest.raises(KeyMaterialError, match="no public half"):
        Keyring(1, (secret(),)).public_jwks(NOW)


class TestKeyringSource(KeySourceConformance):
    """A keyring, by the suite of every key source."""

    async def source(self, *keys: SigningKey) -> KeyringSource:
        entries = [pair(kid=key.kid, material=key.private_pem().decode()) for key in keys]
        return KeyringSource(Keyring(1, tuple(entries)), Clock())


def test_who_remembers_a_token_hears_that_its_key_ended() -> None:
    """`withdrawn` grows when a key ends, also when nobody has asked for a key meanwhile."""
    clock = Clock()
    source = KeyringSource(Keyring(1, (pair(ends_at=NOW + 10), pair(ends_at=NOW + 20), pair())), clock)
    seen = []
    for after in (0, 9, 10, 19, 20, 1000):
        clock.now = NOW + after
        seen.append(source.withdrawn)
    assert seen == [0, 0, 1, 1, 2, 2]


class TestFollowing:
    """A source follows its file, once a second."""

    def test_what_another_process_changed(self, tmp_path: Path) -> None:
        """Within a second a new key verifies and one that went does not; who remembers its tokens hears of it."""
        clock, path = Clock(), tmp_path / "keyring.json"
        first, second = secret("a"), secret("b", SECRET[::-1])
        write_private(path, encode_keyring(Keyring(1, (first,))))
        source = KeyringSource(load_keyring(path), clock, path)
        write_private(path, encode_keyring(Keyring(2, (first, second))))
        clock.now += 1
        assert [key.kid for key in source.keys] == ["a", "b"]
        assert source.withdrawn == 0
        write_private(path, encode_keyring(Keyring(3, (second,))))
        assert source.find("a")  # nobody looks twice in a second
        clock.now += 1
        assert source.withdrawn == 1
        assert source.find("a") == ()

    def test_another_secret_under_the_same_id(self, tmp_path: Path) -> None:
        """The old one went, though its id is there: tokens that it verified are not remembered."""
        clock, path = Clock(), tmp_path / "keyring.json"
        write_private(path, encode_keyring(Keyring(1, (secret("a"),))))
        source = KeyringSource(load_keyring(path), clock, path)
        write_private(path, encode_keyring(Keyring(2, (secret("a", SECRET[::-1]),))))
        clock.now += 1
        assert source.withdrawn == 1
        assert source.find("a")[0].material == SECRET[::-1].encode()

    def test_another_algorithm_under_the_same_id(self, tmp_path: Path) -> None:
        """A secret is trusted for its one algorithm: what it verified with the one before is not remembered."""
        clock, path = Clock(), tmp_path / "keyring.json"
        write_private(path, encode_keyring(Keyring(1, (secret("a", SECRET * 2),))))
        source = KeyringSource(load_keyring(path), clock, path)
        write_private(path, encode_keyring(Keyring(2, (secret("a", SECRET * 2, alg="HS512"),))))
        clock.now += 1
        assert source.withdrawn == 1

    def test_a_leaked_key_while_the_clock_is_put_back(self, tmp_path: Path) -> None:
        """A machine whose clock was an hour ahead and is put right: no leaked key gets an hour more."""
        clock, path = Clock(), tmp_path / "keyring.json"
        write_private(path, encode_keyring(Keyring(1, (secret("leaked"), secret("stays", SECRET[::-1])))))
        source = KeyringSource(load_keyring(path), clock, path)
        clock.now -= 3600
        assert source.find("leaked")
        write_private(path, encode_keyring(Keyring(2, (secret("stays", SECRET[::-1]),))))
        clock.now += 1
        assert source.find("leaked") == ()
        assert source.withdrawn == 1

    def test_b24_a_file_that_cannot_be_used_changes_nothing(self, tmp_path: Path) -> None:
        """Broken, readable by others, gone: what was trusted stays; as soon as it is mended it counts again."""
        clock, path = Clock(), tmp_path / "keyring.json"
        good = encode_keyring(Keyring(1, (secret("a"),)))
        write_private(path, good)
        source = KeyringSource(load_keyring(path), clock, path)

        def kids() -> list[str | None]:
            clock.now += 1
            return [key.kid for key in source.keys]

        write_private(path, good[:-20])
        assert kids() == ["a"]
        write_private(path, encode_keyring(Keyring(2, (secret("b"),))))
        path.chmod(0o644)
        assert kids() == ["a"]
        path.chmod(0o600)
        assert kids() == ["b"]
        path.unlink()
        assert kids() == ["b"]
        write_private(path, encode_keyring(Keyring(3)))
        assert kids() == []
        assert source.health().state == "none"
