"""What a route's settings refuse, at which place and in which words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings import load_settings
from gateway.web.proxy.upstreams import Address

if TYPE_CHECKING:
    from pathlib import Path

ROUTE = {"prefix": '"/chat/"', "upstream": '"http://127.0.0.1:9000"'}
PLACE = "workspaces.acme.routes[0]"
PREFIX = "not a path in its one spelling, such as /chat/"
URL = "an upstream is http://host:port or https://host:port, without a path"
HOST = "a host name in lower case, without a port"
ORIGIN = "an origin is https://host or https://host:port in lower case, without a path"
COOKIE = "a cookie's name has letters, digits, dashes, dots and underscores"

REFUSED = [
    ({"prefix": '"chat/"'}, f"prefix: {PREFIX}"),
    ({"prefix": '""'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/chat/../"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"//"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/ch%61t/"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/chat;x/"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/chat/?x/"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/ch\u00e4t/"'}, f"prefix: {PREFIX}"),
    ({"prefix": '"/chat"'}, "prefix: a prefix ends with a slash: it matches whole segments"),
    ({"prefix": None}, "prefix: required"),
    ({"upstream": None}, "upstream: required"),
    ({"upstream": "[]"}, "upstream: a route needs an upstream"),
    *[
        ({"upstream": f'["http://a", "{url}"]'}, f"upstream[1]: {URL}")
        for url in (
            *("a:9000", "ftp://a", "http://", "http://a/path", "http://a?x", "http://a#x", "http://u@a", "http://:p@a"),
            *(
                "http://a:0",
                "http://a:65536",
                "http://a:port",
                "http://a b",
                "http://a\\n",
                "http://\u00e4",
                "http://-a",
            ),
            *("http://[::1", "http://a:9000/ ", "http://a,b", "HTTP//a"),
        )
    ],
    *[
        ({"host": f'"{host}"'}, f"host: {HOST}")
        for host in ("A.example", "a.example:80", "a.example.", "a_b", "", "*.a")
    ],
    *[({"cookie": f'"{name}"'}, f"cookie: {COOKIE}") for name in ("", "a b", "a=b", "a;b", "\u00e4", "a" * 65)],
    *[
        ({"cookie": '"session"', "origins": f'"{origin}"'}, f"origins[0]: {ORIGIN}")
        for origin in ("a.example", "https://A.example", "https://a.example/", "https://a/b", "*", "null", "ftp://a")
    ],
    ({"access": '"public"', "cookie": '"session"'}, "cookie: a public route looks at no token"),
    ({"access": '"none"'}, "access: Input should be 'required', 'optional' or 'public'"),
    ({"platform": '"tv"'}, "platform: Input should be 'web', 'ios' or 'android'"),
    ({"max_connections": "0"}, "max_connections: Input should be greater than or equal to 1"),
    ({"max_connections": "true"}, "max_connections: Input should be a number"),
    ({"connect_timeout": "0"}, "connect_timeout: Input should be greater than 0"),
    ({"first_byte_timeout": "-1"}, "first_byte_timeout: Input should be greater than 0"),
    ({"idle_timeout": "86401"}, "idle_timeout: Input should be less than or equal to 86400"),
    ({"zonk": "1"}, "zonk: no such setting"),
]


def written(folder: Path, **changed: str | None) -> Path:
    """A configuration with one route, some of whose settings are changed, or left out (None)."""
    lines = [f"{name} = {value}" for name, value in {**ROUTE, **changed}.items() if value is not None]
    secret = f'{{ id = "1", secret = "{os.urandom(32).hex()}" }}'
    path = folder / "gateway.toml"
    path.write_text(
        f'[[workspaces.acme.issuers]]\nname = "messenger"\nprofile = "intercom"\nsecrets = [{secret}]\n'
        "[[workspaces.acme.routes]]\n" + "\n".join(lines) + "\n"
    )
    return path


@pytest.mark.parametrize(("changed", "expected"), REFUSED, ids=str)
def test_a_route_is_refused_at_its_place(tmp_path: Path, changed: dict[str, str | None], expected: str) -> None:
    """Each with its place and what is wrong, and nothing else is."""
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(written(tmp_path, **changed), {})
    assert list(caught.value.problems) == [f"{PLACE}.{expected}"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("https://messenger.internal", Address("messenger.internal", 443, tls=True)),
        ("http://messenger_1/", Address("messenger_1", 80)),
        ("http://[2001:db8::1]:81", Address("2001:db8::1", 81)),
    ],
)
def test_where_an_upstream_listens(tmp_path: Path, url: str, address: Address) -> None:
    """Host, port and TLS of a URL; one is a list of one."""
    settings = load_settings(written(tmp_path, upstream=f'"{url}"'), {})
    (route,) = settings.workspaces["acme"].routes
    assert route.addresses() == (address,)


def test_two_routes_of_one_place_are_refused(tmp_path: Path) -> None:
    """B23: a request has one route."""
    path = written(tmp_path)
    path.write_text(path.read_text() + '[[workspaces.acme.routes]]\nprefix = "/chat/"\nupstream = "http://b"\n')
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path, {})
    assert list(caught.value.problems) == ["workspaces: acme.routes[1] has the prefix and host of acme.routes[0]"]


@pytest.mark.parametrize("network", ["10.0.0.1/8", "proxy", "", "10.0.0.0/33"])
def test_b03_a_trusted_proxy_is_a_network(tmp_path: Path, network: str) -> None:
    """B03: whose word is believed is written exactly."""
    path = written(tmp_path)
    path.write_text(f'[public]\ntrusted_proxies = "{network}"\n' + path.read_text())
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path, {})
    assert list(caught.value.problems) == ["public.trusted_proxies[0]: not an address or a network, such as 10.0.0.0/8"]
