"""`gateway keys generate`: the first key of an issuer, or one more secret."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.keyrings import IssuerName, KeyId, Platforms, checked_id, own_issuer
from gateway.cli.output import say, say_json
from keys.keyring_file import change_keyring
from keys.rotation import added, new_entry, new_material

if TYPE_CHECKING:
    from keys.keyring import Keyring

EXAMPLES = examples(
    "gateway keys generate local",
    "gateway keys generate messenger --id 2026-12 --platform web",
    "gateway keys generate login --alg RS256 --workspace acme --json",
)


def generate(  # noqa: PLR0913, PLR0917 - a parameter per option
    issuer: IssuerName,
    alg: Annotated[str | None, typer.Option(help="One of the issuer's; else its first.", show_default=False)] = None,
    platform: Platforms = None,
    kid: KeyId = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Make the first key of an issuer, or one more messenger secret beside those that stand.

    A key pair is named by its thumbprint, and its successor comes by `rotate`. A new secret is accepted within a
    second; `export --private` hands it to whoever signs.
    """
    own = own_issuer(config, workspace, issuer)
    algorithm = own.algorithm(alg)
    material = new_material(algorithm, os.urandom)
    now = int(time.time())

    def change(keyring: Keyring) -> Keyring:
        entry = new_entry(keyring, algorithm, material, now, kid=checked_id(kid), platforms=tuple(platform or ()))
        return added(keyring, entry, now)

    keyring = change_keyring(own.path, change)
    entry = keyring.keys[-1]
    if as_json:
        say_json(own.plain(keyring, entry, now))
        return
    say(f"made the {algorithm} key {entry.kid} in {own.path}")
    if entry.is_secret:
        say(f"next: gateway keys export {issuer} --private {entry.kid} --output FILE, for the back end that signs")
