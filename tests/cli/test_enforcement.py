"""`gateway enforcement report`: what enforcing would break, before it is enforced."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.database.stores import store_for
from gateway.contacts.rollout import DAY, VERIFIED, EnforcementCount
from tests.cli.conftest import run

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contacts.store import ContactTransaction

WORKSPACE = """
[workspaces.{name}]
enforcement = {{ {enforcement} }}
[[workspaces.{name}.issuers]]
name = "messenger"
profile = "intercom"
secrets = [{{ id = "one", secret_file = "secret" }}]
"""


def configure(folder: Path, **enforcement: str) -> None:
    """A configuration and an empty store in the working folder."""
    (folder / "secret").write_text(os.urandom(32).hex())
    (folder / "secret").chmod(0o600)
    workspaces = (WORKSPACE.format(name=name, enforcement=modes) for name, modes in enforcement.items())
    (folder / "gateway.toml").write_text('[store]\nurl = "sqlite:///contacts.db"\n' + "".join(workspaces))
    assert run("db", "migrate").code == 0


def count(*counted: tuple[str, str, int], age: int = 0, workspace: str = "acme") -> None:
    """Put counts of (platform, outcome, total) into the store, `age` days old."""
    day = int(time.time()) // DAY - age
    counts = [
        EnforcementCount(workspace_id=workspace, day=day, platform=platform, outcome=outcome, total=total)
        for platform, outcome, total in counted
    ]

    async def work(transaction: ContactTransaction) -> None:
        await transaction.add_enforcement_counts(counts)

    async def put() -> None:
        store = store_for("sqlite:///contacts.db")
        await store.open()
        await store.write(work)
        await store.close()

    asyncio.run(put())


def platforms(*arguments: str) -> dict[str | None, Any]:
    found = run("enforcement", "report", "--json", *arguments).json()
    return {one["platform"]: one for one in found["platforms"]}


def test_what_enforcing_would_break(folder: Path) -> None:
    """A line for each platform and outcome with its share, and a sentence for each platform in `report`."""
    configure(folder, acme='web = "report", ios = "report", android = "report"')
    count(
        ("web", VERIFIED, 9_990), ("web", "token_expired", 7), ("web", "credentials_missing", 3), ("ios", VERIFIED, 5)
    )
    ended = run("enforcement", "report")
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["web", "report", "verified", "9990", "99.90%"] in rows
    assert ["web", "report", "token_expired", "7", "0.07%"] in rows
    assert ["ios", "report", "verified", "5", "100.00%"] in rows
    assert "the platform web: enforcing would refuse 10 of 10000 requests (0.10%)" in ended.out
    assert "the platform ios: enforcing would refuse 0 of 5 requests (0.00%)" in ended.out
    assert "the platform android: nothing was counted yet" in ended.out
    assert platforms()["web"] == {
        "platform": "web",
        "mode": "report",
        "verified": 9_990,
        "unverified": 10,
        "codes": {"token_expired": 7, "credentials_missing": 3},
    }


def test_a_platform_that_is_not_in_report_has_no_verdict(folder: Path) -> None:
    """What was counted while it was is shown beside today's mode."""
    configure(folder, acme='web = "on", ios = "off"')
    count(("web", "token_expired", 7), ("", "kid_unknown", 1))
    ended = run("enforcement", "report")
    assert "would refuse" not in ended.out
    found = platforms()
    assert [(name, one["mode"], one["unverified"]) for name, one in found.items()] == [
        ("web", "on", 7),
        ("ios", "off", 0),
        ("android", "on", 0),
        (None, "on", 1),
    ]


def test_days_add_up(folder: Path) -> None:
    """Over as many days as are asked for, today included; seven unless it is said."""
    configure(folder, acme='web = "report"')
    for age, total in ((0, 1), (1, 10), (6, 100), (7, 1000), (89, 10_000)):
        count(("web", VERIFIED, total), age=age)
    for days, total in ((None, 111), ("1", 1), ("2", 11), ("8", 1111), ("90", 11_111)):
        asked = ("--days", days) if days else ()
        assert platforms(*asked)["web"]["verified"] == total


@pytest.mark.parametrize("days", ["0", "91", "x"])
def test_days_are_bounded(folder: Path, days: str) -> None:
    """As many as are kept; wrong use is exit code 2."""
    configure(folder, acme='web = "report"')
    assert run("enforcement", "report", "--days", days).code == 2


def test_each_workspace_has_its_own(folder: Path) -> None:
    """Several workspaces: the one that is named."""
    configure(folder, acme='web = "report"', other='ios = "report"')
    count(("web", VERIFIED, 3))
    count(("ios", "token_expired", 4), workspace="other")
    assert run("enforcement", "report").code == 2
    assert platforms("-w", "acme")["web"]["verified"] == 3
    assert platforms("-w", "other")["ios"]["codes"] == {"token_expired": 4}


@pytest.mark.parametrize("modes", ['web = "maybe"', "web = true", 'windows = "on"', 'web = ""'])
def test_another_mode_or_platform_is_a_problem_of_the_configuration(folder: Path, modes: str) -> None:
    """Named with its place; nothing is guessed."""
    (folder / "secret").write_text(os.urandom(32).hex())
    (folder / "gateway.toml").write_text(WORKSPACE.format(name="acme", enforcement=modes))
    ended = run("config", "check")
    assert ended.code == 1
    assert "workspaces.acme.enforcement." in ended.err + ended.out


def test_an_issuer_without_secrets_takes_no_user_hash(folder: Path) -> None:
    """It is made with the secrets of the profile `intercom`."""
    (folder / "gateway.toml").write_text("""
[workspaces.acme]
[[workspaces.acme.issuers]]
name = "login"
profile = "oidc"
issuer = "https://login.acme.example"
audience = "messenger"
algorithms = "ES256"
jwks_url = "https://login.acme.example/jwks.json"
user_hash = true
""")
    ended = run("config", "check")
    assert ended.code == 1
    assert "user_hash" in ended.err + ended.out
