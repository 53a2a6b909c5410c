"""The catalogue of broken tokens: what a gateway must refuse, each with the code that it must meet.

For `gateway token broken`, for `gateway check`, for the pytest plugin, and for our own tests, which hold it against the
verifier and against running gateways. Entries stand in the order in which the gateway looks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.identity.broken.claims import CLAIMS
from gateway.identity.broken.entry import BrokenToken
from gateway.identity.broken.form import FORM
from gateway.identity.broken.keys import KEYS
from gateway.identity.broken.people import PEOPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CATALOGUE", "BrokenToken"]

CATALOGUE: Mapping[str, BrokenToken] = MappingProxyType(
    {entry.slug: entry for entry in (*FORM, *KEYS, *CLAIMS, *PEOPLE)}
)
"""Every entry by its slug."""
