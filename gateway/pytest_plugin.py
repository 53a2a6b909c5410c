"""A pytest plugin: your application's tests against a real gateway. It is there as soon as the gateway is installed.

    def test_login(gateway_server, identity_token, broken_tokens):
        assert gateway_server.login(identity_token("user-1", email="ada@example.com")).status == 200
        assert gateway_server.login(broken_tokens["expired"].token).code == "token_expired"

The first test that asks for one of the fixtures starts the gateway, in development mode, in a temporary folder and on
free ports; it ends with the session. Under pytest-xdist each worker has a gateway of its own. A session that asks for
none of them imports nothing but this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.testing import BrokenTokens, GatewayServer


@pytest.fixture(scope="session")
def gateway_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayServer]:
    """A running gateway: `.url`, `.admin_url`, `.access_token`, `.settings`, `.login(token)`, `.auth(token)`."""
    from gateway.testing import GatewayNotStarted, running_gateway  # noqa: PLC0415 - only for sessions that use it

    try:
        with running_gateway(tmp_path_factory.mktemp("identity-gateway")) as server:
            yield server
    except GatewayNotStarted as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def identity_token(gateway_server: GatewayServer) -> Callable[..., str]:
    """Signs for that gateway: `identity_token("user-1", email=..., ttl=600, issuer="local", plan="gold")`."""
    return gateway_server.token


@pytest.fixture(scope="session")
def broken_tokens(gateway_server: GatewayServer) -> BrokenTokens:
    """Tokens that it must refuse, by slug: `broken_tokens["alg-none"]` has `.token`, `.code` and `.about`."""
    from gateway.testing import BrokenTokens  # noqa: PLC0415 - only for sessions that use it

    return BrokenTokens(gateway_server)
