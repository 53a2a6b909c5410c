"""`gateway keys retire`: a key goes, when its tokens are dead or at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.keyrings import IssuerName, own_issuer
from gateway.cli.output import CommandFailed, checked_text, complain, moment, say, say_json
from keys.keyring_file import change_keyring
from keys.rotation import RotationRefused, removed, retired

if TYPE_CHECKING:
    from keys.keyring import Keyring

EXAMPLES = examples(
    "gateway keys retire messenger 2026-11          it verifies until its last token is dead",
    "gateway keys retire messenger 2026-11 --now    after a leak, or when nobody signs with it any more",
)


def retire(  # noqa: PLR0913, PLR0917 - a parameter per option
    issuer: IssuerName,
    kid: Annotated[str, typer.Argument(metavar="KID", help="The key, as `list` prints it.")],
    now_at_once: Annotated[  # noqa: FBT002 - an option's default
        bool, typer.Option("--now", help="Refuse its tokens from now on, and delete it; the last key, too.")
    ] = False,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Let a key go: it signs no more, and ends when the last token that it can have signed is dead.

    The last key of an issuer goes with --now alone: without it every token of that issuer gets 503.
    """
    own = own_issuer(config, workspace, issuer)
    checked_text(kid)
    own.load()
    now = int(time.time())

    def change(keyring: Keyring) -> Keyring:
        return removed(keyring, kid, now) if now_at_once else retired(keyring, kid, now, tokens_live=own.tokens_live)

    try:
        after = change_keyring(own.path, change)
    except RotationRefused as error:
        raise CommandFailed(
            str(error), hint="--now ends it at once: every token that it signed is refused from then on"
        ) from error
    ends_at = now if now_at_once else after.entry(kid).ends_at
    if as_json:
        say_json(
            {"workspace": own.workspace, "issuer": issuer, "version": after.version, "kid": kid, "ends_at": ends_at}
        )
    elif now_at_once:
        say(f"{kid} is gone: every token that it signed is refused")
    else:
        say(f"{kid} verifies until {moment(ends_at)}")
    if not after.published(now):
        what = "whoever would be asserted to an upstream" if own.workspace is None else f"every token of {issuer}"
        complain(f"no key is left: {what} gets 503 until `gateway keys generate {issuer}` makes one")
