"""The blocks of the README as texts: what none of them may leave out, also those of proxies that do not run here."""

from __future__ import annotations

import re

import pytest

from gateway.web.headers import HeaderNames, reserved_names
from tests.web.proxies.running import README

BLOCKS = [
    (language, block)
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    if language != "toml" and ("127.0.0.1:9000" in block or "port_value: 9000" in block)  # TOML is the gateway's own
]


def test_there_is_one_for_each_proxy() -> None:
    """nginx, HAProxy (with its script), Envoy, Traefik, Caddy."""
    assert {language for language, _ in BLOCKS} == {"nginx", "haproxy", "yaml", "caddy"}
    assert all(any(word in block for _, block in BLOCKS) for word in ("ext_authz", "forwardAuth", "forward_auth"))


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_b01_each_takes_off_every_identity_header_and_the_credential(language: str, block: str) -> None:
    """By its name or by a pattern that it matches: one that is left out reaches the upstream as a client wrote it."""
    patterns = [re.compile(pattern.replace("*", ".*"), re.IGNORECASE) for pattern in re.findall(r"-(X-[\w*-]+)", block)]
    patterns += [re.compile(pattern) for pattern in re.findall(r"\^?(x-\([^ \"]+\))\$?", block)]
    for name in reserved_names(HeaderNames()):
        named = re.search(rf"{name}(\W|$)", block)
        assert named or any(pattern.fullmatch(name.lower()) for pattern in patterns), (language, name)
    assert re.search("authorization", block, re.IGNORECASE)
