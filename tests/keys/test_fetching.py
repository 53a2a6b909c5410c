"""Fetching from whoever answers, or does not: real sockets, real TLS, and every way to misbehave that a server has."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys.destinations import Destinations
from keys.errors import FetchFailed, KeysUnavailable
from keys.fetching import Fetcher
from keys.jwks import DOCUMENT_LIMIT
from tests.keys.conformance_key_source import kids
from tests.keys.jwks_server import (
    Behaviour,
    JwksServer,
    chunked_for_ever,
    document,
    drip,
    drip_head,
    endless,
    endless_head,
    gzip_bomb,
    hang,
    jwks,
    padded,
    raw,
    redirect,
    reset,
    running_jwks_server,
    status,
)
from tests.keys.remote_sets import LOOPBACK, WoundClock, remote, settled, signing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = jwks(signing("a"))
BODY = json.dumps(GOOD).encode()


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with running_jwks_server() as running:
        yield running


async def fetched(server: JwksServer, behaviour: Behaviour) -> bytes | None:
    """The body of what a behaviour answers."""
    server.answers["/jwks.json"] = behaviour
    return (await Fetcher(LOOPBACK)(server.url())).body


def answer(head: bytes, body: bytes = BODY) -> Behaviour:
    return raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)


SOUND: dict[str, Behaviour] = {
    "a document": document(GOOD),
    "another type": document(GOOD, **{"content-type": "text/plain"}),
    "no length": answer(b"connection: close\r\n"),
    "chunks": answer(b"transfer-encoding: chunked\r\n", f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"),
    "identity": document(GOOD, **{"content-encoding": "identity"}),
    "an interim answer": raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + BODY),
    "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
}


@pytest.mark.parametrize("kind", SOUND)
async def test_sound_answers_are_taken(server: JwksServer, kind: str) -> None:
    """200 in plain bytes, however it is framed, under whatever type: many servers know none for a key set."""
    assert await fetched(server, SOUND[kind]) == BODY


async def test_the_largest_document(server: JwksServer) -> None:
    """256 KiB to the byte; one byte more is refused, whether its length is declared or not."""
    assert await fetched(server, document(padded(GOOD, DOCUMENT_LIMIT))) == padded(GOOD, DOCUMENT_LIMIT)
    for behaviour in (
        document(padded(GOOD, DOCUMENT_LIMIT + 1)),
        answer(b"connection: close\r\n", padded(GOOD, DOCUMENT_LIMIT + 1)),
    ):
        with pytest.raises(FetchFailed, match="larger than 262144 bytes"):
            await fetched(server, behaviour)


REFUSED: dict[str, tuple[Behaviour, str]] = {
    "no such thing": (status(404), "the answer was 404"),
    "an outage": (status(503), "the answer was 503"),
    "no content": (status(204), "the answer was 204"),
    "partial content": (raw(b"HTTP/1.1 206 P\r\ncontent-length: 2\r\n\r\n{}"), "the answer was 206"),
    "nothing new for nobody": (status(304), "the answer was 304; redirects are not followed"),
    "gzip": (document(GOOD, **{"content-encoding": "gzip"}), "compressed"),
    "brotli": (document(GOOD, **{"content-encoding": "br"}), "compressed"),
    "two codings": (document(GOOD, **{"content-encoding": "identity, gzip"}), "compressed"),
    "a gzip bomb": (gzip_bomb(), "compressed"),
    "endless": (endless, "larger than 262144 bytes"),
    "chunks for ever": (chunked_for_ever, "larger than 262144 bytes"),
    "a declared gigabyte": (answer(b"content-length: 1073741824\r\n"), "larger than 262144 bytes"),
    "headers for ever": (endless_head, "not whole, or not HTTP"),
    "too short": (answer(f"content-length: {len(BODY) + 1}\r\n".encode()), "not whole, or not HTTP"),
    "two lengths": (answer(b"content-length: 5\r\ncontent-length: 6\r\n"), "not whole, or not HTTP"),
    "a length in words": (answer(b"content-length: many\r\n"), "not whole, or not HTTP"),
    "a broken chunk": (answer(b"transfer-encoding: chunked\r\n", b"zz\r\n{}"), "not whole, or not HTTP"),
    "no HTTP at all": (raw(b"\x15\x03\x01\x00\x02\x02\x28"), "not whole, or not HTTP"),
    "HTTP/2 unasked": (raw(b"\0\0\0\4\0\0\0\0\0"), "not whole, or not HTTP"),
    "silence": (raw(b""), "not whole, or not HTTP"),
    "a reset": (reset, "the connection broke"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_unsound_answers_are_failures(server: JwksServer, kind: str) -> None:
    """Each ends in an error that says what happened and nothing of what was sent."""
    behaviour, words = REFUSED[kind]
    with pytest.raises(FetchFailed, match=words) as caught:
        await fetched(server, behaviour)
    assert "127.0.0.1" not in str(caught.value)
    assert server.count() == 1


@pytest.mark.parametrize("kind", ["endless", "chunks for ever", "a gzip bomb", "headers for ever"])
async def test_b11_a_body_without_end_costs_little_memory(server: JwksServer, kind: str) -> None:
    """B11: whatever is sent, less than a few MiB of it is ever held."""
    await fetched(server, SOUND["a document"])  # what is imported and cached once
    tracemalloc.start()
    try:
        with pytest.raises(FetchFailed):
            await fetched(server, REFUSED[kind][0])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a08_a_redirect_is_an_error(server: JwksServer, code: int) -> None:
    """A08: nobody goes where the answer points, be it to the same server, and be there a good set."""
    server.answers["/other"] = document(GOOD)
    with pytest.raises(FetchFailed, match=f"the answer was {code}; redirects are not followed"):
        await fetched(server, status(code, location=server.url("/other")))
    assert [seen.path for seen in server.seen] == ["/jwks.json"]


@pytest.mark.parametrize("behaviour", [hang, drip, drip_head], ids=["hang", "drip", "drip_head"])
async def test_a_slow_answer_is_waited_for_five_seconds_in_all(
    server: JwksServer, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole fetch has a limit, not each byte of it; then it is an outage, and known keys serve on."""
    monkeypatch.setattr("keys.remote.FETCH_SECONDS", 0.5)
    server.publish(signing("a"))
    keys = remote(server, WoundClock())
    await keys.refresh()
    server.answers["/jwks.json"] = behaviour
    with pytest.raises(KeysUnavailable, match="no whole answer within"):
        await keys.seek("b")
    assert kids(keys.find("a")) == ["a"]


async def test_nothing_is_sent_but_the_question(server: JwksServer) -> None:
    """No cookie, no credential, no referrer; what is asked for is plain JSON."""
    await fetched(server, document(GOOD, **{"set-cookie": "a=b"}))
    await fetched(server, document(GOOD))
    for seen in server.seen:
        assert seen.headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept": "application/jwk-set+json, application/json",
            "accept-encoding": "identity",
            "user-agent": "identity-gateway",
        }


async def test_an_ipv6_address_is_named_in_brackets() -> None:
    """RFC 9112 section 3.2: `Host` as it stands in the URL."""
    heads: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + BODY)
        writer.close()

    async with await asyncio.start_server(speak, "::1", 0) as standing:
        port = standing.sockets[0].getsockname()[1]
        assert (await Fetcher(LOOPBACK)(f"http://[::1]:{port}/jwks.json")).body == BODY
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0]


async def test_no_proxy_of_the_environment_is_asked(server: JwksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a connection goes is decided by the configuration alone."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await fetched(server, document(GOOD)) == BODY


# Where connections go.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "0"])
async def test_a09_a_private_address_is_not_asked(server: JwksServer, host: str) -> None:
    """A09: by its number in any spelling, or by a name that leads there: no connection is made at all."""
    with pytest.raises(FetchFailed, match=r"may not be asked|cannot be resolved"):
        await Fetcher(Destinations())(server.url(host=host))
    assert server.seen == []


async def test_a09_the_address_is_checked_at_each_connection(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A09: a name that leads elsewhere the second time (DNS rebinding) is refused the second time."""
    led = iter(["127.0.0.1", "169.254.169.254", "10.0.0.1", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, port, **_: [(socket.AF_INET, 1, 6, "", (next(led), port))])
    server.answers["/jwks.json"] = document(GOOD)
    fetch = Fetcher(LOOPBACK)
    url = server.url(host="rebound.example")
    assert (await fetch(url)).body == BODY
    for _ in range(2):
        with pytest.raises(FetchFailed, match="may not be asked"):
            await fetch(url)
    assert (await fetch(url)).body == BODY
    assert server.count() == 2


async def test_a09_of_several_addresses_only_permitted_ones_are_asked(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a private and a permitted address leads to the permitted one; who refuses gives way to the next."""
    with socket.create_server(("127.0.0.2", 0)) as trap:
        asked = ["10.0.0.1", "127.0.0.3", "127.0.0.1"]
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda _host, port, **_: [(socket.AF_INET, 1, 6, "", (address, port)) for address in asked],
        )
        server.answers["/jwks.json"] = document(GOOD)
        assert (await Fetcher(LOOPBACK)(server.url(host="many.example"))).body == BODY
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


async def test_an_unknown_name_and_a_closed_port() -> None:
    """Both are failures in words."""
    with pytest.raises(FetchFailed, match="cannot be resolved"):
        await Fetcher(LOOPBACK)("http://nobody.invalid/jwks.json")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchFailed, match="no connection can be made"):
        await Fetcher(LOOPBACK)(f"http://127.0.0.1:{port}/jwks.json")


async def test_a_resolver_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs its own issuer a failed fetch; the loop's threads, which others need, stay free."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hanging(*_: Any, **__: Any) -> Any:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    waiting = [asyncio.ensure_future(Fetcher(LOOPBACK)("http://slow.example/")) for _ in range(40)]
    await asyncio.sleep(0.05)
    assert await asyncio.to_thread(lambda: "free") == "free"
    release.set()
    assert all(isinstance(one, FetchFailed) for one in await asyncio.gather(*waiting, return_exceptions=True))


# TLS.


class Authority:
    """A throw-away certificate authority, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, authority=True).public_bytes(Encoding.PEM))

    def server(self, name: str, *, days: int = 1) -> ssl.SSLContext:
        """The context of a server that has this name, or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, name=name, days=days)
        path = self.folder / f"{name}-{days}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        name: str | None = None,
        authority: bool = False,
        days: int = 1,
    ) -> x509.Certificate:
        begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=5)
        end = begin + dt.timedelta(days=5 + days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if name is not None:
            try:
                general: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
            except ValueError:
                general = x509.DNSName(name)
            builder = builder.add_extension(x509.SubjectAlternativeName([general]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_with_a_certificate_of_the_named_authority(authority: Authority) -> None:
    """The name in the URL is the one that the certificate must have, though the connection goes to an address."""
    for name in ("localhost", "127.0.0.1"):
        with running_jwks_server(authority.server(name)) as server:
            server.answers["/jwks.json"] = document(GOOD)
            assert (await Fetcher(LOOPBACK, authority.file)(server.url(host=name))).body == BODY


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("other.example", 1, "the certificate is not accepted: Hostname mismatch"),
        ("localhost", -1, "the certificate is not accepted: certificate has expired"),
    ],
)
async def test_a_certificate_that_does_not_fit(authority: Authority, name: str, days: int, words: str) -> None:
    """Another name, or a past life: nothing is asked of such a server."""
    with running_jwks_server(authority.server(name, days=days)) as server:
        server.answers["/jwks.json"] = document(GOOD)
        with pytest.raises(FetchFailed, match=words):
            await Fetcher(LOOPBACK, authority.file)(server.url(host="localhost"))
        assert server.seen == []


async def test_an_authority_that_nobody_named(authority: Authority, tmp_path: Path) -> None:
    """Without `jwks_ca_file` the machine's own authorities count; verification cannot be turned off."""
    with running_jwks_server(authority.server("localhost")) as server:
        server.answers["/jwks.json"] = document(GOOD)
        with pytest.raises(FetchFailed, match=r"the certificate is not accepted: "):
            await Fetcher(LOOPBACK)(server.url(host="localhost"))
        (tmp_path / "gone.pem").write_text("")
        with pytest.raises(FetchFailed, match="the file of certificate authorities cannot be used"):
            await Fetcher(LOOPBACK, tmp_path / "gone.pem")(server.url(host="localhost"))
        assert server.seen == []


async def test_tls_to_a_server_without_it() -> None:
    """The scheme stays: a server that speaks plainly is not spoken to plainly."""

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed, match=r"no (TLS )?connection can be made"):
            await Fetcher(LOOPBACK)(f"https://127.0.0.1:{port}/jwks.json")


# Discovery.


WELL_KNOWN = "/.well-known/openid-configuration"


async def discovered(server: JwksServer, metadata: Any, clock: WoundClock | None = None) -> Any:
    """A set found through a discovery document; open, and settled."""
    server.answers[WELL_KNOWN] = metadata if callable(metadata) else document(metadata)
    keys = remote(server, clock or WoundClock(), path=None)
    await keys.open()
    await settled(keys)
    return keys


async def test_discovery_finds_the_set(server: JwksServer) -> None:
    """OpenID Connect Discovery: the issuer's document names the set. Once known, the set is asked for by itself."""
    server.publish(signing("a"), path="/somewhere/keys")
    clock = WoundClock()
    keys = await discovered(server, {"issuer": server.url(""), "jwks_uri": server.url("/somewhere/keys")}, clock)
    assert kids(keys.keys) == ["a"]
    assert keys.health().source == server.url(WELL_KNOWN)
    assert await keys.seek("b") == ()
    assert [seen.path for seen in server.seen] == [WELL_KNOWN, "/somewhere/keys", "/somewhere/keys"]
    await clock.wind(keys, 4000)
    assert server.count(WELL_KNOWN) == 2, "once an hour it is looked whether the set has moved"
    await keys.close()


async def test_a_set_that_moves_is_found_again(server: JwksServer) -> None:
    """After a failure the discovery document is read anew, and the ETag of the old place is not taken along."""
    server.publish(signing("a"), path="/old")
    clock = WoundClock()
    keys = await discovered(server, {"issuer": server.url(""), "jwks_uri": server.url("/old")}, clock)
    server.answers["/old"] = status(410)
    server.publish(signing("b"), path="/new")
    server.answers[WELL_KNOWN] = document({"issuer": server.url(""), "jwks_uri": server.url("/new")})
    await clock.wind(keys, 240)
    assert kids(keys.keys) == ["b"]
    assert "if-none-match" not in server.seen[-1].headers
    await keys.close()


async def test_a_set_that_moves_while_its_new_place_is_down(server: JwksServer) -> None:
    """The ETag of the old place never keeps its keys fresh: publishers number their documents, and both have a 1."""
    server.answers["/old"] = document(jwks(signing("withdrawn")))
    clock = WoundClock()
    keys = await discovered(server, {"issuer": server.url(""), "jwks_uri": server.url("/old")}, clock)
    server.answers["/old"] = server.answers["/new"] = status(503)
    server.answers[WELL_KNOWN] = document({"issuer": server.url(""), "jwks_uri": server.url("/new")})
    await clock.wind(keys, 240)
    assert server.count("/new") >= 2
    assert all("if-none-match" not in seen.headers for seen in server.seen if seen.path == "/new")
    server.publish(signing("b"), path="/new")
    await clock.wind(keys, 120)
    assert kids(keys.keys) == ["b"]
    await clock.wind(keys, 240)
    assert "if-none-match" in server.seen[-1].headers
    await keys.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"issuer": "https://evil.example"}, "that of another issuer"),
        ({"issuer": "{issuer}/"}, "that of another issuer"),
        ({"issuer": ["{issuer}"]}, "that of another issuer"),
        ({"issuer": None}, "that of another issuer"),
        ({"jwks_uri": None}, "has no jwks_uri"),
        ({"jwks_uri": ["{issuer}/jwks.json"]}, "has no jwks_uri"),
        ({"jwks_uri": "file:///etc/passwd"}, "the URL begins with https://"),
        ({"jwks_uri": "/jwks.json"}, "the URL begins with https://"),
        ({"jwks_uri": "data:application/json,{}"}, "the URL begins with https://|not a URL"),
        ({"jwks_uri": "http://169.254.169.254/latest"}, "http is for a loopback address"),
        ({"jwks_uri": "https://user:word@login.example/"}, "holds credentials"),
        ({"jwks_uri": "https://10.0.0.1/jwks.json"}, "may not be asked"),
        ({"jwks_uri": "https://[::ffff:169.254.169.254]/"}, "may not be asked"),
    ],
    ids=str,
)
async def test_a_discovery_document_is_believed_about_its_own_issuer_alone(
    server: JwksServer, change: dict[str, Any], words: str
) -> None:
    """A07, A09, A14: `issuer` is the configured one, exactly; `jwks_uri` passes every check of a configured URL."""
    server.publish(signing("a"))
    filled = json.loads(json.dumps(change).replace("{issuer}", server.url("")))
    keys = await discovered(server, {"issuer": server.url(""), "jwks_uri": server.url(), **filled})
    assert keys.keys == ()
    with pytest.raises(KeysUnavailable, match=words):
        await keys.seek("a")
    assert "word@" not in str(keys.health().error)
    assert server.count() == 0
    await keys.close()


NO_METADATA: dict[str, Behaviour] = {
    "a page": document(b"<html>"),
    "a list": document(b"[]"),
    "a text": document(b'"text"'),
    "nothing": document(b""),
    "half of it": document(b'{"issuer": 1'),
    "no UTF-8": document(b"\xff"),
    "depth": document(b"[" * 100_000),
    "no such thing": status(404),
    "a redirect": redirect("/other"),
}


@pytest.mark.parametrize("kind", NO_METADATA)
async def test_a_discovery_document_that_is_none(server: JwksServer, kind: str) -> None:
    """An outage in words."""
    keys = await discovered(server, NO_METADATA[kind])
    assert keys.keys == ()
    assert keys.health().error
    assert {seen.path for seen in server.seen} == {WELL_KNOWN}
    await keys.close()
