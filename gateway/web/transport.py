"""Step 1 of the way of a request: what HTTP brings, checked before anything is believed of it.

The parsers are no safety net: httptools takes a header of 1 MB and two `Host` lines, h11 takes neither (facts:
peers 0.10). So size, `Host` and credentials are counted here, for both carriers alike. Every way of naming a token is
read in one place, and two of them in one request are refused, never ranked (RFC 6750 section 2, R22).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.errors import Code, Refusal

HEADERS_LIMIT = 32 * 1024
FIELDS_LIMIT = 256
"""How many fields a head may have: each costs work, however short it is."""

BODY_LIMIT = 64 * 1024
_HOST_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"


class Request(Struct, frozen=True):
    """One request as a carrier hands it over. Header names are in lower case; `path` is as sent, without its query.

    `client` is the address of the peer; None is a Unix socket.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""
    client: str | None = None


class Head(Struct, frozen=True):
    """What the headers say: the one credential, if there is one, and the type of the body."""

    authorization: bytes | None
    content_type: bytes

    @property
    def token(self) -> bytes | None:
        """The bearer token, if there is one; raises `Refusal(token_malformed)` for what begins like one and is none."""
        return None if self.authorization is None else _bearer(self.authorization)


class Answer:
    """One response: status, headers without `content-length`, body. Carriers may keep its rendered form.

    Whoever kept an answer asks `holds` before it is given again; None is one that never goes bad.
    """

    __slots__ = ("body", "headers", "holds", "rendered", "status")

    def __init__(
        self,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...],
        body: bytes = b"",
        holds: Callable[[], bool] | None = None,
    ) -> None:
        self.status = status
        self.headers = (*headers, (b"content-length", b"%d" % len(body)))
        self.body = body
        self.holds = holds
        self.rendered: bytes | None = None


def read_head(headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Check size, `Host` and credentials of the headers in one pass.

    Raises `Refusal`: payload_too_large, request_invalid, credentials_conflict.
    """
    if len(headers) > FIELDS_LIMIT:
        raise Refusal(Code.PAYLOAD_TOO_LARGE, f"the head has more than {FIELDS_LIMIT} fields")
    size = 0
    hosts = 0
    authorization: bytes | None = None
    content_type = b""
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"authorization":
            if authorization is not None:
                raise Refusal(Code.CREDENTIALS_CONFLICT, "two Authorization headers", field="authorization")
            authorization = value
        elif name == b"host":
            hosts += 1
            if hosts > 1 or value.translate(None, _HOST_BYTES):
                raise Refusal(Code.REQUEST_INVALID, "two Host headers, or one that is no host", field="host")
        elif name == b"content-type":
            content_type = value
    if size > HEADERS_LIMIT:
        raise Refusal(Code.PAYLOAD_TOO_LARGE, f"the headers take more than {HEADERS_LIMIT} bytes")
    return Head(authorization, content_type)


def framing_is_doubtful(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether two parsers could see two ends of the body (A26, RFC 9112 section 6.3).

    httptools takes `gzip, chunked` for chunks, h11 takes a length beside them. Then nothing that follows on the
    connection is known to be a request.
    """
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings:
        return bool(lengths) or len(codings) > 1 or codings[0].lower() != b"chunked"
    return len(lengths) > 1 or not all(value.isdigit() for value in lengths)


def one_token(*tokens: bytes | None) -> bytes:
    """The one token of a request; `credentials_missing` for none, `credentials_conflict` for two that differ."""
    presented = {token for token in tokens if token is not None}
    if not presented:
        raise Refusal(Code.CREDENTIALS_MISSING, "no token was presented")
    if len(presented) > 1:
        raise Refusal(Code.CREDENTIALS_CONFLICT, "two different tokens in one request")
    return presented.pop()


def _bearer(authorization: bytes) -> bytes | None:
    """The token of an `Authorization` header; None for another scheme, which is not ours to judge."""
    if authorization[:6].lower() != b"bearer":
        return None
    # Whatever begins like the scheme is a credential: a tab or a quote must not make it nobody's (advisory B18).
    token = authorization[6:].strip(b" ")
    if not token or authorization[6:7] != b" ":
        raise Refusal(Code.TOKEN_MALFORMED, "the Bearer scheme without a token", field="authorization")
    return token
