"""The settings of a route of the reverse proxy."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path  # noqa: TC003 - a field's type, read at run time
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from gateway.errors import Refusal
from gateway.identity.platforms import Platform  # noqa: TC001 - as above
from gateway.settings.fields import Number, Table, Text, one_is_a_list
from gateway.web.proxy.route import Access
from gateway.web.proxy.target import check_path
from gateway.web.proxy.upstreams import Address, Limits

_UPSTREAM = re.compile(
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?"
)


def _prefix(value: str) -> str:
    try:
        check_path(value.encode())
    except Refusal:
        raise ValueError("not a path in its one spelling, such as /chat/") from None
    if not value.endswith("/"):
        raise ValueError("a prefix ends with a slash: it matches whole segments")
    return value


def _url(value: str) -> str:
    try:
        fit = _UPSTREAM.fullmatch(value) and urlsplit(value).port != 0
    except ValueError:  # of a port, or of an address
        fit = False
    if not fit:
        raise ValueError("an upstream is http://host:port or https://host:port, without a path")
    return value


def _network(value: object) -> object:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError:
        raise ValueError("not an address or a network, such as 10.0.0.0/8") from None


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]{1,253}", value):
        raise ValueError("an origin is https://host or https://host:port in lower case, without a path")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
Prefix = Annotated[str, AfterValidator(_prefix)]
UpstreamUrl = Annotated[str, AfterValidator(_url)]
Network = Annotated[str, BeforeValidator(_network)]
Seconds = Annotated[Number, Field(gt=0, le=86_400)]


class RouteSettings(Table):
    """`[[workspaces.<app_id>.routes]]`: what goes to which upstream, and who may come. In seconds, and bytes."""

    prefix: Prefix
    host: str | None = None
    upstream: Annotated[tuple[UpstreamUrl, ...], BeforeValidator(one_is_a_list)]
    access: Access = Access.REQUIRED
    cookie: str | None = None
    origins: Annotated[tuple[Origin, ...], BeforeValidator(one_is_a_list)] = ()
    platform: Platform | None = None
    keep_token: bool = False
    audience: Text | None = None
    ca_file: Path | None = None
    max_body: Annotated[Number, Field(ge=0)] | None = None
    max_connections: Annotated[Number, Field(ge=1)] = Limits().connections
    connect_timeout: Seconds = int(Limits().connect)
    first_byte_timeout: Seconds = int(Limits().first_byte)
    idle_timeout: Seconds = int(Limits().between_bytes)

    @field_validator("host")
    @classmethod
    def _host(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]", value):
            raise ValueError("a host name in lower case, without a port")
        return value

    @field_validator("upstream")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("a route needs an upstream")
        return value

    @field_validator("audience")
    @classmethod
    def _audience(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("access") is Access.PUBLIC:
            raise ValueError("of a public route nobody's identity is asserted")
        return value

    @field_validator("cookie")
    @classmethod
    def _cookie(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
            raise ValueError("a cookie's name has letters, digits, dashes, dots and underscores")
        if value is not None and info.data.get("access") is Access.PUBLIC:
            raise ValueError("a public route looks at no token")
        return value

    def addresses(self) -> tuple[Address, ...]:
        """Where the upstreams listen."""
        urls = [urlsplit(url) for url in self.upstream]
        ports = {"http": 80, "https": 443}
        return tuple(Address(url.hostname or "", url.port or ports[url.scheme], url.scheme == "https") for url in urls)

    def limits(self) -> Limits:
        """What bounds its connections."""
        return Limits(
            connections=self.max_connections,
            connect=self.connect_timeout,
            first_byte=self.first_byte_timeout,
            between_bytes=self.idle_timeout,
        )
