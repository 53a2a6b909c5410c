"""The application's own tests, against a real gateway; it needs nothing but the gateway to be installed."""

import pytest
from starlette.testclient import TestClient
from whoami import create_app


@pytest.fixture
def client(gateway_server):
    with TestClient(create_app(gateway_server.settings)) as client:
        yield client


def ask(client, token):
    return client.get("/whoami", headers={"Authorization": f"Bearer {token}"})


def test_somebody(client, gateway_server, identity_token):
    answer = ask(client, identity_token("user-1", email="ada@example.com"))
    assert answer.json()["user_id"] == "user-1"
    # The same person, also to the gateway beside the application.
    login = gateway_server.login(identity_token("user-1", issuer="local"))
    assert login.json()["contact"]["id"] == answer.json()["contact_id"]


def test_nobody(client, broken_tokens):
    for broken in broken_tokens.values():
        answer = ask(client, broken.token)
        assert (answer.is_error, answer.json()["code"]) == (True, broken.code), broken.about
