"""Key material on disk: its problems are named by path and never by content; what is written is for its owner alone."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keys.errors import KeyMaterialError
from keys.files import load_jwks_file, load_pem_file, read_secret_file, write_private
from keys.jwk import generate_signing_key, key_from_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "c2VjcmV0LW1hdGVyaWFs"
GOOD = generate_signing_key("ES256").public_jwk()
LOADERS: tuple[Callable[[Path], object], ...] = (load_jwks_file, load_pem_file, read_secret_file)


def refusal(load: Callable[[Path], object], path: Path) -> str:
    """What a load is refused with, as an operator would see it at worst: the whole traceback."""
    with pytest.raises(KeyMaterialError) as caught:
        load(path)
    return "".join(traceback.format_exception(caught.value))


def written(folder: Path, content: object) -> Path:
    path = folder / "keys.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "no JSON": f"{{{MARK}".encode(),
    "cut": f'{{"keys":[{{"k":"{MARK}'.encode(),
    "two documents": b'{"keys":[]}{"keys":[]}',
    "UTF-16 cut": '{"keys":[]}'.encode("utf-16")[:-1],
    "bytes": bytes(range(256)),
    "deep": b'{"keys":' + b"[" * 100_000,
    "a PEM": b"-----BEGIN PUBLIC KEY-----\n" + MARK.encode(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_json_is_named(tmp_path: Path, name: str) -> None:
    """The path and the problem, and not a word of what the file holds (R12)."""
    path = written(tmp_path, BROKEN[name])
    told = refusal(load_jwks_file, path)
    assert f"{path}: not JSON" in told
    assert MARK not in told


SETS: dict[str, object] = {
    "list": [GOOD],
    "bare JWK": GOOD,
    "null": None,
    "string": MARK,
    "no keys": {"key": [GOOD]},
    "keys an object": {"keys": GOOD},
    "keys null": {"keys": None},
    "a member that is no object": {"keys": [GOOD, MARK]},
    "a member that is null": {"keys": [None]},
}


@pytest.mark.parametrize("name", SETS)
def test_a_file_that_is_no_key_set_is_named(tmp_path: Path, name: str) -> None:
    """RFC 7517 section 5: an object whose member "keys" is a list of JWKs."""
    path = written(tmp_path, SETS[name])
    told = refusal(load_jwks_file, path)
    assert f"{path}: not a JWK set" in told
    assert MARK not in told


MEMBERS: dict[str, dict[str, Any]] = {
    "oct": {"kty": "oct", "k": MARK},
    "private EC": {**GOOD, "d": MARK},
    "private RSA": {"kty": "RSA", "n": MARK, "e": "AQAB", "d": MARK},
    "broken point": {**GOOD, "x": MARK},
    "alg of another key": {**GOOD, "alg": "RS256"},
    "kid a number": {**GOOD, "kid": 7},
    "no kty": {"n": MARK},
    "short RSA": {"kty": "RSA", "n": MARK, "e": "AQAB"},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_r11_a_bad_member_is_named_and_never_shown(tmp_path: Path, name: str) -> None:
    """R10 to R12: which member of which file; no material, of an oct or a private key least of all."""
    path = written(tmp_path, {"keys": [GOOD, MEMBERS[name]]})
    told = refusal(load_jwks_file, path)
    assert f"{path}: keys[1]: " in told
    assert MARK not in told


def test_a12_keys_of_other_use_do_not_spoil_a_set(tmp_path: Path) -> None:
    """A12, RFC 7517 section 5: what a real issuer publishes beside its signing keys is left out, not tripped over."""
    other: list[dict[str, Any]] = [
        {**generate_signing_key("RS256").public_jwk(), "use": "enc", "alg": "RSA-OAEP", "kid": "enc"},
        {"kty": "OKP", "crv": "X25519", "x": GOOD["x"], "kid": "agree"},
        {"kty": "EC", "crv": "secp256k1", "x": GOOD["x"], "y": GOOD["y"]},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "later"},
    ]
    keys = load_jwks_file(written(tmp_path, {"keys": [*other, GOOD, *other]}))
    assert [key.kid for key in keys] == [GOOD["kid"]]
    assert load_jwks_file(written(tmp_path, {"keys": other})) == ()


def test_a_good_set_is_loaded(tmp_path: Path) -> None:
    """Every kind of key, in the order of the file; members that nobody asked for are passed over."""
    made = [generate_signing_key(name) for name in ("RS256", "PS256", "ES384", "ES512", "Ed25519", "Ed448")]
    jwks = {"keys": [{**key.public_jwk(), "x5t": "AAAA", "extra": {}} for key in made], "more": 1}
    assert [key.kid for key in load_jwks_file(written(tmp_path, jwks))] == [key.kid for key in made]


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, load: Callable[[Path], object]) -> None:
    """Missing, a folder, over a loop of links: one line with the path (B24: unreadable is never open)."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "missing", tmp_path, loop, tmp_path / "missing" / "deeper"):
        assert f"{path}: cannot be read" in refusal(load, path)
    assert "NUL" in refusal(load, Path("a\0b"))


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Nobody's rights for one test, since root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_a_file_without_permission_is_named(
    tmp_path: Path, load: Callable[[Path], object], request: pytest.FixtureRequest
) -> None:
    """B24: a file that the process may not read."""
    path = written(tmp_path, MARK.encode())
    path.chmod(0)
    request.getfixturevalue("unprivileged")
    assert f"{path}: cannot be read (Permission denied)" in refusal(load, path)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_a_huge_file_is_not_read(tmp_path: Path, load: Callable[[Path], object]) -> None:
    """A file over the limit is refused after its first bytes, an endless one too."""
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(256 * 1024 + 1)
    assert "larger than 262144 bytes" in refusal(load, path)
    assert "larger than 262144 bytes" in refusal(load, Path("/dev/zero"))


def test_a_pem_file_is_loaded(tmp_path: Path) -> None:
    """A public key in PEM, under the kid that the configuration gives it; else its path and its problem."""
    key = generate_signing_key("ES256")
    private = tmp_path / "key.pem"
    write_private(private, key.private_pem())
    told = refusal(load_pem_file, private)
    assert f"{private}: this is not a public key in PEM" in told
    body = key.private_pem().splitlines()[1].decode()
    assert body not in told
    public = Path(tmp_path / "public.pem")
    public.write_text("no key")
    assert f"{public}: this is not a public key" in refusal(load_pem_file, public)


def test_a_secret_file_keeps_all_but_its_last_line_break(tmp_path: Path) -> None:
    """An editor ends a file with a line break; nothing else is taken off."""
    for content, text in (
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret\n\n", "secret\n"),
        (b" secret ", " secret "),
        ("\u5f35".encode(), "\u5f35"),
        (b"", ""),
    ):
        assert read_secret_file(written(tmp_path, content)) == text


def test_a_secret_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """R12: the byte that is no UTF-8 is a byte of the secret: the error does not show it."""
    path = written(tmp_path, b"caf\xe9 " + MARK.encode())
    told = refusal(read_secret_file, path)
    assert f"{path}: not text in UTF-8" in told
    assert "0xe9" not in told
    assert MARK not in told


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_write_private_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    """Mode 0600 whatever the umask, also over a file that everybody could read."""
    path = tmp_path / "key.pem"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(umask)
    try:
        write_private(path, b"new")
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_write_private_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails before the last byte is safe leaves the old key and no rest of the new one."""
    path = tmp_path / "key.pem"
    write_private(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new" * 100)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_private_replaces_a_link_and_not_its_target(tmp_path: Path) -> None:
    """A link that somebody planted does not lead the key elsewhere."""
    target, path = tmp_path / "target", tmp_path / "key.pem"
    target.write_text("theirs")
    path.symlink_to(target)
    write_private(path, b"ours")
    assert (path.is_symlink(), path.read_bytes(), target.read_text()) == (False, b"ours", "theirs")


def test_r11_a_written_key_is_read_again(tmp_path: Path) -> None:
    """The round of the data folder: written private, published public, the same key."""
    key = generate_signing_key("ES256")
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [key.public_jwk()]}))
    (loaded,) = load_jwks_file(path)
    assert loaded.kid == key.kid
    with pytest.raises(KeyMaterialError):
        key_from_pem(key.private_pem())
