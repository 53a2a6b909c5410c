"""`gateway config`, and which configuration a command works with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import run

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz"
CONFIG = f"""
[store]
url = "postgresql://gateway:geheim@db/contacts"
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "1", secret = "{SECRET}" }}]
"""


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "gateway.toml"
    path.write_text(CONFIG)
    return path


def test_check_of_a_good_configuration(config: Path) -> None:
    """Whom it makes the gateway trust, and exit code 0."""
    assert config.exists()
    assert run("config", "check").out.splitlines() == [
        "acme: trusts messenger: HS256, 1 key",
        "the configuration is good",
    ]
    assert run("config", "check", "--json").json() == {
        "ok": True,
        "problems": [],
        "issuers": [
            {"workspace": "acme", "name": "messenger", "algorithms": ["HS256"], "keys": ["1"], "source": "given"}
        ],
        "not_enforced": [],
        "routes": [],
        "limits": {
            **dict.fromkeys(["per_address", "per_contact", "per_workspace", "connections_per_address"]),
            "connections": 10_000,
        },
    }


def test_check_says_what_is_limited(config: Path) -> None:
    """Each rate in its own words, and that of an address with whose address that is."""
    limits = '[limits]\nper_contact = "60/minute"\nper_address = { requests = 5, seconds = 7 }\nconnections = 9\n'
    config.write_text(config.read_text() + limits)
    lines = run("config", "check").out.splitlines()
    assert lines[-4:-1] == [
        "limit: 60 in 60 s for each contact",
        "limit: 5 in 7 s for each address (the peer's: behind a proxy, name it in trusted_proxies)",
        "limit: 9 connections to each worker",
    ]


def test_b23_check_says_what_each_route_really_asks(config: Path) -> None:
    """B23: by its own setting and the enforcement of its platform; and which ones ask for nothing."""
    routes = {
        "/chat/": "",
        "/open/": 'access = "optional"',
        "/assets/": 'access = "public"',
        "/app/": 'platform = "ios"',
    }
    tables = [
        f'[[workspaces.acme.routes]]\nprefix = "{prefix}"\nupstream = ["http://a:9000", "https://[::1]"]\n{more}\n'
        for prefix, more in routes.items()
    ]
    config.write_text(CONFIG + "".join(tables) + '[workspaces.acme.enforcement]\nios = "report"\n')
    upstreams = "http://a:9000, https://[::1]:443"
    nobody = "everybody passes as nobody"
    assert run("config", "check").out.splitlines()[-5:] == [
        f"acme: /chat/ -> {upstreams}: asks for a token",
        f"acme: /open/ -> {upstreams}: looks at a token; without one {nobody}",
        f"acme: /assets/ -> {upstreams}: asks for nothing; {nobody}",
        f"acme: /app/ -> {upstreams}: looks at a token; without a good one {nobody} (enforcement: report)",
        "the configuration is good",
    ]
    shown = run("config", "check", "--json").json()["routes"]
    assert [(route["prefix"], route["access"], route["enforcement"]) for route in shown] == [
        ("/chat/", "required", "on"),
        ("/open/", "optional", "on"),
        ("/assets/", "public", "on"),
        ("/app/", "required", "report"),
    ]


def test_b23_check_finds_two_routes_of_one_place(config: Path) -> None:
    """B23: two workspaces that claim one prefix on one host; on another host it is another place."""
    route = '[[workspaces.{}.routes]]\nprefix = "/chat/"\nupstream = "http://a"\n{}\n'
    other = CONFIG[CONFIG.index("[[") :].replace("acme", "other").replace(SECRET, SECRET[::-1])
    config.write_text(CONFIG + other + route.format("acme", "") + route.format("other", 'host = "b.example"'))
    assert run("config", "check").code == 0
    config.write_text(CONFIG + other + route.format("acme", "") + route.format("other", ""))
    ended = run("config", "check")
    assert ended.code == 1
    assert "error: workspaces: other.routes[0] has the prefix and host of acme.routes[0]" in ended.err


def test_check_reads_the_authorities_of_a_route(config: Path) -> None:
    """A file that cannot be used is found before the gateway starts, at its place."""
    config.write_text(
        CONFIG + '[[workspaces.acme.routes]]\nprefix = "/"\nupstream = "https://a"\nca_file = "/nowhere.pem"\n'
    )
    ended = run("config", "check")
    assert ended.code == 1
    assert "error: workspaces.acme.routes[0].ca_file: cannot be used (No such file or directory)" in ended.err


def test_check_of_a_published_key_set(folder: Path) -> None:
    """It says where the keys are published, without what may be secret in the URL; nothing is asked there."""
    (folder / "gateway.toml").write_text("""
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.acme.invalid"
audience = "messenger"
algorithms = "ES256"
jwks_url = "https://login.acme.invalid/jwks.json?key=s3cret"
""")
    assert run("config", "check").out.splitlines() == [
        "acme: trusts login: ES256, keys published at https://login.acme.invalid/jwks.json?...",
        "the configuration is good",
    ]
    assert (
        'workspaces.acme.issuers[0].jwks_url = "https://login.acme.invalid/jwks.json?..."' in run("config", "show").out
    )
    assert "s3cret" not in run("config", "show", "--json").out


def test_check_of_a_bad_configuration(config: Path) -> None:
    """Every problem on a line of its own, or in one list; exit code 1."""
    config.write_text("zonk = 1\nworkers = 0\n" + CONFIG.replace(SECRET, "Zj3#k9Qw"))
    ended = run("config", "check")
    assert (ended.code, ended.out) == (1, "")
    assert len([line for line in ended.err.splitlines() if line.startswith("error: ")]) == 3
    shown = run("config", "check", "--json")
    assert (shown.code, shown.err) == (1, "")
    assert [problem.partition(": ")[0] for problem in shown.json()["problems"]] == [
        "zonk",
        "workspaces.acme.issuers[0].secrets[0].secret",
        "workers",
    ]


def test_show_masks_secrets(config: Path) -> None:
    """R12: neither a secret nor a database password, in neither form."""
    assert config.exists()
    for option in ([], ["--json"]):
        ended = run("config", "show", *option)
        assert (ended.code, ended.err) == (0, "")
        assert SECRET not in ended.out
        assert "geheim" not in ended.out
        assert "postgresql://gateway:**********@db/contacts" in ended.out


def test_show_names_places_as_problems_do(config: Path) -> None:
    """A line is a place and a value, so that a problem's place can be looked up."""
    assert config.exists()
    lines = run("config", "show").out.splitlines()
    assert 'workspaces.acme.issuers[0].secrets[0].secret = "**********"' in lines
    assert 'public.bind = "127.0.0.1:8080"' in lines
    assert all(json.loads(line.partition(" = ")[2]) is not None for line in lines)


def test_show_knows_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is effective: the environment over the file."""
    assert config.exists()
    monkeypatch.setenv("GATEWAY_WORKERS", "7")
    assert run("config", "show", "--json").json()["workers"] == 7


def test_which_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config`, then $GATEWAY_CONFIG, then ./gateway.toml; one that is named and missing is never passed over."""
    for number, name in enumerate(("flag.toml", "environment.toml", "gateway.toml"), 1):
        (folder / name).write_text(f"workers = {number}\n{CONFIG}")

    def workers(*options: str) -> object:
        return run("config", "show", "--json", *options).json()["workers"]

    assert workers() == 3
    monkeypatch.setenv("GATEWAY_CONFIG", "environment.toml")
    assert workers() == 2
    assert workers("--config", "flag.toml") == 1
    monkeypatch.setenv("GATEWAY_CONFIG", "nowhere.toml")
    ended = run("config", "show")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == "nowhere.toml: cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_WORKSPACES__ACME__ISSUERS__0__NAME", "m"),
        ("GATEWAY_WORKSPACES", "{}"),
        ("GATEWAY_workspaces__acme__issuers", "[]"),
    ],
)
def test_an_environment_that_configures_ends_development_mode(
    development: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """An environment that names a workspace, however it is spelled, is a configuration, and its problems are told."""
    assert development.exists()
    monkeypatch.setenv(name, value)
    ended = run("config", "check")
    assert ended.code == 1
    assert "workspaces" in ended.err


def test_a_configuration_stands_over_development_mode(development: Path) -> None:
    """A gateway.toml beside ./var ends development mode, so that no production gateway trusts its secrets."""
    (development / "gateway.toml").write_text(CONFIG)
    assert list(run("config", "show", "--json").json()["workspaces"]) == ["acme"]
