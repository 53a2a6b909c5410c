"""`gateway keys export`: the public keys of an issuer, or the one secret that somebody else must have."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from gateway.cli.commands import Config, Workspace, examples
from gateway.cli.keyrings import IssuerName, own_issuer
from gateway.cli.output import WRONG_USE, CommandFailed, checked_text, complain
from keys.files import write_private

EXAMPLES = examples(
    "gateway keys export local                                      the JWKS that anybody may have",
    "gateway keys export local --output jwks.json",
    "gateway keys export messenger --private 2026-11 --output secret.txt",
    "gateway keys export messenger --private 2026-11 | ssh backend 'cat > messenger-secret'",
)


def export(  # noqa: PLR0913, PLR0917 - a parameter per option
    issuer: IssuerName,
    private: Annotated[
        str | None, typer.Option(metavar="KID", help="This secret or private key.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A file, instead of standard output.", show_default=False)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also show what is private on a terminal.")] = False,  # noqa: FBT002
    workspace: Workspace = None,
    config: Config = None,
) -> None:
    """Print the public keys of an issuer as a JWKS; or, with --private, one secret or private key (PEM).

    A file with something private in it is for its owner alone (mode 0600).
    """
    own = own_issuer(config, workspace, issuer)
    keyring = own.load()
    if private is None:
        if own.is_symmetric:
            raise CommandFailed(
                f"the issuer {issuer} has shared secrets, which have no public half",
                hint="--private KID for the one that your back end signs with",
                exit_code=WRONG_USE,
            )
        content = json.dumps(keyring.public_jwks(time.time()), indent=1) + "\n"
    else:
        content = keyring.entry(checked_text(private)).material.removesuffix("\n") + "\n"
    if output is None:
        if private is not None and sys.stdout.isatty() and not yes:
            raise CommandFailed(
                "this is private, and a terminal remembers what it shows",
                hint="--output FILE, or a pipe; --yes shows it all the same",
                exit_code=WRONG_USE,
            )
        sys.stdout.buffer.write(content.encode())  # as it is, whatever the terminal's encoding
        sys.stdout.buffer.flush()
        return
    if private is None:
        output.write_text(content, encoding="utf-8")
    else:
        write_private(output, content.encode())
    complain(f"wrote {output}")
