"""Key material on disk: read with its problems named by path, written for its owner alone."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from keys.errors import KeyMaterialError, KeyOfOtherUse
from keys.jwk import VerificationKey, key_from_jwk, key_from_pem

_SIZE_LIMIT = 256 * 1024


def load_jwks_file(path: Path) -> tuple[VerificationKey, ...]:
    """The keys of a JWKS file that are made to verify; `KeyMaterialError` names the path and the member.

    Others stand beside them in many a published set, to encrypt for instance, and are left out (RFC 7517 section 5).
    What is private, symmetric, weak or broken is refused: the file is the operator's, who can mend it (R10, R11).
    """
    try:
        document: Any = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise KeyMaterialError(f"{path}: not JSON") from None  # the cause holds the document
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise KeyMaterialError(f'{path}: not a JWK set (an object with a list "keys")')
    keys = []
    for index, member in enumerate(members):
        try:
            keys.append(key_from_jwk(member))
        except KeyOfOtherUse:
            continue
        except KeyMaterialError as error:
            raise KeyMaterialError(f"{path}: keys[{index}]: {error}") from error
    return tuple(keys)


def load_pem_file(path: Path, kid: str | None = None) -> VerificationKey:
    """The public key of a PEM file; `KeyMaterialError` names the path."""
    try:
        return key_from_pem(_read(path), kid)
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{path}: {error}") from error


def read_secret_file(path: Path) -> str:
    """The text of a secret file without its last line break; `KeyMaterialError` names the path."""
    try:
        return _read(path).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise KeyMaterialError(f"{path}: not text in UTF-8") from None  # the cause holds the secret


def read_private(path: Path) -> bytes:
    """The bytes of a file that its owner alone may use; `KeyMaterialError` names the path and the remedy."""
    content, mode = _read_with_mode(path)
    if mode & 0o077:
        raise KeyMaterialError(f"{path}: others than its owner may use it; `chmod 600 {path}`")
    return content


def write_private(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> None:
    """Write a file with mode 0600, whole or not at all; it stands on the disk when this returns.

    `owner` are the user and the group whose file it shall be, when it is not to be ours.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # its new name, too
    finally:
        os.close(folder)


def make_private_folder(folder: Path) -> None:
    """Make a folder that is not there yet for its owner alone, and those around it; raises `OSError`."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.is_dir()]):
        missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would let others into the outer ones


def _read(path: Path) -> bytes:
    return _read_with_mode(path)[0]


def _read_with_mode(path: Path) -> tuple[bytes, int]:
    """The bytes and the permissions of one and the same file, whoever replaces it meanwhile."""
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise KeyMaterialError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError:
        raise KeyMaterialError("a path with NUL in it cannot be read") from None
    if len(content) > _SIZE_LIMIT:
        raise KeyMaterialError(f"{path}: larger than {_SIZE_LIMIT} bytes")
    return content, mode
