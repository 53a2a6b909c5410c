"""`[limits]`: what one client of the public listener may take of what belongs to all."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from gateway.settings.fields import Number, Table
from gateway.web.limits.budgets import UNITS, Rate
from gateway.web.limits.client_limits import Rates

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class RateSettings(Table):
    """So many requests at once, and as many again in so many seconds, coming back evenly; `"600/minute"` for short."""

    requests: Annotated[Number, Field(ge=1)]
    seconds: Annotated[Number, Field(ge=1, le=86_400)]

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.requests > self.seconds * UNITS:
            raise ValueError(f"more than {UNITS} requests a second are not counted; leave the limit out")
        return self

    def rate(self) -> Rate:
        """The rate as the web side takes it."""
        return Rate(self.requests, self.seconds)


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([1-9][0-9]{0,9}) ?/ ?(second|minute|hour|day)", value)
    if match is None:
        raise ValueError('not a rate, such as "600/minute"; it is per second, minute, hour or day')
    return {"requests": int(match.group(1)), "seconds": _SECONDS[match.group(2)]}


PerTime = Annotated[RateSettings | None, BeforeValidator(_rate)]


class LimitsSettings(Table):
    """`[limits]`: rates, shared by all workers, and connections of the public listener, for each worker.

    No rate is set unless somebody sets it: what is much for one team is a morning's logins for another, and behind a
    proxy that is not among `trusted_proxies` everybody has one address.
    """

    per_address: PerTime = None
    per_contact: PerTime = None
    per_workspace: PerTime = None
    connections: Annotated[Number, Field(ge=1)] = 10_000
    connections_per_address: Annotated[Number, Field(ge=1)] | None = None

    def described(self, *, by_peer: bool) -> list[str]:
        """What is set, a line each, and whose address counts; `by_peer` when no proxy is trusted."""
        rates = self.rates()
        lines = [
            f"limit: {rate} for each {kind}"
            for kind, rate in (("contact", rates.per_contact), ("workspace", rates.per_workspace))
            if rate is not None
        ]
        if rates.per_address is not None:
            whose = (
                "the peer's: behind a proxy, name it in trusted_proxies" if by_peer else "the client's, as proxies say"
            )
            lines.append(f"limit: {rates.per_address} for each address ({whose})")
        if self.model_fields_set & {"connections", "connections_per_address"}:
            each = "" if self.connections_per_address is None else f", {self.connections_per_address} of each address"
            lines.append(f"limit: {self.connections} connections to each worker{each}")
        return lines

    def rates(self) -> Rates:
        """The rates as the web side takes them."""
        named: dict[str, RateSettings | None] = {
            "per_address": self.per_address,
            "per_contact": self.per_contact,
            "per_workspace": self.per_workspace,
        }
        return Rates(**{name: None if rate is None else rate.rate() for name, rate in named.items()})
