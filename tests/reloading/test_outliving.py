"""The same objects before and after a reload, and nothing of what went."""

from __future__ import annotations

import gc
import os
import ssl
import time
import weakref
from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.errors import Code, SettingsInvalid
from gateway.web.authentication import Authenticator
from keys.jwk import generate_signing_key
from tests.corpus.keys import certificate
from tests.keys.jwks_server import running_jwks_server
from tests.reloading.conftest import Folder, Followed, Logged, listeners_of


class TestWhatOutlivesAReload:
    """The same objects before and after, and nothing of what went."""

    async def test_a_remote_set_stays_the_same_without_a_fetch(self, folder: Folder, followed: Followed) -> None:
        """As long as its issuer's settings do; when the issuer goes, nothing asks for its keys any more."""
        issuer = """
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.example"
audience = "messenger"
algorithms = "ES256"
user_id_claim = "user_id"
insecure_jwks_loopback = true
jwks_url = "{url}"
"""
        key = generate_signing_key("ES256")
        token = folder.token("ada", key, iss="https://login.example", aud="messenger")
        with running_jwks_server() as server:
            server.publish(key)
            folder.write(more=issuer.format(url=server.url()))
            await followed.reloader.look()
            assert await followed.status(token) == 200
            fetched, source = server.count(), followed.gateway.authenticator.verifier.issuers("acme")[1].keys
            assert fetched == 1
            folder.add_secret("second")
            folder.write(more=issuer.format(url=server.url()))
            await followed.reloader.look()
            assert followed.gateway.authenticator.verifier.issuers("acme")[1].keys is source
            assert await followed.status(token) == 200
            assert server.count() == fetched
            folder.write()
            await followed.reloader.look()
            assert await followed.code(token) == Code.ALG_NOT_ALLOWED
            assert server.count() == fetched

    async def test_connections_to_an_upstream_stay_until_whom_they_trust_changes(
        self, folder: Folder, followed: Followed, logged: Logged
    ) -> None:
        """The same pool as long as its route says the same; another one when its file of authorities holds others."""
        certificates = [certificate(ec.generate_private_key(ec.SECP256R1()), time.time()) for _ in range(2)]
        first, second = map(ssl.DER_cert_to_PEM_cert, certificates)
        route = """
[[workspaces.acme.routes]]
prefix = "/chat/"
upstream = "https://chat.example"
ca_file = "authorities.pem"
"""
        folder.write(more=route)
        folder.replace(first, folder.path / "authorities.pem")
        await followed.reloader.look()
        pool = pool_of(followed)
        folder.add_secret("second")
        folder.write(more=route)
        await followed.reloader.look()
        assert pool_of(followed) is pool
        folder.replace("no authority", folder.path / "authorities.pem")
        await followed.reloader.look()
        assert "ca_file: cannot be used" in logged.lines()[-1]["problems"][0]
        assert pool_of(followed) is pool
        folder.replace(second, folder.path / "authorities.pem")
        await followed.reloader.look()
        assert pool_of(followed) is not pool

    async def test_500_reloads_leave_nothing_behind(self, folder: Folder, followed: Followed) -> None:
        """No old authenticator lives on or listens to the store, and no kind of object grows in number."""
        token = folder.token("ada")
        first = weakref.ref(followed.gateway.configured.admin), weakref.ref(followed.gateway.authenticator)
        listeners = len(listeners_of(followed.gateway))
        counted: list[Counter[type]] = []
        for turn in range(500):
            await followed.gateway.take_over(folder.files().read())
            assert await followed.status(token) == 200
            if turn in {99, 499}:
                gc.collect()
                counted.append(Counter(type(one) for one in gc.get_objects() if type(one).__module__ != "builtins"))
        assert [ref() for ref in first] == [None, None]
        assert len(listeners_of(followed.gateway)) == listeners
        assert counted[1][Authenticator] == 1
        grown = {kind: counted[1][kind] - counted[0][kind] for kind in counted[1]}
        assert {kind: more for kind, more in grown.items() if more > 200} == {}  # a leak is 400 at least

    async def test_500_broken_reloads_leave_nothing_behind(self, folder: Folder, followed: Followed) -> None:
        """What was made of a configuration whose last part is broken goes again."""
        standing = folder.files().read()
        folder.write(
            more="[[workspaces.other.issuers]]\nname = 'messenger'\nprofile = 'intercom'\n"
            "secrets = [{ id = '1', secret_file = 'other' }]"
        )
        (folder.path / "other").write_text(os.urandom(32).hex())
        broken = folder.files().read()
        (folder.path / "other").unlink()
        listeners = listeners_of(followed.gateway)
        for _ in range(500):
            with pytest.raises(SettingsInvalid):
                await followed.gateway.take_over(broken)
        gc.collect()
        assert sum(isinstance(one, Authenticator) for one in gc.get_objects()) == 1
        assert listeners_of(followed.gateway) == listeners
        await followed.gateway.take_over(standing)


def pool_of(followed: Followed) -> object:
    """The connections of the only route."""
    forwarder = followed.gateway.configured.forwarder
    assert forwarder is not None
    (route,) = forwarder.routes.all
    return route.upstreams
