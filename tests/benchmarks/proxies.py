"""The others on the way of a forwarded request: an upstream, nginx as it is mostly used, Envoy with its JWT filter."""

from __future__ import annotations

import base64
import contextlib
import shutil
from typing import TYPE_CHECKING

from tests.benchmarks.servers import Running, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/chat/x"

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {upstreams}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""
_KEPT = "upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}\n"
_PASSED = 'proxy_http_version 1.1; proxy_set_header Connection "";'

_ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          generate_request_id: false
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: upstream}}}}]}}
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                messenger:
                  local_jwks: {{inline_string: '{{"keys":[{{"kty":"oct","alg":"HS256","kid":"bench","k":"{key}"}}]}}'}}
                  jwt_cache_config: {{jwt_cache_size: 10000}}
                  claim_to_headers:
                  - {{header_name: x-user-id, claim_name: user_id}}
                  - {{header_name: x-user-email, claim_name: email}}
              rules: [{{match: {{prefix: {path}}}, requires: {{provider_name: messenger}}}}]
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: upstream
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}}]}}
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {to}}}}}}}
"""


def nginx_program() -> str | None:
    """Where nginx is installed, if it is."""
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def envoy_program() -> str | None:
    """Where Envoy is installed, if it is."""
    return shutil.which("envoy")


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[Running]:
    """What the requests are for: 600 bytes from memory. It runs beside the load, on the second core."""
    body = "x" * 600
    with _nginx(folder, "upstream", f'location / {{ return 200 "{body}"; }}', core=1) as running:
        yield running


@contextlib.contextmanager
def constant(folder: Path) -> Iterator[Running]:
    """What lets everybody pass, and looks at nothing."""
    with _nginx(folder, "constant", "location / { return 204; }") as running:
        yield running


@contextlib.contextmanager
def nginx(folder: Path, to: Running) -> Iterator[Running]:
    """One nginx before an upstream, and nothing else."""
    upstreams = _KEPT.format(name="behind", port=to.port)
    with _nginx(folder, "alone", f"location / {{ proxy_pass http://behind; {_PASSED} }}", upstreams) as running:
        yield running


@contextlib.contextmanager
def nginx_asking(folder: Path, to: Running, answers: Running, *, path: str) -> Iterator[Running]:
    """One nginx before an upstream, with `auth_request` for each request to whoever `answers` at a path."""
    upstreams = _KEPT.format(name="behind", port=to.port) + _KEPT.format(name="answers", port=answers.port)
    locations = f"""
        location / {{
            auth_request /_auth;
            auth_request_set $user_id $upstream_http_x_user_id;
            proxy_set_header X-User-Id $user_id;
            proxy_pass http://behind; {_PASSED}
        }}
        location = /_auth {{
            internal; proxy_pass http://answers{path}; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; {_PASSED}
        }}
    """
    with _nginx(folder, f"asking-{answers.port}", locations, upstreams) as running:
        yield running


@contextlib.contextmanager
def envoy(folder: Path, to: Running) -> Iterator[Running]:
    """Envoy, whose filter verifies the same tokens, remembers them, and writes two claims as headers."""
    program = envoy_program()
    if program is None:
        raise RuntimeError("envoy is not installed")
    port = free_port()
    key = base64.urlsafe_b64encode((folder / "secret").read_bytes()).rstrip(b"=").decode()
    config = folder / "envoy.yaml"
    config.write_text(_ENVOY.format(port=port, to=to.port, key=key, path=PATH))
    command = [program, "-c", str(config), "--concurrency", "1", "-l", "error", "--disable-hot-restart"]
    with started(command, port) as running:
        yield running


@contextlib.contextmanager
def _nginx(folder: Path, name: str, locations: str, upstreams: str = "", *, core: int = 0) -> Iterator[Running]:
    program = nginx_program()
    if program is None:
        raise RuntimeError("nginx is not installed")
    port = free_port()
    config = folder / f"{name}.conf"
    config.write_text(_NGINX.format(folder=folder, name=name, port=port, locations=locations, upstreams=upstreams))
    with started([program, "-c", str(config), "-p", str(folder)], port, core=core) as running:
        yield running
