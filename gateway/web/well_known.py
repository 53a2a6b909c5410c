"""What we publish about our own keys: the key set, and the discovery document of the local issuer.

Whoever verifies tokens of ours reads them with an ordinary OpenID Connect library: RFC 7517 for the set, OpenID Connect
Discovery 1.0 section 4.2 for the document. Only public members leave, and of asymmetric keyrings alone (R11).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from keys.jwk import HMAC
from keys.keyring_source import KeyringSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from gateway.identity.issuer import TrustedIssuer

KEY_SET = "/.well-known/jwks.json"
DISCOVERY = "/.well-known/openid-configuration"
MAX_AGE = 60
"""Seconds for which a reader may keep a copy: far less than a rotation publishes a key ahead of its first signature."""


class WellKnown:
    """The two documents, for the issuers of one configuration and any other keyrings of ours."""

    def __init__(self, issuers: Iterable[TrustedIssuer], others: Sequence[KeyringSource] = ()) -> None:
        own = [
            (one, one.keys)
            for one in issuers
            if isinstance(one.keys, KeyringSource) and HMAC.isdisjoint(one.algorithms)
        ]
        self._issuers = [issuer for issuer, _ in own]
        self._sources = [*(source for _, source in own), *others]

    def routes(self) -> list[Route]:
        """Both addresses; a document that there is not is a 404, as any address at which there is nothing."""
        return [Route(KEY_SET, self.key_set, methods=["GET"]), Route(DISCOVERY, self.discovery, methods=["GET"])]

    async def key_set(self, request: Request) -> Response:
        """The public keys that verify now, each once."""
        if not self._sources:
            raise HTTPException(404)
        jwks = {jwk["kid"]: jwk for source in self._sources for jwk in source.public_jwks()["keys"]}
        return _document(request, {"keys": list(jwks.values())}, "application/jwk-set+json")

    async def discovery(self, request: Request) -> Response:
        """Where the keys of our issuer stand; there is none to tell about when we are several, or no URL."""
        own = {issuer.issuer: issuer for issuer in self._issuers}
        if len(own) != 1:
            raise HTTPException(404)
        ((name, issuer),) = own.items()
        if name is None or not _is_issuer_url(name):
            raise HTTPException(404)
        metadata = {
            "issuer": name,
            "jwks_uri": name.rstrip("/") + KEY_SET,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(issuer.algorithms),
        }
        return _document(request, metadata, "application/json")


def _is_issuer_url(text: str) -> bool:
    """Whether an `iss` can be the beginning of an address (OpenID Connect Discovery 1.0 section 3)."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and not parts.query and not parts.fragment


def _document(request: Request, content: Any, media_type: str) -> Response:
    """A public document, or 304 for whoever has it already (RFC 9110 section 13.1.2)."""
    body = msgspec.json.encode(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": f"public, max-age={MAX_AGE}", "access-control-allow-origin": "*"}
    held = [one.strip().removeprefix("W/") for one in ",".join(request.headers.getlist("if-none-match")).split(",")]
    if tag in held or "*" in held:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
