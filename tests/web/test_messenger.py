"""A messenger behind the gateway, in a real browser: who logs out leaves nothing to who logs in next (C10)."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from msgspec import Struct

from tests.chromium import Browser, Window, running_chromium
from tests.web.conftest import Server, running_app, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[1] / "examples" / "messenger"
SECRETS = ("A's secret about the invoice", "A's second secret, from the other window")


class Messenger(Struct, frozen=True):
    """The example behind a gateway, and a browser."""

    server: Server
    browser: Browser
    conversations: dict[str, list[dict[str, str]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"

    def window(self, profile: str | None = None) -> Window:
        """A window with the page."""
        window = self.browser.window(profile)
        window.go(self.url)
        return window


@pytest.fixture(name="messenger", scope="module", params=["lane", "asgi"])
def _messenger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Messenger]:
    spec = importlib.util.spec_from_file_location("messenger_example", EXAMPLE / "messenger.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder = tmp_path_factory.mktemp("messenger")
    config = uvicorn.Config(example.app, log_config=None, lifespan="off")
    with (
        running_chromium(tmp_path_factory.mktemp("chromium")) as browser,
        running_app(config) as port,
        running_gateway(folder, lane=request.param == "lane", extra=routes(port)) as server,
    ):
        yield Messenger(server, browser, example.conversations)


def routes(port: int) -> str:
    """The routes of the example, to this port."""
    text = (EXAMPLE / "gateway.toml").read_text()
    assert text.count("http://127.0.0.1:9000") == 2
    return text[text.index("[[workspaces.acme.routes]]") :].replace(":9000", f":{port}")


def log_in(window: Window, token: str, user: str) -> None:
    window.type("#token", token)
    window.click("#login button")
    window.until(f"document.getElementById('who').textContent === {json.dumps(user)}")


def log_out(window: Window) -> None:
    window.click("#logout")
    window.until("!document.getElementById('login').hidden")


def say(window: Window, text: str) -> None:
    window.type("#text", text)
    window.click("#say button")
    sees(window, text)


def sees(window: Window, text: str) -> None:
    """Wait until a message is there."""
    window.until(f"[...document.querySelectorAll('li')].some((item) => item.textContent === {json.dumps(text)})")


def messages(window: Window) -> list[str]:
    """The messages that can be read."""
    shown = window.run("JSON.stringify([...document.querySelectorAll('li')].map((item) => item.textContent))")
    return list(json.loads(shown))


def away_and_back(window: Window) -> None:
    """Leave the page, and come back by the button: what the browser kept of it is shown again."""
    before = window.run("location.href")
    window.call("Page.navigate", url="about:blank")
    window.until("location.href === 'about:blank'")
    window.back()
    window.until(f"location.href === {json.dumps(before)} && document.readyState === 'complete'")


def storage(window: Window) -> dict[str, Any]:
    """Everything that a page can leave behind in a browser."""
    script = """(async () => JSON.stringify({
        cookies: document.cookie,
        local: {...localStorage},
        session: {...sessionStorage},
        databases: await indexedDB.databases(),
        caches: self.caches ? await caches.keys() : [],
        workers: navigator.serviceWorker ? (await navigator.serviceWorker.getRegistrations()).length : 0,
        history: history.state,
        fields: [...document.querySelectorAll('input, textarea')].map((field) => field.value),
    }))()"""
    return dict(json.loads(window.run(script)))


EMPTY = {
    "cookies": "",
    "local": {},
    "session": {},
    "databases": [],
    "caches": [],
    "workers": 0,
    "history": None,
    "fields": ["", ""],
}


def test_c10_the_next_one_in_the_same_browser_sees_nothing(messenger: Messenger) -> None:
    """A chats in two windows and logs out; B logs in where A was: page, storage, network and history hold nothing."""
    server = messenger.server
    a, b = server.token("ada", email="ada@example.com"), server.token("bert", email="bert@example.com")
    window, other = messenger.window(), messenger.window(messenger.browser.profile())
    log_in(window, a, "ada")
    say(window, SECRETS[0])
    second = server.token("ada", email="ada@example.com", jti="the other window's")
    log_in(other, second, "ada")
    sees(other, SECRETS[0])
    say(other, SECRETS[1])
    sees(window, SECRETS[1])
    assert messages(window) == messages(other)
    recorded = recorded_requests(window)
    assert recorded["/messenger/login"]["Authorization"] == f"Bearer {a}"
    contact_id = server.login(a).json()["contact"]["id"]
    assert [message["text"] for message in messenger.conversations[contact_id] if message["author"] == "visitor"] == [
        *SECRETS
    ]
    picture(window, "chat")

    log_out(window)
    assert messages(window) == []
    assert storage(window) == EMPTY
    away_and_back(window)
    assert not any(secret in window.text() for secret in SECRETS)

    window.events.clear()
    log_in(window, b, "bert")
    say(window, "B is here")
    assert "ada" not in window.text()
    assert messages(window)[0] == "B is here"
    log_out(window)
    away_and_back(window)
    assert storage(window) == EMPTY
    for told in (json.dumps(window.events, ensure_ascii=False), window.text(), *bodies(window)):
        assert not any(of_a in told for of_a in (*SECRETS, contact_id, "ada@example.com", a, second))
    # The second window of A is A's own, with a token of its own, and is not logged out.
    say(other, "A is still here")
    log_out(other)


def test_c10_a_recorded_request_is_refused_after_logout(messenger: Messenger) -> None:
    """Whatever of A's was recorded, request or socket, is worth nothing when A has logged out."""
    token = messenger.server.token("recorded")
    window = messenger.window()
    log_in(window, token, "recorded")
    say(window, "hello")
    script = (
        f"fetch('/chat/messages', {{headers: {{Authorization: 'Bearer {token}'}}}}).then((answer) => answer.status)"
    )
    assert window.run(script) == 200
    log_out(window)
    assert window.run(script) == 401
    answer = messenger.server.request("GET", "/chat/messages", token)
    assert (answer.status, answer.code) == (401, "token_revoked")
    socket = f"""new Promise((ends) => {{
        const socket = new WebSocket(`ws://${{location.host}}/chat/live`, ["identity", "bearer.{token}"]);
        socket.onopen = () => ends("opened");
        socket.onerror = () => ends("refused");
    }})"""
    assert window.run(socket) == "refused"


def test_a_token_that_is_refused_says_why(messenger: Messenger) -> None:
    window = messenger.window()
    for token, code in (
        (messenger.server.token("late", ttl=-3600, iat=int(time.time()) - 7200), "token_expired"),
        (messenger.server.token("undefined"), "user_id_placeholder"),
        ("not a token", "token_malformed"),
    ):
        window.type("#token", token)
        window.click("#login button")
        window.until(f"document.getElementById('trouble').textContent.includes('({code})')")
        assert "Nobody is logged in" in window.text()
    picture(window, "refused")


@pytest.mark.parametrize("ending", ["expires", "blocked"])
def test_b14_the_page_is_told_when_the_session_ends(messenger: Messenger, ending: str) -> None:
    """And forgets what it showed; a socket that stands is no way to go on."""
    token = messenger.server.token(ending, ttl=10 - 60, iat=int(time.time()) - 120)
    window = messenger.window()
    log_in(window, token, ending)
    say(window, "what nobody shall read afterwards")
    if ending == "blocked":
        contact_id = messenger.server.login(token).json()["contact"]["id"]
        assert messenger.server.admin("POST", f"/contacts/{contact_id}/block").status == 200
    window.until("document.getElementById('trouble').textContent.startsWith('Your session has ended')")
    assert messages(window) == []
    assert storage(window) == EMPTY


def test_the_page_runs_without_a_fault(messenger: Messenger) -> None:
    """Neither its policy nor its script is broken."""
    window = messenger.window()
    log_in(window, messenger.server.token("careful"), "careful")
    say(window, "<img src=x onerror=alert(1)> & 張")
    log_out(window)
    faults = {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}
    entries = [event for event in window.events if event["method"] in faults]
    assert [entry for entry in entries if "favicon" not in json.dumps(entry)] == []


def recorded_requests(window: Window) -> dict[str, dict[str, str]]:
    """The headers of the requests that a window made, by their path."""
    sent = [event["params"]["request"] for event in window.events if event["method"] == "Network.requestWillBeSent"]
    return {"/" + request["url"].split("/", 3)[-1]: request["headers"] for request in sent}


def bodies(window: Window) -> Iterator[str]:
    """The bodies of the answers that a window got."""
    for event in window.events:
        if event["method"] == "Network.loadingFinished":
            with contextlib.suppress(AssertionError):  # of a page that was left the browser keeps none
                yield window.call("Network.getResponseBody", requestId=event["params"]["requestId"])["body"]


def picture(window: Window, name: str) -> None:
    """Keep a picture of the page where somebody asks for it."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        window.screenshot(Path(folder) / f"messenger-{name}.png")
