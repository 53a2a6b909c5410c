"""The wiring: from settings to the two applications, their routes and middleware as visible lists."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from gateway import __version__
from gateway.contacts.database.stores import store_for
from gateway.contacts.resolver import Resolver
from gateway.identity.verifier import TokenVerifier
from gateway.settings import Settings, load_settings
from gateway.trust import id_rules, resolution_policies, trusted_issuers
from gateway.web.admin.access import AccessTokenMiddleware
from gateway.web.admin.attached_api import AttachedApi
from gateway.web.admin.contacts_api import ContactsApi
from gateway.web.admin.data_attributes_api import DataAttributesApi
from gateway.web.admin.duplicates_api import DuplicatesApi
from gateway.web.admin.errors import HANDLERS
from gateway.web.admin.history_api import HistoryApi
from gateway.web.admin.imports_api import ImportsApi
from gateway.web.admin.lifecycle_api import LifecycleApi
from gateway.web.admin.merge_api import MergeApi
from gateway.web.admin.openapi.document import OpenApi
from gateway.web.admin.rate_limits import RateLimits
from gateway.web.admin.search_api import SearchApi
from gateway.web.admin.visitors_api import VisitorsApi
from gateway.web.authentication import Authenticator
from gateway.web.carrier import DecisionCarrier
from gateway.web.decision import Decision
from gateway.web.forward_auth import ForwardAuth
from gateway.web.headers import IdentityHeaders
from gateway.web.health import Health
from gateway.web.messenger import Login, Me
from gateway.web.problems import Problems

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore
    from gateway.web.decision import Ending


class AdminPart(Protocol):
    """What stands on the admin listener behind access tokens."""

    def routes(self) -> list[Route]:
        """Its addresses, most exact first."""


class Gateway(Struct, frozen=True):
    """Everything that one process serves: the two applications and what they share."""

    public: ASGIApp
    admin: ASGIApp
    decision: Decision
    health: Health
    authenticator: Authenticator


def create_authenticator(config: Settings | Path | str) -> Authenticator:
    """The pipeline from token to identity, for settings or for the path of a `gateway.toml`.

    Raises `SettingsInvalid` with every problem of the configuration. The store is opened by `Authenticator.open`, which
    the middleware calls at the first token.
    """
    settings = config if isinstance(config, Settings) else load_settings(Path(config), os.environ)
    issuers = trusted_issuers(settings)
    store = store_for(settings.store.url)
    return Authenticator(
        verifier=TokenVerifier(issuers, time.time),
        resolver=Resolver(store, resolution_policies(settings), time.time, os.urandom),
        store=store,
        clock=time.time,
        generation=os.urandom(16),
        default_workspace=settings.public.default_workspace or _only_one(settings),
    )


def create_gateway(settings: Settings) -> Gateway:
    """Both applications over one pipeline; raises `SettingsInvalid`."""
    authenticator = create_authenticator(settings)
    decision = create_decision(settings, authenticator)
    health = Health(authenticator)
    return Gateway(
        public=create_public_app(decision, health),
        admin=create_admin_app(settings, authenticator.store, health),
        decision=decision,
        health=health,
        authenticator=authenticator,
    )


def create_decision(settings: Settings, authenticator: Authenticator) -> Decision:
    """The addresses that the decision answers."""
    identity_headers = IdentityHeaders(settings.public.headers.names())
    endings: list[Ending] = [
        Login(),
        Me(),
        ForwardAuth(identity_headers),
        *(ForwardAuth(identity_headers, app_id) for app_id in settings.workspaces),
    ]
    return Decision(authenticator, endings, Problems(os.urandom))


def create_public_app(decision: Decision, health: Health) -> ASGIApp:
    """The public listener: the decision's addresses, then health; nothing else stands there."""
    not_found = decision.problems.not_found
    plain = _exact(Starlette(routes=health.routes(), exception_handlers={404: not_found, 405: not_found}))
    return DecisionCarrier(plain, decision)


def create_admin_app(settings: Settings, store: ContactStore, health: Health) -> ASGIApp:
    """The admin listener: health, and the Contacts API behind access tokens."""
    rules = {app_id: id_rules(settings, app_id) for app_id in settings.workspaces}
    shared = (store, rules, time.time, os.urandom)
    parts: list[AdminPart] = [  # the first route that fits answers: `/contacts/{contact_id}` stands last
        OpenApi(__version__),
        DataAttributesApi(*shared),
        VisitorsApi(*shared),
        AttachedApi(*shared),
        LifecycleApi(*shared),
        DuplicatesApi(*shared),
        ImportsApi(*shared, settings.store.url),
        HistoryApi(*shared),
        MergeApi(*shared),
        SearchApi(*shared),
        ContactsApi(*shared),
    ]
    routes = [route for part in parts for route in part.routes()]
    protected = _exact(Starlette(routes=routes, exception_handlers=HANDLERS))
    limits = RateLimits(settings.admin.requests_per_minute, time.time)
    guarded = Mount("/", protected, middleware=[Middleware(AccessTokenMiddleware, store=store, limits=limits)])
    return _exact(Starlette(routes=[*health.routes(), guarded], exception_handlers=HANDLERS))


def _exact(app: Starlette) -> Starlette:
    """Without redirects to a path's other spelling: their target would be made of the client's own `Host` (A21)."""
    app.router.redirect_slashes = False
    return app


def _only_one(settings: Settings) -> str | None:
    return next(iter(settings.workspaces)) if len(settings.workspaces) == 1 else None
