"""Fetching a document over HTTP from somebody who may be hostile, broken or slow (T4, R39).

Imported where it is first needed: a gateway that fetches nothing does not pay for an HTTP client.

* Where a connection goes is decided here, not in the library: the name is resolved, each address is checked, and the
  connection goes to an address that passed, at every connection anew (A09). The certificate is that of the name.
* No redirect is followed (A08), no proxy of the environment is asked, no cookie is kept, no connection is used twice.
* Only a 200 in plain bytes of at most 256 KiB is an answer (B11); a compressed one is refused unread, for its size
  would be known too late. The caller bounds the time of it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import httpcore2
from msgspec import Struct

from keys.errors import FetchFailed
from keys.jwks import DOCUMENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from httpcore2 import SOCKET_OPTION

    from keys.destinations import Address, Destinations

T = TypeVar("T")

CONNECT_SECONDS = 2.0
"""How long one of several addresses is waited for, so that the next one has its chance within the caller's time."""

_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{0,250}"')
_AGENT = "identity-gateway"


class Document(Struct, frozen=True):
    """An answer: the body (None when it has not changed since `etag`), and for how many seconds it says it is fresh."""

    body: bytes | None
    etag: str | None = None
    fresh_for: float | None = None


class Fetcher:
    """Fetches documents; `ca_file` replaces the machine's certificate authorities."""

    def __init__(self, destinations: Destinations, ca_file: Path | None = None) -> None:
        self._destinations = destinations
        self._ca_file = ca_file

    async def __call__(self, url: str, etag: str | None = None) -> Document:
        """The document at a URL that was checked by `checked_url`; raises `FetchFailed`."""
        context = None
        if url.startswith("https:"):
            context = await _in_a_thread(self._trusting)  # reading the authorities takes as long as many logins
        backend = _CheckedBackend(self._destinations, secure=context is not None)
        host = urlsplit(url).netloc  # the library would leave out the brackets of an IPv6 address
        asked = {"Host": host, "Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        asked |= {"User-Agent": _AGENT, **({"If-None-Match": etag} if etag else {})}
        pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=backend, max_connections=1)
        try:
            async with pool, pool.stream("GET", url, headers=list(asked.items())) as response:
                headers = _headers(response.headers)
                if response.status == 304 and etag:
                    return Document(None, etag, _fresh_for(headers))
                _check_head(response.status, headers)
                body = bytearray()
                async for chunk in response.aiter_stream():
                    body += chunk
                    if len(body) > DOCUMENT_LIMIT:
                        raise FetchFailed(f"the answer is larger than {DOCUMENT_LIMIT} bytes")
        except _FAILURES as error:
            raise FetchFailed(_words(error)) from None  # its text may quote the answer or the URL
        sent = headers.get("etag", "")
        return Document(bytes(body), sent if _ETAG.fullmatch(sent) else None, _fresh_for(headers))

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ValueError):
            raise FetchFailed("the file of certificate authorities cannot be used") from None


class _CheckedBackend(httpcore2.AnyIOBackend):
    """Connects to addresses that may be asked, and to no others."""

    def __init__(self, destinations: Destinations, *, secure: bool) -> None:
        self._destinations = destinations
        self._secure = secure

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect to what was checked; each permitted address has its turn."""
        found = await _addresses(host, port)
        permitted = [one for one in found if self._destinations.permits(one, secure=self._secure)]
        if not permitted:
            raise FetchFailed("the name leads to an address that may not be asked (private, local or special)")
        failure: Exception = httpcore2.ConnectError()
        for address in permitted:
            try:
                return await super().connect_tcp(
                    str(address), port, timeout or CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


async def _addresses(host: str, port: int) -> list[Address]:
    """What a name leads to, in the system's order, each once."""

    def resolve() -> list[Address]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchFailed("the name cannot be resolved") from None
        texts = dict.fromkeys(str(place[0]) for *_, place in found)
        return [ipaddress.ip_address(text) for text in texts]

    return await _in_a_thread(resolve)


async def _in_a_thread(work: Callable[[], T]) -> T:
    """The result of work that blocks, in a thread that nobody waits for at the end.

    A resolver that hangs holds a thread of the loop's own pool until it gives up, half a minute long, and with it the
    stop of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # there is a result where there is no error
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as failed:  # noqa: BLE001 - it belongs to whoever waits
            error = failed
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, daemon=True, name="fetching").start()
    return await future


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their lower-case name; what is sent twice is joined, as RFC 9110 section 5.3 has it."""
    joined: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _check_head(status: int, headers: Mapping[str, str]) -> None:
    if 300 <= status < 400:
        raise FetchFailed(f"the answer was {status}; redirects are not followed")
    if status != 200:
        raise FetchFailed(f"the answer was {status}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("the answer is compressed, which nobody asked for")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > DOCUMENT_LIMIT:
        raise FetchFailed(f"the answer is larger than {DOCUMENT_LIMIT} bytes")


def _fresh_for(headers: Mapping[str, str]) -> float | None:
    """Seconds for which an answer says that it is fresh (RFC 9111 section 4.2); None when it does not say."""
    directives = {}
    for directive in headers.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        directives[name] = value.strip('"')
    if directives.keys() & {"no-store", "no-cache"}:
        return 0
    longest, age = directives.get("max-age", ""), headers.get("age", "0")
    if not re.fullmatch("[0-9]{1,15}", longest):
        return None
    return int(longest) - (int(age) if re.fullmatch("[0-9]{1,15}", age) else 0)


_FAILURES = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
    OSError,
)


def _words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection can be made"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpcore2.ConnectError):
        return "no connection can be made"
    if isinstance(error, httpcore2.ProtocolError):
        return "the answer is not whole, or not HTTP"
    return "the connection broke"
