"""Overload: refused at once and cheaply, while health is answered; never for a pause that passes by itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from gateway.web.carrier import DecisionCarrier
from gateway.web.decision import Decision
from gateway.web.express import express_protocol
from gateway.web.forward_auth import ForwardAuth
from gateway.web.headers import IdentityHeaders
from gateway.web.limits import overload
from gateway.web.limits.overload import LATE_SECONDS, Overload
from gateway.web.messenger import Me
from gateway.web.problems import Problems
from gateway.web.protocol import StrictProtocol, listener_config
from tests.web.conftest import running_app

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.web.authentication import Authenticator


def test_one_pause_is_no_overload() -> None:
    """A machine that stood still is late once; whoever is late at three looks in a row has too much to do."""
    watch = Overload(Problems(os.urandom))
    for late, sheds in [
        (30.0, False),
        (0.0, False),
        (2.0, False),
        (2.0, False),
        (2.0, True),
        (2.0, True),
        (0.5, False),
    ]:
        watch.noted(late)
        assert watch.sheds is sheds
    assert LATE_SECONDS == 1.0


async def test_a_busy_loop_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that does one long thing after the other."""
    monkeypatch.setattr(overload, "LATE_SECONDS", 0.05)
    monkeypatch.setattr(overload, "LOOK_SECONDS", 0.001)
    watch = Overload(Problems(os.urandom))
    watch.begin()
    for _ in range(10):
        time.sleep(0.06)  # noqa: ASYNC251 - it is what is noticed
        await asyncio.sleep(0)
    assert watch.sheds
    watch.end()
    assert not watch.sheds


def test_a_refusal_costs_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand refusals: one problem body, one line for it, one with their number."""
    watch = Overload(Problems(os.urandom))
    with caplog.at_level("INFO"):
        assert len({id(watch.refusal()) for _ in range(1000)}) == 1
        watch.noted(0.0)
    assert len(caplog.records) == 2
    assert vars(caplog.records[-1])["refused"] == 1000


@pytest.mark.parametrize("lane", [True, False])
def test_an_overloaded_worker_says_so(lane: bool) -> None:
    """503 `overloaded` with Retry-After before any token is looked at; what is no decision is answered as ever."""

    async def healthy(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    authenticator: Authenticator = None  # type: ignore[assignment]  # nobody gets there
    decision = Decision(authenticator, [Me(), ForwardAuth(IdentityHeaders())], Problems(os.urandom))
    decision.overload.sheds = True
    protocol = express_protocol(decision) if lane else StrictProtocol
    with running_app(listener_config(DecisionCarrier(healthy, decision), protocol, drain_seconds=1)) as port:
        for path in ("/messenger/me", "/auth"):
            status, headers, body = _get(port, path)
            assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "overloaded")
            assert headers["content-type"] == "application/problem+json"
        assert _get(port, "/healthz")[0] == 200
        decision.overload.sheds = False
        assert _get(port, "/messenger/me")[0] == 500  # by now it is looked at, by an authenticator that is none


def _get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Connection": "close"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body
