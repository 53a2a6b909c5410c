"""Rotation under load: `python -m tests.benchmarks.rotation --minutes 30`.

A gateway with two workers trusts an issuer that rotates its key every minute and is down half the time: 30 s up, then
30 s refusing connections, answering 500, or hanging, in turn. People log in all the while with tokens signed by the
key of the moment, most of them new, some a second time; now and then a stranger comes with a kid that nobody has. Every
good token that is not answered 200 is counted, and one is too many: the exit code is 1.

A key is published ahead of its first signature, as `gateway keys rotate` does it, and stays until its tokens are dead.
Ahead is two minutes here: a set that says `max-age=60` is fetched again within 48 s; should the issuer be down by then,
for 30 s, the next try comes at the latest 32 s after the first one that met it up.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.identity.issuing import issue_token
from keys.jwk import SigningKey, generate_signing_key
from tests.web.conftest import free_port, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Server

ROTATION = 60.0
UP = 30.0
AHEAD = 120.0
LIFETIME = 60
LEEWAY = 60
CONNECTIONS = 10
PEOPLE = 500
ISSUER = "https://login.rotating.example"


class Phase(Struct, frozen=True):
    """What the issuer does at a moment."""

    name: str
    is_up: bool


class Schedule(Struct, frozen=True):
    """When which key is published and signs, and when the issuer is down, from `start` on."""

    start: float
    keys: list[tuple[str, dict[str, Any]]]

    def published(self, now: float) -> list[dict[str, Any]]:
        """The JWKs that stand in the set."""
        alive = []
        for number, (_, jwk) in enumerate(self.keys):
            signs_from = self.start + number * ROTATION
            if signs_from - AHEAD <= now < signs_from + ROTATION + LIFETIME + LEEWAY:
                alive.append(jwk)
        return alive

    def signing(self, now: float) -> int:
        """Which key signs."""
        return max(int((now - self.start) // ROTATION), 0)

    def phase(self, now: float) -> Phase:
        """Up for the first half of each minute; down in one of three ways for the second."""
        passed = now - self.start
        if passed < 0 or passed % ROTATION < UP:
            return Phase("up", is_up=True)
        return Phase(("refusing", "500", "hanging")[int(passed // ROTATION) % 3], is_up=False)


class Tally:
    """What one minute saw."""

    def __init__(self) -> None:
        self.good: collections.Counter[str] = collections.Counter()
        self.strangers: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0

    def __str__(self) -> str:
        strangers = ", ".join(f"{code} {count}" for code, count in sorted(self.strangers.items())) or "none"
        refused = ", ".join(f"{code} {count}" for code, count in sorted(self.good.items()) if code != "200")
        words = f"{self.good['200']} good tokens, slowest {self.slowest * 1000:.0f} ms; strangers: {strangers}"
        return f"{words}; REFUSED: {refused}" if refused else words

    @property
    def refused(self) -> int:
        """How many good tokens were not answered 200."""
        return self.good.total() - self.good["200"]


class Load:
    """People who log in, at a steady rate, over connections that stay."""

    def __init__(self, server: Server, schedule: Schedule, signing: list[SigningKey], rate: float) -> None:
        self._server = server
        self._schedule = schedule
        self._signing = signing
        self._interval = CONNECTIONS / rate
        self._lock = threading.Lock()
        self._random = random.SystemRandom()
        self.tallies: dict[int, Tally] = collections.defaultdict(Tally)

    def run(self, until: float) -> list[threading.Thread]:
        """Start; the threads end at that moment."""
        threads = [threading.Thread(target=self._connection, args=(until,)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        return threads

    def told(self, minute: int) -> str:
        """What a minute has seen so far."""
        with self._lock:
            return str(self.tallies[minute])

    def _connection(self, until: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=120)
        last = ""
        while (now := time.time()) < until:
            draw = self._random.random()
            stranger = draw < 0.04
            again = bool(last) and draw > 0.8
            token = last if again else self._token(now, stranger=stranger)
            last = "" if stranger or again else token  # a second time at most: it must not outlive itself
            path = "/messenger/login" if self._random.random() < 0.5 else "/auth/rotating"
            begun = time.perf_counter()
            outcome = self._ask(connection, path, token)
            took = time.perf_counter() - begun
            with self._lock:
                tally = self.tallies[int((now - self._schedule.start) // 60)]
                (tally.strangers if stranger else tally.good)[outcome] += 1
                if not stranger:
                    tally.slowest = max(tally.slowest, took)
            time.sleep(max(self._interval * self._random.uniform(0.5, 1.5) - took, 0))

    def _token(self, now: float, *, stranger: bool) -> str:
        key = self._signing[self._schedule.signing(now)]
        claims = {"iss": ISSUER, "aud": "messenger", "user_id": f"person-{self._random.randrange(PEOPLE)}"}
        header = {"kid": os.urandom(8).hex()} if stranger else None
        return issue_token(claims, key, ttl=LIFETIME, now=now, header=header)

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, path: str, token: str) -> str:
        body = json.dumps({"app_id": "rotating"}) if path == "/messenger/login" else None
        headers = {"Authorization": f"Bearer {token}", **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request("POST" if body else "GET", path, body, headers)
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        if reply.status == 200:
            return "200"
        with contextlib.suppress(ValueError):
            return f"{reply.status} {json.loads(content)['code']}"
        return str(reply.status)


async def _publish(schedule: Schedule, port: int, fetches: Any) -> None:
    """The issuer, until its process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            with fetches.get_lock():
                fetches.value += 1
            now = time.time()
            phase = schedule.phase(now)
            if phase.name == "hanging":
                await asyncio.sleep(60)
            body = json.dumps({"keys": schedule.published(now)}).encode() if phase.is_up else b""
            status = "200 OK" if phase.is_up else "500 Internal Server Error"
            head = f"HTTP/1.1 {status}\r\ncache-control: max-age=60\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()

    listening: asyncio.Server | None = None
    while True:
        refuses = schedule.phase(time.time()).name == "refusing"
        if refuses and listening is not None:
            listening.close()
            listening = None
        elif not refuses and listening is None:
            listening = await asyncio.start_server(answer, "127.0.0.1", port, reuse_address=True)
        await asyncio.sleep(0.1)


def _issuer(schedule: Schedule, port: int, fetches: Any) -> None:
    asyncio.run(_publish(schedule, port, fetches))


@contextlib.contextmanager
def _running_issuer(schedule: Schedule, port: int) -> Iterator[Any]:
    """The issuer in a process of its own; how many requests it got, its own count."""
    context = multiprocessing.get_context("spawn")
    fetches = context.Value("l", 0)
    process = context.Process(target=_issuer, args=(schedule, port, fetches), daemon=True)
    process.start()
    try:
        yield fetches
    finally:
        process.terminate()
        process.join()


def _settings(port: int, folder: Path) -> str:
    return f"""
[keys]
folder = "{folder / "keys"}"
[workspaces.rotating]
[[workspaces.rotating.issuers]]
name = "login"
issuer = "{ISSUER}"
audience = ["messenger"]
algorithms = ["ES256"]
user_id_claim = "user_id"
insecure_jwks_loopback = true
jwks_url = "http://127.0.0.1:{port}/jwks.json"
"""


def _await_ready(server: Server) -> None:
    for _ in range(600):
        if server.request("GET", "/readyz").status == 200:
            return
        time.sleep(0.1)
    raise RuntimeError("the gateway is never ready")


def _wait_until(moment: float) -> float:
    """Wait, and return for how many seconds in all the machine stood still meanwhile (3 s or more at a time).

    A paused machine breaks connections that no gateway could have saved: whoever reads the result should know.
    """
    stood_still = 0.0
    while (now := time.time()) < moment:
        nap = min(0.2, moment - now)
        time.sleep(nap)
        late = time.time() - now - nap
        stood_still += late if late >= 3 else 0
    return stood_still


def main() -> int:
    """Run, print a line a minute, and say in the exit code whether every good token was let in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    options = parser.parse_args()
    signing = [generate_signing_key("ES256") for _ in range(options.minutes + 4)]
    port = free_port()
    schedule = Schedule(time.time() + 15, [(key.kid or "", key.public_jwk()) for key in signing])
    with tempfile.TemporaryDirectory() as name, _running_issuer(schedule, port) as fetches:
        folder = Path(name)
        with running_gateway(folder, workers=2, others=_settings(port, folder)) as server:
            _await_ready(server)
            time.sleep(max(schedule.start - time.time(), 0))
            end = schedule.start + options.minutes * 60
            load = Load(server, schedule, signing, options.rate)
            threads = load.run(end)
            counted = 0
            for minute in range(options.minutes):
                stood_still = _wait_until(schedule.start + (minute + 1) * 60)
                down = schedule.phase(schedule.start + minute * 60 + UP).name
                so_far = fetches.value
                line = f"minute {minute + 1} (then {down}): {load.told(minute)}; {so_far - counted} fetches"
                print(line + (f"; THE MACHINE STOOD STILL for {stood_still:.0f} s" if stood_still else ""), flush=True)
                counted = so_far
            for thread in threads:
                thread.join()
            if server.process.poll() is not None:
                print("the gateway ended")
                return 1
            trouble = [line for line in server.log().splitlines() if '"level": "error"' in line]
    total = Tally()
    for tally in load.tallies.values():
        total.good += tally.good
        total.strangers += tally.strangers
        total.slowest = max(total.slowest, tally.slowest)
    print(f"{options.minutes} minutes, {options.minutes} rotations, the issuer down half the time: {total}")
    print(f"good tokens refused: {total.refused}; errors in the log: {len(trouble)}", *trouble[:5], sep="\n")
    strangers_in = total.strangers["200"]
    return 1 if total.refused or strangers_in or trouble or not total.good["200"] else 0


if __name__ == "__main__":
    sys.exit(main())
