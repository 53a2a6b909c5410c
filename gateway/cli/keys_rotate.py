"""`gateway keys rotate`: a successor for the key that signs, published before it does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.keyrings import IssuerName, own_issuer, since
from gateway.cli.output import CommandFailed, moment, say, say_json
from keys.keyring_file import change_keyring
from keys.rotation import PUBLISH_AHEAD, RotationRefused, new_entry, new_material, rotated

if TYPE_CHECKING:
    from keys.keyring import Keyring

EXAMPLES = examples(
    "gateway keys rotate local",
    "gateway keys rotate login --publish-ahead 3600 --workspace acme",
    "gateway keys rotate local --at-once                after a leak; then `gateway keys retire local KID --now`",
    "gateway keys rotate local --expect 4 --json        only if nobody changed the keyring since version 4",
)


def rotate(  # noqa: PLR0913, PLR0917 - a parameter per option
    issuer: IssuerName,
    publish_ahead: Annotated[
        int, typer.Option(min=0, max=30 * 86_400, help="Seconds for which the new key is published before it signs.")
    ] = PUBLISH_AHEAD,
    at_once: Annotated[  # noqa: FBT002 - an option's default
        bool, typer.Option("--at-once", help="Sign with it now; verifiers that keep copies may not know it yet.")
    ] = False,
    alg: Annotated[str | None, typer.Option(help="Of the new key; else as before.", show_default=False)] = None,
    expect: Annotated[
        int | None, typer.Option(min=0, help="The version that `list --json` shows.", show_default=False)
    ] = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Make the successor of the key that signs. No token is refused for it.

    The new key is published at once and signs later; the old one signs until then, and verifies until its last token
    is dead. A messenger's old secret verifies until you retire it: your back end needs the new one first. Of two who
    rotate at the same moment one wins, and the other ends with exit code 1.
    """
    own = own_issuer(config, workspace, issuer)
    now = int(time.time())
    before = own.load()
    last = before.signing(now)
    if len({entry.platforms for entry in before.published(now)}) > 1:
        raise CommandFailed(
            f"the secrets of {issuer} are for different platforms: which of them is to be followed?",
            hint=f"`gateway keys generate {issuer} --platform ...` makes its successor, `retire` lets the old one go",
        )
    algorithm = own.algorithm(alg or (last.alg if last else None))
    platforms = last.platforms if last else ()
    material = new_material(algorithm, os.urandom)

    def change(keyring: Keyring) -> Keyring:
        entry = new_entry(keyring, algorithm, material, now, platforms=platforms)
        ahead = 0 if at_once else publish_ahead
        return rotated(keyring, entry, now, publish_ahead=ahead, tokens_live=own.tokens_live)

    try:
        after = change_keyring(own.path, change, expect=before.version if expect is None else expect)
    except RotationRefused as error:
        raise CommandFailed(
            str(error), hint="`gateway keys list` shows what each key does; --at-once waits for none"
        ) from error
    entry = after.keys[-1]
    if as_json:
        say_json(own.plain(after, entry, now))
        return
    say(f"{entry.kid} is published now, and signs {since(now, entry.signs_from)}")
    for old in after.keys[:-1]:
        if old.ends_at is not None:
            say(f"{old.kid} verifies until {moment(old.ends_at)}")
    if entry.is_secret:
        say(
            f"next: gateway keys export {issuer} --private {entry.kid} --output FILE, for the back end that signs;",
            f"when it does, gateway keys retire {issuer} KID for the old one",
        )
