"""What a configuration may not say: each start-up refusal with its place, and all of them at once."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.errors import SettingsInvalid
from gateway.identity.jose import ALGORITHMS
from gateway.settings import load_settings
from gateway.trust import trusted_issuers
from keys.jwk import generate_signing_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.settings import Settings

MESSENGER = """
[[workspaces.acme.issuers]]
name = "messenger"
profile = "intercom"
"""
LOGIN = """
[[workspaces.acme.issuers]]
name = "login"
issuer = "https://login.acme.example"
audience = ["messenger"]
"""
GOOD_SECRET = 'secrets = [{ id = "1", secret_file = "secret" }]\n'
GOOD = MESSENGER + GOOD_SECRET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good secret, a good key set, and every kind of bad material."""
    (tmp_path / "secret").write_text(os.urandom(32).hex())
    good = generate_signing_key("ES256")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [good.public_jwk()]}))
    weak = rsa.generate_private_key(65537, 1024).public_key()
    (tmp_path / "weak.pem").write_bytes(weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    number = weak.public_numbers().n.to_bytes(128, "big")
    modulus = base64.urlsafe_b64encode(number).rstrip(b"=").decode()
    (tmp_path / "weak.json").write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "w", "n": modulus, "e": "AQAB"}]}))
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "private.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "short").write_text("Zj3#k9Qw")
    (tmp_path / "binary").write_bytes(os.urandom(30) + b"\xff\xfe")
    (tmp_path / "empty.json").write_text('{"keys": []}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "large").write_bytes(b"x" * 300_000)
    (tmp_path / "directory").mkdir()
    return tmp_path


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a text, as a gateway reads them at its start."""
    path = folder / "gateway.toml"
    path.write_text(text)
    settings = load_settings(path, environ or {})
    trusted_issuers(settings)
    return settings


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The problems of a text, with the folder left out of their messages."""
    with pytest.raises(SettingsInvalid) as caught:
        load(folder, text, environ)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_good_configuration_passes(folder: Path) -> None:
    """The configuration that the bad ones below are made from is good."""
    settings = load(folder, GOOD + LOGIN + 'algorithms = ["ES256"]\njwks_file = "jwks.json"\n')
    assert [issuer.name for issuer in trusted_issuers(settings)] == ["messenger", "login"]


ISSUER = "workspaces.acme.issuers[0]"
SECRET = f"{ISSUER}.secrets[0]"
SHORT = "the secret is shorter than the 32 bytes of its hash (RFC 7518 section 3.2)"
WEAK = "RSA keys have at least 2048 bits and an odd exponent of at least 65537"
COMMON = "the secret is on the list of common secrets"
REMOTE = LOGIN + 'algorithms = ["ES256"]\n'
JWKS_URL = 'jwks_url = "https://login.acme.example/jwks.json"\n'
NO_KEYS = "no keys: give keyring, secrets, jwks_url, discovery, jwks_file or pem_files"
REFUSED = {
    "unknown_key_at_the_top": ("zonk = 1\n" + GOOD, ["zonk: no such setting"]),
    "unknown_table": (GOOD + "[metrics]\non = true\n", ["metrics: no such setting"]),
    "unknown_key_in_a_table": (GOOD + '[public]\nbnid = "127.0.0.1:1"\n', ["public.bnid: no such setting"]),
    "unknown_key_of_an_issuer": (GOOD + "kidd = 1\n", [f"{ISSUER}.kidd: no such setting"]),
    "unknown_key_of_a_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "secret", plattforms = [] }]',
        [f"{SECRET}.plattforms: no such setting"],
    ),
    "short_secret": (MESSENGER + 'secrets = [{ id = "1", secret = "Zj3#k9Qw" }]', [f"{SECRET}.secret: {SHORT}"]),
    "short_secret_in_a_file": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "short" }]',
        [f"{SECRET}.secret_file: {SHORT}"],
    ),
    "secret_shorter_than_the_longest_hash": (
        MESSENGER
        + 'algorithms = ["HS256", "HS512"]\nsecrets = [{ id = "1", secret = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz" }]',
        [f"{ISSUER}.secrets[0]: the secret is shorter than the 64 bytes of its hash (RFC 7518 section 3.2)"],
    ),
    "common_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret = "your-256-bit-secret-your-256-bit-secret" }]',
        [f"{SECRET}.secret: {COMMON}"],
    ),
    "constant_secret": (
        MESSENGER + f'secrets = [{{ id = "1", secret = "{"a" * 64}" }}]',
        [f"{SECRET}.secret: {COMMON}"],
    ),
    "published_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret = "a-string-secret-at-least-256-bits-long" }]',
        [f"{SECRET}.secret: {COMMON}"],
    ),
    "public_key_as_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "public.pem" }]',
        [f"{SECRET}.secret_file: the secret is a public key or a certificate; configure it as a key, not as a secret"],
    ),
    "key_set_as_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "jwks.json" }]',
        [f"{SECRET}.secret_file: the secret is a public key or a certificate; configure it as a key, not as a secret"],
    ),
    "secret_that_is_no_text": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "binary" }]',
        [f"{SECRET}.secret_file: binary: not text in UTF-8"],
    ),
    "secret_and_secret_file": (
        MESSENGER + 'secrets = [{ id = "1", secret = "Zj3#k9Qw-Zk4$l0Rx_Al5%m1Sy+Bm6&n2Tz", secret_file = "secret" }]',
        [f"{SECRET}: give secret or secret_file, and not both"],
    ),
    "neither": (MESSENGER + 'secrets = [{ id = "1" }]', [f"{SECRET}: give secret or secret_file, and not both"]),
    "two_secrets_of_one_id": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "secret" }, { id = "1", secret_file = "secret" }]',
        [f"{ISSUER}.secrets: two secrets have the same id"],
    ),
    "rsa_below_2048_in_pem": (
        LOGIN + 'algorithms = ["RS256"]\npem_files = ["weak.pem"]\n',
        [f"{ISSUER}.pem_files[0].file: weak.pem: {WEAK}"],
    ),
    "rsa_below_2048_in_jwks": (
        LOGIN + 'algorithms = ["RS256"]\njwks_file = "weak.json"\n',
        [f"{ISSUER}.jwks_file: weak.json: keys[0]: {WEAK}"],
    ),
    "hs_and_asymmetric_algorithms": (
        LOGIN + 'algorithms = ["HS256", "ES256"]\njwks_file = "jwks.json"\n',
        [f"{ISSUER}.algorithms: HS algorithms and asymmetric ones never share an issuer"],
    ),
    "secrets_beside_asymmetric_algorithms": (
        LOGIN + 'algorithms = ["ES256"]\njwks_file = "jwks.json"\n' + GOOD_SECRET,
        [f"{ISSUER}.secrets: secrets are for HS algorithms, which never share an issuer with asymmetric ones"],
    ),
    "key_set_beside_hs_algorithms": (
        GOOD + 'jwks_file = "jwks.json"\n',
        [f"{ISSUER}.jwks_file: holds asymmetric keys, which never share an issuer with HS algorithms"],
    ),
    "pem_beside_hs_algorithms": (
        GOOD + 'pem_files = ["public.pem"]\n',
        [f"{ISSUER}.pem_files: hold asymmetric keys, which never share an issuer with HS algorithms"],
    ),
    "unreadable_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "directory" }]',
        [f"{SECRET}.secret_file: directory: cannot be read (Is a directory)"],
    ),
    "missing_secret": (
        MESSENGER + 'secrets = [{ id = "1", secret_file = "nowhere" }]',
        [f"{SECRET}.secret_file: nowhere: cannot be read (No such file or directory)"],
    ),
    "unreadable_key_set": (
        LOGIN + 'algorithms = ["ES256"]\njwks_file = "directory"\n',
        [f"{ISSUER}.jwks_file: directory: cannot be read (Is a directory)"],
    ),
    "huge_key_set": (
        LOGIN + 'algorithms = ["ES256"]\njwks_file = "large"\n',
        [f"{ISSUER}.jwks_file: large: larger than 262144 bytes"],
    ),
    "key_set_that_is_no_json": (
        LOGIN + 'algorithms = ["ES256"]\njwks_file = "broken.json"\n',
        [f"{ISSUER}.jwks_file: broken.json: not JSON"],
    ),
    "key_set_without_a_key": (
        LOGIN + 'algorithms = ["ES256"]\njwks_file = "empty.json"\n',
        [f"{ISSUER}.jwks_file: holds no key that suits the algorithms"],
    ),
    "key_that_suits_no_algorithm": (
        LOGIN + 'algorithms = ["RS256"]\njwks_file = "jwks.json"\n',
        [f"{ISSUER}.jwks_file: holds no key that suits the algorithms"],
    ),
    "signing_key_of_production": (
        LOGIN
        + 'algorithms = ["ES256"]\njwks_file = "jwks.json"\nproduction = true\nsigning_key_file = "private.pem"\n',
        [f"{ISSUER}.signing_key_file: an issuer marked production has no signing key here"],
    ),
    "no_keys": (
        LOGIN + 'algorithms = ["ES256"]\n',
        [f"{ISSUER}: no keys: give keyring, secrets, jwks_url, discovery, jwks_file or pem_files"],
    ),
    "no_issuer_audience_algorithms": (
        '[[workspaces.acme.issuers]]\nname = "login"\njwks_file = "jwks.json"\n',
        [
            f"{ISSUER}.issuer: required: the exact iss of the tokens",
            f"{ISSUER}: audience: required: what aud must name; or say insecure_no_audience = true",
            f'{ISSUER}.algorithms: required: what the issuer signs with, such as ["ES256"]',
        ],
    ),
    "algorithm_none": (
        LOGIN + 'algorithms = ["none"]\njwks_file = "jwks.json"\n',
        [
            f"{ISSUER}.algorithms[0]: no such algorithm; there are {', '.join(ALGORITHMS)}",
        ],
    ),
    "messenger_with_iss": (
        GOOD + 'issuer = "https://x.example"\n',
        [f'{ISSUER}.issuer: tokens of profile "intercom" have no iss; use profile = "oidc"'],
    ),
    "messenger_with_aud": (
        GOOD + 'audience = "messenger"\n',
        [f'{ISSUER}.audience: tokens of profile "intercom" have no aud; use profile = "oidc"'],
    ),
    "messenger_with_asymmetric_algorithms": (
        GOOD + 'algorithms = ["ES256"]\n',
        [f'{ISSUER}.algorithms: profile "intercom" signs with HS algorithms'],
    ),
    "pem_that_suits_no_algorithm": (
        LOGIN + 'algorithms = ["EdDSA"]\npem_files = ["public.pem"]\n',
        [f"{ISSUER}.pem_files[0]: the key does not suit the algorithms"],
    ),
    "private_key_as_public_one": (
        LOGIN + 'algorithms = ["ES256"]\npem_files = [{ file = "private.pem" }]\n',
        [f"{ISSUER}.pem_files[0].file: private.pem: this is not a public key in PEM"],
    ),
    "loose_leeway": (GOOD + "leeway = 61\n", [f"{ISSUER}.leeway: Input should be less than or equal to 60"]),
    "long_lifetime": (
        GOOD + "max_lifetime = 86401\n",
        [f"{ISSUER}.max_lifetime: Input should be less than or equal to 86400"],
    ),
    "exp_not_required": (
        GOOD + "require_exp = false\n",
        [f"{ISSUER}.require_exp: to take tokens without exp, say insecure_no_exp = true"],
    ),
    "two_issuers_of_one_name": (
        GOOD + GOOD,
        ["workspaces.acme.issuers[1].name: another issuer of the workspace has the same name"],
    ),
    "two_issuers_of_one_iss": (
        LOGIN
        + 'algorithms = ["ES256"]\njwks_file = "jwks.json"\n'
        + LOGIN.replace('"login"', '"other"')
        + 'algorithms = ["ES256"]\njwks_file = "jwks.json"\n',
        ["workspaces.acme.issuers[1].issuer: another issuer of the workspace has the same iss"],
    ),
    "two_issuers_of_one_name_and_more": (
        GOOD + MESSENGER + "secrets = []\nkidd = 1\n",
        [
            "workspaces.acme.issuers[1]: no keys: give keyring, secrets, jwks_url, discovery, jwks_file or pem_files",
            "workspaces.acme.issuers[1].kidd: no such setting",
            "workspaces.acme.issuers[1].name: another issuer of the workspace has the same name",
        ],
    ),
    "app_id_that_is_none": (
        '[workspaces."a/b"]\n[[workspaces."a/b".issuers]]\nname = "m"\nprofile = "intercom"\n' + GOOD_SECRET,
        ["workspaces: an app_id has letters, digits, dashes, dots and underscores, at most 64"],
    ),
    "name_that_is_none": (
        GOOD.replace('"messenger"', '"a b"'),
        [f"{ISSUER}.name: String should match pattern '^[A-Za-z0-9_.-]{{1,64}}$'"],
    ),
    "no_workspace": ("workers = 2\n", ["workspaces: required"]),
    "workspace_without_issuer": (
        "[workspaces.acme]\nissuers = []\n",
        ["workspaces.acme.issuers: a workspace needs an issuer"],
    ),
    "default_workspace_that_is_none": (
        GOOD + '[public]\ndefault_workspace = "acne"\n',
        ["public: default_workspace names no workspace"],
    ),
    "one_address_for_both": (
        GOOD + '[admin]\nbind = "127.0.0.1:8080"\n',
        ["admin: the admin listener needs an address of its own"],
    ),
    "no_address": (
        GOOD + '[public]\nbind = "localhost"\n',
        ["public.bind: not an address and a port, such as 127.0.0.1:8080 or [::1]:8080"],
    ),
    "header_with_a_meaning": (
        GOOD + '[public.headers]\nuser_id = "Authorization"\n',
        ["public.headers.user_id: this header has a meaning of its own"],
    ),
    "header_that_is_none": (
        GOOD + '[public.headers]\nuser_id = "X_User_Id"\n',
        ["public.headers.user_id: a header's name has letters, digits and dashes"],
    ),
    "two_headers_of_one_name": (
        GOOD + '[public.headers]\nuser_id = "x-contact-id"\n',
        ["public.headers: two headers have the same name"],
    ),
    "store_of_another_kind": (
        GOOD + '[store]\nurl = "mysql://x/y"\n',
        ["store.url: a store is named sqlite:///path or postgresql://..."],
    ),
    "store_named_twice": (
        GOOD + '[store]\nurl = "sqlite:///x.db"\nurl_file = "secret"\n',
        ["store: give url or url_file, not both"],
    ),
    "text_for_a_number": (
        'workers = "many"\n' + GOOD,
        ["workers: Input should be a valid integer, unable to parse string as an integer"],
    ),
    "boolean_for_a_number": ("workers = true\n" + GOOD, ["workers: Input should be a number"]),
    "no_keys_at_all": (REMOTE, [f"{ISSUER}: {NO_KEYS}"]),
    "a_remote_set_beside_a_file": (
        REMOTE + JWKS_URL + 'jwks_file = "jwks.json"\n',
        [f"{ISSUER}.jwks_url: keys come from one place: give no secrets and no jwks_file beside it"],
    ),
    "a_remote_set_beside_pem": (
        REMOTE + JWKS_URL + 'pem_files = "public.pem"\n',
        [f"{ISSUER}.pem_files: keys come from one place: give jwks_url or pem_files, not both"],
    ),
    "discovery_beside_a_remote_set": (
        REMOTE + JWKS_URL + "discovery = true\n",
        [f"{ISSUER}.discovery: finds the key set by itself; give discovery or jwks_url, not both"],
    ),
    "discovery_beside_pem": (
        REMOTE + 'discovery = true\npem_files = "public.pem"\n',
        [f"{ISSUER}.pem_files: keys come from one place: give discovery or pem_files, not both"],
    ),
    "discovery_at_no_url": (
        REMOTE.replace("https://login.acme.example", "acme") + "discovery = true\n",
        [f"{ISSUER}.discovery: asks at the issuer: the URL begins with https://; nothing else is fetched"],
    ),
    "discovery_with_a_query": (
        REMOTE.replace("https://login.acme.example", "https://login.acme.example/?tenant=1") + "discovery = true\n",
        [f"{ISSUER}.discovery: asks at the issuer: a URL with a query is no issuer of OpenID Connect"],
    ),
    "a_remote_set_of_secrets": (
        LOGIN + 'algorithms = ["HS256"]\n' + JWKS_URL,
        [f"{ISSUER}.jwks_url: fetches asymmetric keys, which never share an issuer with HS algorithms"],
    ),
    "a_remote_set_of_the_messenger": (
        MESSENGER + JWKS_URL,
        [f"{ISSUER}.jwks_url: fetches asymmetric keys, which never share an issuer with HS algorithms"],
    ),
    "a_file_of_authorities_that_holds_none": (
        REMOTE + JWKS_URL + 'jwks_ca_file = "public.pem"\n',
        [f"{ISSUER}.jwks_ca_file: public.pem: holds no certificate in PEM, or cannot be read"],
    ),
    "a_network_that_is_none": (
        REMOTE + JWKS_URL + 'jwks_allow_networks = ["10.0.0.1/8"]\n',
        [f"{ISSUER}.jwks_allow_networks[0]: value is not a valid IPv4 or IPv6 network"],
    ),
    "a_refresh_that_floods": (
        REMOTE + JWKS_URL + "jwks_refresh = 59\njwks_cooldown = 4\njwks_stale_limit = 3599\n",
        [
            f"{ISSUER}.jwks_refresh: Input should be greater than or equal to 60",
            f"{ISSUER}.jwks_cooldown: Input should be greater than or equal to 5",
            f"{ISSUER}.jwks_stale_limit: Input should be greater than or equal to 3600",
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(folder: Path, text: str, expected: list[str]) -> None:
    """Each is refused before anything listens, with its place and what is wrong, and nothing else is."""
    assert problems(folder, text) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/jwks.json", "ftp://login.acme.example/jwks.json", "data:application/json,{}", "jwks.json", ""),
        *("https:///jwks.json", "https://", "https://login.acme.example:0/", "https://login.acme.example:99999/"),
        *("https://user@login.acme.example/", "https://user:word@login.acme.example/", "https://@login.acme.example/"),
        *("https://login.acme.example/#keys", "https://login.acme.example\\\\@evil.example/", "https://ex ample/"),
        *("https://m\u00fcnchen.example/", "https://[::1/", "https://%6cocalhost/", "HTTPS://login.acme.example/"),
        *("http://login.acme.example/jwks.json", "http://10.0.0.1/", "http://127.0.0.1.evil.example/", "//x.example/"),
        "https://x.example/" + "a" * 2048,
    ],
)
@pytest.mark.parametrize("loopback", ["", "insecure_jwks_loopback = true\n"])
def test_a07_a_key_set_is_fetched_with_https_or_not_at_all(folder: Path, url: str, loopback: str) -> None:
    """A07: another scheme, credentials, and what two parsers could read differently fail when it is configured."""
    (problem,) = problems(folder, REMOTE + f'jwks_url = "{url}"\n' + loopback)
    assert problem.startswith(f"{ISSUER}.jwks_url: ")
    assert "word" not in problem


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "127.8.9.10"])
def test_http_is_for_this_machine_when_it_is_asked_for(folder: Path, host: str) -> None:
    """A developer's issuer has no certificate: plain http to loopback, under a name that says what it is."""
    text = REMOTE + f'jwks_url = "http://{host}/jwks.json"\n'
    (problem,) = problems(folder, text)
    assert "with insecure_jwks_loopback = true" in problem
    load(folder, text + "insecure_jwks_loopback = true\n")


def test_everything_that_a_remote_set_can_be_told(folder: Path) -> None:
    """The settings of a remote set together; to load them fetches nothing and writes nothing."""
    choices = "jwks_refresh = 600\njwks_cooldown = 60\njwks_stale_limit = 7200\njwks_allow_networks = '10.0.0.0/8'\n"
    for where in (JWKS_URL, "discovery = true\n"):
        (issuer,) = trusted_issuers(load(folder, REMOTE + where + choices))
        health = issuer.keys.health()
        assert (health.state, health.error, issuer.keys.keys) == ("none", "not fetched yet", ())
    assert health.source == "https://login.acme.example/.well-known/openid-configuration"


def test_all_problems_at_once(folder: Path) -> None:
    """A dozen problems of one configuration are all named, each with its place; none hides another."""
    text = f"""
zonk = 1
workers = 0
[public]
bind = "nowhere"
[store]
url = "mysql://"
[workspaces.acme]
first_sight = "perhaps"
{MESSENGER}
secrets = [
    {{ id = "short", secret = "Zj3#k9Qw" }},
    {{ id = "common", secret = "secretsecretsecretsecretsecretsecret" }},
    {{ id = "public", secret_file = "public.pem" }},
    {{ id = "gone", secret_file = "nowhere" }},
]
{LOGIN}
algorithms = ["HS256", "RS256"]
pem_files = ["weak.pem"]
[workspaces.other]
"""
    assert {problem.partition(": ")[0] for problem in problems(folder, text, {"GATEWAY_ZINK": "1"})} == {
        "zonk",
        "environment GATEWAY_ZINK",
        "workers",
        "public.bind",
        "store.url",
        "workspaces.acme.first_sight",
        f"{SECRET}.secret",
        "workspaces.acme.issuers[0].secrets[1].secret",
        "workspaces.acme.issuers[0].secrets[2].secret_file",
        "workspaces.acme.issuers[0].secrets[3].secret_file",
        "workspaces.acme.issuers[1].algorithms",
        "workspaces.acme.issuers[1].pem_files[0].file",
        "workspaces.other.issuers",
    }


@pytest.mark.parametrize("text", [text for text, _ in REFUSED.values()], ids=REFUSED)
def test_a_message_never_holds_a_secret(folder: Path, text: str) -> None:
    """R12: neither the secret of a bad configuration nor the content of a file stands in a message."""
    told = "\n".join(problems(folder, text))
    for material in ("Zj3#k9Qw", "256-bit-secret", "a" * 10, "at-least-256", (folder / "secret").read_text()):
        assert material not in told


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a = ", "not TOML"), (b'a = "\xff"', "not text in UTF-8"), (b"a = 1\na = 2", "not TOML")],
    ids=["half", "latin", "twice"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, told: str) -> None:
    """A file that cannot be understood is refused by its name."""
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=told) as caught:
        load_settings(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.toml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A file that is not there, or is a folder, is refused by its name; nothing falls back to defaults."""
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_settings(tmp_path / name, {})


def test_files_are_relative_to_the_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway.toml means the same whatever the working directory."""
    monkeypatch.chdir("/")
    settings = load(folder, GOOD)
    assert settings.workspaces["acme"].issuers[0].secrets[0].secret_file == folder / "secret"
