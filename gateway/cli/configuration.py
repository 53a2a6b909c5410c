"""Which configuration a command works with: --config, $GATEWAY_CONFIG, ./gateway.toml, the development folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import WRONG_USE, CommandFailed
from gateway.development import DevelopmentFolder
from gateway.reloading import ConfigurationSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import Settings

DEFAULT_CONFIG = Path("gateway.toml")
DEVELOPMENT = DevelopmentFolder(Path("var"))


def configured_path(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file to read; None when there is none to be found."""
    if config is not None:
        return config
    if environ.get("GATEWAY_CONFIG"):
        return Path(environ["GATEWAY_CONFIG"])
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def is_configured(config: Path | None, environ: Mapping[str, str]) -> bool:
    """Whether a file, or the environment alone, configures a gateway."""
    return configured_path(config, environ) is not None or any(
        name.startswith("GATEWAY_") and name.lower().split("__")[0] == "gateway_workspaces" for name in environ
    )


def source_for(config: Path | None, overrides: Mapping[str, Any] | None = None) -> ConfigurationSource:
    """Where the settings come from: from development mode when nothing is configured."""
    if is_configured(config, os.environ):
        return ConfigurationSource.at(configured_path(config, os.environ), overrides or {})
    return ConfigurationSource(None, dict(overrides or {}), DEVELOPMENT)


def settings_for(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings that a command works with; `SettingsInvalid`, or `CommandFailed` when there are none."""
    source = source_for(config, overrides)
    if source.development is None:
        return source.load(os.environ)
    if source.development.exists:
        return source.development.as_served().settings(os.environ, overrides)
    raise CommandFailed(
        "there is no configuration here",
        hint="`gateway serve` starts development mode, `gateway init` writes a gateway.toml",
    )


def workspace_of(settings: Settings, workspace: str | None) -> str:
    """The workspace that was named, or the only or default one; `CommandFailed` when that is not clear."""
    names = list(settings.workspaces)
    chosen = workspace or settings.public.default_workspace or (names[0] if len(names) == 1 else None)
    if chosen in settings.workspaces:
        return chosen
    message = f"there is no workspace {chosen}" if chosen else "there are several workspaces"
    raise CommandFailed(message, hint=f"--workspace with one of {', '.join(names)}", exit_code=WRONG_USE)
