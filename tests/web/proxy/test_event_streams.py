"""Server-sent events through a real gateway: nothing is held back, and no stream outlives its identity (B14)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from gateway.web.proxy import event_stream
from gateway.web.proxy.connection import AnswerHead
from gateway.web.proxy.event_stream import EventStream, is_event_stream, takes_comments
from tests.web.conftest import command
from tests.web.proxy.conftest import CARRIERS, until
from tests.web.proxy.streaming import (
    ENDINGS,
    GATEWAYS,
    LEEWAY,
    PATIENCE,
    Stream,
    Streaming,
    streaming_gateway,
    token_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(name="streaming", scope="module", params=CARRIERS)
def _streaming(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    with streaming_gateway(tmp_path_factory.mktemp("streams"), lane=CARRIERS[request.param]) as streaming:
        yield streaming


@pytest.fixture(name="everywhere", scope="module", params=GATEWAYS)
def _everywhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streaming]:
    """For what one process decides and the other hears."""
    with streaming_gateway(tmp_path_factory.mktemp("streams-everywhere"), **GATEWAYS[request.param]) as streaming:
        yield streaming


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while Stream.opened:
        Stream.opened.pop().close()


def test_an_event_arrives_before_the_next_one_is_sent(streaming: Streaming) -> None:
    """Nothing waits for more: the upstream goes on only when the client has what was sent."""
    events = streaming.streams()
    stream = Stream(streaming.server, streaming.server.token("listener"))
    assert (stream.answer.status, stream.answer.headers["content-type"]) == (200, "text/event-stream")
    for number in range(20):
        events.send(b"data: %d\n\n" % number)
        assert stream.event() == b"data: %d" % number
    for piece in (b"data: in", b" pieces\n", b"\n"):
        events.send(piece)
    assert stream.event() == b"data: in pieces"
    events.send(None)
    assert not stream.is_cut()


def test_an_event_may_be_large(streaming: Streaming) -> None:
    events = streaming.streams()
    stream = Stream(streaming.server, streaming.server.token("listener"))
    for size in (1, 100_000, 5_000_000):
        events.send(b"data: %b\n\n" % (b"x" * size))
        assert stream.event() == b"data: " + b"x" * size


def test_a_client_that_leaves_ends_the_upstreams_side(streaming: Streaming) -> None:
    events = streaming.streams()
    stream = Stream(streaming.server, streaming.server.token("leaver"))
    events.send(b"data: 1\n\n")
    assert stream.event() == b"data: 1"
    stream.close()
    assert events.gone.wait(PATIENCE)


@pytest.mark.parametrize("ending", ENDINGS)
def test_b14_a_stream_ends_with_its_identity(everywhere: Streaming, ending: str) -> None:
    """By whatever ends it, in every worker; the cut is one, and whoever reconnects hears why."""
    everywhere.each_streams()
    token = token_for(everywhere.server, ending, "streaming")
    ends_at = int(time.time()) + 8 - 1
    streams = [Stream(everywhere.server, token) for _ in range(8 if ending != "exp and leeway" else 2)]
    assert [stream.event() for stream in streams] == [b"data: hello"] * len(streams)
    ENDINGS[ending].does(everywhere, token)
    assert all(stream.is_cut() for stream in streams)
    refusal = ENDINGS[ending].refusal
    again = everywhere.server.request("HEAD" if refusal is None else "GET", "/chat/events", token)
    assert (again.status, refusal and again.code) == (refusal or (200, None))
    if ending == "exp and leeway":
        assert time.time() >= ends_at


def test_b14_an_encoded_stream_and_one_with_a_length_end_too(streaming: Streaming) -> None:
    """What no comment can be written into carries an identity all the same."""
    for extra in (b"Content-Encoding: gzip\r\n", b"Content-Length: 1000000\r\n"):
        events = streaming.streams(
            b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream;charset=utf-8\r\n%b\r\n" % extra
        )
        token = streaming.server.token(f"encoded-{len(extra)}")
        stream = Stream(streaming.server, token)
        events.send(b"data: 1\n\n")
        assert stream.event() == b"data: 1"
        ENDINGS["logout"].does(streaming, token)
        assert stream.is_cut()
        assert events.gone.wait(PATIENCE)


def test_others_streams_go_on(streaming: Streaming) -> None:
    """Nobody's stream is asked about, nor anybody else's ended; another token of the same person stands, too."""
    streams = {}
    for who, token, path in (
        ("nobody", None, "/optional-chat/events"),
        ("public", None, "/public-chat/events"),
        ("another", streaming.server.token("stays"), "/chat/events"),
        ("another token", streaming.server.token("goes", jti="second"), "/chat/events"),
        ("goes", streaming.server.token("goes"), "/chat/events"),
    ):
        streams[who] = streaming.streams(), Stream(streaming.server, token, path)
        streams[who][0].send(b"data: 1\n\n")
        assert streams[who][1].event() == b"data: 1"
    ENDINGS["logout"].does(streaming, streaming.server.token("goes"))
    assert streams.pop("goes")[1].is_cut()
    for events, stream in streams.values():
        events.send(b"data: 2\n\n")
        assert stream.event() == b"data: 2"


def test_a_stream_writes_nothing_about_its_person(streaming: Streaming) -> None:
    """Two tokens of one person, with different names: no look writes them in turn, and a correction stands."""
    tokens = [streaming.server.token("named", name=name) for name in ("Old", "New")]
    streams = []
    for token in tokens:
        events = streaming.streams()
        streams.append(Stream(streaming.server, token))
        events.send(b"data: 1\n\n")
        assert streams[-1].event() == b"data: 1"
    contact_id = streaming.contact_id(tokens[0])
    corrected = streaming.server.admin("PUT", f"/contacts/{contact_id}", {"name": "Corrected"}).json()
    last = streaming.server.token("last-look")
    _, stream = streaming.streams(), Stream(streaming.server, last)
    ENDINGS["logout"].does(streaming, last)
    assert stream.is_cut()  # so all were looked at, and asked
    assert streaming.server.admin("GET", f"/contacts/{contact_id}").json()["name"] == "Corrected" == corrected["name"]


def test_a_reload_ends_what_its_issuer_let_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the same settings it ends nothing; with the issuer gone it does."""
    with streaming_gateway(tmp_path_factory.mktemp("reloaded")) as streaming:
        events = streaming.streams()
        stream = Stream(streaming.server, streaming.server.token("reloaded"))
        config = streaming.server.folder / "gateway.toml"
        text = config.read_text()

        def reload(changed: str, times: int) -> None:
            config.write_text(changed)
            os.kill(streaming.server.pid, signal.SIGHUP)
            until(lambda: streaming.server.log().count('"reloaded') >= times)

        reload(text + "\n# the same\n", 0)
        probe = streaming.server.token("probe")
        other, other_stream = streaming.streams(), Stream(streaming.server, probe)
        other.send(b"data: 1\n\n")
        assert other_stream.event() == b"data: 1"
        ENDINGS["logout"].does(streaming, probe)
        assert other_stream.is_cut()
        events.send(b"data: still there\n\n")
        assert stream.event() == b"data: still there"
        without = text[: text.index('[[workspaces.acme.issuers]]\nname = "messenger"')]
        without += text[text.index('[[workspaces.acme.issuers]]\nname = "login"') :]
        reload(without, 0)
        assert stream.is_cut()
        assert events.gone.wait(PATIENCE)
        again = streaming.server.request("GET", "/chat/events", streaming.server.token("reloaded"))
        assert (again.status, again.code) == (401, "issuer_unknown")


def test_no_token_in_the_log(streaming: Streaming) -> None:
    """B12: neither a stream's end nor its refusal says with which token it was."""
    token = streaming.server.token("quiet")
    streaming.each_streams()
    stream = Stream(streaming.server, token)
    ENDINGS["logout"].does(streaming, token)
    assert stream.is_cut()
    assert streaming.server.request("GET", "/chat/events", token).status == 401
    assert not any(part in streaming.server.log() for part in token.split("."))
    assert '"level": "error"' not in streaming.server.log()


def test_a_quiet_stream_is_kept_alive(streaming: Streaming) -> None:
    """With a comment between two events; the half of an event gets none, however long its other half takes."""
    events = streaming.streams()
    quiet = Stream(streaming.server, streaming.server.token("waits"))
    halves = streaming.streams()
    halved = Stream(streaming.server, None, "/optional-chat/events")
    halves.send(b"data: half\n")
    assert quiet.answer.readline() == b":\n"
    halves.send(b"data: whole\n\n")
    assert halved.event() == b"data: half\ndata: whole"
    assert halved.comments == 0
    events.send(b"data: 1\n\n")
    assert (quiet.event(), quiet.event()) == (b"", b"data: 1")


class Commented:
    """A stream of a few milliseconds' patience, and what was written into it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.stream = EventStream(self.written.append)

    def comes(self, chunk: bytes) -> None:
        self.written.append(chunk)
        self.stream.came(chunk)


async def _quiet(commented: Commented, comments: int) -> None:
    """Let it be quiet until so many comments could have been written."""
    for _ in range(comments):
        fired = commented.stream._timer
        while commented.stream._timer is fired:  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.001)


BETWEEN = [b"", b"data: 1\n\n", b"data: 1\r\n\r\n", b"data: 1\r\r", b":\n\n", b"\n\n"]
INSIDE = [b"d", b"data: 1", b"data: 1\n", b"data: 1\r\n", b"data: 1\r\n\r", b"data: 1\n\nid: 2\n", b"data: 1\r"]


@pytest.mark.parametrize("chunk", BETWEEN)
async def test_a_comment_stands_between_events(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet stream is kept alive, again and again, however its lines end and wherever its pieces do."""
    monkeypatch.setattr(event_stream, "COMMENT_SECONDS", 0.005)
    for pieces in ([chunk], [chunk[index : index + 1] for index in range(len(chunk))]):
        commented = Commented()
        for piece in pieces:
            if piece:
                commented.comes(piece)
        came = len(commented.written)
        await _quiet(commented, 3)
        commented.stream.close()
        assert set(commented.written[came:]) == {b":\n\n"}


@pytest.mark.parametrize("chunk", INSIDE)
async def test_no_comment_stands_inside_an_event(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "COMMENT_SECONDS", 0.005)
    commented = Commented()
    commented.comes(chunk)
    await _quiet(commented, 3)
    commented.stream.close()
    assert commented.written == [chunk]


async def test_a_busy_stream_needs_no_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts from the last bytes."""
    monkeypatch.setattr(event_stream, "COMMENT_SECONDS", 3600)
    commented = Commented()
    commented.stream._tick()
    assert commented.written == []
    commented.stream._since -= 3600
    commented.comes(b"data: 1\n\n")
    commented.stream._tick()
    assert commented.written == [b"data: 1\n\n"]
    commented.stream.close()
    assert commented.stream._timer.cancelled()


@pytest.mark.parametrize(
    ("kind", "headers", "length", "comments"),
    [
        ("text/event-stream", [], None, True),
        ("TEXT/event-stream; charset=utf-8", [], None, True),
        ("text/event-stream", [(b"content-encoding", b"gzip")], None, False),
        ("text/event-stream", [], 10, False),
    ],
)
def test_where_a_comment_fits(
    kind: str, headers: list[tuple[bytes, bytes]], length: int | None, comments: bool
) -> None:
    """Never where bytes are counted or encoded: it would be taken for some of them."""
    head = AnswerHead(200, b"OK", [(b"content-type", kind.encode()), *headers], length, has_body=True)
    assert (is_event_stream(head), takes_comments(head)) == (True, comments)


@pytest.mark.parametrize("kind", ["text/event-stream-not", "text/plain", "application/x-ndjson", ""])
def test_what_is_no_stream_of_events(kind: str) -> None:
    assert not is_event_stream(AnswerHead(200, b"OK", [(b"content-type", kind.encode())], None, has_body=True))
    assert not is_event_stream(AnswerHead(204, b"", [(b"content-type", b"text/event-stream")], None, has_body=False))


def test_leeway_is_what_the_gateway_uses(streaming: Streaming) -> None:
    """The tests above count on it."""
    assert f"leeway = {LEEWAY}" in command(streaming.server, "config", "show").replace('"', "")
