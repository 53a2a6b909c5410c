"""What the commands of `gateway keys` share: which keyring is meant, what may be in it, and how its keys are shown."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from gateway.cli.configuration import settings_for, workspace_of
from gateway.cli.output import WRONG_USE, CommandFailed, checked_text, moment
from gateway.identity.jose import ALGORITHMS
from gateway.identity.platforms import Platform
from gateway.settings import ASSERTION_KEYS, is_name, place
from gateway.trust import claim_policy
from gateway.web.assertion import LEEWAY, LIFETIME
from keys.jwk import HMAC
from keys.keyring import Keyring, load_keyring

if TYPE_CHECKING:
    from gateway.settings import AssertionSettings, IssuerSettings
    from keys.keyring import KeyringEntry

IssuerName = Annotated[
    str, typer.Argument(metavar="ISSUER", help=f"The issuer, by name; {ASSERTION_KEYS}: the keys of our assertions.")
]
KeyId = Annotated[str | None, typer.Option("--id", help="What the secret is called; else its day.", show_default=False)]
Platforms = Annotated[
    list[Platform] | None,
    typer.Option("--platform", help="Where a secret is accepted; may be given again.", show_default="everywhere"),
]


class OwnIssuer(Struct, frozen=True):
    """Who signs with keys of ours, and the file in which they lie: an issuer of a workspace, or the assertions of all.

    `tokens_live`: seconds from a token's signature until it is dead, leeway included; None when that may be never.
    """

    workspace: str | None
    name: str
    algorithms: tuple[str, ...]
    tokens_live: int | None
    path: Path

    @property
    def is_symmetric(self) -> bool:
        """Whether it signs with shared secrets."""
        return HMAC.issuperset(self.algorithms)

    def algorithm(self, wanted: str | None) -> str:
        """The algorithm of a new key: one of the issuer's."""
        if wanted is not None and wanted not in self.algorithms:
            raise CommandFailed(
                f"the issuer {self.name} does not list {wanted}",
                hint=f"--alg with one of {', '.join(self.algorithms)}, or add it to its algorithms first",
            )
        return wanted or self.algorithms[0]

    def load(self) -> Keyring:
        """The keyring as it lies there; `CommandFailed` when none was made yet."""
        if not self.path.exists():
            raise CommandFailed(
                f"{self.path}: there is no keyring yet",
                hint=f"`gateway keys generate {self.name}` makes its first key",
            )
        return load_keyring(self.path)

    def plain(self, keyring: Keyring, entry: KeyringEntry, now: float) -> dict[str, Any]:
        """What a command that changed a keyring prints as JSON."""
        return {
            "workspace": self.workspace,
            "issuer": self.name,
            "keyring": str(self.path),
            "version": keyring.version,
            "key": plain_key(keyring, entry, now),
        }


def own_issuer(config: Path | None, workspace: str | None, name: str) -> OwnIssuer:
    """The issuer of this name in the workspace; `CommandFailed` unless it has a keyring."""
    settings = settings_for(config)
    if settings.assertion is not None and name == ASSERTION_KEYS:
        if workspace is not None:
            raise CommandFailed("assertions belong to no workspace: all have the same keys", exit_code=WRONG_USE)
        return _assertions(settings.assertion)
    app_id = workspace_of(settings, workspace)
    issuers = settings.workspaces[app_id].issuers
    issuer = next((one for one in issuers if one.name == checked_text(name)), None)
    if issuer is None:
        raise CommandFailed(
            f"the workspace {app_id} has no issuer {name}",
            hint=f"it has {', '.join(one.name for one in issuers)}",
        )
    if issuer.keyring is None:
        raise CommandFailed(
            f"the issuer {name} has no keyring: its keys lie elsewhere",
            hint='`gateway keys list` shows where; `keyring = "PATH"` in its place makes them ours',
        )
    return OwnIssuer(app_id, issuer.name, issuer.algorithms, _tokens_live(issuer), issuer.keyring)


def _assertions(assertion: AssertionSettings) -> OwnIssuer:
    asymmetric = sorted(ALGORITHMS.keys() - HMAC, key=lambda name: (name != "ES256", name))
    return OwnIssuer(None, ASSERTION_KEYS, tuple(asymmetric), LIFETIME + LEEWAY, assertion.keyring)


def _tokens_live(issuer: IssuerSettings) -> int | None:
    policy = claim_policy(issuer)
    if policy.max_lifetime is None or not policy.require_exp:
        return None
    return int(policy.max_lifetime + policy.leeway)


def foreign_secrets(config: Path | None, app_id: str | None) -> dict[bytes, str]:
    """The secrets of every workspace but this one, by their SHA-256: where each stands.

    None of them may come into this one: a Messenger token names no workspace (`gateway/trust.py`, B21).
    """
    found: dict[bytes, str] = {}
    for name, workspace in settings_for(config).workspaces.items():
        for index, issuer in enumerate(workspace.issuers):
            if name != app_id:
                at = place(("workspaces", name, "issuers", index))
                found |= {hashlib.sha256(text.encode()).digest(): at for text in _secrets(issuer)}
    return found


def _secrets(issuer: IssuerSettings) -> list[str]:
    if issuer.keyring is None:
        return [secret.text() for secret in issuer.secrets]
    keyring = load_keyring(issuer.keyring) if issuer.keyring.exists() else Keyring()
    return [entry.material for entry in keyring.keys if entry.is_secret]


def checked_id(kid: str | None) -> str | None:
    """The id that a secret shall have."""
    if kid is not None and not is_name(kid):
        raise CommandFailed("an id has 1 to 64 letters, digits, dashes, dots and underscores", exit_code=WRONG_USE)
    return kid


def plain_key(keyring: Keyring, entry: KeyringEntry, now: float) -> dict[str, Any]:
    """Everything about a key but its material."""
    return {
        "kid": entry.kid,
        "algorithms": [entry.alg],
        "platforms": list(entry.platforms),
        "state": keyring.state(entry, now).value,
        "created_at": entry.created_at,
        "signs_from": entry.signs_from,
        "signs_until": entry.signs_until,
        "ends_at": entry.ends_at,
    }


def since(now: int, then: int) -> str:
    """A moment to come, in words: now, or when."""
    return "now" if then <= now else f"from {moment(then)}"
