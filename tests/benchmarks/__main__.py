"""`make bench`: the table of what the gateway costs, as ratios within one run.

Rounds of the floor and of the gateway alternate, medians are compared; absolute figures hold for one machine only.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from msgspec import Struct
from msgspec.json import encode
from rich.console import Console
from rich.table import Table

from tests.benchmarks import imports, load, material, proxies, revocation, servers
from tests.benchmarks.postgres import postgres_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

_err = Console(stderr=True)

Contenders = dict[str, tuple[servers.Running, ...]]
"""Ways of which each is measured beside the others: the servers of each by its name."""


class Measure(Struct, frozen=True):
    """One line of the table."""

    name: str
    ratio: float
    reach: str
    reached: bool
    detail: str = ""


class Way(Struct, frozen=True):
    """A way to the upstream: its requests a second, and the CPU seconds that one costs there."""

    per_second: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.per_second:,.0f}/s at {self.seconds * 1e6:.1f} us of CPU"


class Bench:
    """One run: its material, its length, and what it has measured."""

    def __init__(self, made: material.Material, *, seconds: int, rounds: int) -> None:
        self.made = made
        self.seconds = seconds
        self.rounds = rounds
        self.sqlite = f"sqlite:///{made.folder / 'contacts.db'}"
        self.measures: list[Measure] = []

    def note(self, name: str, ratio: float, reach: float, *, at_most: bool = False, detail: str = "") -> None:
        """Keep a measure and say it at once."""
        reached = ratio <= reach if at_most else ratio >= reach
        measure = Measure(name, round(ratio, 3), f"{'<=' if at_most else '>='} {reach}", reached, detail)
        self.measures.append(measure)
        _err.print(f"{measure.name}: {measure.ratio} ({measure.reach}) {detail}")

    @contextlib.contextmanager
    def gateway(
        self, name: str, store: str, *arguments: str, lane: bool = True, more: str = "", core: int = 0
    ) -> Iterator[servers.Running]:
        """A gateway over a store."""
        port = servers.free_port()
        config = self.made.config(name, store, port, servers.free_port(), lane=lane, more=more)
        with servers.gateway(config, port, *arguments, core=None if arguments else core) as running:
            yield running

    def side_by_side(self, contenders: Contenders, path: str) -> dict[str, Way]:
        """Median requests a second and CPU seconds a request of each, from rounds in which they alternate.

        The first server of each is asked; the CPU time of all is counted.
        """
        tokens = self.made.tokens("HS256", 40_000)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        costs: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name, running in contenders.items():
                before = sum(one.cpu_seconds() for one in running)
                rate = load.run(running[0].url, tokens, seconds=self.seconds, path=path, method="GET", session=20)
                if rate.refused:
                    raise RuntimeError(f"{name} refused {rate.refused} requests")
                rates[name].append(rate.per_second)
                costs[name].append(
                    (sum(one.cpu_seconds() for one in running) - before) / (rate.per_second * self.seconds)
                )
        return {name: Way(statistics.median(rates[name]), statistics.median(costs[name])) for name in contenders}

    def against_floor(
        self,
        gateway: AbstractContextManager[servers.Running],
        tokens: Iterable[Path],
        *,
        session: int,
        path: str = "/messenger/login",
        connections: int = 32,
    ) -> tuple[float, float]:
        """Median requests a second of the floor and of the gateway, from alternating rounds."""
        method = "POST" if path == "/messenger/login" else "GET"
        floors: list[float] = []
        rates: list[float] = []
        with servers.floor() as bare, gateway as running:
            for round_tokens in itertools.islice(tokens, self.rounds):
                for url, kept in ((bare.url, floors), (running.url, rates)):
                    rate = load.run(
                        url,
                        round_tokens,
                        seconds=self.seconds,
                        path=path,
                        method=method,
                        session=session,
                        connections=connections,
                    )
                    if rate.refused:
                        raise RuntimeError(f"{rate.refused} requests were refused")
                    kept.append(rate.per_second)
        return statistics.median(floors), statistics.median(rates)


def sessions_and_new_tokens(bench: Bench) -> None:
    """Each token about 20 times, and each token new; with the lane and without."""
    many = itertools.repeat(bench.made.tokens("HS256", 40_000))
    for lane, session_reach, new_reach in ((True, 1.0, 0.6), (False, 0.7, 0.4)):
        way = "lane" if lane else "ASGI"
        for path in ("/messenger/login", "/auth"):
            gateway = bench.gateway("sqlite", bench.sqlite, lane=lane)
            floor, rate = bench.against_floor(gateway, many, session=20, path=path)
            bench.note(f"{path}, session, {way}", rate / floor, session_reach, detail=_rates(floor, rate))
        gateway = bench.gateway("sqlite", bench.sqlite, lane=lane)
        floor, rate = bench.against_floor(gateway, many, session=1)
        bench.note(f"login, HS256, each new, {way}", rate / floor, new_reach, detail=_rates(floor, rate))


def asymmetric(bench: Bench) -> None:
    """Each token new, against the raw verification and the floor's time."""
    for algorithm, reach in (("RS256", 1.6), ("ES256", 1.4)):
        tokens = itertools.repeat(bench.made.tokens(algorithm, 12_000))
        gateway = bench.gateway("sqlite", bench.sqlite)
        floor, rate = bench.against_floor(gateway, tokens, session=1)
        raw = _raw_verify_seconds(algorithm)
        ratio = (1 / rate) / (raw + 1 / floor)
        detail = f"{_rates(floor, rate)}, raw verify {raw * 1e6:.1f} us"
        bench.note(f"login, {algorithm}, each new: time / (raw + floor)", ratio, reach, at_most=True, detail=detail)


def on_postgres(bench: Bench) -> None:
    """The same on PostgreSQL, 64 connections."""
    with postgres_url() as url:
        material.fill(url, bench.made.contacts, _progress)
        tokens = itertools.repeat(bench.made.tokens("HS256", 40_000))
        gateway = bench.gateway("postgres", url)
        floor, rate = bench.against_floor(gateway, tokens, session=1, connections=64)
        bench.note("login, HS256, each new, PostgreSQL", rate / floor, 0.3, detail=_rates(floor, rate))


def first_logins(bench: Bench) -> None:
    """Everybody is new: a durable insert each, 64 connections."""
    count = 15_000 * bench.seconds

    fresh = [bench.made.tokens("HS256", count, first=number, fresh=True) for number in range(bench.rounds)]
    gateway = bench.gateway("sqlite", bench.sqlite)
    floor, rate = bench.against_floor(gateway, fresh, session=1, connections=64)
    bench.note("first login, durable", rate / floor, 0.2, detail=_rates(floor, rate))


def two_workers(bench: Bench) -> None:
    """CPU time a request with two workers, against one."""
    tokens = bench.made.tokens("HS256", 40_000)
    cost = {}
    for workers in (1, 2):
        with bench.gateway("sqlite", bench.sqlite, "--workers", str(workers)) as running:
            before = running.cpu_seconds()
            rate = load.run(
                running.url, tokens, seconds=bench.seconds, path="/messenger/login", method="POST", session=20
            )
            cost[workers] = (running.cpu_seconds() - before) / (rate.per_second * bench.seconds)
    bench.note("CPU a request, two workers / one", cost[2] / cost[1], 1.15, at_most=True)


def cold_start_and_memory(bench: Bench) -> None:
    """From the start of the process to its first answer, and its memory at rest."""
    starts = []
    memory = 0.0
    for _ in range(5):
        with bench.gateway("sqlite", bench.sqlite) as running:
            starts.append(running.seconds_to_first_answer)
            memory = running.resident_mib()
    bench.note("cold start, seconds", statistics.median(starts), 0.6, at_most=True)
    bench.note("memory at rest, MiB", memory, 80, at_most=True)


def growth(bench: Bench) -> None:
    """What a look-up costs in the full store, against one of 10,000 contacts."""
    small = f"sqlite:///{bench.made.folder / 'small.db'}"
    material.fill(small, 10_000, _progress)
    rates = {}
    few = material.Material(bench.made.folder, 10_000, bench.made.keys).tokens("HS256", 40_000)
    many = bench.made.tokens("HS256", 40_000)
    for name, store, tokens in (("small", small, few), ("large", bench.sqlite, many)):
        with bench.gateway(name, store) as running:
            rates[name] = load.run(
                running.url, tokens, seconds=bench.seconds, path="/messenger/login", method="POST", session=1
            ).per_second
    detail = f"{bench.made.contacts:,} contacts against 10,000"
    bench.note("whole job, large store / small", rates["small"] / rates["large"], 1.5, at_most=True, detail=detail)


def reverse_proxy(bench: Bench) -> None:
    """To an upstream straight, through nginx, through Envoy with its JWT filter, and through us, who do the whole job.

    CPU time a request is compared: rates depend on what else the machine does.
    """
    folder = bench.made.folder
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(proxies.upstream(folder))
        route = f'[[workspaces.bench.routes]]\nprefix = "/chat/"\nupstream = "http://127.0.0.1:{to.port}"'
        contenders: Contenders = {"straight": (to,), "nginx": (stack.enter_context(proxies.nginx(folder, to)),)}
        if proxies.envoy_program() is not None:
            contenders["Envoy"] = (stack.enter_context(proxies.envoy(folder, to)),)
        for name, lane in (("lane", True), ("ASGI", False)):
            gateway = bench.gateway(f"proxy-{name}", bench.sqlite, lane=lane, more=route)
            contenders[name] = (stack.enter_context(gateway),)
        ways = bench.side_by_side(contenders, proxies.PATH)
    ours = ways["lane"]
    if "Envoy" in ways:
        bench.note(
            "forward: CPU of Envoy's jwt_authn + proxy / lane",
            ways["Envoy"].seconds / ours.seconds,
            1.0,
            detail=f"{ours} against {ways['Envoy']}",
        )
    bench.note(
        "forward: CPU of nginx, which verifies nothing / lane",
        ways["nginx"].seconds / ours.seconds,
        0.3,
        detail=f"{ours} against {ways['nginx']}",
    )
    bench.note(
        "forward: rate of the lane / straight to the upstream",
        ours.per_second / ways["straight"].per_second,
        0.2,
        detail=f"{ours} against {ways['straight']}",
    )
    bench.note(
        "forward: CPU of the lane / ASGI", ours.seconds / ways["ASGI"].seconds, 0.3, detail=f"{ways['ASGI']} under ASGI"
    )


def forward_auth_behind_a_proxy(bench: Bench) -> None:
    """Nginx alone, nginx that asks for a constant, and nginx that asks us, who do the whole job."""
    folder = bench.made.folder
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(proxies.upstream(folder))
        gateway = stack.enter_context(bench.gateway("asked", bench.sqlite))
        constant = stack.enter_context(proxies.constant(folder))
        contenders: Contenders = {
            "alone": (stack.enter_context(proxies.nginx(folder, to)),),
            "constant": (stack.enter_context(proxies.nginx_asking(folder, to, constant, path="/")), constant),
            "gateway": (stack.enter_context(proxies.nginx_asking(folder, to, gateway, path="/auth")), gateway),
        }
        ways = bench.side_by_side(contenders, proxies.PATH)
    ours = ways["gateway"]
    for other, reach in (("constant", 0.5), ("alone", 0.2)):
        asks = "that asks a constant" if other == "constant" else "alone"
        bench.note(
            f"forward-auth: CPU of nginx {asks} / nginx that asks us, and us",
            ways[other].seconds / ours.seconds,
            reach,
            detail=f"{ours} against {ways[other]}",
        )


def csv_import(bench: Bench) -> None:
    """A file of new people into an empty store, and the same file again; memory must not grow with it."""
    rows = bench.made.contacts
    created = imports.run(bench.made, rows, "--apply")
    again = imports.run(bench.made, rows, "--apply")
    bench.note("CSV import, rows a second", created.per_second, 50_000, detail=f"{rows:,} new people")
    bench.note("CSV import again, rows a second", again.per_second, 50_000, detail="all unchanged")
    bench.note("CSV import, memory in MiB", max(created.resident_mib, again.resident_mib), 256, at_most=True)


def revocation_delay(bench: Bench) -> None:
    """From a logout at one node to its effect on what another one remembers, on both stores."""
    with postgres_url() as postgres:
        material.fill(postgres, 0, _progress)
        for name, url in (("SQLite", bench.sqlite), ("PostgreSQL", postgres)):
            delays = revocation.run(bench.made, url, f"revocation-{name}", 100)
            bench.note(f"revocation, seconds, {name}", delays.worst / 1000, 1, at_most=True, detail=delays.told())


def _raw_verify_seconds(algorithm: str) -> float:
    """One verification by `cryptography` alone."""
    message = b"m" * 300
    if algorithm == "RS256":
        rsa_key = rsa.generate_private_key(65537, 2048)
        signature = rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        rsa_public = rsa_key.public_key()
        return _best(lambda: rsa_public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256()))
    ec_key = ec.generate_private_key(ec.SECP256R1())
    signature = ec_key.sign(message, ec.ECDSA(hashes.SHA256()))
    ec_public = ec_key.public_key()
    return _best(lambda: ec_public.verify(signature, message, ec.ECDSA(hashes.SHA256())))


def _best(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=500, repeat=5)) / 500


def _rates(floor: float, rate: float) -> str:
    return f"{rate:,.0f}/s against {floor:,.0f}/s"


def _progress(text: str) -> None:
    _err.print(text, end="\r")


def main() -> int:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 contacts and short rounds: under two minutes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--contacts", type=int, help="how many contacts the store holds (default 1,000,000)")
    parser.add_argument("--only", help="only the measures whose function has this in its name")
    arguments = parser.parse_args()
    if not load.available():
        _err.print("wrk is needed: apt-get install wrk")
        return 2
    contacts = arguments.contacts or (100_000 if arguments.quick else 1_000_000)
    measures = (
        sessions_and_new_tokens,
        asymmetric,
        first_logins,
        two_workers,
        cold_start_and_memory,
        growth,
        reverse_proxy,
        forward_auth_behind_a_proxy,
        csv_import,
        on_postgres,
        revocation_delay,
    )
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        made = material.make(Path(folder), contacts)
        quick = arguments.quick
        bench = Bench(made, seconds=1 if quick else 4, rounds=2 if quick else 5)
        material.fill(bench.sqlite, contacts, _progress)
        for measure in measures:
            if not arguments.only or arguments.only in measure.__name__:
                measure(bench)
    if arguments.json:
        sys.stdout.write(json.dumps(json.loads(encode(bench.measures)), indent=2) + "\n")
        return 0
    table = Table("measure", "ratio", "reach", "", "detail")
    for line in bench.measures:
        table.add_row(line.name, f"{line.ratio:g}", line.reach, "ok" if line.reached else "short", line.detail)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
