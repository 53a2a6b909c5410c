import os

import jwt  # pip install "pyjwt[crypto]"

KEYS = jwt.PyJWKClient(os.environ["IDENTITY_JWKS_URL"])  # of the gateway: https://.../.well-known/jwks.json
FROM = {"issuer": "https://gateway.acme.example", "audience": "https://chat.acme.example", "algorithms": ["ES256"]}
EXPECTED = {**FROM, "options": {"require": ["exp", "sub"]}, "leeway": 5}


def identity(assertion):
    """Who X-Identity-Assertion says it is; raises jwt.PyJWTError for everything else."""
    verified = jwt.decode_complete(assertion, KEYS.get_signing_key_from_jwt(assertion), **EXPECTED)
    if verified["header"].get("typ") != "identity-assertion+jwt":
        raise jwt.InvalidTokenError("this is no identity assertion")
    return verified["payload"]
