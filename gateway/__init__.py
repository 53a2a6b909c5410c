"""A JWT identity verification gateway with an embedded contact store.

A signed token goes in; out comes one person: an immutable contact, found or created, or an exact refusal.

Reading order:

    errors.py                every way of saying no, and the closed list of codes
    identity/verifier.py     from untrusted bytes to a `Principal`: the numbered way of a token
    identity/principal.py    how an id is brought to its one spelling, or refused
    contacts/store.py        what a contact store promises
    contacts/resolver.py     from a `Principal` to one contact: the table of who is who
    contacts/editing.py      what an operator changes in records, whatever the way in
    contacts/                search, merging, csv, database: a folder for each larger part of a record's life
    web/decision.py          the way of a request, whoever carries it
    web/express.py           the short way for what needs no waiting
    web/admin/               the Contacts API, one file a noun, and its OpenAPI document
    settings/, trust.py      what can be configured, and whom that makes us trust
    app.py, reloading.py     the wiring; how it follows its configuration without a restart
    serving.py, process.py, supervisor.py    the processes
    checking/                what is looked at in a gateway in staging, and in the installation on this machine
    cli/                     the commands, one file per group
    identity/broken/         what must be refused; testing.py, pytest_plugin.py: for other people's tests

Key material has a package of its own beside this one: `keys`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import create_authenticator
    from gateway.web.middleware import IdentityMiddleware

__version__ = "0.1.0"
__all__ = ["IdentityMiddleware", "__version__", "create_authenticator"]

_EXPORTS = {"IdentityMiddleware": "gateway.web.middleware", "create_authenticator": "gateway.app"}


def __getattr__(name: str) -> Any:
    """Import what an application needs when it asks for it: the commands start faster without."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
