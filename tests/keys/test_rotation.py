"""Rotation: no good token loses its key, two at once never both rotate, and a crash leaves a whole file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from keys.errors import KeyMaterialError
from keys.keyring import Keyring, KeyringEntry, KeyState, load_keyring
from keys.keyring_file import KeyringChanged, change_keyring
from keys.rotation import RotationRefused, added, new_entry, new_material, removed, retired, rotated

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000
LIVE = 3660


def made(keyring: Keyring, alg: str = "ES256", now: int = NOW, kid: str | None = None) -> KeyringEntry:
    return new_entry(keyring, alg, new_material(alg, os.urandom), now, kid=kid)


def first(alg: str = "ES256") -> Keyring:
    return added(Keyring(), made(Keyring(), alg), NOW)


def states(keyring: Keyring, now: int) -> list[KeyState]:
    return [keyring.state(entry, now) for entry in keyring.keys]


class TestKeyPairs:
    """Key pairs, which sign here and nowhere else."""

    def test_published_before_it_signs(self) -> None:
        """A rotation changes who signs only after the time in which everybody reads the key set again."""
        before = first()
        after = rotated(before, made(before, now=NOW + 50), NOW + 50, publish_ahead=600, tokens_live=LIVE)
        old, new = after.keys
        assert (before.version, after.version) == (1, 2)
        assert (old.signs_until, new.signs_from, old.ends_at) == (NOW + 650, NOW + 650, NOW + 650 + LIVE)
        assert [len(after.published(moment)) for moment in (NOW + 50, NOW + 649, NOW + 650 + LIVE - 1)] == [2, 2, 2]
        assert after.signing(NOW + 649) == old
        assert after.signing(NOW + 650) == new

    def test_at_every_moment_one_key_signs_and_its_tokens_verify_until_they_are_dead(self) -> None:
        """Ten rotations; each second's token finds its key for as long as the token may live."""
        keyring = first()
        moment = NOW
        signed: dict[int, str] = {}
        for _ in range(10):
            keyring = rotated(keyring, made(keyring, now=moment), moment, publish_ahead=600, tokens_live=LIVE)
            for second in range(moment, moment + 900, 50):
                key = keyring.signing(second)
                assert key is not None
                signed[second] = key.kid
                published = {entry.kid for entry in keyring.published(second)}
                assert all(signed[then] in published for then in signed if second < then + LIVE)
            moment += 900
        assert len(set(signed.values())) == 11
        assert len(keyring.keys) < 8  # what has ended went

    def test_a_rotation_waits_for_the_one_under_way(self) -> None:
        """A second rotation while a key waits to sign is refused; when it signs, the next one may come."""
        keyring = first()
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=600, tokens_live=LIVE)
        with pytest.raises(RotationRefused, match="a rotation is under way"):
            rotated(keyring, made(keyring), NOW + 599, publish_ahead=600, tokens_live=LIVE)
        assert states(rotated(keyring, made(keyring), NOW + 600, publish_ahead=600, tokens_live=LIVE), NOW + 600) == [
            KeyState.RETIRING,
            KeyState.SIGNING,
            KeyState.NEXT,
        ]

    def test_at_once_gives_up_the_key_that_waited(self) -> None:
        """After a leak the new key signs now; the one that waited lay in the same file, and signed nothing yet."""
        keyring = first()
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=600, tokens_live=LIVE)
        waiting = keyring.keys[1]
        keyring = rotated(keyring, made(keyring, now=NOW + 10), NOW + 10, publish_ahead=0, tokens_live=LIVE)
        assert waiting not in keyring.keys
        assert states(keyring, NOW + 10) == [KeyState.RETIRING, KeyState.SIGNING]
        assert keyring.keys[0].ends_at == NOW + 10 + LIVE

    def test_without_a_longest_lifetime_the_old_key_stays(self) -> None:
        """Tokens that may live for ever keep their key until somebody retires it."""
        keyring = first()
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=0, tokens_live=None)
        assert states(keyring, NOW + 10**9) == [KeyState.VERIFYING, KeyState.SIGNING]
        with pytest.raises(RotationRefused, match="no longest lifetime"):
            retired(keyring, keyring.keys[0].kid, NOW, tokens_live=None)

    def test_the_only_key_is_not_retired_by_mistake(self) -> None:
        """Retiring the last key that stays is refused, also while an older one retires."""
        keyring = first()
        with pytest.raises(RotationRefused, match="last key that stays"):
            retired(keyring, keyring.keys[0].kid, NOW, tokens_live=LIVE)
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=0, tokens_live=LIVE)
        with pytest.raises(RotationRefused, match="last key that stays"):
            retired(keyring, keyring.keys[1].kid, NOW, tokens_live=LIVE)
        with pytest.raises(RotationRefused, match="retires already"):
            retired(keyring, keyring.keys[0].kid, NOW, tokens_live=LIVE)

    def test_a_key_that_only_verifies_is_no_successor(self) -> None:
        """The key that signs is not retired for the sake of an older one that signs no more."""
        keyring = first()
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=0, tokens_live=None)
        with pytest.raises(RotationRefused, match="last key that stays"):
            retired(keyring, keyring.keys[1].kid, NOW, tokens_live=LIVE)
        assert states(retired(keyring, keyring.keys[0].kid, NOW, tokens_live=LIVE), NOW) == [
            KeyState.RETIRING,
            KeyState.SIGNING,
        ]

    def test_a_leaked_key_goes_at_once(self) -> None:
        """Removed, its material is no longer in the file; a key that waited takes over now."""
        keyring = first()
        keyring = rotated(keyring, made(keyring), NOW, publish_ahead=600, tokens_live=LIVE)
        leaked, waiting = keyring.keys
        after = removed(keyring, leaked.kid, NOW + 5)
        assert [entry.kid for entry in after.keys] == [waiting.kid]
        signing = after.signing(NOW + 5)
        assert signing is not None
        assert signing.kid == waiting.kid
        assert removed(after, waiting.kid, NOW + 6).keys == ()

    def test_only_a_rotation_follows_a_key(self) -> None:
        """A second key beside one that signs is never added; with none left that signs, it is the first again."""
        keyring = first()
        with pytest.raises(RotationRefused, match="a rotation makes its successor"):
            added(keyring, made(keyring), NOW)
        with pytest.raises(RotationRefused, match="none to follow"):
            rotated(Keyring(), made(Keyring()), NOW, publish_ahead=0, tokens_live=LIVE)
        emptied = removed(keyring, keyring.keys[0].kid, NOW)
        again = added(emptied, made(emptied), NOW)
        assert (again.version, states(again, NOW)) == (3, [KeyState.SIGNING])

    def test_a_name_of_ones_own_is_refused(self) -> None:
        """A key pair is called by its thumbprint and nothing else."""
        with pytest.raises(RotationRefused, match="RFC 7638"):
            made(Keyring(), kid="mine")


class TestSecrets:
    """Shared secrets, with which somebody else signs."""

    def test_a_rotation_takes_no_secret_away(self) -> None:
        """The back end goes on with the old secret until it was given the new one: only `retire` ends it."""
        keyring = first("HS256")
        keyring = rotated(keyring, made(keyring, "HS256"), NOW, publish_ahead=600, tokens_live=LIVE)
        assert states(keyring, NOW) == [KeyState.SIGNING, KeyState.NEXT]
        assert states(keyring, NOW + 600) == [KeyState.VERIFYING, KeyState.SIGNING]
        assert len(keyring.published(NOW + 10**9)) == 2
        keyring = retired(keyring, keyring.keys[0].kid, NOW + 700, tokens_live=LIVE)
        assert states(keyring, NOW + 700) == [KeyState.RETIRING, KeyState.SIGNING]
        assert len(keyring.published(NOW + 700 + LIVE - 1)) == 2
        assert len(keyring.published(NOW + 700 + LIVE)) == 1

    def test_at_once_keeps_the_secret_that_waited(self) -> None:
        """It may have been deployed already; the newest signs the tests, now and later."""
        keyring = first("HS256")
        keyring = rotated(keyring, made(keyring, "HS256"), NOW, publish_ahead=600, tokens_live=LIVE)
        keyring = rotated(keyring, made(keyring, "HS256"), NOW + 1, publish_ahead=0, tokens_live=LIVE)
        for moment in (NOW + 1, NOW + 1000):
            assert states(keyring, moment) == [KeyState.VERIFYING, KeyState.VERIFYING, KeyState.SIGNING]

    def test_ids_are_days(self) -> None:
        """Without a name of its own a secret is called by its day, numbered when there are more."""
        keyring = Keyring()
        for _ in range(3):
            keyring = added(keyring, made(keyring, "HS256"), NOW)
        assert [entry.kid for entry in keyring.keys] == ["2026-09-21", "2026-09-21.2", "2026-09-21.3"]

    @pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
    def test_a15_new_secrets_are_as_long_as_their_hash(self, alg: str) -> None:
        """RFC 7518 section 3.2; as many random bytes as the hash has."""
        asked: list[int] = []

        def random_bytes(count: int) -> bytes:
            asked.append(count)
            return os.urandom(count)

        assert len(new_material(alg, random_bytes)) == 2 * asked[0]
        assert asked == [int(alg[2:]) // 8]

    def test_a20_one_secret_is_not_there_twice(self) -> None:
        """Neither its id nor its text: whoever retires one of two would believe it gone."""
        keyring = first("HS256")
        (entry,) = keyring.keys
        with pytest.raises(RotationRefused, match="already, as"):
            added(keyring, msgspec.structs.replace(entry, kid="other"), NOW)
        with pytest.raises(RotationRefused, match="has a key"):
            added(keyring, made(keyring, "HS256", kid=entry.kid), NOW)
        with pytest.raises(KeyMaterialError, match="no key other"):
            removed(keyring, "other", NOW)


class TestFile:
    """Changes on disk."""

    def test_compare_and_swap(self, tmp_path: Path) -> None:
        """Who changes a version that is no more changes nothing."""
        path = tmp_path / "new" / "keyring.json"
        change_keyring(path, lambda _: first(), expect=0)
        content = path.read_bytes()
        with pytest.raises(KeyringChanged, match="version 1, not 0"):
            change_keyring(path, lambda _: first(), expect=0)
        assert path.read_bytes() == content

    def test_it_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        """The folders that are made 0700, the keyring and its lock 0600, whatever the umask."""
        before = os.umask(0)
        try:
            path = tmp_path / "new" / "keys" / "keyring.json"
            change_keyring(path, lambda _: first())
        finally:
            os.umask(before)
        assert {one.stat().st_mode & 0o777 for one in (path.parent, path.parent.parent)} == {0o700}
        assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}

    def test_a_refused_change_writes_nothing(self, tmp_path: Path) -> None:
        """The file, its version and its bytes stay."""
        path = tmp_path / "keyring.json"
        keyring = change_keyring(path, lambda _: first())
        content = path.read_bytes()
        with pytest.raises(RotationRefused):
            change_keyring(path, lambda ring: retired(ring, keyring.keys[0].kid, NOW, tokens_live=1))
        assert path.read_bytes() == content

    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        """A keyring behind a symbolic link is changed where it lies."""
        (tmp_path / "real").mkdir()
        link = tmp_path / "keyring.json"
        link.symlink_to(tmp_path / "real/keyring.json")
        change_keyring(link, lambda _: first())
        assert link.is_symlink()
        assert load_keyring(link).version == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can act for another user")
    def test_the_administrator_locks_nobody_out(self, tmp_path: Path) -> None:
        """What root makes in a folder, or of a file, of the gateway's user stays that user's."""
        folder = tmp_path / "of-another"
        folder.mkdir(mode=0o700)
        os.chown(folder, 12_345, 54_321)
        for _ in range(2):
            change_keyring(folder / "keyring.json", lambda ring: added(ring, made(ring, "HS256"), NOW))
            owners = {(one.stat().st_uid, one.stat().st_gid) for one in folder.iterdir()}
            assert owners == {(12_345, 54_321)}
        assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}

    def test_a_lock_that_leads_elsewhere_is_refused(self, tmp_path: Path) -> None:
        """A link in place of the lock gives nobody another file: it is neither made, nor opened, nor given away."""
        (tmp_path / "victim").touch(mode=0o644)
        for target in ("victim", "not-there"):
            (tmp_path / "keyring.json.lock").symlink_to(tmp_path / target)
            with pytest.raises(OSError, match=r"keyring\.json\.lock"):
                change_keyring(tmp_path / "keyring.json", lambda _: first())
            (tmp_path / "keyring.json.lock").unlink()
        assert {one.name for one in tmp_path.iterdir()} == {"victim"}
        assert (tmp_path / "victim").stat().st_uid == os.geteuid()

    def test_of_processes_that_rotate_at_the_same_moment_one_wins(self, tmp_path: Path) -> None:
        """Real processes, each of which saw the same version, start together: one rotation, the others are told."""
        path = tmp_path / "keyring.json"
        change_keyring(path, lambda _: first())
        program = textwrap.dedent(
            f"""
            import os, sys
            from pathlib import Path
            from keys.keyring_file import KeyringChanged, change_keyring
            from keys.rotation import new_entry, new_material, rotated

            def change(ring):
                entry = new_entry(ring, "ES256", new_material("ES256", os.urandom), {NOW})
                return rotated(ring, entry, {NOW}, publish_ahead=0, tokens_live={LIVE})

            print("ready", flush=True)
            sys.stdin.read()
            try:
                change_keyring(Path({str(path)!r}), change, expect=1)
            except KeyringChanged:
                sys.exit(1)
            """
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        assert sorted(process.wait(60) for process in processes) == [0, 1, 1, 1, 1, 1]
        for process in processes:
            assert process.stdout is not None
            process.stdout.close()
        keyring = load_keyring(path)
        assert (keyring.version, len(keyring.keys)) == (2, 2)

    def test_killed_in_the_middle_it_leaves_a_whole_file(self, tmp_path: Path) -> None:
        """SIGKILL during writes, again and again: the file is whole each time, and what lay half written goes."""
        path = tmp_path / "keyring.json"
        change_keyring(path, lambda _: first("HS256"))
        program = textwrap.dedent(
            f"""
            from pathlib import Path
            import os
            from keys.keyring_file import change_keyring
            from keys.rotation import added, new_entry, new_material, removed

            def change(ring):
                if len(ring.keys) > 20:
                    return removed(ring, ring.keys[0].kid, {NOW})
                return added(ring, new_entry(ring, "HS256", new_material("HS256", os.urandom), {NOW}), {NOW})

            print("ready", flush=True)
            while True:
                change_keyring(Path({str(path)!r}), change)
            """
        )
        for round_ in range(8):
            before = load_keyring(path).version
            with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                while load_keyring(path).version < before + 5:
                    time.sleep(0.001)
                time.sleep(0.0007 * round_)
                process.send_signal(signal.SIGKILL)
            assert load_keyring(path).version >= before + 5
        change_keyring(path, lambda ring: removed(ring, ring.keys[0].kid, NOW))
        assert {one.name for one in tmp_path.iterdir()} == {"keyring.json", "keyring.json.lock"}

    def test_what_an_operator_put_beside_it_stays(self, tmp_path: Path) -> None:
        """Only the remains of a writer are cleared away."""
        path = tmp_path / "keyring.json"
        for name in (".keyring.json.bak", ".keyring.json.1", "keyring.json.old", ".keyring.json.abcd_123"):
            (tmp_path / name).touch()
        change_keyring(path, lambda _: first())
        assert {one.name for one in tmp_path.iterdir()} - {"keyring.json", "keyring.json.lock"} == {
            ".keyring.json.bak",
            ".keyring.json.1",
            "keyring.json.old",
        }
