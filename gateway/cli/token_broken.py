"""The work of `gateway token broken`: tokens that must be refused, each with the code that it must meet."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.cli.crafting import crafting_signer
from gateway.cli.output import WRONG_USE, CommandFailed, say, say_json, say_table
from gateway.cli.signing import signing_issuer, token_claims
from gateway.identity.broken import CATALOGUE, BrokenToken
from gateway.identity.crafting import Signer
from gateway.identity.principal import normalise_email, normalise_user_id
from gateway.trust import id_rules

if TYPE_CHECKING:
    from gateway.settings import IssuerSettings, Settings

_USER_ID, _EMAIL = "user-1", "ada@example.com"


class Breaker(Struct, frozen=True):
    """Who signs the broken tokens, and what is told about them."""

    workspace: str
    issuer: str
    signer: Signer

    def told(self) -> dict[str, Any]:
        """In whose name the tokens are."""
        signed = {"alg": self.signer.algorithm, "kid": self.signer.header.get("kid")}
        return {"workspace": self.workspace, "issuer": self.issuer, **signed}

    def broken(self, entry: BrokenToken) -> dict[str, str]:
        """A broken token with everything about it."""
        token = entry.make(self.signer).decode()
        return {"slug": entry.slug, "code": entry.code_for(self.signer), "about": entry.about, "token": token}


def breaker_for(  # noqa: PLR0913 - whose tokens, in whose name, and a time
    settings: Settings, workspace: str, *, issuer: str | None, user_id: str | None, email: str | None, now: float
) -> Breaker:
    """Who signs, by the rules of `token issue`; `Refusal` when whose tokens they are would be refused by itself."""
    by, key = signing_issuer(settings, workspace, name=issuer)
    claims = token_claims(by, **_person(by, user_id, email))
    normalise_user_id(claims[by.user_id_claim], id_rules(settings, workspace), field="--user-id")
    normalise_email(claims["email"], field="--email")
    return Breaker(workspace, by.name, crafting_signer(settings, workspace, by, key, claims, now))


def entry_for(slug: str) -> BrokenToken:
    """The entry with this slug; `CommandFailed` names the nearest one."""
    if slug in CATALOGUE:
        return CATALOGUE[slug]
    near = difflib.get_close_matches(slug, CATALOGUE, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise CommandFailed(
        f"there is no broken token {slug}", hint=f"{meant}`gateway token broken --list` shows all", exit_code=WRONG_USE
    )


def say_list(*, as_json: bool) -> None:
    """Print the catalogue."""
    if as_json:
        say_json([{"slug": one.slug, "code": one.code, "about": one.about} for one in CATALOGUE.values()])
    else:
        rows = [(one.slug, one.code, one.about) for one in CATALOGUE.values()]
        say_table(("slug", "code that it meets", "what is wrong, and why it matters"), rows)


def say_one(entry: BrokenToken, breaker: Breaker, *, as_json: bool) -> None:
    """Print one broken token; `CommandFailed` when it would not be refused in this issuer's name."""
    reason = entry.unsuited(breaker.signer)
    if reason is not None:
        raise CommandFailed(
            f"{entry.slug} does not suit the issuer {breaker.issuer}: {reason}", hint="--issuer chooses another one"
        )
    broken = breaker.broken(entry)
    if as_json:
        say_json({**broken, **breaker.told()})
    else:
        say(broken["token"])


def say_all(breaker: Breaker, *, as_json: bool) -> None:
    """Print every broken token: as JSON with what was left out and why, else a line each of slug, code and token."""
    reasons = {entry.slug: entry.unsuited(breaker.signer) for entry in CATALOGUE.values()}
    broken = [breaker.broken(entry) for entry in CATALOGUE.values() if reasons[entry.slug] is None]
    if as_json:
        left_out = [{"slug": slug, "reason": reason} for slug, reason in reasons.items() if reason is not None]
        say_json({**breaker.told(), "tokens": broken, "left_out": left_out})
    else:
        say(*(f"{one['slug']} {one['code']} {one['token']}" for one in broken))


def _person(issuer: IssuerSettings, user_id: str | None, email: str | None) -> dict[str, str]:
    """Whose tokens they are: an id that is an email is the email, too."""
    if issuer.user_id_claim == "email":
        email = email or user_id or _EMAIL
        return {"user_id": email, "email": email}
    user_id = user_id or email or _USER_ID
    return {"user_id": user_id, "email": email or (user_id if "@" in user_id else _EMAIL)}
