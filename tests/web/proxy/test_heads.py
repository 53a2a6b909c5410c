"""What an upstream receives of a request's head: who is asking, by our word alone, and nothing that could deny it."""

from __future__ import annotations

import base64
import random
import time
from typing import TYPE_CHECKING

import pytest

from gateway.identity.issuing import issue_token
from gateway.web.headers import HeaderNames, reserved_names
from gateway.web.transport import FIELDS_LIMIT
from keys.jwk import generate_signing_key
from tests.web.conftest import running_gateway
from tests.web.proxy.conftest import CARRIERS, OK, Proxied, field, fields_of, routes_to, status
from tests.web.proxy.upstream import saying, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESERVED = reserved_names(HeaderNames())
FORGED = "forged-by-the-client"
ORIGINS = (
    *(
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "X-Original-Host",
        "X-Original-Method",
        "X-Envoy-Original-Path",
    ),
    *("X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Server"),
    *("X_Forwarded_For", "x_forwarded-host", "X.Forwarded.Proto", "X-Real-IP", "X_Real_IP", "X-Client-IP", "Client-IP"),
    *("True-Client-IP", "X-Cluster-Client-IP", "X-Host", "X-HTTP-Host-Override", "X-Scheme", "X-Script-Name"),
    *("Script-Name", "Base-Url", "Request-Uri", "Proxy", "X-Proxy-URL", "X-Accel-Mapping", "X-Sendfile-Type"),
    *("X-Middleware-Subrequest", "X-Url-Scheme", "Front-End-Https", "X_Original_URL", "x.rewrite.url"),
)


def spellings(count: int) -> list[str]:
    """Random spellings of identity headers: case, dashes, underscores and dots."""
    chance = random.Random(0xB01)
    made = []
    for _ in range(count):
        name = chance.choice(RESERVED)
        letters = [chance.choice((one.lower(), one.upper())) for one in name]
        made.append("".join(chance.choice("-_.") if one == "-" else one for one in letters))
    return made


def assert_nothing_forged(proxied: Proxied) -> None:
    """The upstream saw nothing of what the client said of itself."""
    assert FORGED.encode() not in proxied.received()


@pytest.mark.parametrize(
    ("path", "signed_in"),
    [("/chat/x", True), ("/open/x", True), ("/open/x", False), ("/public/x", False), ("/kept/x", True)],
)
def test_b01_no_spelling_of_an_identity_header_arrives(proxied: Proxied, path: str, signed_in: bool) -> None:
    """B01: 1,000 random spellings, 50 a request, also beside their duplicates: only ours arrive, and each once."""
    token = proxied.server.token("ada") if signed_in else None
    made = spellings(1_000)
    for begin in range(0, len(made), 50):
        spelled = [f"{name}: {FORGED}" for name in made[begin : begin + 50]]
        assert status(proxied.ask(f"GET {path}", *spelled, *spelled[:10], token=token)) == 200
        assert_nothing_forged(proxied)
        assert field(proxied.received(), "x-user-id") == ("ada" if signed_in else None)
        assert (field(proxied.received(), "x-contact-id") is not None) == signed_in


def test_r23_no_answer_of_ours_repeats_an_identity_header(proxied: Proxied) -> None:
    """R23: refusals, 404 and errors say nothing of what the client said of itself, and the upstream hears nothing."""
    heard = len(proxied.upstream.heads)
    spelled = [f"{name}: {FORGED}" for name in spellings(60)]
    for line, expected in (("GET /chat/x", 401), ("GET /nowhere", 404), ("GET /chat/../x", 400), ("TRACE /chat/", 400)):
        answer = proxied.ask(line, *spelled)
        assert status(answer) == expected
        assert FORGED.encode() not in answer
    assert len(proxied.upstream.heads) == heard


def test_an_upstreams_identity_headers_go_no_further(proxied: Proxied) -> None:
    """Whoever stands before us takes these headers for ours: an upstream cannot say them either."""
    proxied.answers(b"HTTP/1.1 200 OK\r\nX_User_Id: %b\r\nContent-Length: 2\r\n\r\nok" % FORGED.encode())
    answer = proxied.ask("GET /public/x")
    assert status(answer) == 200
    assert FORGED.encode() not in answer


@pytest.mark.parametrize(
    "connection", ["X-User-Id", "x-contact-id, close", "X-USER-ID", "close,x-user-id , X-Identity-Assertion"]
)
def test_b02_connection_cannot_have_ours_removed(proxied: Proxied, connection: str) -> None:
    """B02: what `Connection` nominates is dropped before ours is put on; `Connection` itself goes no further."""
    head = f"GET /chat/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {proxied.server.token('ada')}\r\n"
    head += (
        f"Connection: {connection}\r\nConnection: X-Custom, CLOSE\r\nx-custom: {FORGED}\r\nX-User-Id: {FORGED}\r\n\r\n"
    )
    assert status(proxied.talk(head.encode())) == 200
    assert field(proxied.received(), "x-user-id") == "ada"
    assert field(proxied.received(), "connection") is None
    assert_nothing_forged(proxied)


def test_fields_of_one_connection_stay_there(proxied: Proxied) -> None:
    """RFC 9110 section 7.6.1, both ways, also where an answer's `Connection` nominates them."""
    names = ("Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade", "keep_alive")
    proxied.answers(
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Hop: 1\r\n"
        b"Connection: x-HOP\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = proxied.ask("GET /public/x", *(f"{name}: {FORGED}" for name in names))
    assert_nothing_forged(proxied)
    got = dict(fields_of(answer))
    assert got["x-end"] == "2"
    assert not {"keep-alive", "proxy-authenticate", "upgrade", "x-hop"} & got.keys()
    assert got["connection"] == "close"  # ours, for the client asked for it


def test_r24_nothing_chooses_another_address(proxied: Proxied) -> None:
    """R24: what some upstream would take for the request's real address, host, scheme or path is not passed on."""
    for path in ("/public/x", "/open/x"):
        assert status(proxied.ask(f"GET {path}", *(f"{name}: {FORGED}" for name in ORIGINS))) == 200
        assert_nothing_forged(proxied)
        assert proxied.received().startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_b03_a_strangers_word_on_its_origin_is_replaced(proxied: Proxied) -> None:
    """B03: from a peer that is not configured, all of it is ours."""
    proxied.ask(
        "GET /public/x",
        *("Host: chat.example:8443", f"X-Forwarded-For: {FORGED}", "X-Forwarded-Proto: https"),
        *(f"X-Forwarded-Host: {FORGED}", f"Forwarded: for={FORGED};proto=https"),
    )
    got = proxied.received()
    assert_nothing_forged(proxied)
    assert field(got, "host") == "chat.example:8443"
    assert field(got, "x-forwarded-for") == "127.0.0.1"
    assert field(got, "x-forwarded-proto") == "http"
    assert field(got, "x-forwarded-host") == "chat.example:8443"
    assert field(got, "forwarded") == 'for="127.0.0.1";host="chat.example:8443";proto=http'


@pytest.fixture(scope="module", params=CARRIERS)
def trusting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A gateway that believes its peer on this machine."""
    folder = tmp_path_factory.mktemp(f"trusting-{request.param}")
    with (
        scripted(saying(OK)) as upstream,
        running_gateway(
            folder,
            lane=CARRIERS[request.param],
            public='trusted_proxies = ["127.0.0.0/8"]',
            extra=routes_to(upstream.url),
        ) as server,
    ):
        yield Proxied(server, upstream, CARRIERS[request.param])


def test_b03_a_trusted_peers_word_is_kept_with_the_peer_at_its_end(trusting: Proxied) -> None:
    """A chain of proxies stays in its order, over several fields; what is no address is `unknown` in `Forwarded`."""
    trusting.ask(
        "GET /public/x",
        *("X-Forwarded-For: 203.0.113.9, 2001:db8::1", "X-Forwarded-For: _hidden", "X-Forwarded-Proto: HTTPS"),
        *("X-Forwarded-Host: shop.example", f"X_Forwarded_For: {FORGED}", f"X-Forwarded-Port: {FORGED}"),
    )
    got = trusting.received()
    assert_nothing_forged(trusting)
    assert field(got, "x-forwarded-for") == "203.0.113.9, 2001:db8::1, _hidden, 127.0.0.1"
    assert field(got, "x-forwarded-proto") == "https"
    assert field(got, "x-forwarded-host") == "shop.example"
    assert field(got, "forwarded") == (
        'for="203.0.113.9", for="[2001:db8::1]", for="unknown", for="127.0.0.1";host="gateway";proto=https'
    )


def test_a_trusted_peer_cannot_name_somebody(trusting: Proxied) -> None:
    """B01 of trusted peers as well: being believed on origins is not being believed on identities."""
    trusting.ask("GET /open/x", *(f"{name}: {FORGED}" for name in spellings(60)))
    assert_nothing_forged(trusting)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_b12_the_token_goes_no_further(proxied: Proxied, scheme: str) -> None:
    """B12: no part of it reaches the upstream, in any case of the scheme, nor the cookie; other cookies stay."""
    token = proxied.server.token("ada")
    cookies = f"Cookie: a=1; session={token};b=2;  c=x=y"
    assert status(proxied.ask("GET /chat/x", f"Authorization: {scheme} {token}", cookies)) == 200
    assert token.encode() not in proxied.received()
    assert field(proxied.received(), "authorization") is None
    assert field(proxied.received(), "cookie") == "a=1; b=2; c=x=y"


def test_b12_a_cookie_that_is_all_there_is_leaves_no_field(proxied: Proxied) -> None:
    """An empty `Cookie` says nothing, so it is not sent; one in the same name but another case is another cookie."""
    token = proxied.server.token("ada")
    assert status(proxied.ask("GET /chat/x", f"Cookie: session={token}")) == 200
    assert field(proxied.received(), "cookie") is None
    assert field(proxied.received(), "x-user-id") == "ada"
    assert status(proxied.ask("GET /open/x", "Cookie: Session=1")) == 200
    assert field(proxied.received(), "cookie") == "Session=1"


def test_b12_a_public_route_looks_at_no_token_and_passes_none_on(proxied: Proxied) -> None:
    """Good or bad, it is not judged, names nobody, and stays here."""
    for token in (proxied.server.token("ada"), "not.a.token"):
        assert status(proxied.ask("GET /public/x", token=token)) == 200
        assert token.encode() not in proxied.received()
        assert field(proxied.received(), "x-user-id") is None


def test_a_route_that_keeps_the_token_passes_it_on(proxied: Proxied) -> None:
    """`keep_token` is for upstreams that verify for themselves."""
    token = proxied.server.token("ada")
    assert status(proxied.ask("GET /kept/x", f"Cookie: session={token}", token=token)) == 200
    assert field(proxied.received(), "authorization") == f"Bearer {token}"
    assert field(proxied.received(), "cookie") == f"session={token}"
    assert field(proxied.received(), "x-user-id") == "ada"


def test_another_scheme_is_not_ours_to_judge(proxied: Proxied) -> None:
    """Basic credentials are the upstream's own business, beside a token in the cookie, too."""
    basic = "Basic " + base64.b64encode(b"ada:secret").decode()
    token = proxied.server.token("ada")
    for path, cookie in (
        ("/open/x", "Cookie: a=1"),
        ("/chat/x", f"Cookie: session={token}"),
        ("/public/x", "Cookie: a=1"),
    ):
        assert status(proxied.ask(f"GET {path}", f"Authorization: {basic}", cookie)) == 200
        assert field(proxied.received(), "authorization") == basic
    assert status(proxied.ask("GET /chat/x", f"Authorization: {basic}")) == 401


@pytest.mark.parametrize("path", ["/chat/x", "/open/x", "/kept/x"])
def test_b08_two_credentials_are_never_ranked(proxied: Proxied, path: str) -> None:
    """B08: a cookie and a Bearer token that differ, or two such cookies, are refused; the same one twice is one."""
    ada, bea = proxied.server.token("ada"), proxied.server.token("bea")
    heard = len(proxied.upstream.heads)
    for fields in (
        (f"Authorization: Bearer {ada}", f"Cookie: session={bea}"),
        (f"Cookie: session={ada}; session={bea}",),
        (f"Cookie: session={ada}", f"Cookie: session={bea}"),
        (f"Authorization: Bearer {ada}", f"Authorization: Bearer {ada}"),
    ):
        answer = proxied.ask(f"GET {path}", *fields)
        assert status(answer) == 400
        assert b"credentials_conflict" in answer
    assert len(proxied.upstream.heads) == heard
    assert status(proxied.ask(f"GET {path}", f"Authorization: Bearer {ada}", f"Cookie: session={ada}")) == 200


@pytest.mark.parametrize("bad", ["expired", "forged", "unknown issuer", "no token", "quoted", "tab", "empty cookie"])
def test_b18_a_bad_token_is_never_nobody(proxied: Proxied, bad: str) -> None:
    """B18: on an optional route, too, what is presented must be good."""
    good = proxied.server.token("ada")
    claims = {"user_id": "ada", "iss": "https://evil.example", "aud": "messenger"}
    stranger = issue_token(claims, generate_signing_key("ES256"), ttl=600, now=time.time())
    fields = {
        "expired": f"Authorization: Bearer {proxied.server.token('ada', ttl=-3600)}",
        "forged": f"Authorization: Bearer {good[:-4]}AAAA",
        "unknown issuer": f"Authorization: Bearer {stranger}",
        "no token": "Authorization: Bearer",
        "quoted": f'Authorization: Bearer "{good}"',
        "tab": f"Authorization: Bearer\t{good}",
        "empty cookie": "Cookie: session=",
    }
    heard = len(proxied.upstream.heads)
    assert status(proxied.ask("GET /open/x", fields[bad])) == 401
    assert len(proxied.upstream.heads) == heard


def test_who_presents_nothing_is_nobody_where_that_is_allowed(proxied: Proxied) -> None:
    """Optional: anonymous passes without any identity header. Required: 401 with a challenge."""
    assert status(proxied.ask("GET /open/x")) == 200
    names = {name for name, _ in fields_of(proxied.received())}
    assert not names & {name.lower() for name in RESERVED}
    answer = proxied.ask("GET /chat/x")
    assert status(answer) == 401
    assert field(answer, "www-authenticate") == 'Bearer realm="identity-gateway"'
    assert field(answer, "cache-control") == "no-store"


def test_many_and_large_fields_pass_as_they_are(proxied: Proxied) -> None:
    """Duplicates stay in order, obs-text stays in its bytes; 30 KiB of fields pass, 33 do not.

    Nor do more fields than there may be.
    """
    many = [f"X-Many: {number}" for number in range(FIELDS_LIMIT - 5)]
    assert (
        status(proxied.ask("GET /public/x", *many, "X-Text: caf\xe9\xff", "Via: 1.1 cdn", f"X-Large: {'a' * 20_000}"))
        == 200
    )
    got = fields_of(proxied.received())
    assert [value for name, value in got if name == "x-many"] == [str(number) for number in range(FIELDS_LIMIT - 5)]
    assert {("x-text", "caf\xe9\xff"), ("via", "1.1 cdn")} <= set(got)
    assert status(proxied.ask("GET /public/x", f"X-Large: {'a' * 33_000}")) == 413
    assert status(proxied.ask("GET /public/x", *many, *many)) == 413


def test_a_roll_out_lets_pass_and_names_nobody(tmp_path: Path) -> None:
    """In `report`, a required route lets pass whom it would refuse, without identity and without the token.

    Who is proven is named as ever, and what no roll-out excuses is refused as ever.
    """
    with (
        scripted(saying(OK)) as upstream,
        running_gateway(
            tmp_path,
            extra='enforcement = { web = "report", ios = "report", android = "report" }' + routes_to(upstream.url),
        ) as server,
    ):
        proxied = Proxied(server, upstream, lane=True)
        bad = server.token("ada")[:-4] + "AAAA"
        for fields in ((), (f"Authorization: Bearer {bad}",)):
            assert status(proxied.ask("GET /chat/x", f"X-User-Id: {FORGED}", *fields)) == 200
            assert field(proxied.received(), "x-user-id") is None
            assert bad.encode() not in proxied.received()
            assert_nothing_forged(proxied)
        assert status(proxied.ask("GET /chat/x", token=server.token("ada"))) == 200
        assert field(proxied.received(), "x-user-id") == "ada"
        assert status(proxied.ask("GET /chat/x", f"Cookie: session={bad}", token=server.token("ada"))) == 400
