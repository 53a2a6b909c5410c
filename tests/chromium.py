"""A real Chromium without a window, driven by its DevTools protocol: what a page shows, fetches and keeps."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

from tests.programs import needed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

PATIENCE = 60.0
"""Seconds for what comes soon, but on a loaded machine."""


class Browser:
    """One browser. Windows of different profiles share nothing: no cookies, no storage, no history."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._windows: dict[str, Window] = {}

    def window(self, profile: str | None = None) -> Window:
        """An empty window; `profile` is one of `profile()`."""
        named = {} if profile is None else {"browserContextId": profile}
        target = self.call("Target.createTarget", url="about:blank", **named)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        window = self._windows[session] = Window(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            window.call(f"{domain}.enable")
        return window

    def profile(self) -> str:
        """A new profile."""
        return str(self.call("Target.createBrowserContext")["browserContextId"])

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command, take in what happens meanwhile, and return its result."""
        message = {"id": next(self._ids), "method": method, "params": params}
        self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            received = json.loads(self._connection.recv(timeout=PATIENCE))
            if received.get("id") == message["id"]:
                assert "error" not in received, received["error"]
                result: dict[str, Any] = received["result"]
                return result
            if received.get("sessionId") in self._windows:
                self._windows[received["sessionId"]].events.append(received)


class Window:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.events: list[dict[str, Any]] = []
        """Everything that the DevTools protocol told about it."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command about this page."""
        return self._browser.call(method, self._session, **params)

    def go(self, url: str) -> None:
        """Load a page, whole."""
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def back(self) -> None:
        """The button of that name."""
        history = self.call("Page.getNavigationHistory")
        self.call("Page.navigateToHistoryEntry", entryId=history["entries"][history["currentIndex"] - 1]["id"])

    def run(self, script: str) -> Any:
        """The value of an expression; of a promise, when it is kept."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):  # between two pages there is none
                if self.run(script):
                    return
            time.sleep(0.02)
        raise AssertionError(f"it never came: {script}\n{self.text()}")

    def type(self, selector: str, text: str) -> None:
        """Put text where a person would."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click in the middle of something that is seen."""
        box = self.run(f"JSON.stringify(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        place = json.loads(box)
        at = {"x": place["x"] + place["width"] / 2, "y": place["y"] + place["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def text(self) -> str:
        """What can be read."""
        return str(self.run("document.body.innerText"))

    def screenshot(self, file: Path) -> None:
        """A picture of it."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def running_chromium(folder: Path) -> Iterator[Browser]:
    """A browser with nothing in it, for the time of a block."""
    program = needed("chromium", "chromium")
    flags = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=900,760"),
    ]
    process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = folder / "DevToolsActivePort"
        deadline = time.monotonic() + PATIENCE
        while not (told.exists() and told.read_text().count("\n")):
            assert process.poll() is None, "Chromium ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        port, path = told.read_text().split("\n")[:2]
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(timeout=30)
