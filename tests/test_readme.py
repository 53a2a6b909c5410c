"""What the README says is true: its commands run, its examples work, its table of addresses is the routes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from gateway.app import Gateway
from gateway.identity.issuing import issue_token
from gateway.settings import settings_from
from gateway.web.headers import HeaderNames
from gateway.web.well_known import WellKnown
from keys.files import read_secret_file
from keys.keyring import load_keyring
from tests.programs import needed
from tests.web.conftest import await_answer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a console block; every line is one."""
    lines = block.splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def block_with(language: str, text: str) -> str:
    (found,) = [block for block in blocks(language) if text in block]
    return found


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, `gateway` on the path, no configuration from outside, listeners on free ports."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gateway").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    (programs / "gateway").chmod(0o755)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GATEWAY_PUBLIC__BIND", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("GATEWAY_ADMIN__BIND", f"127.0.0.1:{free_port()}")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def port() -> int:
    return int(os.environ["GATEWAY_PUBLIC__BIND"].rpartition(":")[2])


def bash(*lines: str, ends: int = 0) -> str:
    """What the lines print, one after the other in one shell that stops at the first failure; how it ends is given."""
    script = "\n".join(["set -e", *lines]).replace("127.0.0.1:8080", f"127.0.0.1:{port()}")
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ends, done.stderr
    return done.stdout


@contextlib.contextmanager
def serving(command: str) -> Iterator[None]:
    """A `gateway serve ...` while it runs."""
    process = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL)
    try:
        await_answer(process, port())
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_every_block_is_tested() -> None:
    """A block of a new kind, or one more of an old kind, needs a test here."""
    languages = re.findall(r"^```(\w*)$", README, re.MULTILINE)
    assert sorted(filter(None, languages)) == [
        "caddy",
        *["console"] * 11,
        *("go", "haproxy", "java", "javascript", "javascript", "json", "lua", "nginx", "php"),
        *["python"] * 5,
        "ruby",
        *["toml"] * 5,
        *["yaml"] * 2,
    ]


def test_make_targets() -> None:
    """Every `make` command of the README is a target that does what it says."""
    named = [command for block in blocks("console") for command in commands(block) if command.startswith("make ")]
    assert len(named) == 4
    last = {"serve": "gateway serve", "test": "-m pytest", "lint": "lint-imports", "bench": "-m tests.benchmarks"}
    make = ["make", "-n", "--no-print-directory"]
    for command in named:
        target = command.partition("#")[0].split()[1]
        plan = subprocess.run([*make, target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert last[target] in plan.splitlines()[-1]


@pytest.mark.usefixtures("shell")
def test_rotate_keys() -> None:
    """The drill of "Rotate keys": no good token is refused, before, between and after; then the secret that went is."""
    needed("curl", "curl")
    drill = commands(block_with("console", "keys rotate local"))
    generate, export, issue, retire = commands(block_with("console", "keys generate messenger"))
    with serving("gateway serve"):
        printed = bash(*drill)
        assert printed.count('"external_id":"user-1"') == 2
        assert printed.count('"kty":"EC"') >= 2
        old = bash("gateway token issue --user-id user-1 --secret-id dev").strip()
        bash(generate, export)
        new = bash(issue).strip()
        bash(f"until {_me(new)} | grep -q user-1; do sleep 0.1; done", f"{_me(old)} | grep user-1", retire)
        bash(f"while {_me(old)} | grep -q user-1; do sleep 0.1; done", f"{_me(new)} | grep user-1")


@pytest.mark.usefixtures("shell")
def test_take_tokens_back() -> None:
    """The commands of "Take tokens back" do what stands beside them."""
    needed("curl", "curl")
    issue, logout, person, leak, listed, lift = commands(block_with("console", "token revocations"))
    with serving("gateway serve"):
        before = bash("gateway token issue --user-id user-2").strip()
        assert '"created":true' in bash(_me(bash("gateway token issue --user-id user-1").strip()))
        printed = bash(issue, logout, "sleep 1.5", _me("$TOKEN"))
        assert '"revoked":true' in printed
        assert "token_revoked" in printed
        bash(person, leak)
        bash(f"until {_me(before)} | grep -q token_revoked; do sleep 0.1; done", f"! {_me(before)} | grep created")
        assert "contact" in bash(listed)
        bash(lift)


@pytest.mark.usefixtures("shell")
def test_verify_staging() -> None:
    """The commands of "Verify staging" find nothing wrong in development mode; the catalogue is as long as it says."""
    check, with_report, doctor = commands(block_with("console", "gateway check"))
    listing, one, everything = commands(block_with("console", "token broken --list"))
    with serving("gateway serve"):
        assert " 0 failed" in bash(check)
        bash(with_report)
        assert Path("report.xml").stat().st_size
        bash(doctor)
        assert int(re.findall(r"about (\d+) checks", check)[0]) <= len(bash(check).splitlines())
        bash(listing, one)
        assert int(re.findall(r"more than (\d+) ways", listing)[0]) < len(
            json.loads(bash("gateway token broken --list --json"))
        )
        assert json.loads(bash(everything))


def test_the_settings_that_are_shown(shell: Path) -> None:
    """Every TOML block fits into the configuration that `gateway init` writes."""
    bash("gateway init --app-id acme")
    with (shell / "gateway.toml").open("a") as configuration:
        configuration.write("\n".join(["", *blocks("toml")]))
    bash("gateway keys generate assertion", "gateway config check")


def _me(token: str) -> str:
    return f'curl -sS -H "Authorization: Bearer {token}" http://127.0.0.1:8080/messenger/me'


@pytest.mark.usefixtures("shell")
def test_development_mode_and_the_answer_that_is_shown() -> None:
    """The commands of "Make and understand tokens" run beside development mode; the JSON of "Run it" is its answer."""
    needed("curl", "curl")
    (shown,) = map(json.loads, blocks("json"))
    with serving("gateway serve"):
        token = bash("gateway token issue --user-id user-1 --email ada@example.com").strip()
        answer = json.loads(
            bash(f"curl -sS -X POST -H 'Authorization: Bearer {token}' http://127.0.0.1:8080/messenger/login")
        )
        contact_id = answer["contact"]["id"]
        assert len(contact_id) == len(shown["contact"]["id"])
        answer["contact"]["id"] = shown["contact"]["id"]
        for part in ("contact", "identity"):
            assert answer[part] == {**answer[part], **shown[part]}
        printed = bash(*commands(block_with("console", "token inspect")))
    assert "verdict  accepted" in printed
    assert '"matched_by":"external_id"' in printed
    assert "created" in printed
    assert contact_id in printed


def test_run_it_for_real(shell: Path) -> None:
    """The commands of "Run it for real", in their order, lead to a gateway that lets in whom the secret signs for."""
    *before, serve = commands(block_with("console", "gateway init"))
    printed = bash(*before)
    assert "the configuration is good" in printed
    assert "gwa_" in printed
    key = load_keyring(shell / "secrets/acme-messenger.json").keys[0].signing_key()
    token = issue_token({"user_id": "user-1", "email": "ada@example.com"}, key, ttl=600, now=time.time())
    with serving(serve):
        needed("curl", "curl")
        answer = json.loads(bash(f"curl -sS -H 'Authorization: Bearer {token}' http://127.0.0.1:8080/messenger/me"))
        assert answer["contact"]["external_id"] == "user-1"


def test_keep_contacts_clean(shell: Path) -> None:
    """The walk of "Keep contacts clean": a placeholder is rejected, an id moves, a duplicate is merged and parted."""
    header, rows, rehearse, apply, backfill, export = commands(block_with("console", "contacts import"))
    login_token, login, duplicates, preview, merge, unmerge = commands(block_with("console", "contacts merge"))
    needed("curl", "curl")
    with serving("gateway serve"):
        assert "2 created" in bash(header, rows, rehearse, ends=1)
        assert bash("gateway contacts find u-1", ends=1) == ""
        assert "user_id_placeholder" in bash(apply, ends=1)
        assert "eve@example.com" in (shell / "rejected.csv").read_text()
        bash(backfill, export)
        assert ",c-17,carl@example.com," in (shell / "people-now.csv").read_text()
        assert '"created":true' in bash(login_token, login)
        first, second = (
            json.loads(bash(f"gateway contacts find {user_id} --json"))[0]["contact"]["id"]
            for user_id in ("u-1", "u-9")
        )
        assert first in bash(duplicates)

        def with_ids(command: str) -> str:
            return command.replace("FROM", first, 1).replace("INTO", second, 1)

        assert "discarded" in bash(with_ids(preview))
        bash(with_ids(merge))
        assert second in bash("gateway contacts find u-1")
        bash(with_ids(unmerge))
        assert second not in bash("gateway contacts find u-1")

        access_token = read_secret_file(shell / "var/access-token")
        code = block_with("python", "Intercom(").replace("127.0.0.1:8081", os.environ["GATEWAY_ADMIN__BIND"])
        subprocess.run([sys.executable, "-c", f"access_token = {access_token!r}\n{code}"], check=True, timeout=60)


def test_the_python_example(shell: Path) -> None:
    """The example runs as it stands, beside the configuration that `gateway init` writes."""
    bash("gateway init --app-id acme", "gateway db migrate")
    code = block_with("python", "IdentityMiddleware")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), names)
    key = load_keyring(shell / "secrets/acme-messenger.json").keys[0].signing_key()
    token = issue_token({"user_id": "user-1"}, key, ttl=600, now=time.time())
    with TestClient(names["app"]) as client:
        refused = client.get("/whoami")
        assert (refused.status_code, refused.json()["code"]) == (401, "credentials_missing")
        answer = client.get("/whoami", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert answer.json()["user_id"] == "user-1"
        assert answer.json() == client.get("/whoami", headers={"Authorization": f"Bearer {token}"}).json()


def test_the_nginx_example(tmp_path: Path) -> None:
    """A real nginx takes the example as it stands (`tests/web/proxies` runs it)."""
    nginx = needed("nginx", "nginx-light")
    (block,) = blocks("nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}server {{\nlisten 127.0.0.1:{free_port()};\n{block}}}\n}}\n"
    )
    command = [nginx, "-t", "-q", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    for name in (getattr(HeaderNames(), field) for field in HeaderNames.__struct_fields__):
        assert f"proxy_set_header {name} " in block, "nginx hands on a client's copy of a header that is left out"


def test_the_table_of_addresses(tmp_path: Path) -> None:
    """The table names every address of the public listener with its methods, and where the admin ones are described."""
    (tmp_path / "secret").write_text(os.urandom(32).hex())
    issuer = {"name": "m", "profile": "intercom", "secrets": [{"id": "1", "secret_file": str(tmp_path / "secret")}]}
    settings = settings_from({"workspaces": {"acme": {"issuers": [issuer]}}}, {})
    gateway = Gateway(settings)
    table = README[README.index("| listener |") : README.index("## Keep contacts clean")]
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.strip().splitlines()[2:]]
    told: dict[str, set[str]] = {}
    listener = ""
    for first, addresses, _ in rows:
        listener = first.strip("| ").partition(",")[0] or listener
        for one in re.findall(r"`([^`]+)`", addresses):
            method, _, path = one.rpartition(" ")
            told.setdefault(listener, set()).add(f"{method or 'any'} {path}")
    decided = {
        f"{method} {re.sub('/(web|ios|android)$', '/{platform}', ending.path.decode().replace('acme', '{app_id}'))}"
        for ending in gateway.decision.endings.values()
        for method in ([method.decode() for method in ending.methods] if ending.methods else ["any"])
    }
    health = {
        f"{method} {route.path}" for route in gateway.health.routes() for method in (route.methods or set()) - {"HEAD"}
    }
    decided |= {f"GET {route.path}" for route in WellKnown([]).routes()}
    assert told == {"public": decided, "both": health, "admin": {"GET /openapi.json"}}
    assert set(re.findall(r"127\.0\.0\.1:808\d", table)) == {settings.public.bind, settings.admin.bind}


def test_names_in_the_text() -> None:
    """The identity headers, files and links that the text names exist."""
    assert {getattr(HeaderNames(), field) for field in HeaderNames.__struct_fields__} <= set(
        re.findall(r"`(X-[\w-]+)`", README)
    )
    for name in re.findall(r"`((?:gateway|tests|keys)/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_locks_name_no_registry() -> None:
    """A lock pins versions and hashes; where packages come from is the reader's own choice."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|--trusted-host)", text, re.MULTILINE)
        pinned = [line for line in text.splitlines() if line and line[0] not in "# "]
        assert pinned
        assert all(re.match(r"[\w.\[\]-]+==[\w.!+]+( ;.*)? \\$", line) for line in pinned), lock
