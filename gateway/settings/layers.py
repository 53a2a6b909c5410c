"""Where settings come from: `gateway.toml`, the environment over it, flags over both.

`GATEWAY_PUBLIC__BIND=0.0.0.0:8080` sets `public.bind`. A number reaches into a list, as in
`GATEWAY_WORKSPACES__ACME__ISSUERS__0__NAME`. What the file already has is found whatever its case, for environments are
written in capitals. Lists and tables may be given as JSON. `..._SECRET_FILE` and `..._URL_FILE` name a file that holds
the value, and stand over a value from the file.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.errors import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "GATEWAY_"
_NOT_SETTINGS = re.compile(r"GATEWAY_(ACCESS_TOKEN|CONFIG|TRACEBACK|TEST_.*)")
# Kubernetes announces a service called "gateway" to every container beside it.
_SERVICE_LINK = re.compile(r"GATEWAY_(SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP|SCTP).*)?)")
_FILE_KEYS = frozenset(
    {
        "secret_file",
        "jwks_file",
        "jwks_ca_file",
        "ca_file",
        "pem_files",
        "file",
        "signing_key_file",
        "keyring",
        "url_file",
    }
)
_TWINS = {"secret": "secret_file", "secret_file": "secret", "url": "url_file", "url_file": "url"}


def read_file_layer(path: Path) -> dict[str, Any]:
    """The tables of a `gateway.toml`; the files that it names are relative to its folder. Raises `SettingsInvalid`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid([f"{path}: cannot be read ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid([f"{path}: not text in UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid([f"{path}: not TOML: {error}"]) from error
    anchored: dict[str, Any] = _anchored(tables, path.parent)
    return anchored


def read_environment_layer(
    environ: Mapping[str, str], file_layer: Mapping[str, Any], known: frozenset[str]
) -> tuple[dict[str, Any], list[str]]:
    """What the environment sets, as whole tables over the file's, and a problem for each name that sets nothing.

    `known` are the top-level settings.
    """
    tables: dict[str, Any] = copy.deepcopy(dict(file_layer))
    touched: set[str] = set()
    problems: list[str] = []
    names = [name for name in environ if name.startswith(PREFIX) and not _NOT_SETTINGS.fullmatch(name)]
    for name in sorted(names, key=_natural):
        parts = name.removeprefix(PREFIX).lower().split("__")
        if parts[0] not in known:
            if not _SERVICE_LINK.fullmatch(name):
                problems.append(f"environment {name}: no such setting")
            continue
        touched.add(parts[0])
        if not _put(tables, parts, _value(environ[name])):
            problems.append(f"environment {name}: names no place in the settings")
    for name in names:
        _drop_twin(tables, name, environ)
    return {top: tables[top] for top in touched if top in tables}, problems


def named_files(value: Any) -> Iterator[Path]:
    """Every file that tables name, whether or not they make good settings."""
    if isinstance(value, list):
        for one in value:
            yield from named_files(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            texts = one if isinstance(one, list) else [one]
            if key in _FILE_KEYS:
                yield from (Path(text) for text in texts if isinstance(text, str) and text)
            yield from named_files(one)


def _anchored(value: Any, folder: Path) -> Any:
    """The same tables with every file name made relative to `folder` instead of the working directory."""
    if isinstance(value, list):
        return [_anchored(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _anchored_files(one, folder) if key in _FILE_KEYS else _anchored(one, folder) for key, one in value.items()
    }


def _anchored_files(value: Any, folder: Path) -> Any:
    if isinstance(value, str) and value:
        return str(folder / value)
    if isinstance(value, list):
        return [_anchored_files(one, folder) for one in value]
    return _anchored(value, folder)


def _natural(name: str) -> list[tuple[int, str]]:
    """An order in which the tenth element of a list comes after the second."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split("__")]


def _value(text: str) -> Any:
    """A list or a table when the text is one in JSON; else the text, which the model reads as what it needs."""
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _put(node: Any, parts: list[str], value: Any) -> bool:
    """Set a value deep inside tables and lists, making tables on the way; False when the way leads nowhere."""
    place = _place(node, parts[0])
    if place is None or not parts[0]:
        return False
    if isinstance(node, list) and place == len(node):
        node.append({})
    if len(parts) == 1:
        node[place] = value
        return True
    if isinstance(node, dict) and node.get(place) is None:
        node[place] = [] if parts[1] == "0" else {}
    return _put(node[place], parts[1:], value)


def _place(node: Any, part: str) -> Any:
    """The key of a table, as the table spells it, or the index into a list; None when there can be none."""
    if isinstance(node, dict):
        return next((key for key in node if key.lower() == part), part)
    if isinstance(node, list) and part.isdecimal() and int(part) <= len(node):
        return int(part)
    return None


def _drop_twin(tables: dict[str, Any], name: str, environ: Mapping[str, str]) -> None:
    """Remove what the file says in place of what the environment says: `secret` for `secret_file` and the like."""
    *way, last = name.removeprefix(PREFIX).lower().split("__")
    twin = _TWINS.get(last)
    if twin is None or "__".join([name.rpartition("__")[0], twin.upper()]) in environ:
        return
    node: Any = tables
    for part in way:
        place = _place(node, part)
        try:
            node = node[place]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(node, dict):
        node.pop(twin, None)
