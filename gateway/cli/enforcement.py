"""`gateway enforcement`: what enforcing verification would break, before it is enforced."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples, group
from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import say, say_json, say_table
from gateway.contacts.database.stores import store_for
from gateway.contacts.rollout import KEPT_DAYS
from gateway.trust import enforcement_of
from gateway.web.enforcement import Mode
from gateway.web.enforcement_report import DEFAULT_DAYS, enforcement_report, first_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contacts.rollout import EnforcementCount
    from gateway.web.enforcement_report import PlatformReport

app = group()


@app.callback()
def _group() -> None:
    """Only so that `report` is a command of its own beside those to come."""


@app.command(
    epilog=examples(
        "gateway enforcement report",
        "gateway enforcement report --days 1        after the last mistake was mended",
        "gateway enforcement report -w acme --json",
    )
)
def report(
    days: Annotated[int, typer.Option(min=1, max=KEPT_DAYS, help="Over how many days, today included (UTC).")] = (
        DEFAULT_DAYS
    ),
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Show what enforcing would break: the requests of platforms in `report`, verified and by the code of a refusal.

    A running gateway brings its counts into the store every few seconds.
    """
    settings = settings_for(config)
    app_id, now = workspace_of(settings, workspace), time.time()
    since = first_day(days, now)
    counts = asyncio.run(_counts(settings.store.url, app_id, since))
    found = enforcement_report(enforcement_of(settings), app_id, counts, since=since, now=now)
    if as_json:
        say_json(msgspec.to_builtins(found))
        return
    rows = []
    for one in found.platforms:
        outcomes = {"verified": one.verified, **one.codes} if one.verified or one.unverified else {"": 0}
        name = one.platform or "(not named)"
        rows += [(name, one.mode, outcome, total, _percent(one.share(total))) for outcome, total in outcomes.items()]
    say_table(("platform", "mode", "outcome", "requests", "share"), rows)
    say(f"{app_id}, {found.since} to {found.until} (UTC)")
    for one in found.platforms:
        if sentence := _verdict(one):
            say(sentence)


async def _counts(url: str, workspace_id: str, since: int) -> Sequence[EnforcementCount]:
    store = store_for(url)
    await store.open()
    try:
        return await store.enforcement_counts(workspace_id, since=since)
    finally:
        await store.close()


def _verdict(one: PlatformReport) -> str | None:
    if one.mode is not Mode.REPORT:
        return None
    whom = f"the platform {one.platform}" if one.platform else "requests without a platform"
    total = one.verified + one.unverified
    if not total:
        return f"{whom}: nothing was counted yet"
    return (
        f"{whom}: enforcing would refuse {one.unverified} of {total} requests ({_percent(one.share(one.unverified))})"
    )


def _percent(share: float | None) -> str:
    """A share with two digits behind the point, where a few among very many still show."""
    return "" if share is None else f"{share:.2%}"
