"""`gateway config`: is the configuration good, and what does it come to?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.commands import AsJson, Config, examples, group
from gateway.cli.configuration import settings_for
from gateway.cli.output import FOUND_WANTING, complain, say, say_json
from gateway.errors import SettingsInvalid
from gateway.routing import UpstreamPools, create_routes
from gateway.settings import masked, place
from gateway.trust import create_assertions, enforcement_of, trusted_issuers
from gateway.web.enforcement import Mode
from gateway.web.proxy.route import Access

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.web.proxy.route import Route
    from keys.keyset import KeySource

app = group()


@app.command(epilog=examples("gateway config check", "gateway config check --config gateway.toml --json"))
def check(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """Name every problem of the configuration, key material included. Exit code 1 when there is one."""
    try:
        settings = settings_for(config)
        issuers = trusted_issuers(settings)
        assertions = create_assertions(settings)
        routes = create_routes(settings, UpstreamPools())
    except SettingsInvalid as error:
        if as_json:
            say_json({"ok": False, "problems": list(error.problems)})
        else:
            complain(*(f"error: {problem}" for problem in error.problems))
            complain(f"hint: {len(error.problems)} to mend before the gateway starts")
        raise typer.Exit(FOUND_WANTING) from None
    found = [
        {
            "workspace": issuer.workspace,
            "name": issuer.name,
            "algorithms": list(issuer.algorithms),
            "keys": [key.kid for key in issuer.keys.keys],
            "source": issuer.keys.health().source,
        }
        for issuer in issuers
    ]
    enforcement = enforcement_of(settings)
    lenient = enforcement.lenient()
    ways = [_way(route, enforcement.mode(route.workspace, route.platform)) for route in routes]
    if as_json:
        said = {"issuers": found, "not_enforced": lenient, "routes": ways, "limits": settings.limits.model_dump()}
        say_json({"ok": True, "problems": [], **said})
        return
    for issuer in issuers:
        say(f"{issuer.workspace}: trusts {issuer.name}: {', '.join(issuer.algorithms)}, {_keys(issuer.keys)}")
    if assertions is not None:
        say(f"asserts identities to upstreams: {_keys(assertions.keys)}")
    for one in lenient:
        say(f"not enforced: {one}; who is not proven passes there as nobody")
    for way in ways:
        say(f"{way['workspace']}: {way['host'] or ''}{way['prefix']} -> {', '.join(way['upstreams'])}: {way['asks']}")
    say(*settings.limits.described(by_peer=not settings.public.trusted_proxies))
    say("the configuration is good")


@app.command(epilog=examples("gateway config show", "GATEWAY_WORKERS=2 gateway config show --json"))
def show(config: Config = None, as_json: AsJson = False) -> None:  # noqa: FBT002 - an option's default
    """Print the effective settings, file and environment together, secrets masked."""
    shown = masked(settings_for(config))
    if as_json:
        say_json(shown)
    else:
        say(*_lines(shown, ()))


def _way(route: Route, mode: Mode) -> dict[str, Any]:
    """A route, and what it really asks of whoever comes (advisory B23)."""
    if route.access is Access.PUBLIC:
        asks = "asks for nothing; everybody passes as nobody"
    elif mode is not Mode.ON:
        asks = f"looks at a token; without a good one everybody passes as nobody (enforcement: {mode})"
    elif route.access is Access.OPTIONAL:
        asks = "looks at a token; without one everybody passes as nobody"
    else:
        asks = "asks for a token"
    return {
        "workspace": route.workspace,
        "host": None if route.host is None else route.host.decode(),
        "prefix": route.prefix.decode(),
        "upstreams": [str(address) for address in route.upstreams.addresses],
        "access": route.access,
        "enforcement": mode,
        "asks": asks,
    }


def _keys(keys: KeySource) -> str:
    """How many there are, or who publishes them: nothing is fetched to check a configuration."""
    source, count = keys.health().source, len(keys.keys)
    return f"keys published at {source}" if "://" in source else f"{count} key{'s' if count != 1 else ''}"


def _lines(value: Any, location: tuple[int | str, ...]) -> Iterator[str]:
    """A line per value: its place and its value as JSON; what is not set is left out."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _lines(one, (*location, key))
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for index, one in enumerate(value):
            yield from _lines(one, (*location, index))
    elif value is not None and value != []:
        yield f"{place(location)} = {json.dumps(value, ensure_ascii=False)}"
