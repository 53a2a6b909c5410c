"""From layers to settings: reading them, naming every problem at once, and showing what they come to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from gateway.errors import SettingsInvalid
from gateway.settings.fields import OF_TABLE, place
from gateway.settings.layers import named_files, read_environment_layer, read_file_layer
from gateway.settings.model import Settings
from keys.destinations import shown_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NOT_YET = {
    "connections": "not supported yet: the store holds up to 16 connections a process",
}
_WORDS = {
    "missing": "required",
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "tuple_type": "should be a list",
    "frozen_set_type": "should be a list",
}


def load_settings(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of a file, the environment over it, and `overrides` (nested tables, from flags) over both.

    Raises `SettingsInvalid` with a line per problem: the place, a colon, what is wrong.
    """
    return settings_from(read_file_layer(path) if path else {}, environ, overrides)


def settings_from(
    file_layer: Mapping[str, Any],
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    model: type[Settings] = Settings,
) -> Settings:
    """The same for tables that were read, or made, already; `model` may ask for more than `Settings` does."""
    known = frozenset(model.model_fields)
    environment_layer, problems = read_environment_layer(environ, file_layer, known)
    unknown = [f"{key}: no such setting" for key in file_layer if key not in known]
    # The environment's tables hold the file's: merged with those again, a twin that gave way would come back.
    rest = {key: table for key, table in file_layer.items() if key in known and key not in environment_layer}
    layers = (dict(overrides or {}), environment_layer, rest)
    sources = tuple(InitSettingsSource(model, layer) for layer in layers)
    try:
        settings = model(_build_sources=(sources, {}))  # type: ignore[call-arg]  # a parameter of BaseSettings
    except ValidationError as error:
        raise SettingsInvalid([*unknown, *problems, *_lines(error)]) from None  # its text holds the values
    if unknown or problems:
        raise SettingsInvalid([*unknown, *problems])
    return settings


def files_of(file_layer: Mapping[str, Any], environ: Mapping[str, str]) -> frozenset[Path]:
    """The files that the settings of a file and of the environment over it stand in, beside that file itself."""
    environment_layer, _ = read_environment_layer(environ, file_layer, frozenset(Settings.model_fields))
    return frozenset(named_files({**file_layer, **environment_layer}))


def masked(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values, secrets masked: a store's password and a key set's query among them."""
    shown = settings.model_dump(mode="json")
    shown["store"]["url"] = without_password(settings.store.url)
    for issuer in (issuer for workspace in shown["workspaces"].values() for issuer in workspace["issuers"]):
        if issuer["jwks_url"] is not None:
            issuer["jwks_url"] = shown_url(issuer["jwks_url"])
    return shown


def without_password(url: str) -> str:
    """A store's URL that may be shown. A password may hold `@/?#` too, so this is no parser: it rather hides more."""
    if url.startswith("sqlite:"):
        return url
    scheme, separator, rest = re.sub(r"(?i)(password=)[^&]*", r"\1**********", url).partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{separator}{f'{name}:**********' if colon else user}{at}{host}"


def _lines(error: ValidationError) -> list[str]:
    return [_line(one["type"], one["loc"], one["msg"]) for one in error.errors(include_url=False, include_input=False)]


def _line(kind: str, location: tuple[int | str, ...], message: str) -> str:
    if kind == "extra_forbidden":
        message = _NOT_YET.get(str(location[-1]), "no such setting")
    message = _WORDS.get(kind, message)
    if kind == OF_TABLE:
        location = location[:-1]
    message = message.removeprefix("Value error, ")
    # A field that looks at its own elements begins its message with the index: `secrets` + `[0]: ...`.
    return f"{place(location)}{message}" if message.startswith("[") else f"{place(location)}: {message}"
