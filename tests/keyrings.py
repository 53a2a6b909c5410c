"""Keyrings for tests: made on the spot, changed as the commands change them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from keys.keyring_file import change_keyring
from keys.rotation import added, new_entry, new_material

if TYPE_CHECKING:
    from pathlib import Path

    from keys.keyring import Keyring, KeyringEntry


def add_key(path: Path, algorithm: str, kid: str | None = None, platforms: tuple[str, ...] = ()) -> KeyringEntry:
    """A new key of a keyring, which is made when there is none."""
    now = int(time.time())
    material = new_material(algorithm, os.urandom)

    def change(keyring: Keyring) -> Keyring:
        return added(keyring, new_entry(keyring, algorithm, material, now, kid=kid, platforms=platforms), now)

    return change_keyring(path, change).keys[-1]
