"""The application's own tests: what the gateway answers to a proxy, handed to the application as the proxy would."""

from wsgiref.util import setup_testing_defaults

from greeting import application


def behind_the_gateway(gateway_server, token):
    """The application's answer behind forward-auth, or the gateway's refusal."""
    verdict = gateway_server.auth(token)
    if verdict.status != 200:
        return verdict.status, verdict.code
    environ, answered = {}, []
    setup_testing_defaults(environ)
    for name, value in verdict.headers.items():
        if name.startswith("x-"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    body = b"".join(application(environ, lambda status, _headers: answered.append(status)))
    return int(answered[0].split()[0]), body.decode()


def test_somebody_is_greeted(gateway_server, identity_token):
    assert behind_the_gateway(gateway_server, identity_token("user-1")) == (200, "Hello user-1")


def test_a_stranger_is_not(gateway_server, broken_tokens):
    assert behind_the_gateway(gateway_server, broken_tokens["wrong-secret"].token) == (401, "signature_invalid")
    assert behind_the_gateway(gateway_server, broken_tokens["placeholder-null"].token) == (403, "user_id_placeholder")
