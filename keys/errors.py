"""What can be wrong with key material. A message names the problem and the place, never the material."""

from __future__ import annotations


class KeyMaterialError(Exception):
    """A key, a secret or a file of them cannot be used."""
