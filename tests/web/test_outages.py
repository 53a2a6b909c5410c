"""An outage is 503 with Retry-After, never a verdict; readiness says what is missing; all of it on PostgreSQL, too."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gateway.app import Gateway, create_authenticator
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.verifier import TokenVerifier
from gateway.settings import load_settings
from gateway.web.health import Health
from keys.keyset import KeySet
from tests.web.conftest import running_gateway
from tests.web.test_connections import auth, login, statuses, user_ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Server


@pytest.mark.parametrize("lane", [True, False])
def test_postgres_behind_both_carriers(tmp_path: Path, postgres_database: str, lane: bool) -> None:
    """Look-ups that wait for the network: first sights, known people, pipelines, parallel first logins."""
    with running_gateway(tmp_path, store_url=postgres_database, lane=lane) as server:
        first, second = server.login(server.token("pg")), server.login(server.token("pg"))
        assert (first.status, second.status) == (200, 200)
        assert first.json()["contact"] == second.json()["contact"]
        names = [f"pg-{number % 7}" for number in range(30)]
        requests = [(auth if number % 3 else login)(server, name) for number, name in enumerate(names)]
        received = server.raw(b"".join(requests))
        assert statuses(received) == [200] * 30
        assert user_ids(received) == [name.encode() for number, name in enumerate(names) if number % 3]
        token = server.token("pg-everybody")
        with concurrent.futures.ThreadPoolExecutor(25) as pool:
            replies = list(pool.map(lambda _: server.login(token), range(100)))
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json()["contact"]["id"] for reply in replies}) == 1
        assert '"level": "error"' not in server.log()


@pytest.mark.parametrize("lane", [True, False])
def test_a_lost_database_is_an_outage(tmp_path: Path, postgres_server: str, postgres_database: str, lane: bool) -> None:
    """The database goes away: 503 at every address, never 401 or 200 from memory for long; not ready, yet alive."""
    with running_gateway(tmp_path, store_url=postgres_database, lane=lane) as server:
        token = server.token("before-the-outage")
        assert server.login(token).status == 200
        assert server.request("GET", "/readyz").status == 200
        name = urlsplit(postgres_database).path.strip("/")
        asyncio.run(_rename(postgres_server, name, f"{name}_gone"))
        try:
            time.sleep(1.1)
            for address in (("POST", "/messenger/login"), ("GET", "/messenger/me"), ("GET", "/auth")):
                for presented in (token, server.token("new-in-the-outage")):
                    reply = server.request(*address, presented)
                    assert (reply.status, reply.code) == (503, "store_unavailable")
                    assert int(reply.headers["retry-after"]) > 0
            assert server.request("GET", "/auth").code == "credentials_missing"
            assert server.login("a.b.c").code == "token_malformed"
            admin = server.admin("GET", "/contacts/1")
            assert (admin.status, admin.json()["errors"][0]["code"]) == (503, "service_unavailable")
            ready = server.request("GET", "/readyz")
            assert (ready.status, ready.json()["checks"]["store"]) == (503, "unavailable")
            assert server.request("GET", "/healthz").status == 200
        finally:
            asyncio.run(_rename(postgres_server, f"{name}_gone", name))
        for _ in range(100):
            if server.login(token).status == 200:
                break
            time.sleep(0.1)
        assert server.login(token).status == 200
        assert server.request("GET", "/readyz").status == 200


async def _rename(server: str, old: str, new: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", old)
        for _ in range(100):
            with contextlib.suppress(asyncpg.ObjectInUseError):
                await connection.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
                return
            await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", old)
        raise AssertionError("the database is never free")
    finally:
        await connection.close()


def test_b16_with_no_keys_nobody_is_ready_or_let_in(server: Server) -> None:
    """An issuer without keys: not ready, and every token of its workspace is 503, whoever signed it."""
    authenticator = create_authenticator(server.folder / "gateway.toml")
    bare = [
        TrustedIssuer(
            name=issuer.name,
            workspace=issuer.workspace,
            algorithms=issuer.algorithms,
            keys=KeySet(()),
            policy=issuer.policy,
            email_authoritative=issuer.email_authoritative,
            issuer=issuer.issuer,
            ignores_iss=issuer.ignores_iss,
        )
        for issuer in authenticator.verifier.issuers("acme")
    ]
    gateway = Gateway(load_settings(server.folder / "gateway.toml", os.environ))
    gateway.authenticator.verifier = TokenVerifier(bare, time.time)
    health = Health()
    health.authenticator = gateway.authenticator
    with TestClient(gateway.public) as client, TestClient(Starlette(routes=health.routes())) as probe:
        ready = probe.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["keys"]) == (503, "no keys")
        for path in ("/auth", "/messenger/me"):
            reply = client.get(path, headers={"Authorization": f"Bearer {server.token('nobody')}"})
            assert (reply.status_code, reply.json()["code"]) == (503, "keys_unavailable")
            assert reply.headers["retry-after"]


def test_health_says_no_more_than_it_must(server: Server) -> None:
    """HEAD and GET alone; another method is a 405 problem with a request id; nothing is cached."""
    for path in ("/healthz", "/readyz"):
        assert server.request("HEAD", path).status == 200
        assert server.request("GET", path).headers["cache-control"] == "no-store"
        reply = server.request("POST", path)
        assert (reply.status, reply.headers["content-type"]) == (405, "application/problem+json")
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert f'"request_id": "{reply.json()["request_id"]}"' in server.log()
