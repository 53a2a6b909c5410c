"""`gateway doctor`: each row, with an installation that is broken on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.checking.local.clock import check_steadiness, check_synchronised, check_year
from gateway.checking.local.disk import check_inodes, check_space
from gateway.checking.local.sockets import check_open_files
from gateway.checking.local.versions import check_versions, floors
from gateway.checking.row import Outcome
from keys.jwk import generate_signing_key
from keys.keyring import Keyring, KeyringEntry, encode_keyring
from tests.checking.conftest import command, write_configuration
from tests.web.conftest import free_port, running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checking.conftest import Checked

ROOT = Path(__file__).parents[2]
MACHINE = {"NTP", "open files", "workers"}
"""What depends on the machine that the tests run on."""


def doctor(config: Path, *arguments: str, **environ: str) -> Checked:
    return command("doctor", "--config", str(config), "--json", *arguments, environ=environ)


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    """A sound installation."""
    tmp_path.chmod(0o700)
    config = write_configuration(tmp_path)
    assert command("db", "migrate", "--config", str(config)).code == 0
    return config


def test_a_sound_installation(config: Path) -> None:
    """Everything passes; what does not apply is not called passed."""
    checked = doctor(config)
    assert (checked.code, checked.err, checked.named("failed")) == (0, "", set())
    assert checked.named("warning") <= MACHINE
    assert checked.named("not_performed") <= MACHINE
    assert checked.rows.keys() >= {
        *("configuration", "configuration file", "secret files", "python", "versions", "year", "steady clock", "NTP"),
        *("open files", "admin listener", "workers", "default workspace", "log level", "keys: acme/messenger"),
        *("data folder", "store file", "disk space", "inodes", "database", "contents", "write-ahead log"),
        *("public address", "admin address"),
    }


def test_it_changes_nothing(config: Path) -> None:
    """Not a file more, not a byte other."""

    def everything() -> dict[str, tuple[int, str]]:
        return {
            str(path): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
            for path in config.parent.rglob("*")
        }

    before = everything()
    assert doctor(config, "--deep").code == 0
    assert everything() == before


def _mode(name: str, mode: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(mode)


def _text(change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = folder / "gateway.toml"
        config.write_text(change(config.read_text()))

    return apply


def _missing_store(folder: Path) -> None:
    (folder / "contacts.db").unlink()


def _foreign_store(folder: Path) -> None:
    (folder / "contacts.db").write_bytes(b"this is no database" * 100)


def _newer_store(folder: Path) -> None:
    with sqlite3.connect(folder / "contacts.db") as database:
        database.execute("INSERT INTO migrations (number, name) VALUES (999, 'from the future')")
    database.close()


def _broken_promise(folder: Path) -> None:
    with sqlite3.connect(folder / "contacts.db") as database:
        database.execute("DROP INDEX contacts_external_id")
        columns = [row[1] for row in database.execute("PRAGMA table_info(contacts)")]
        for number in range(2):
            values: dict[str, Any] = dict.fromkeys(columns, 0)
            values |= {"workspace_id": "acme", "id": f"{number:024x}", "external_id": "one", "role": "user"}
            values |= {"custom_attributes": "{}", "state": "live", "merged_into": None, "email": None}
            values |= {"email_proof": None, "phone": None, "name": None, "avatar": None, "owner_id": None}
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO contacts ({', '.join(values)}) VALUES ({marks})", list(values.values()))
    database.close()


@pytest.mark.parametrize(
    ("break_it", "rows", "outcome"),
    [
        (_mode("", 0o777), {"data folder"}, "failed"),
        (_mode("", 0o755), {"data folder"}, "warning"),
        (_mode("secret", 0o644), {"secret files"}, "failed"),
        (_mode("secret", 0o640), {"secret files"}, "warning"),
        (_mode("gateway.toml", 0o666), {"configuration file"}, "failed"),
        (_mode("contacts.db", 0o604), {"store file"}, "failed"),
        (_missing_store, {"database"}, "failed"),
        (_foreign_store, {"database"}, "failed"),
        (_newer_store, {"database"}, "failed"),
        (_broken_promise, {"contents"}, "failed"),
        (_text(lambda text: f'log_level = "debug"\n{text}'), {"log level"}, "warning"),
        (_text(lambda text: f"workers = 200\n{text}"), {"workers"}, "warning"),
        (_text(lambda text: text.replace('[admin]\nbind = "127.0.0.1', '[admin]\nbind = "0.0.0.0')),
         {"admin listener"}, "failed"),
    ],
    ids=lambda value: getattr(value, "__name__", "") or (" ".join(sorted(value)) if isinstance(value, set) else value),
)  # fmt: skip
def test_a_broken_installation(config: Path, break_it: Callable[[Path], None], rows: set[str], outcome: str) -> None:
    """Exactly the rows of what is broken say so, each with a hint; exit code 1 when something failed."""
    break_it(config.parent)
    checked = doctor(config)
    others = {"failed": "warning", "warning": "failed"}[outcome]
    assert checked.named(outcome) - (MACHINE - rows) == rows
    assert checked.named(others) - MACHINE == set()
    assert all(checked.rows[name]["hint"] for name in rows - {"contents"})
    assert checked.code == int(outcome == "failed")
    config.parent.chmod(0o700)


def test_a_configuration_that_is_wrong(config: Path) -> None:
    """Its problems are named; what does not need it is checked all the same."""
    config.write_text("workerz = 3\n" + config.read_text())
    (config.parent / "secret").chmod(0o644)
    checked = doctor(config)
    assert (checked.code, checked.named("failed")) == (1, {"configuration", "secret files"})
    assert "workerz: no such setting" in checked.rows["configuration"]["found"]
    assert "all others" in checked.named("not_performed")


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    """Named, it has to be there."""
    checked = doctor(tmp_path / "nowhere.toml")
    assert (checked.code, checked.named("failed")) == (1, {"configuration", "configuration file"})


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
import msgspec
from gateway.checking.local.run import Installation, check_installation
from gateway.contacts.database.sqlite import SqliteStore  # what this user cannot import is imported before
from gateway.settings import load_settings

settings = load_settings(Path("gateway.toml"), {})
installation = Installation(settings=settings, source="a test", private=(Path("secret").absolute(),))
os.chmod(".", 0o700 if os.geteuid() == 0 else 0)
os.chdir("/")
if os.geteuid() == 0:
    os.seteuid(65534)
rows = list(check_installation(installation, deep=False))
sys.stdout.write(msgspec.json.encode([(row.name, row.outcome) for row in rows]).decode())
"""


def test_as_a_user_who_may_look_at_nothing(config: Path) -> None:
    """Whoever runs it as the wrong user is told so, row by row; nothing of it is an accident."""
    program = [sys.executable, "-c", AS_ANOTHER_USER]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=config.parent, env=environ, capture_output=True, text=True, check=False)
    config.parent.chmod(0o700)
    assert done.returncode == 0, done.stderr
    rows = dict(json.loads(done.stdout))
    failed = {name for name, outcome in rows.items() if outcome == "failed"}
    assert failed >= {"secret files", "keys", "data folder", "store file", "database"}
    assert rows["contents"] == "not_performed"


def test_a_secret_in_the_configuration(config: Path) -> None:
    """A file that holds a secret is for its owner alone; its value is not told."""
    secret = os.urandom(32).hex()
    config.write_text(config.read_text().replace('secret_file = "secret"', f'secret = "{secret}"'))
    config.chmod(0o644)
    checked = doctor(config)
    assert checked.named("failed") == {"configuration file"}
    assert secret not in checked.out
    config.chmod(0o600)
    assert doctor(config).named("failed") == set()


def test_key_material_that_nobody_can_use(config: Path) -> None:
    """A secret file that is gone is a wrong configuration, and a wrong file."""
    (config.parent / "secret").unlink()
    assert doctor(config).named("failed") == {"configuration", "secret files"}


def test_a_publisher_that_does_not_answer(config: Path) -> None:
    """An issuer whose key set cannot be fetched fails, and is not fetched into the gateway's own folder."""
    config.write_text(f"""{config.read_text()}
[[workspaces.acme.issuers]]
name = "remote"
issuer = "https://login.example"
audience = ["messenger"]
algorithms = ["ES256"]
jwks_url = "http://127.0.0.1:{free_port()}/jwks.json"
insecure_jwks_loopback = true
""")
    checked = doctor(config)
    assert checked.named("failed") == {"keys: acme/remote"}
    assert checked.rows["keys: acme/messenger"]["outcome"] == "passed"


DAY = 86_400


@pytest.mark.parametrize(
    ("kind", "times", "outcome", "told"),
    [
        ("ES256", [{}], "passed", "1 that verify"),
        ("ES256", [{"ends_at": 3 * DAY}], "warning", "ends within days"),
        ("ES256", [{"signs_until": -DAY}], "warning", "no key that signs"),
        ("ES256", [{"signs_until": 2 * DAY}], "warning", "none follows"),
        ("ES256", [{"signs_until": 2 * DAY}, {"signs_from": 2 * DAY}], "passed", "2 that verify"),
        ("HS256", [{}, {"ends_at": -DAY}], "passed", "1 that verify"),
        ("HS256", [{"ends_at": 3 * DAY}], "warning", "ends within days"),
    ],
    ids=["sound", "ends", "signs no more", "nothing follows", "followed", "secrets", "secrets end"],
)
def test_keyrings(config: Path, kind: str, times: list[dict[str, int]], outcome: str, told: str) -> None:
    """Nobody notices that a key ends but those whose tokens are refused: so it is told days before."""
    now = int(time.time())
    entries = []
    for one in times:
        key = generate_signing_key(kind) if kind == "ES256" else None
        material = key.private_pem().decode() if key else os.urandom(32).hex()
        moments: dict[str, Any] = {"created_at": now - 9 * DAY, "signs_from": now - 9 * DAY}
        moments |= {name: now + offset for name, offset in one.items()}
        kid = (key.kid if key else None) or os.urandom(4).hex()
        entries.append(KeyringEntry(kid=kid, alg=kind, material=material, **moments))
    ring = config.parent / "ring.json"
    ring.write_bytes(encode_keyring(Keyring(version=1, keys=tuple(entries))))
    ring.chmod(0o600)
    profile = 'issuer = "https://own.example"\naudience = ["a"]\nalgorithms = ["ES256"]'
    profile = profile if kind == "ES256" else 'profile = "intercom"'
    more = f'[[workspaces.acme.issuers]]\nname = "own"\n{profile}\nkeyring = "ring.json"\n'
    config.write_text(f"{config.read_text()}{more}")
    checked = doctor(config)
    row = checked.rows["keyring: acme/own"]
    assert row["outcome"] == outcome, checked.out
    assert told in row["found"]
    assert checked.named("failed") == set()
    assert "PRIVATE KEY" not in checked.out
    ring.chmod(0o644)
    assert "secret files" in doctor(config).named("failed")


def test_a_store_on_a_server(config: Path, postgres_database: str) -> None:
    """The store's own questions are asked of the server; files and disk are its own concern. No password is told."""
    config.write_text(re.sub('url = "sqlite.*"', f'url = "{postgres_database}"', config.read_text()))
    config.chmod(0o600)
    before = doctor(config)
    assert before.named("failed") == {"database"}
    assert "db migrate" in before.rows["database"]["hint"]
    assert command("db", "migrate", "--config", str(config)).code == 0
    checked = doctor(config, "--deep")
    assert checked.named("failed") == set()
    assert checked.rows["database"]["outcome"] == checked.rows["contents"]["outcome"] == "passed"
    assert {"data folder", "disk space", "inodes", "write-ahead log"} <= checked.named("not_performed")
    assert doctor(config).rows["contents"]["outcome"] == "not_performed"


def test_a_server_that_is_down(config: Path) -> None:
    """An outage is told as one, without the password."""
    url = f"postgresql://somebody:a-password@127.0.0.1:{free_port()}/nowhere"
    config.write_text(re.sub('url = "sqlite.*"', f'url = "{url}"', config.read_text()))
    config.chmod(0o600)
    checked = doctor(config)
    assert checked.named("failed") == {"database"}
    assert "a-password" not in checked.out
    config.chmod(0o644)
    assert doctor(config).named("failed") == {"database", "configuration file"}


def test_addresses(config: Path) -> None:
    """Free, answered by a gateway, or taken by another program."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        checked = doctor(config, GATEWAY_PUBLIC__BIND=f"127.0.0.1:{port}")
        assert checked.named("failed") == {"public address"}
        assert "another program" in checked.rows["public address"]["found"]
    checked = doctor(config, GATEWAY_PUBLIC__BIND="192.0.2.1:8080")
    assert checked.named("failed") == {"public address"}


def test_beside_a_running_gateway(tmp_path: Path) -> None:
    """Its addresses are answered by itself, and its store is open in two processes."""
    tmp_path.chmod(0o700)
    with running_gateway(tmp_path) as server:
        server.login(server.token("somebody"))
        checked = doctor(tmp_path / "gateway.toml")
        assert checked.named("failed") == set(), checked.out
        assert "by a gateway" in checked.rows["public address"]["found"]
        assert "by a gateway" in checked.rows["admin address"]["found"]
        assert server.login(server.token("somebody")).status == 200


def test_a_large_store_is_read_on_demand(config: Path) -> None:
    """A29: what was not read is not sound."""
    with (config.parent / "contacts.db").open("r+b") as file:
        file.truncate(300 * 1024 * 1024)
    assert doctor(config).rows["contents"]["outcome"] == "not_performed"
    assert doctor(config, "--deep").rows["contents"]["outcome"] != "not_performed"


def test_a_long_write_ahead_log(config: Path) -> None:
    """A log that cannot go back into the database is told."""
    with (config.parent / "contacts.db-wal").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    checked = doctor(config)
    assert checked.rows["write-ahead log"]["outcome"] == "warning"
    assert checked.rows["write-ahead log"]["found"] == "300.0 MiB"


def _space(free: int, inodes: int, files: int = 1_000_000) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, 10**9, free // 4096, free // 4096, files, inodes, inodes, 0, 255))


@pytest.mark.parametrize(
    ("free", "outcome"), [(10 * 1024**3, Outcome.PASSED), (500 * 1024**2, Outcome.WARNING), (1024**2, Outcome.FAILED)]
)
def test_disk_space(tmp_path: Path, free: int, outcome: Outcome) -> None:
    """Below a gigabyte it is told, below 100 MiB it fails; a folder that is not there yet lies where it will be."""
    assert check_space(tmp_path, lambda _: _space(free, 10**6)).outcome is outcome
    assert check_space(tmp_path / "not" / "yet", lambda _: _space(free, 10**6)).outcome is outcome
    assert check_space(None, lambda _: _space(free, 10**6)).outcome is Outcome.NOT_PERFORMED


def test_inodes(tmp_path: Path) -> None:
    """A file system without inodes takes no new file; one that does not count them says nothing."""
    assert check_inodes(tmp_path, lambda _: _space(10**9, 10**6)).outcome is Outcome.PASSED
    assert check_inodes(tmp_path, lambda _: _space(10**9, 10)).outcome is Outcome.FAILED
    assert check_inodes(tmp_path, lambda _: _space(10**9, 0, files=0)).outcome is Outcome.NOT_PERFORMED


@pytest.mark.parametrize(("now", "outcome"), [(0, Outcome.FAILED), (1_790_000_000, Outcome.PASSED)])
def test_the_year(now: float, outcome: Outcome) -> None:
    """1970 is what a machine without a battery believes."""
    assert check_year(now).outcome is outcome


def test_a_clock_that_somebody_turns() -> None:
    """An hour in a moment is no clock."""
    times = iter([1_790_000_000.0, 1_790_003_600.0])
    steps = iter([5.0, 5.2])
    turned = check_steadiness(lambda: next(times), lambda: next(steps), lambda _: None)
    assert turned.outcome is Outcome.FAILED
    frozen = check_steadiness(lambda: 1.0, lambda: 1.0, lambda _: None)
    assert frozen.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("state", "outcome"), [(0, Outcome.PASSED), (5, Outcome.WARNING), (None, Outcome.NOT_PERFORMED)]
)
def test_ntp(state: int | None, outcome: Outcome) -> None:
    """What the kernel says of the clock, where it says anything."""
    assert check_synchronised(lambda: state).outcome is outcome


@pytest.mark.parametrize(
    ("limit", "outcome"), [(65_536, Outcome.PASSED), (1024, Outcome.WARNING), (256, Outcome.FAILED)]
)
def test_open_files(limit: int, outcome: Outcome) -> None:
    """Each connection is one."""
    assert check_open_files(lambda: limit).outcome is outcome


def test_a_limit_of_this_process(config: Path) -> None:
    """The limit that is checked is the real one."""
    line = f"ulimit -n 256; exec {sys.executable} -m gateway doctor --config {config} --json"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert '"256"' in done.stdout


def test_versions() -> None:
    """The floors are those of the package; what is older, or missing, is named."""
    wanted = dict(floors())
    assert wanted.keys() >= {"apsw", "cryptography", "pyjwt", "starlette"}
    assert "pytest" not in wanted
    assert {row.outcome for row in check_versions(floors())} == {Outcome.PASSED}

    def installed(name: str) -> str:
        if name == "pyjwt":
            raise metadata.PackageNotFoundError(name)
        return {"cryptography": "9.0", "apsw": "3.51.2.1"}.get(name, "99.1rc1")

    rows = {row.name: row for row in check_versions(floors(), installed, (3, 10, 2))}
    assert {name for name, row in rows.items() if row.outcome is Outcome.FAILED} == {
        *("python", "version: cryptography", "version: apsw", "version: pyjwt")
    }


def test_in_an_empty_folder(tmp_path: Path) -> None:
    """There is nothing to check, and what would make something is said."""
    ended = command("doctor", cwd=tmp_path)
    assert ended.code == 1
    assert "gateway init" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_as_a_table(config: Path) -> None:
    """For people."""
    ended = command("doctor", "--config", str(config))
    assert ended.code == 0
    assert ended.out.splitlines()[-1].endswith(" not performed")
