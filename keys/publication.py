"""Where an issuer publishes its set, and the set's document as it is there now.

The address is configured, or it stands in the discovery document of the issuer (OpenID Connect Discovery 1.0), which
must be the document of that very issuer and may name no address that could not have been configured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from keys.destinations import checked_url, shown_url
from keys.errors import FetchFailed, KeyMaterialError
from keys.jwks import strict_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keys.fetching import Document

DISCOVERY_SECONDS = 3600.0
"""How long it is believed that the set stands where the discovery document said, while it is found there."""

_WELL_KNOWN = "/.well-known/openid-configuration"


class Fetch(Protocol):
    """How a document is fetched: `keys.fetching.Fetcher`."""

    def __call__(self, url: str, etag: str | None = None) -> Awaitable[Document]:
        """The document; raises `FetchFailed`."""


class Publisher(Struct, frozen=True):
    """Who publishes a set: the `issuer`, at `jwks_url`, or where its discovery document says when that is None.

    `name` is for people; `loopback_http` lets plain http to this machine pass.
    """

    name: str
    issuer: str | None
    jwks_url: str | None = None
    loopback_http: bool = False

    @property
    def url(self) -> str:
        """What is configured: the set's address, or the discovery document's (Discovery 1.0 section 4.1)."""
        return self.jwks_url or (self.issuer or "").removesuffix("/") + _WELL_KNOWN


class Held(Struct, frozen=True):
    """A state of a document that somebody holds: where it stood, and its ETag, which means nothing elsewhere."""

    url: str
    etag: str


class Publication:
    """The set of one publisher on the network. `now` is a monotonic clock in seconds."""

    def __init__(self, publisher: Publisher, fetch: Fetch, now: Callable[[], float]) -> None:
        self._publisher = publisher
        self._fetch = fetch
        self._now = now
        self._jwks_url = publisher.jwks_url
        self._discovered_at = -math.inf

    @property
    def shown(self) -> str:
        """Its address for people."""
        return shown_url(self._publisher.url)

    async def fetch(self, held: Held | None, *, failed_before: bool) -> tuple[Document, Held | None]:
        """The document as it is now, and what can be said of it the next time; raises `FetchFailed`.

        After a failure it is asked anew where it stands.
        """
        known_until = self._discovered_at + DISCOVERY_SECONDS
        if self._publisher.jwks_url is None and (failed_before or self._now() >= known_until):
            self._jwks_url = await self._discover()
            self._discovered_at = self._now()
        url = self._jwks_url or ""
        document = await self._fetch(url, held.etag if held is not None and held.url == url else None)
        return document, None if document.etag is None else Held(url, document.etag)

    async def _discover(self) -> str:
        document = await self._fetch(self._publisher.url)
        try:
            found = strict_json(document.body or b"")
        except KeyMaterialError as error:
            raise FetchFailed(f"the discovery document is {error}") from None
        if not isinstance(found, dict) or found.get("issuer") != self._publisher.issuer:
            raise FetchFailed("the discovery document is that of another issuer")
        url = found.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFailed("the discovery document has no jwks_uri")
        try:
            return checked_url(url, loopback_http=self._publisher.loopback_http)
        except KeyMaterialError as error:
            raise FetchFailed(f"the jwks_uri of the discovery document cannot be used: {error}") from None
