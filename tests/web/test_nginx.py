"""A real nginx asks `/auth` with `auth_request`: the upstream gets the identity, and nobody can write it himself."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.web.headers import HeaderNames
from tests.web.conftest import Reply, free_port, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server

CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""
IDENTITY_HEADERS = [getattr(HeaderNames(), field).lower() for field in HeaderNames.__struct_fields__]
RESERVED = [*IDENTITY_HEADERS, "x-identity-assertion", "x-identity-error"]


def readme_locations(upstream: int, gateway: int) -> str:
    """The nginx block of the README, with these ports in place of its own."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```nginx\n(.*?)```", readme, re.DOTALL)
    assert block.count("127.0.0.1:9000") == block.count("127.0.0.1:8080") == 1
    return str(
        block.replace("127.0.0.1:9000", f"127.0.0.1:{upstream}").replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
    )


class Echo(http.server.BaseHTTPRequestHandler):
    """An upstream that answers with the headers it got."""

    def do_GET(self) -> None:
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@contextlib.contextmanager
def running_nginx(folder: Path, gateway: int, auth: str = "/auth") -> Iterator[int]:
    """The port of a real nginx before an echo upstream, asking this gateway at `auth` for every request."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    config = folder / "nginx.conf"
    locations = readme_locations(upstream.server_port, gateway).replace("/auth;", f"{auth};")
    config.write_text(CONFIG.format(folder=folder, port=port, locations=locations))
    process = subprocess.Popen([program, "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)
        upstream.shutdown()
        upstream.server_close()


@pytest.fixture(name="nginx", scope="module")
def _nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_nginx(tmp_path_factory.mktemp("nginx"), server.port) as port:
        yield port


def get(port: int, headers: list[tuple[str, str]]) -> Reply:
    """A GET with these headers, duplicates and all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("GET", "/anything")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Reply(response.status, {n.lower(): v for n, v in response.getheaders()}, response.read())


def test_a_token_of_the_command_line_is_one_contact_everywhere(server: Server, nginx: int) -> None:
    """`gateway token issue` makes it, login meets the same id twice, and the upstream sees that id (the main job)."""
    command = [sys.executable, "-m", "gateway", "token", "issue", "--config", str(server.folder / "gateway.toml")]
    command += ["--issuer", "messenger", "--user-id", "from-the-command-line", "--email", "cli@example.com"]
    token = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    first, second = server.login(token), server.login(token)
    assert (first.status, second.status, first.json()["identity"]["created"]) == (200, 200, True)
    seen = dict(get(nginx, [("Authorization", f"Bearer {token}")]).json())
    assert first.json()["contact"]["id"] == second.json()["contact"]["id"] == seen["x-contact-id"]
    assert (seen["x-user-id"], seen["x-user-email"]) == ("from-the-command-line", "cli@example.com")


def test_the_upstream_sees_the_contact_that_login_gave(server: Server, nginx: int) -> None:
    """The same token at login and through nginx yields the same contact id; the token stays behind."""
    token = server.token("through-nginx", email="nginx@example.com")
    contact_id = server.login(token).json()["contact"]["id"]
    seen = dict(get(nginx, [("Authorization", f"Bearer {token}")]).json())
    assert (seen["x-contact-id"], seen["x-user-id"]) == (contact_id, "through-nginx")
    assert "authorization" not in seen


@pytest.mark.parametrize("user_id", [None, "undefined", "guest"])
def test_a_refused_request_never_reaches_the_upstream(server: Server, nginx: int, user_id: str | None) -> None:
    """No token: 401; a placeholder: 403."""
    headers = [("Authorization", f"Bearer {server.token(user_id)}")] if user_id else []
    assert get(nginx, headers).status == (403 if user_id else 401)


def test_b01_spoofed_identity_headers_do_not_arrive(server: Server, nginx: int) -> None:
    """200 random spellings of the identity headers, duplicates among them: the upstream sees ours alone."""
    rng = random.Random(7)
    token = server.token("honest")
    contact_id = server.login(token).json()["contact"]["id"]
    for _ in range(200):
        spoofed = [(_spelled(rng, name), "spoofed") for name in rng.choices(RESERVED, k=4)]
        nominated = [("Connection", f"close, {rng.choice(RESERVED)}")]
        seen = get(nginx, [("Authorization", f"Bearer {token}"), *spoofed, *nominated]).json()
        identity = [(re.sub("[_.]", "-", name), value) for name, value in seen]
        ours = [("x-contact-id", contact_id), ("x-user-id", "honest"), ("x-identity-matched-by", "external_id")]
        assert [pair for pair in identity if pair[0] in RESERVED] == ours
        assert "spoofed" not in json.dumps(seen)


def test_b02_a_client_cannot_nominate_the_credential_away(server: Server, nginx: int) -> None:
    """`Connection: authorization` makes nobody anybody else: the same verdict, or none."""
    headers = [("Authorization", f"Bearer {server.token('nominating')}"), ("Connection", "close, authorization")]
    reply = get(nginx, headers)
    assert reply.status in {200, 401}
    if reply.status == 200:
        assert dict(reply.json())["x-user-id"] == "nominating"


def test_two_credentials_do_not_pass(server: Server, nginx: int) -> None:
    """Two Authorization headers through nginx are refused as they are at login."""
    bearers = [("Authorization", f"Bearer {server.token(name)}") for name in ("one", "two")]
    assert get(nginx, bearers).status in {400, 401}


def test_an_outage_lets_nobody_in(tmp_path: Path) -> None:
    """A gateway that is gone is a 5xx at nginx, never a pass (nothing fails open)."""
    with running_gateway(tmp_path) as server, running_nginx(tmp_path, server.port) as port:
        credential = [("Authorization", f"Bearer {server.token('outage')}")]
        assert get(port, credential).status == 200
        os.kill(server.pid, signal.SIGINT)
        assert server.exit_code() == 0
        assert get(port, credential).status >= 500


def _spelled(rng: random.Random, name: str) -> str:
    return "".join(
        rng.choice("-_.") if character == "-" else rng.choice([character.lower(), character.upper()])
        for character in name
    )


@pytest.mark.parametrize("mode", ["report", "off"])
def test_who_passes_unverified_reaches_the_upstream_as_nobody(tmp_path: Path, mode: str) -> None:
    """Where a platform is not enforced: without one identity header, whatever they bring of their own (B01, B19)."""
    enforcement = f'enforcement = {{ web = "{mode}" }}'
    with (
        running_gateway(tmp_path, extra=enforcement) as server,
        running_nginx(tmp_path, server.port, "/auth/acme/web") as port,
    ):
        spoofed = [(name, "spoofed") for name in RESERVED]
        for credential in ([], [("Authorization", "Bearer a.b.c")], [("Authorization", f"Bearer {server.token('0')}")]):
            reply = get(port, [*credential, *spoofed])
            assert reply.status == 200
            assert not {name for name, _ in reply.json()} & {*RESERVED, "authorization"}
        token = server.token("proven")
        seen = dict(get(port, [("Authorization", f"Bearer {token}"), *spoofed]).json())
        assert (seen["x-user-id"], "x-identity-error" in seen) == ("proven", False)
        twice = [("Authorization", "Bearer a.b.c"), ("Authorization", "Bearer a.b.d")]
        assert get(port, twice).status in {400, 401}
