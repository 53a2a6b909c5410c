"""What can be configured, where it comes from, and every problem of a configuration at once.

fields.py     strict tables, and the types of their fields
assertion.py  the identity assertion: what we sign for upstreams
issuers.py    an issuer: who signs, with what, and what its tokens must say
limits.py     rates and connections of the public listener
model.py      everything else, and all of it together: `Settings`
layers.py     `gateway.toml`, the environment over it, flags over both
loading.py    from layers to `Settings`, or to a line for each problem
"""

from __future__ import annotations

from gateway.settings.assertion import ASSERTION_KEYS, AssertionSettings
from gateway.settings.fields import is_name, place
from gateway.settings.issuers import LONGEST_LIFETIME, IssuerSettings, Profile
from gateway.settings.layers import read_file_layer
from gateway.settings.loading import files_of, load_settings, masked, settings_from, without_password
from gateway.settings.model import ArchivedLogin, FirstSight, Settings
from gateway.settings.routes import RouteSettings

__all__ = [
    "ASSERTION_KEYS",
    "LONGEST_LIFETIME",
    "ArchivedLogin",
    "AssertionSettings",
    "FirstSight",
    "IssuerSettings",
    "Profile",
    "RouteSettings",
    "Settings",
    "files_of",
    "is_name",
    "load_settings",
    "masked",
    "place",
    "read_file_layer",
    "settings_from",
    "without_password",
]
