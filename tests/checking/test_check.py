"""`gateway check URL` against real gateways: as they are, behind proxies, with TLS, and in every way of asking."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from gateway.contacts.access_token import Scope
from gateway.identity.broken import CATALOGUE
from tests.checking.conftest import check, command, write_configuration
from tests.web.conftest import access_token, await_answer, free_port, running_gateway
from tests.web.conftest import asgi_server as asgi_server  # noqa: PLC0414 - fixtures
from tests.web.conftest import either as either  # noqa: PLC0414
from tests.web.conftest import server as server  # noqa: PLC0414
from tests.web.proxies.echo import running_echo
from tests.web.proxies.running import KINDS, running_proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.checking.conftest import Checked
    from tests.web.conftest import Server


SPOOFING = ("spoofed, signed in", "spoofed, anonymous", "nominated away")


def check_server(server: Server, *arguments: str, **environ: str) -> Checked:
    """With a configuration that can also sign for the ES256 issuer, which the server's own cannot."""
    config, key = server.folder / "check.toml", server.folder / "login-key.pem"
    key.write_bytes(server.issuer_key.private_pem())
    key.chmod(0o600)
    config.write_text(f'{(server.folder / "gateway.toml").read_text()}\nsigning_key_file = "{key}"\n')
    return check(f"http://127.0.0.1:{server.port}", config, *arguments, **environ)


def with_admin(server: Server) -> list[str]:
    return ["--admin", f"http://127.0.0.1:{server.admin_port}", "--access-token", server.access_token]


@pytest.mark.parametrize("issuer", ["messenger", "login"])
def test_a_sound_gateway(either: Server, issuer: str) -> None:
    """Every check that is possible passes, whoever signs; what is not possible is not called passed (A29)."""
    before = either.contacts()
    checked = check_server(either, "--issuer", issuer, *with_admin(either))
    assert (checked.code, checked.err) == (0, "")
    assert checked.named("failed") == checked.named("warning") == set()
    left_out = {name for name in checked.named("not_performed") if not name.startswith("broken: ")}
    assert left_out == {
        *("certificate", "discovery", "key set"),
        *("spoofed, signed in", "spoofed, anonymous", "nominated away"),
    }
    assert all(row["hint"] for row in checked.rows.values() if row["outcome"] == "not_performed")
    assert {f"broken: {slug}" for slug in CATALOGUE} <= checked.rows.keys()
    assert len([name for name in checked.named("passed") if name.startswith("broken: ")]) >= 60
    assert checked.rows["contacts: by external_id"]["outcome"] == "passed"
    assert either.contacts() == before
    assert checked.rows["removed"]["found"] == "1 removed"


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_proxy(server: Server, tmp_path: Path, kind: str) -> None:
    """The proxies of the README let no identity header through that a client wrote, in any spelling."""
    with running_echo() as upstream, running_proxy(kind, tmp_path, gateway=server.port, upstream=upstream.port) as port:
        checked = check_server(server, "--echo", f"http://127.0.0.1:{port}/echo", *with_admin(server))
        assert checked.code == 0
        assert {checked.rows[name]["outcome"] for name in SPOOFING} == {"passed"}


@pytest.mark.parametrize("access", ["required", "optional"])
def test_behind_a_route_of_the_gateway(tmp_path: Path, access: str) -> None:
    """The gateway's own reverse proxy, whether it lets nobody's requests through or not."""
    with running_echo() as upstream:
        routes = (
            f'routes = [{{ prefix = "/echo/", upstream = "http://127.0.0.1:{upstream.port}", access = "{access}" }}]'
        )
        with running_gateway(tmp_path, extra=routes) as server:
            url = f"http://127.0.0.1:{server.port}/echo/headers"
            checked = check_server(server, "--echo", url, *with_admin(server))
    assert (checked.code, checked.named("failed")) == (0, set())
    assert {checked.rows[name]["outcome"] for name in SPOOFING} == {"passed"}
    refused = checked.rows["spoofed, anonymous"]["found"].startswith("401")
    assert refused == (access == "required")


@pytest.mark.parametrize("mode", ["report", "off"])
def test_while_enforcement_is_not_on(tmp_path: Path, mode: str) -> None:
    """Whoever passes as nobody is told as a warning: nobody was taken for somebody, and nobody was refused."""
    enforcement = f'enforcement = {{ web = "{mode}", ios = "{mode}", android = "{mode}" }}'
    with running_gateway(tmp_path, extra=enforcement) as server:
        checked = check_server(server, *with_admin(server))
    assert (checked.code, checked.named("failed")) == (0, set())
    assert "broken: expired" in checked.named("warning")
    assert "no token" in checked.named("warning")
    assert checked.rows["login"]["outcome"] == "passed"


def test_an_upstream_that_echoes_nothing_proves_nothing(server: Server) -> None:
    """A29: without a header of ours in the answer, nothing is known of the others."""
    checked = check_server(server, "--echo", f"http://127.0.0.1:{server.port}/healthz")
    assert checked.code == 0
    assert "no echo" in checked.rows["spoofed, signed in"]["found"]
    assert checked.rows["spoofed, signed in"]["outcome"] == "not_performed"


def test_without_the_admin_listener(server: Server) -> None:
    """The contacts are not looked at, and what is left over is named."""
    before = server.contacts()
    checked = check_server(server)
    assert checked.code == 0
    (left,) = server.contacts() - before
    # The configuration is that of this gateway, so its admin listener is known; who may use it is not.
    assert checked.rows["removed"]["outcome"] == "not_performed"
    assert left in checked.rows["removed"]["found"]
    assert server.admin("GET", f"/contacts/{left}").json()["external_id"].startswith("gateway-check-")
    assert server.admin("DELETE", f"/contacts/{left}").status == 200


def test_an_access_token_that_may_not_delete(server: Server) -> None:
    """What could not be removed is a failure that says what was left."""
    reading = access_token(server, Scope.CONTACTS_READ)
    checked = check_server(server, "--access-token", reading)
    assert (checked.code, checked.named("failed")) == (1, {"removed"})
    left = checked.rows["removed"]["found"].removeprefix("left: ")
    assert server.admin("DELETE", f"/contacts/{left}").status == 200


@pytest.mark.parametrize("way", ["option", "environment", "file"])
def test_no_secret_is_told(server: Server, tmp_path: Path, way: str) -> None:
    """Neither a token nor the access token stands in the output or in the report (R12)."""
    (tmp_path / "token").write_text(server.access_token + "\n")
    given: dict[str, tuple[list[str], dict[str, str]]] = {
        "option": (["--access-token", server.access_token], {}),
        "environment": ([], {"GATEWAY_ACCESS_TOKEN": server.access_token}),
        "file": (["--access-token-file", str(tmp_path / "token")], {}),
    }
    arguments, environ = given[way]
    report = tmp_path / "report.xml"
    checked = check_server(server, "--junit", str(report), *arguments, **environ)
    assert (checked.code, checked.rows["removed"]["outcome"]) == (0, "passed")
    told = checked.out + checked.err + report.read_text()
    for secret in (server.access_token, bytes(server.secret.material).decode(), "eyJ"):
        assert secret not in told
    assert "eyJ" not in server.log()


def test_the_report_is_one_that_ci_reads(server: Server, tmp_path: Path) -> None:
    """JUnit as Jenkins' schema has it: a case for each check, the failures and those left out counted and named."""
    report = tmp_path / "report.xml"
    reading = access_token(server, Scope.CONTACTS_READ)
    checked = check_server(server, "--junit", str(report), "--access-token", reading)
    assert checked.code == 1
    root = ET.parse(report).getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert root.keys() == ["name", "tests", "failures", "errors", "time"]
    assert set(suite.keys()) == {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
    assert [case.get("name") for case in suite] == list(checked.rows)
    for case in suite:
        assert (case.tag, set(case.keys())) == ("testcase", {"classname", "name", "time"})
        assert float(case.get("time", "")) >= 0
        assert {child.tag for child in case} <= {"failure", "skipped", "system-out"}
    skipped = {case.get("name") for case in suite if case.find("skipped") is not None}
    failures = [case for case in suite if case.find("failure") is not None]
    assert skipped == checked.named("not_performed")
    assert [case.get("name") for case in failures] == ["removed"]
    assert set(failures[0][0].keys()) == {"message", "type"}
    assert (suite.get("tests"), suite.get("failures")) == (str(len(checked.rows)), "1")
    assert suite.get("skipped") == str(len(skipped))
    left = checked.rows["removed"]["found"].removeprefix("left: ")
    assert server.admin("DELETE", f"/contacts/{left}").status == 200


def test_as_a_table(server: Server) -> None:
    """For people: a line for each check with expected and found, what would make more possible, the totals."""
    url, config = f"http://127.0.0.1:{server.port}", str(server.folder / "gateway.toml")
    checked = command("check", url, "--config", config, "--access-token", server.access_token)
    assert (checked.code, checked.err) == (0, "")
    lines = checked.out.splitlines()
    assert any(line.split()[:3] == ["ok", "broken:", "expired"] for line in lines)
    assert any("--echo URL" in line and line.startswith("not performed: spoofed") for line in lines)
    assert re.fullmatch(r"\d+ passed, 0 with a warning, 0 failed, \d+ not performed", lines[-1])


def test_progress_is_drawn_for_whoever_looks(server: Server) -> None:
    """On a terminal standard error shows how far it is; standard output stays the result alone."""
    leader, follower = pty.openpty()
    arguments = [f"http://127.0.0.1:{server.port}", "--config", str(server.folder / "gateway.toml"), "--json"]
    arguments += ["--access-token", server.access_token]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "check", *arguments],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    out, _ = process.communicate(timeout=120)
    drawn = b""
    while select.select([leader], [], [], 1)[0]:
        try:
            drawn += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert json.loads(out)["ok"] is True
    assert b"checking" in drawn


def test_beside_development_mode(tmp_path: Path) -> None:
    """Beside `gateway serve` nothing needs to be named but the URL: keys, admin listener and access are at hand."""
    port, admin_port = free_port(), free_port()
    environ = {"GATEWAY_PUBLIC__BIND": f"127.0.0.1:{port}", "GATEWAY_ADMIN__BIND": f"127.0.0.1:{admin_port}"}
    serving = [sys.executable, "-m", "gateway", "serve"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(serving, cwd=tmp_path, env={**os.environ, **environ}, stdout=log, stderr=log)
        try:
            await_answer(process, port)
            for issuer in ("messenger", "local"):
                arguments = ["--issuer", issuer, "--json"]
                checked = command("check", f"http://127.0.0.1:{port}", *arguments, cwd=tmp_path, environ=environ)
                assert (checked.code, checked.named("failed")) == (0, set()), checked.out
                assert checked.rows["removed"]["outcome"] == "passed"
                assert checked.rows["contacts: by id"]["outcome"] == "passed"
                assert checked.rows["key set"]["outcome"] == "passed"
                assert checked.rows["discovery"]["outcome"] == "passed"
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_where_nobody_answers(tmp_path: Path) -> None:
    """One failure says why; nothing else is called passed."""
    config = write_configuration(tmp_path)
    checked = check(f"http://127.0.0.1:{free_port()}", config)
    assert (checked.code, checked.named("failed")) == (1, {"reachable"})
    assert checked.named("passed") == set()
    assert "refused" in checked.rows["reachable"]["found"]


@pytest.mark.parametrize("url", ["http://a..b.invalid", "http://nowhere.invalid", f"http://{'a' * 70}.invalid"])
def test_a_host_that_is_none(tmp_path: Path, url: str) -> None:
    """Whatever a resolver thinks of a name, it is told in a line."""
    checked = check(url, write_configuration(tmp_path))
    assert (checked.code, checked.err, checked.named("failed")) == (1, "", {"reachable"})


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    """`--timeout` ends the waiting."""
    config = write_configuration(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        checked = check(f"http://127.0.0.1:{silent.getsockname()[1]}", config, "--timeout", "0.5")
    assert checked.named("failed") == {"reachable"}
    assert "within 0.5 s" in checked.rows["reachable"]["found"]


def test_the_wrong_keys_are_told_apart_from_a_wrong_gateway(server: Server, tmp_path: Path) -> None:
    """A configuration that is not that gateway's is the first thing to think of."""
    checked = check(f"http://127.0.0.1:{server.port}", write_configuration(tmp_path))
    assert checked.code == 1
    assert checked.rows["login"]["outcome"] == "failed"
    assert "the one of that gateway" in checked.rows["login"]["hint"]
    assert checked.rows["same contact"]["outcome"] == checked.rows["forward-auth"]["outcome"] == "not_performed"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "URL"),
        (["ftp://127.0.0.1"], "http"),
        (["127.0.0.1:8080"], "http"),
        (["http://user:password@127.0.0.1"], "password"),
        (["http://127.0.0.1/?a=b"], "behind the path"),
        (["http://127.0.0.1:99999"], "Port"),
        (["http://[::1"], "Invalid"),
        (["http://b\u00fccher.example"], "punycode"),
        (["http://127.0.0.1/a b"], "ASCII"),
        (["http://127.0.0.1", "--timeout", "0"], "--timeout"),
        (["http://127.0.0.1", "--access-token", "a", "--access-token-file", "b"], "two"),
        (["http://127.0.0.1", "--access-token", "a b\n"], "header"),
        (["http://127.0.0.1", "--echo", "echo"], "http"),
        (["http://127.0.0.1", "--ca-file", "gateway.toml"], "certificates"),
        (["http://127.0.0.1", "--workspace", "nobody"], "nobody"),
    ],
    ids=str,
)
def test_wrong_use(tmp_path: Path, arguments: list[str], told: str) -> None:
    """One line and a hint, exit code 2; nothing is asked of anybody."""
    write_configuration(tmp_path)
    ended = command("check", *arguments, cwd=tmp_path)
    assert ended.code == 2
    assert told in ended.err + ended.out
    assert "Traceback" not in ended.err
    assert "password@" not in ended.err


def test_an_issuer_marked_production_signs_nothing(tmp_path: Path) -> None:
    """The keys of production make no test tokens, not for a check either."""
    config = write_configuration(tmp_path)
    config.write_text(config.read_text() + "production = true\n")
    ended = command("check", "http://127.0.0.1:1", cwd=tmp_path)
    assert ended.code == 1
    assert "production" in ended.err


def test_several_workers(tmp_path: Path) -> None:
    """Whichever worker answers, the contact is the same."""
    with running_gateway(tmp_path, workers=2) as server:
        checked = check_server(server, *with_admin(server))
        assert (checked.code, checked.named("failed")) == (0, set())
