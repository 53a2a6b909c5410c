"""A site to check, and one exchange with it. No redirect is followed, nothing is decoded, everything has an end."""

from __future__ import annotations

import re
import ssl
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer that are read."""


_CODE = re.compile(r"[a-z_]{1,40}")


class Unreachable(Exception):
    """No answer came; the message says why."""


class Reply(Struct, frozen=True):
    """An answer; header names in lower case. `sent` and `received` are seconds by this machine's clock."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sent: float
    received: float

    def header(self, name: str) -> str | None:
        """The first header of a name."""
        return next((value for one, value in self.headers if one == name.lower()), None)

    @property
    def members(self) -> dict[str, Any]:
        """The JSON object in the body; empty when there is none."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def member(self, *path: str) -> Any:
        """A member of a member of the body; None where it does not stand."""
        value: Any = self.members
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def code(self) -> str | None:
        """The refusal's code, wherever it stands; nothing that could be a token which a server sends back."""
        code = self.header("x-identity-error") or self.member("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else None

    @property
    def told(self) -> str:
        """The answer in short: its status and its code; never its body, which may say who somebody is."""
        return f"{self.status} {self.code}" if self.code else str(self.status)


class Site:
    """An `http` or `https` URL, under which paths are asked; `ValueError` for what is none."""

    def __init__(self, url: str, *, timeout: float, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("a URL to check is http://host:port or https://host, with nothing behind the path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL to check holds no user and no password")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("a URL to check is in ASCII; a host with other letters has a spelling in it (punycode)")
        self._exact = url
        self._url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.secure = parts.scheme == "https"
        self.timeout = timeout
        self.ca_file = ca_file
        self._pool: Any = None

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Whose certificates are taken: those of the machine, or of `ca_file` alone; `OSError` when it is no such."""
        return ssl.create_default_context(cafile=self.ca_file)

    def __enter__(self) -> Self:
        from httpcore2 import ConnectionPool  # noqa: PLC0415 - only who checks a site needs it

        self._pool = ConnectionPool(ssl_context=self.trust if self.secure else None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: Any = None,
    ) -> Reply:
        """One exchange, the body as JSON; without a path at the very URL. `Unreachable` when none comes in time."""
        import httpcore2  # noqa: PLC0415

        content = None if body is None else msgspec.json.encode(body)
        sent_headers = [("Host", self._authority), ("User-Agent", "gateway-check"), ("Accept", "*/*"), *headers]
        if token is not None:
            sent_headers.append(("Authorization", f"Bearer {token}"))
        if content is not None:
            sent_headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        began, sent = time.monotonic(), time.time()
        limits = dict.fromkeys(("connect", "read", "write", "pool"), self.timeout)
        try:
            with self._pool.stream(
                method,
                f"{self._url}{path}" if path else self._exact,
                headers=sent_headers,
                content=content,
                extensions={"timeout": limits},
            ) as response:
                received = time.time()
                answer = bytearray()
                for chunk in response.iter_stream():
                    answer += chunk
                    if len(answer) > ANSWER_LIMIT or time.monotonic() - began > self.timeout:
                        raise Unreachable("the answer does not end")
        except httpcore2.TimeoutException:
            raise Unreachable(f"no answer within {self.timeout:g} s") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, UnicodeError) as error:
            raise Unreachable(_said(error)) from error
        lower = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers)
        return Reply(response.status, lower, bytes(answer), sent, received)

    @property
    def _authority(self) -> str:
        return urlsplit(self._url).netloc


def _said(error: BaseException) -> str:
    """What the system said, which is more than what the library made of it."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error) or type(error).__name__
