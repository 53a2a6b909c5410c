"""`gateway keys import`: secrets, or a private key, that were made elsewhere."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.commands import AsJson, Config, Workspace, examples
from gateway.cli.keyrings import IssuerName, KeyId, Platforms, checked_id, foreign_secrets, own_issuer, plain_key
from gateway.cli.output import WRONG_USE, CommandFailed, say, say_json
from keys.errors import KeyMaterialError
from keys.jwk import signing_key_from_pem
from keys.keyring_file import change_keyring
from keys.rotation import PUBLISH_AHEAD, added, new_entry, rotated
from keys.secrets import looks_like_public_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keys.keyring import Keyring

EXAMPLES = examples(
    "gateway keys import messenger secret.txt --id 2026-10 --platform ios --platform android",
    "printenv MESSENGER_SECRETS | gateway keys import messenger -        a line for each secret",
    "gateway keys import login private-key.pem",
)
_LIMIT = 256 * 1024


def import_keys(  # noqa: PLR0913, PLR0917 - a parameter per option
    issuer: IssuerName,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="The file; - or none for standard input.")] = "-",
    kid: KeyId = None,
    platform: Platforms = None,
    workspace: Workspace = None,
    config: Config = None,
    as_json: AsJson = False,  # noqa: FBT002 - an option's default
) -> None:
    """Take messenger secrets, one a line, or a private key in PEM, into a keyring; all of them, or none.

    A secret is accepted within a second. A private key beside one that signs is published now, and follows it as in
    `rotate`.
    """
    own = own_issuer(config, workspace, issuer)
    text = _read(file)
    secrets = _lines(text) if own.is_symmetric else [_one_line_end(text)]
    if own.is_symmetric and looks_like_public_key(text.encode()):
        raise CommandFailed("this is a key pair or a public key, and the issuer has shared secrets")
    if not secrets or (kid is not None and len(secrets) > 1):
        raise CommandFailed("an id is for one secret" if secrets else "nothing to import", exit_code=WRONG_USE)
    algorithm = own.algorithms[0] if own.is_symmetric else _suiting(secrets[0], own.algorithms)
    now = int(time.time())
    foreign = foreign_secrets(config, own.workspace) if own.is_symmetric else {}

    def change(keyring: Keyring) -> Keyring:
        for number, material in enumerate(secrets, 1):
            try:
                _check_foreign(material, foreign)
                entry = new_entry(
                    keyring, algorithm, material, now, kid=checked_id(kid), platforms=tuple(platform or ())
                )
                if not entry.is_secret and any(one.signs_until is None for one in keyring.published(now)):
                    keyring = rotated(keyring, entry, now, publish_ahead=PUBLISH_AHEAD, tokens_live=own.tokens_live)
                else:
                    keyring = added(keyring, entry, now)
            except KeyMaterialError as error:
                raise CommandFailed(f"{f'secret {number}: ' if len(secrets) > 1 else ''}{error}") from error
        return keyring

    after = change_keyring(own.path, change)
    taken = after.keys[-len(secrets) :]
    if as_json:
        say_json(
            {
                "workspace": own.workspace,
                "issuer": issuer,
                "version": after.version,
                "keys": [plain_key(after, entry, now) for entry in taken],
            }
        )
        return
    say(*(f"took {entry.kid} ({entry.alg}) into {own.path}" for entry in taken))


def _check_foreign(material: str, foreign: Mapping[bytes, str]) -> None:
    at = foreign.get(hashlib.sha256(material.encode()).digest())
    if at is not None:
        raise KeyMaterialError(f"it is a secret of {at}: a token of one workspace would be good in the other")


def _read(file: str) -> str:
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            content = stream.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise CommandFailed("this is too long for key material")
        return content.decode()
    except UnicodeDecodeError:
        raise CommandFailed("this is not text in UTF-8") from None  # the cause holds the secret


def _lines(text: str) -> list[str]:
    """Each line that is not blank, as it stands: whatever else Python takes for a line end may belong to a secret."""
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _one_line_end(text: str) -> str:
    return text.strip() + "\n"


def _suiting(pem: str, algorithms: tuple[str, ...]) -> str:
    """The first of the issuer's algorithms that a private key suits; `KeyMaterialError` when it suits none."""
    for algorithm in algorithms:
        try:
            return signing_key_from_pem(pem.encode(), algorithm).algorithm
        except KeyMaterialError as error:
            problem = error
    raise problem
