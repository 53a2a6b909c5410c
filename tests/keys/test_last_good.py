"""The last good set on disk: what a start while the issuer is down can verify with, and what it must not."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from keys.errors import KeysUnavailable
from keys.last_good import last_good_set
from tests.keys.conformance_key_source import kids
from tests.keys.jwks_server import JwksServer, document, jwks, reset, running_jwks_server
from tests.keys.remote_sets import WoundClock, remote, signing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from keys.last_good import LastGoodSet
    from keys.remote import RemoteKeySet

DAY = 86_400.0


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with running_jwks_server() as running:
        yield running


@pytest.fixture
def clock() -> WoundClock:
    return WoundClock()


async def kept(server: JwksServer, clock: WoundClock, saved: LastGoodSet, *others: object) -> None:
    """Fetch a set with the key `a`, and wait until it is on disk."""
    server.answers["/jwks.json"] = document(jwks(signing("a"), *others))  # type: ignore[arg-type]  # JWKs of any kind
    keys = remote(server, clock, saved=saved)
    await keys.open()
    await written(keys)
    await keys.close()


async def written(keys: RemoteKeySet) -> None:
    """Until everything that the set does beside its schedule is done, writing for one."""
    while keys._tasks:
        await asyncio.wait(set(keys._tasks))


async def test_a_cold_start_in_an_outage(server: JwksServer, clock: WoundClock, tmp_path: Path) -> None:
    """The last good set lies on disk for its owner alone, and serves a start while the issuer is down, as stale."""
    folder = tmp_path / "var" / "keys"
    saved = last_good_set(folder, "acme", "login")
    await kept(server, clock, saved)
    modes = [path.stat().st_mode & 0o777 for path in (saved.path, folder, folder.parent)]
    assert modes == [0o600, 0o700, 0o700]
    server.answers["/jwks.json"] = reset
    later = WoundClock()
    later.elapsed += 100
    keys = remote(server, later, saved=saved)
    await keys.open()
    assert kids(keys.keys) == ["a"]
    health = keys.health()
    assert (health.state, health.age) == ("stale", 100)
    with pytest.raises(KeysUnavailable):
        await keys.seek("b")
    await later.wind(keys, DAY - 101)
    assert kids(keys.keys) == ["a"]
    await later.wind(keys, 1)
    assert keys.keys == (), "its age counts against the cap"
    await keys.close()


async def test_a_set_on_disk_that_is_too_old_is_not_taken(
    server: JwksServer, clock: WoundClock, tmp_path: Path
) -> None:
    """A machine that was off for longer than the cap trusts nothing until its issuer answers."""
    saved = last_good_set(tmp_path, "acme", "login")
    await kept(server, clock, saved)
    server.answers["/jwks.json"] = reset
    later = WoundClock()
    later.elapsed += DAY
    keys = remote(server, later, saved=saved)
    await keys.open()
    assert keys.keys == ()
    await keys.close()


def _rewrite(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.rename(path.with_suffix(".before"))
    make(path)


SPOILT: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: path.write_text("{"),
    "a list": lambda path: path.write_text("[]"),
    "no time": lambda path: path.write_text('{"keys": []}'),
    "a time in words": _rewrite('"saved_at": ', '"saved_at": "1", "was": '),
    "a time in the future": _rewrite('"saved_at": ', '"saved_at": 9'),
    "a time before all time": _rewrite('"saved_at": ', '"saved_at": -'),
    "a time twice": _rewrite('"saved_at": ', '"saved_at": 1, "saved_at": '),
    "a symmetric key": _rewrite('"kty": "EC"', '"kty": "oct", "k": "c2VjcmV0"'),
    "a private key": _rewrite('"kty": "EC"', '"kty": "EC", "d": "c2VjcmV0"'),
    "half a megabyte": lambda path: path.write_bytes(b" " * 600_000 + path.read_bytes()),
    "no UTF-8": lambda path: path.write_bytes(path.read_bytes().replace(b'"a"', b'"\xff"')),
    "a file that the group can write": lambda path: path.chmod(0o660),
    "a file that everybody can write": lambda path: path.chmod(0o602),
    "a link": lambda path: _replace(path, lambda new: new.symlink_to(new.with_suffix(".before"))),
    "a folder": lambda path: _replace(path, lambda new: new.mkdir()),
    "a pipe": lambda path: _replace(path, os.mkfifo),
}


@pytest.mark.parametrize("spoil", SPOILT)
async def test_a_spoilt_set_on_disk_is_not_taken(
    server: JwksServer, clock: WoundClock, tmp_path: Path, spoil: str
) -> None:
    """The file is read as strictly as the network, and not at all when others could have written it."""
    saved = last_good_set(tmp_path, "acme", "login")
    await kept(server, clock, saved)
    SPOILT[spoil](saved.path)
    server.answers["/jwks.json"] = reset
    keys = remote(server, clock, saved=saved)
    await keys.open()
    assert keys.keys == ()
    with pytest.raises(KeysUnavailable):
        await keys.seek("a")
    await keys.close()


async def test_b21_the_set_of_another_issuer_is_not_taken(
    server: JwksServer, clock: WoundClock, tmp_path: Path
) -> None:
    """A file that was renamed, by whoever can do that in the folder or by a backup, speaks for nobody else."""
    saved, other = last_good_set(tmp_path, "acme", "login"), last_good_set(tmp_path, "globex", "login")
    await kept(server, clock, saved)
    saved.path.rename(other.path)
    server.answers["/jwks.json"] = reset
    keys = remote(server, clock, saved=other)
    await keys.open()
    assert keys.keys == ()
    with pytest.raises(KeysUnavailable):
        await keys.seek("a")
    await keys.close()


async def test_no_secret_reaches_the_disk(server: JwksServer, clock: WoundClock, tmp_path: Path) -> None:
    """What a publisher leaks is not kept: the file holds the public members of the keys that verify."""
    leaked = signing("leaked")
    private = leaked.material.private_numbers().private_value.to_bytes(32)
    jwk = {**leaked.public_jwk(), "d": private.hex()}
    server.answers["/jwks.json"] = document(jwks(signing("a"), jwk, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}))
    saved = last_good_set(tmp_path, "acme")
    keys = remote(server, clock, saved=saved)
    await keys.open()
    await written(keys)
    assert private.hex() not in saved.path.read_text()
    assert "c2VjcmV0" not in saved.path.read_text()
    await keys.close()


async def test_a_disk_that_takes_nothing_is_no_outage(server: JwksServer, clock: WoundClock, tmp_path: Path) -> None:
    """The set serves from memory, and health says that it is not kept."""
    (tmp_path / "file").write_text("")
    server.publish(signing("a"))
    keys = remote(server, clock, saved=last_good_set(tmp_path / "file" / "keys", "acme"))
    await keys.open()
    await written(keys)
    health = keys.health()
    assert (health.state, health.keys) == ("fresh", 1)
    assert health.error is not None
    assert health.error.startswith("not kept on disk")
    await keys.close()


async def test_who_only_asks_writes_nothing(server: JwksServer, clock: WoundClock, tmp_path: Path) -> None:
    """A command that explains a token, run as root perhaps, leaves no file behind that the gateway could not read."""
    server.publish(signing("a"))
    saved = last_good_set(tmp_path, "acme")
    keys = remote(server, clock, saved=saved)
    await keys.refresh()
    assert kids(await keys.seek("a")) == ["a"]
    await written(keys)
    assert not saved.path.exists()


def test_files_are_told_apart(tmp_path: Path) -> None:
    """B10: names are hashed with their lengths, so no two sets share a file."""
    names = [("acme", "login"), ("acmelogin",), ("acme", "log", "in"), ("", "acmelogin"), ("acmelogin", "")]
    assert len({last_good_set(tmp_path, *parts).path for parts in names}) == len(names)
