"""A real nginx asks `/auth` with `auth_request`: the upstream gets the identity, and nobody can write it himself."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import random
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import Reply, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        location / {{
            auth_request /_identity;
            auth_request_set $contact_id $upstream_http_x_contact_id;
            auth_request_set $user_id $upstream_http_x_user_id;
            proxy_set_header X-Contact-Id $contact_id;
            proxy_set_header X-User-Id $user_id;
            proxy_set_header Authorization "";
            proxy_pass http://127.0.0.1:{upstream};
        }}
        location = /_identity {{
            internal;
            proxy_pass http://127.0.0.1:{gateway}/auth;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
}}
"""


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


@pytest.fixture(scope="module")
def nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real nginx before an echo upstream, asking the gateway for every request."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder: Path = tmp_path_factory.mktemp("nginx")
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, upstream=upstream.server_port, gateway=server.port))
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
        spoofed = [(_spelled(rng, name), "spoofed") for name in rng.choices(["x-contact-id", "x-user-id"], k=3)]
        seen = get(nginx, [("Authorization", f"Bearer {token}"), *spoofed]).json()
        identity = [(name.replace("_", "-"), value) for name, value in seen]
        assert [value for name, value in identity if name == "x-contact-id"] == [contact_id]
        assert [value for name, value in identity if name == "x-user-id"] == ["honest"]


def _spelled(rng: random.Random, name: str) -> str:
    return "".join(
        rng.choice("-_") if character == "-" else rng.choice([character.lower(), character.upper()])
        for character in name
    )
