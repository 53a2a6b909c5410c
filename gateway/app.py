"""The wiring: from settings to the two applications, their routes and middleware as visible lists."""

from __future__ import annotations

import asyncio
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
from gateway.contacts.rollout import EnforcementCounter
from gateway.identity.platforms import Platform
from gateway.identity.verifier import TokenVerifier
from gateway.routing import UpstreamPools, create_forwarder, trusted_proxies
from gateway.settings import Settings, load_settings
from gateway.trust import (
    KeySources,
    create_assertions,
    default_workspace,
    enforcement_of,
    id_rules,
    resolution_policies,
    trusted_issuers,
)
from gateway.web.admin.access import AccessTokenMiddleware
from gateway.web.admin.attached_api import AttachedApi
from gateway.web.admin.contacts_api import ContactsApi
from gateway.web.admin.data_attributes_api import DataAttributesApi
from gateway.web.admin.duplicates_api import DuplicatesApi
from gateway.web.admin.endpoints import Shared
from gateway.web.admin.enforcement_api import EnforcementApi
from gateway.web.admin.errors import HANDLERS
from gateway.web.admin.history_api import HistoryApi
from gateway.web.admin.imports_api import ImportsApi
from gateway.web.admin.inspect_api import InspectApi
from gateway.web.admin.lifecycle_api import LifecycleApi
from gateway.web.admin.merge_api import MergeApi
from gateway.web.admin.openapi.document import OpenApi
from gateway.web.admin.rate_limits import RateLimits
from gateway.web.admin.revocations_api import RevocationsApi
from gateway.web.admin.search_api import SearchApi
from gateway.web.admin.visitors_api import VisitorsApi
from gateway.web.assertion import Assertions
from gateway.web.authentication import Authenticator
from gateway.web.carrier import DecisionCarrier, Pivot
from gateway.web.decision import Decision, Ending
from gateway.web.forward_auth import ForwardAuth
from gateway.web.headers import IdentityHeaders
from gateway.web.health import Health
from gateway.web.limits.budgets import Budgets
from gateway.web.limits.client_limits import ClientAddresses, ClientLimits
from gateway.web.limits.connections import Connections
from gateway.web.limits.overload import Overload
from gateway.web.limits.shared_slots import SharedSlots
from gateway.web.logout import Logout
from gateway.web.messenger import Login, Me
from gateway.web.problems import Problems
from gateway.web.proxy.app import ForwardingApp
from gateway.web.proxy.forwarder import Forwarder
from gateway.web.proxy.live import Live
from gateway.web.well_known import WellKnown

if TYPE_CHECKING:
    from gateway.contacts.store import ContactStore


class AdminPart(Protocol):
    """What stands on the admin listener behind access tokens."""

    def routes(self) -> list[Route]:
        """Its addresses, most exact first."""


class Configured(Struct, frozen=True):
    """What one configuration comes to; a reload replaces the whole of it."""

    settings: Settings
    authenticator: Authenticator
    assertions: Assertions | None
    endings: tuple[Ending, ...]
    forwarder: Forwarder | None
    limits: ClientLimits
    addresses: ClientAddresses
    public: ASGIApp
    admin: ASGIApp


class Gateway:
    """Everything that one process serves: the two applications and what they share.

    The applications, the decision, the health and the store are the same objects for the life of the process; what the
    configuration says stands behind them, and `take_over` replaces that. Raises `SettingsInvalid`.

    `slots` are what all processes of one gateway share; without them this one counts for itself.
    """

    def __init__(self, settings: Settings, slots: SharedSlots | None = None) -> None:
        self.slots = slots or SharedSlots()
        self.budgets = Budgets(self.slots)
        self.store = store_for(settings.store.url)
        self.problems = Problems(os.urandom)
        self.overload = Overload(self.problems)
        self.health = Health()
        self.sources = KeySources()
        self.counter = EnforcementCounter(self.store, time.time)
        self.pools = UpstreamPools()
        self.live = Live(lambda: self.decision.forwarder)
        self.configured = now = self._configure(settings)
        self.health.authenticator, self.health.assertions = now.authenticator, now.assertions
        self.decision = Decision(
            now.authenticator, now.endings, self.problems, now.forwarder, now.limits, overload=self.overload
        )
        self.connections = Connections()
        self._bound_connections()
        self.public = DecisionCarrier(now.public, self.decision)
        self.admin = Pivot(now.admin)

    @property
    def authenticator(self) -> Authenticator:
        """The one of today's configuration."""
        return self.configured.authenticator

    async def take_over(self, settings: Settings) -> None:
        """Answer by other settings from the next decision on; those under way end as they began.

        What only a new process can change (`store`, the addresses, the lane, ...) is not looked at. Raises
        `SettingsInvalid` or `Outage` when the settings cannot be used; then everything stays as it was.
        """
        now = None
        try:
            # Off the loop: the keys of a thousand workspaces must not make a login wait.
            now = await asyncio.to_thread(self._configure, settings)
            await now.authenticator.open()
        except BaseException:
            if now is not None:
                now.authenticator.retire()
            await self._settle()
            raise
        # No request can come in between: there is no waiting up to `retire`.
        before, self.configured = self.configured, now
        self.decision.take_over(now.authenticator, now.endings, now.forwarder, now.limits)
        self._bound_connections()
        self.public.app = now.public
        self.admin.app = now.admin
        self.health.authenticator, self.health.assertions = now.authenticator, now.assertions
        before.authenticator.retire()
        await self._settle()

    def _bound_connections(self) -> None:
        now = self.configured
        limits = now.settings.limits
        self.connections.bound(limits.connections, limits.connections_per_address, now.addresses)

    async def _settle(self) -> None:
        """Let go of what outlives a reload and is used by nobody any more."""
        forwarder = self.configured.forwarder
        self.pools.keep(forwarder.routes.all if forwarder else ())
        await self.sources.settle(self.authenticator.verifier.all_issuers)

    def _configure(self, settings: Settings) -> Configured:
        authenticator = create_authenticator(settings, self.store, self.sources, self.counter)
        assertions = create_assertions(settings)
        endings = create_endings(settings, assertions)
        well_known = WellKnown(authenticator.verifier.all_issuers, [] if assertions is None else [assertions.keys])
        public = create_public_app(self.health, well_known, self.problems)
        own = {route.path.encode() for part in (self.health, well_known) for route in part.routes()}
        addresses = ClientAddresses(trusted_proxies(settings))
        limits = ClientLimits(settings.limits.rates(), self.budgets, addresses)
        forwarder = create_forwarder(
            settings,
            authenticator,
            problems=self.problems,
            pools=self.pools,
            live=self.live,
            assertions=assertions,
            reserved=own | {ending.path for ending in endings},
            limits=limits,
            overload=self.overload,
        )
        return Configured(
            settings=settings,
            authenticator=authenticator,
            assertions=assertions,
            endings=endings,
            forwarder=forwarder,
            limits=limits,
            addresses=addresses,
            public=public if forwarder is None else ForwardingApp(public, forwarder),
            admin=create_admin_app(settings, authenticator, self.health, self.slots),
        )


def create_authenticator(
    config: Settings | Path | str,
    store: ContactStore | None = None,
    sources: KeySources | None = None,
    counter: EnforcementCounter | None = None,
) -> Authenticator:
    """The pipeline from token to identity, for settings or for the path of a `gateway.toml`.

    Raises `SettingsInvalid` with every problem of the configuration. The store (that of the settings, unless one is
    given) is opened by `Authenticator.open`, which the middleware calls at the first token. The configuration is read
    once: only `gateway serve` reloads.
    """
    settings = config if isinstance(config, Settings) else load_settings(Path(config), os.environ)
    issuers = trusted_issuers(settings, sources)
    store = store or store_for(settings.store.url)
    return Authenticator(
        verifier=TokenVerifier(issuers, time.time),
        resolver=Resolver(store, resolution_policies(settings), time.time, os.urandom),
        store=store,
        clock=time.time,
        generation=os.urandom(16),
        default_workspace=default_workspace(settings),
        enforcement=enforcement_of(settings, counter or EnforcementCounter(store, time.time)),
    )


def create_endings(settings: Settings, assertions: Assertions | None = None) -> tuple[Ending, ...]:
    """The addresses that the decision answers."""
    identity_headers = IdentityHeaders(settings.public.headers.names())
    return (
        Login(),
        Me(),
        Logout(),
        ForwardAuth(identity_headers, assertions=assertions),
        *(
            ForwardAuth(identity_headers, app_id, platform, assertions)
            for app_id in settings.workspaces
            for platform in (None, *Platform)
        ),
    )


def create_public_app(health: Health, well_known: WellKnown, problems: Problems) -> ASGIApp:
    """The public listener behind the decision's addresses: health, our public keys; nothing else stands there."""
    handlers = {404: problems.not_found, 405: problems.not_found}
    return _exact(Starlette(routes=[*health.routes(), *well_known.routes()], exception_handlers=handlers))


def create_admin_app(
    settings: Settings, authenticator: Authenticator, health: Health, slots: SharedSlots | None = None
) -> ASGIApp:
    """The admin listener: health, and the Contacts API behind access tokens."""
    rules = {app_id: id_rules(settings, app_id) for app_id in settings.workspaces}
    store = authenticator.store
    shared = Shared(store, rules, time.time, os.urandom)
    parts: list[AdminPart] = [  # the first route that fits answers: `/contacts/{contact_id}` stands last
        OpenApi(__version__),
        DataAttributesApi(shared),
        VisitorsApi(shared),
        AttachedApi(shared),
        LifecycleApi(shared),
        DuplicatesApi(shared),
        EnforcementApi(shared, authenticator.enforcement),
        ImportsApi(shared, settings.store.url),
        HistoryApi(shared),
        InspectApi(shared, authenticator.verifier, resolution_policies(settings)),
        MergeApi(shared),
        RevocationsApi(shared, authenticator.verifier),
        SearchApi(shared),
        ContactsApi(shared),
    ]
    routes = [route for part in parts for route in part.routes()]
    protected = _exact(Starlette(routes=routes, exception_handlers=HANDLERS))
    limits = RateLimits(settings.admin.requests_per_minute, time.time, slots)
    guarded = Mount("/", protected, middleware=[Middleware(AccessTokenMiddleware, store=store, limits=limits)])
    return _exact(Starlette(routes=[*health.admin_routes(), guarded], exception_handlers=HANDLERS))


def _exact(app: Starlette) -> Starlette:
    """Without redirects to a path's other spelling: their target would be made of the client's own `Host` (A21)."""
    app.router.redirect_slashes = False
    return app
