"""The platforms that a person signs in from, and what it means for a request to name one (facts: Intercom 1.5, 1.6).

A secret may be enabled for some platforms only, so that the one that leaked from a mobile application is no key to the
web. A request that names its platform is verified with the keys that are enabled for it, as if the issuer had no other;
a request that names none may be verified with any key. Asymmetric keys, and secrets that list no platform, are enabled
for all.

The platform of a login stands in its body or query as `platform`, where its client writes it. That of forward-auth
stands in the path, and that of the middleware in its arguments: there it is the operator who says it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keys.jwk import VerificationKey


class Platform(StrEnum):
    """What a person signs in from."""

    WEB = "web"
    IOS = "ios"
    ANDROID = "android"


def is_enabled(key: VerificationKey, platform: Platform | None) -> bool:
    """Whether a request that names this platform, or none, may be verified with a key."""
    return platform is None or not key.platforms or platform in key.platforms
