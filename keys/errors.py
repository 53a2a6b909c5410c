"""What can be wrong with key material. A message names the problem and the place, never the material."""

from __future__ import annotations


class KeyMaterialError(Exception):
    """A key, a secret or a file of them cannot be used."""


class KeyOfOtherUse(KeyMaterialError):
    """A key for something else than verifying our signatures; in a set, it may stand beside those that do."""


class SecretPublished(KeyMaterialError):
    """A symmetric key or a private member where only public keys belong: whoever reads the set can sign."""


class FetchFailed(Exception):
    """A document could not be fetched. The message is for the operator; it holds no URL and nothing of an answer."""


class KeysUnavailable(Exception):
    """Whether an issuer has a key cannot be said now: the keys could not be had, or are too old to be trusted."""
