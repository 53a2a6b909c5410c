"""The settings of the identity assertion: what we sign for upstreams, so that they need not trust the network.

Its keys, `iss` and `aud` are nobody else's, so that a login token and an assertion can never be taken for each other
(advisory B13). What is refused for that stands in `assertion_problems`, which sees all workspaces.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - a field's type, read at run time
from typing import TYPE_CHECKING

from pydantic import field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.settings.fields import Table, Text, place, usable
from keys.keyring import load_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings.issuers import IssuerSettings
    from gateway.settings.model import WorkspaceSettings

ASSERTION_KEYS = "assertion"
"""What `gateway keys` calls the keyring; no issuer beside it has this name."""


class AssertionSettings(Table):
    """`[assertion]`: the keyring that signs, the `iss`, and the `aud` at `/auth` and of routes that name none."""

    keyring: Path
    issuer: Text
    audience: Text | None = None

    @field_validator("keyring")
    @classmethod
    def _keyring(cls, value: Path) -> Path:
        """A file that is not there yet is no mistake, as with an issuer's."""
        if value.exists() and usable(lambda: load_keyring(value)).holds_secrets:
            raise ValueError("holds shared secrets; upstreams verify an assertion with public keys")
        return value


def assertion_problems(
    assertion: AssertionSettings | None, workspaces: Mapping[str, WorkspaceSettings]
) -> Iterator[InitErrorDetails]:
    """What is wrong with the table beside these workspaces."""
    asking = [
        (app_id, index, route.audience)
        for app_id, workspace in workspaces.items()
        for index, route in enumerate(workspace.routes)
        if route.audience is not None
    ]
    if assertion is None:
        for app_id, index, _ in asking[:1]:
            at = place(("workspaces", app_id, "routes", index))
            yield _problem(None, f"required: {at} has an audience, which is that of its assertions")
        return
    if assertion.audience is None and not asking:
        yield _problem("audience", "required: whom the assertions are for; or name one at each route")
    issuers = [
        (place(("workspaces", app_id, "issuers", index)), issuer)
        for app_id, workspace in workspaces.items()
        for index, issuer in enumerate(workspace.issuers)
    ]
    for at, issuer in issuers:
        yield from _confusable(assertion, at, issuer)
        audiences = {assertion.audience, *(audience for *_, audience in asking)} & set(issuer.audience)
        if audiences:
            yield _problem("audience", f"an audience of assertions is one of the login tokens of {at}, too")


def _confusable(assertion: AssertionSettings, at: str, issuer: IssuerSettings) -> Iterator[InitErrorDetails]:
    if issuer.keyring is not None and _is_same(issuer.keyring, assertion.keyring):
        yield _problem("keyring", f"is the keyring of {at}; assertions have keys of their own")
    if issuer.issuer == assertion.issuer:
        yield _problem("issuer", f"is the iss of the login tokens of {at}")
    if issuer.name == ASSERTION_KEYS:
        yield _problem(None, f"`gateway keys` means this table by the name {ASSERTION_KEYS}, which {at} has, too")


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, be it by links, and be it one that is still to be made."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _problem(field: str | None, message: str) -> InitErrorDetails:
    error = PydanticCustomError("confusable", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=() if field is None else (field,), input=None)
