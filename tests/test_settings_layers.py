"""Where settings come from: the file, the environment over it, flags over both; and what may be shown of them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import SettingsInvalid
from gateway.settings import load_settings, masked, without_password

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.settings import Settings

SECRET = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz"
OTHER = "Yk4$l0Rx_Zj3#k9Qw-Bm6&n2Tz+Al5%m1Sy"
FILE = f"""
workers = 2
[public]
bind = "127.0.0.1:1080"
[workspaces.Acme-1]
[[workspaces.Acme-1.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "1", secret = "{SECRET}" }}]
[[workspaces.Acme-1.issuers]]
name = "second"
profile = "intercom"
secrets = [{{ id = "2", secret = "{SECRET}" }}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(FILE)
    return path


def refused(config: Path | None, environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(config, environ)
    return caught.value.problems


def secret_of(settings: Settings, issuer: int = 0, secret: int = 0) -> str:
    return settings.workspaces["Acme-1"].issuers[issuer].secrets[secret].text()


def test_flags_over_environment_over_file(config: Path) -> None:
    """Each layer stands over the one below, value by value: what it does not name stays."""
    environ = {"GATEWAY_WORKERS": "3", "GATEWAY_ADMIN__BIND": "127.0.0.1:1082"}
    settings = load_settings(config, environ, {"workers": 4, "public": {"express_lane": False}})
    assert (settings.workers, settings.public.bind, settings.admin.bind, settings.public.express_lane) == (
        4,
        "127.0.0.1:1080",
        "127.0.0.1:1082",
        False,
    )
    assert load_settings(config, environ).workers == 3
    assert load_settings(config, {}).workers == 2


def test_the_environment_reaches_into_tables_and_lists(config: Path) -> None:
    """`__` nests, a number is a place in a list, and a name of the file is found whatever its case."""
    settings = load_settings(
        config,
        {
            "GATEWAY_WORKSPACES__ACME-1__FIRST_SIGHT": "reject",
            "GATEWAY_WORKSPACES__ACME-1__ISSUERS__1__SECRETS__0__SECRET": OTHER,
            "GATEWAY_WORKSPACES__ACME-1__ISSUERS__1__LEEWAY": "5",
        },
    )
    workspace = settings.workspaces["Acme-1"]
    assert workspace.first_sight == "reject"
    assert (secret_of(settings, 0), secret_of(settings, 1)) == (SECRET, OTHER)
    assert (workspace.issuers[0].leeway, workspace.issuers[1].leeway) == (60, 5)


def test_the_environment_can_append_to_a_list(config: Path) -> None:
    """The number after the last one appends; a hole is refused."""
    prefix = "GATEWAY_WORKSPACES__ACME-1__ISSUERS__0__SECRETS__"
    settings = load_settings(config, {f"{prefix}1__ID": "next", f"{prefix}1__SECRET": OTHER})
    assert secret_of(settings, 0, 1) == OTHER
    assert refused(config, {f"{prefix}7__ID": "hole"}) == (
        f"environment {prefix}7__ID: names no place in the settings",
    )


def test_the_environment_alone_is_enough() -> None:
    """A container needs no file."""
    issuer = "GATEWAY_WORKSPACES__ACME__ISSUERS__0__"
    settings = load_settings(
        None,
        {
            f"{issuer}NAME": "messenger",
            f"{issuer}PROFILE": "intercom",
            f"{issuer}SECRETS": json.dumps([{"id": "1", "secret": SECRET}]),
            "GATEWAY_PUBLIC__EXPRESS_LANE": "false",
        },
    )
    assert settings.workspaces["acme"].issuers[0].secrets[0].text() == SECRET
    assert settings.public.express_lane is False


def test_a_file_twin_stands_over_the_value_of_the_file(config: Path, tmp_path: Path) -> None:
    """`..._SECRET_FILE` names the file of a secret; the secret of the configuration below gives way to it."""
    (tmp_path / "other").write_text(OTHER + "\n")
    environ = {"GATEWAY_WORKSPACES__ACME-1__ISSUERS__0__SECRETS__0__SECRET_FILE": str(tmp_path / "other")}
    assert secret_of(load_settings(config, environ)) == OTHER


def test_a_value_stands_over_the_file_twin_of_the_file(config: Path, tmp_path: Path) -> None:
    """The other way round as well."""
    (tmp_path / "other").write_text(OTHER)
    config.write_text(FILE.replace(f'id = "1", secret = "{SECRET}"', 'id = "1", secret_file = "other"'))
    assert secret_of(load_settings(config, {})) == OTHER
    environ = {"GATEWAY_WORKSPACES__ACME-1__ISSUERS__0__SECRETS__0__SECRET": SECRET}
    assert secret_of(load_settings(config, environ)) == SECRET


def test_a_file_twin_of_something_that_is_not_there(config: Path) -> None:
    """A twin whose place leads nowhere is told as any other name that does."""
    name = "GATEWAY_WORKSPACES__ACME-1__ISSUERS__9__SECRETS__0__SECRET_FILE"
    assert refused(config, {name: "/x"}) == (f"environment {name}: names no place in the settings",)


def test_both_twins_in_the_environment_are_refused(config: Path, tmp_path: Path) -> None:
    """Two answers to one question are none."""
    (tmp_path / "other").write_text(OTHER)
    place = "GATEWAY_WORKSPACES__ACME-1__ISSUERS__0__SECRETS__0__"
    environ = {f"{place}SECRET": OTHER, f"{place}SECRET_FILE": str(tmp_path / "other")}
    assert refused(config, environ) == (
        "workspaces.Acme-1.issuers[0].secrets[0]: give secret or secret_file, and not both",
    )


def test_the_store_url_from_a_file(config: Path, tmp_path: Path) -> None:
    """A URL with a password can lie in a file, named by the configuration or by the environment."""
    url = "postgresql://gateway:geheim@db/contacts"
    (tmp_path / "url").write_text(url + "\n")
    config.write_text(FILE + '[store]\nurl_file = "url"\n')
    assert load_settings(config, {}).store.url == url
    config.write_text(FILE + '[store]\nurl = "sqlite:///x.db"\n')
    assert load_settings(config, {"GATEWAY_STORE__URL_FILE": str(tmp_path / "url")}).store.url == url
    config.write_text(FILE + '[store]\nurl_file = "nowhere"\n')
    assert refused(config, {}) == (f"store: {tmp_path}/nowhere: cannot be read (No such file or directory)",)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GATEWAY_ZONK", "no such setting"),
        ("GATEWAY_WORKER", "no such setting"),
        ("GATEWAY_", "no such setting"),
        ("GATEWAY_WORKERS__0", "names no place in the settings"),
        ("GATEWAY_PUBLIC__", "names no place in the settings"),
        ("GATEWAY_PUBLIC____BIND", "names no place in the settings"),
    ],
)
def test_a_name_that_sets_nothing_is_an_error(config: Path, name: str, told: str) -> None:
    """A typing error in the environment is found as one in the file is."""
    assert refused(config, {name: "1"}) == (f"environment {name}: {told}",)


def test_an_unknown_name_inside_a_table_is_an_error(config: Path) -> None:
    """Also below the top."""
    assert refused(config, {"GATEWAY_PUBLIC__BIMD": "1"}) == ("public.bimd: no such setting",)


def test_what_kubernetes_announces_is_no_setting(config: Path) -> None:
    """A service called `gateway` puts its addresses into every container beside it."""
    environ = {
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_SERVICE_PORT": "8080",
        "GATEWAY_SERVICE_PORT_HTTP": "8080",
        "GATEWAY_PORT": "tcp://10.0.0.1:8080",
        "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(config, environ) == load_settings(config, {})


@pytest.mark.parametrize("value", ["\udcff", "[1", "x" * 1_000_000, "[" * 100_000])
def test_a_strange_value_is_a_problem_and_no_accident(config: Path, value: str) -> None:
    """Whatever an environment variable holds, the answer is a problem with its place."""
    assert refused(config, {"GATEWAY_PUBLIC__BIND": value})[0].startswith("public.bind: ")


def test_masked_settings_hold_no_secret(config: Path) -> None:
    """R12: neither a secret nor the password of a database is shown; what else was set is."""
    environ = {"GATEWAY_STORE__URL": "postgresql://gateway:geheim@db:5432/contacts?sslmode=require&password=geheim"}
    shown: Any = masked(load_settings(config, environ))
    text = json.dumps(shown)
    assert SECRET not in text
    assert "geheim" not in text
    assert shown["store"]["url"] == (
        "postgresql://gateway:**********@db:5432/contacts?sslmode=require&password=**********"
    )
    assert shown["workspaces"]["Acme-1"]["issuers"][0]["secrets"][0] == {
        "id": "1",
        "secret": "**********",
        "secret_file": None,
        "platforms": [],
    }


def test_settings_that_are_printed_hold_no_secret(config: Path) -> None:
    """Not even `repr`, which ends in a trace by accident."""
    assert SECRET not in repr(load_settings(config, {}))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:geheim@host/db",
        "postgresql://user:ge@heim@host/db",
        "postgresql://user:geheim:geheim@host/db",
        "postgresql://:geheim@host/db",
        "postgresql://host/db?password=geheim",
        "postgresql://host/db?user=a&PASSWORD=geheim&x=y",
        "postgresql://host/db?passfile=x&password=geheim#geheim",
        "postgresql://user:geheim@[::1]:5432/db",
        "postgresql://user:geheim@a:1,b:2/db",
        "postgresql://user:gehe/im@host/db",
        "postgresql://user:gehe?im@host/db",
        "postgresql://user:gehe#im@host/db",
        "postgresql://user:geheim@[bad/db",
    ],
)
def test_a_shown_url_holds_no_password(url: str) -> None:
    """However a URL spells its password, and even when it is no good URL."""
    shown = without_password(url)
    assert "heim" not in shown
    assert "gehe" not in shown
    assert shown.startswith("postgresql:")


def test_loading_reads_no_environment_of_its_own(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is an argument; what the process happens to have changes nothing."""
    monkeypatch.setenv("GATEWAY_WORKERS", "9")
    monkeypatch.setenv("workers", "9")
    assert load_settings(config, {}).workers == 2
    assert os.environ["GATEWAY_WORKERS"] == "9"
