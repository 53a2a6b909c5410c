"""From settings to trust: what each choice of a configuration comes to, and what it is when nothing was chosen."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contacts.resolver import EmailConflict, ResolutionPolicy
from gateway.errors import SettingsInvalid
from gateway.identity.claims import ClaimPolicy
from gateway.settings import settings_from
from gateway.trust import KeySources, claim_policy, id_rules, resolution_policies, trusted_issuers
from keys.jwk import generate_signing_key
from keys.keyring_file import change_keyring
from keys.rotation import added, new_entry

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.identity.issuer import TrustedIssuer
    from gateway.settings import Settings


@pytest.fixture
def login(tmp_path: Path) -> dict[str, Any]:
    """An identity provider, with nothing chosen that need not be."""
    key = generate_signing_key("ES256")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
    return {
        "name": "login",
        "issuer": "https://login.acme.example",
        "audience": "messenger",
        "algorithms": "ES256",
        "jwks_file": str(tmp_path / "jwks.json"),
    }


@pytest.fixture
def messenger(tmp_path: Path) -> dict[str, Any]:
    """Shared secrets, with nothing chosen that need not be."""
    (tmp_path / "secret").write_text(os.urandom(32).hex())
    return {
        "name": "messenger",
        "profile": "intercom",
        "secrets": [{"id": "1", "secret_file": str(tmp_path / "secret")}],
    }


def settings_of(*issuers: dict[str, Any], **choices: Any) -> Settings:
    return settings_from({"workspaces": {"acme": {"issuers": list(issuers), **choices}}}, {})


def trusted(issuer: dict[str, Any], **choices: Any) -> TrustedIssuer:
    (one,) = trusted_issuers(settings_of({**issuer, **choices}))
    return one


def policy(issuer: dict[str, Any], **choices: Any) -> ClaimPolicy:
    return claim_policy(settings_of({**issuer, **choices}).workspaces["acme"].issuers[0])


def test_an_identity_provider_is_strict(login: dict[str, Any]) -> None:
    """Design section 3, step 7: exp, a day at most, a minute of leeway, iss and aud exact; no email without proof."""
    issuer = trusted(login)
    assert issuer.policy == ClaimPolicy(
        require_exp=True,
        leeway=60,
        max_lifetime=86_400,
        issuer="https://login.acme.example",
        audience=("messenger",),
    )
    assert (issuer.workspace, issuer.algorithms, issuer.user_id_claim) == ("acme", ("ES256",), "sub")
    assert (issuer.ignores_iss, issuer.email_authoritative, issuer.custom_attributes) == (False, False, ())


def test_the_messenger_profile(messenger: dict[str, Any]) -> None:
    """HS256, exp optional and of any distance, no iss, no aud; the email that the customer signs is proven."""
    issuer = trusted(messenger)
    assert issuer.policy == ClaimPolicy(
        require_exp=False, leeway=60, max_lifetime=None, issuer=None, audience=(), session_claim=True
    )
    assert (issuer.algorithms, issuer.user_id_claim) == (("HS256",), "user_id")
    assert (issuer.ignores_iss, issuer.email_authoritative) == (True, True)
    assert [key.kid for key in issuer.keys.keys] == ["1"]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"leeway": 0}, {"leeway": 0}),
        ({"insecure_leeway": 300}, {"leeway": 300}),
        ({"max_lifetime": 600}, {"max_lifetime": 600}),
        ({"insecure_max_lifetime": 90_000}, {"max_lifetime": 90_000}),
        ({"insecure_max_lifetime": "unlimited"}, {"max_lifetime": None}),
        ({"insecure_no_exp": True}, {"require_exp": False}),
        ({"session_duration": 3600}, {"session_duration": 3600, "session_claim": True}),
        ({"audience": ["a", "b"]}, {"audience": ("a", "b")}),
        ({"audience": [], "insecure_no_audience": True}, {"audience": ()}),
    ],
    ids=str,
)
def test_each_bound_of_an_identity_provider(
    login: dict[str, Any], choices: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A choice changes its own bound and no other."""
    before, after = policy(login), policy(login, **choices)
    changed = {field: getattr(after, field) for field in ClaimPolicy.__struct_fields__}
    assert changed == {**{field: getattr(before, field) for field in ClaimPolicy.__struct_fields__}, **expected}


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"require_exp": True}, {"require_exp": True}),
        ({"max_lifetime": 600}, {"max_lifetime": 600, "require_exp": True}),
        ({"max_lifetime": 600, "insecure_no_exp": True}, {"max_lifetime": 600, "require_exp": False}),
        ({"session_duration": 300}, {"session_duration": 300}),
        ({"leeway": 0}, {"leeway": 0}),
    ],
    ids=str,
)
def test_each_bound_of_the_messenger_profile(
    messenger: dict[str, Any], choices: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The messenger profile can be made as strict as the other, bound by bound."""
    after = policy(messenger, **choices)
    assert {field: getattr(after, field) for field in expected} == expected


@pytest.mark.parametrize(
    "choices",
    [
        {"leeway": 61},
        {"insecure_leeway": 60},
        {"max_lifetime": 86_401},
        {"max_lifetime": "unlimited"},
        {"session_duration": 299},
        {"insecure_max_lifetime": 86_400},
        {"audience": []},
        {"issuer": None},
        {"issuer": ""},
        {"algorithms": []},
        {"require_exp": False},
    ],
    ids=str,
)
def test_what_only_an_insecure_name_loosens(login: dict[str, Any], choices: dict[str, Any]) -> None:
    """A bound is loosened by its `insecure_...` name or not at all, and what has no default has to be given."""
    with pytest.raises(SettingsInvalid):
        settings_of({**login, **choices})


@pytest.mark.parametrize("authoritative", [True, False])
def test_whose_email_is_proven_can_be_chosen(
    login: dict[str, Any], messenger: dict[str, Any], authoritative: bool
) -> None:
    """`email_authoritative` decides for either profile."""
    for issuer in (login, messenger):
        assert trusted(issuer, email_authoritative=authoritative).email_authoritative is authoritative


def test_the_rules_for_ids(messenger: dict[str, Any]) -> None:
    """Placeholders are compared in one spelling, so a workspace's own may be written as people write them."""
    rules = id_rules(
        settings_of(
            messenger, extra_placeholders=["Visitor", "'GAST'"], exempt_placeholders=["test"], email_fallback=False
        ),
        "acme",
    )
    assert rules.extra_placeholders == {"visitor", "gast"}
    assert rules.exempt_placeholders == {"test"}
    assert rules.email_fallback is False
    assert id_rules(settings_of(messenger), "acme").email_fallback is True


def test_the_policies_of_resolution(messenger: dict[str, Any]) -> None:
    """Each choice of a workspace reaches the resolver; without one, design section 5 stands."""
    chosen = settings_of(
        messenger,
        email_conflict="reject",
        first_sight="reject",
        archived_login="reject",
        alarm_emails=5,
        alarm_window=60,
    )
    assert resolution_policies(chosen)["acme"] == ResolutionPolicy(
        email_conflict=EmailConflict.REJECT,
        create_on_first_sight=False,
        restore_archived=False,
        alarm_emails=5,
        alarm_window=60,
    )
    default = resolution_policies(settings_of(messenger))["acme"]
    assert (default.email_conflict, default.create_on_first_sight, default.restore_archived) == (
        EmailConflict.FLAG,
        True,
        True,
    )


def test_keys_belong_to_their_issuer(messenger: dict[str, Any], login: dict[str, Any]) -> None:
    """B21: each issuer has its own key set; two with one `kid` do not share a key."""
    other = {**login, "name": "other", "issuer": "https://other.example"}
    issuers = trusted_issuers(settings_of(messenger, login, other))
    assert [issuer.name for issuer in issuers] == ["messenger", "login", "other"]
    assert len({id(issuer.keys) for issuer in issuers}) == 3


REMOTE: dict[str, Any] = {
    "name": "login",
    "issuer": "https://login.acme.example",
    "audience": "messenger",
    "algorithms": "ES256",
    "jwks_url": "https://login.acme.example/jwks.json",
}


def test_b21_two_workspaces_never_share_a_secret(messenger: dict[str, Any], tmp_path: Path) -> None:
    """A Messenger token names no workspace, its client does: with one secret, user-1 of one is user-1 of the other."""
    other = {**messenger, "name": "chat", "secrets": [{**messenger["secrets"][0], "id": "2"}]}
    both = {"acme": {"issuers": [messenger]}, "globex": {"issuers": [other]}}
    with pytest.raises(SettingsInvalid) as refused:
        trusted_issuers(settings_from({"workspaces": both}, {}))
    (problem,) = refused.value.problems
    assert problem.startswith(
        "workspaces.globex.issuers[0]: its secret 2 is the secret 1 of workspaces.acme.issuers[0]:"
    )
    assert problem.endswith(": a token of one workspace would be good in the other")
    # Also where one of them lies in a keyring.
    text = (tmp_path / "secret").read_text()
    change_keyring(tmp_path / "ring.json", lambda ring: added(ring, new_entry(ring, "HS256", text, 1, kid="3"), 1))
    both["globex"] = {"issuers": [{"name": "chat", "profile": "intercom", "keyring": str(tmp_path / "ring.json")}]}
    with pytest.raises(SettingsInvalid, match="its secret 3 is the secret 1"):
        trusted_issuers(settings_from({"workspaces": both}, {}))


def test_one_secret_has_one_list_of_platforms(messenger: dict[str, Any]) -> None:
    """Else the one that leaked from a mobile application is a key to the web, under its other name."""
    (given,) = messenger["secrets"]
    twice = [{**given, "platforms": ["web"]}, {**given, "id": "2", "platforms": ["ios", "android"]}]
    with pytest.raises(SettingsInvalid, match="which is enabled for other platforms"):
        trusted(messenger, secrets=twice)
    trusted(messenger, secrets=[given, {**given, "id": "2"}])  # a second name takes nothing away


def test_a_remote_set_is_the_same_after_a_reload() -> None:
    """What an issuer published is not fetched anew because something else was changed."""
    sources = KeySources()
    first = trusted_issuers(settings_of(REMOTE), sources)
    again = trusted_issuers(settings_of({**REMOTE, "leeway": 5, "audience": "other"}, alarm_emails=9), sources)
    assert first[0].keys is again[0].keys
    assert trusted_issuers(settings_of(REMOTE))[0].keys is not first[0].keys


@pytest.mark.parametrize(
    "change",
    [
        {"name": "renamed"},
        {"issuer": "https://other.acme.example"},
        {"jwks_url": "https://login.acme.example/other.json"},
        {"jwks_url": None, "discovery": True},
        {"jwks_refresh": 600},
        {"jwks_cooldown": 60},
        {"jwks_stale_limit": 7200},
        {"jwks_allow_networks": ["10.0.0.0/8"]},
        {"insecure_jwks_loopback": True},
    ],
    ids=str,
)
def test_a_remote_set_of_other_settings_is_another_one(change: dict[str, Any]) -> None:
    """Whatever says whose keys they are, or where they may come from, makes a new set, which trusts nothing old."""
    sources = KeySources()
    (before,) = trusted_issuers(settings_of(REMOTE), sources)
    (after,) = trusted_issuers(settings_of({**REMOTE, **change}), sources)
    assert before.keys is not after.keys


def test_remote_sets_belong_to_their_issuer() -> None:
    """B21, B25: two workspaces that trust one publisher have a set each: neither spends the other's fetches."""
    both = settings_from({"workspaces": {name: {"issuers": [REMOTE]} for name in ("acme", "other")}}, {})
    acme, other = trusted_issuers(both, KeySources())
    assert acme.keys is not other.keys


def test_a_set_that_nobody_uses_is_closed(tmp_path: Path) -> None:
    """After a reload the sets of issuers that are gone are fetched no more; the others stay as they were."""

    async def reload() -> None:
        sources = KeySources()
        nowhere = {**REMOTE, "jwks_url": "http://127.0.0.1:9/jwks.json", "insecure_jwks_loopback": True}
        folder = {"keys": {"folder": str(tmp_path)}}
        tables = {"workspaces": {name: {"issuers": [nowhere]} for name in ("acme", "other")}, **folder}
        issuers = trusted_issuers(settings_from(tables, {}), sources)
        for issuer in issuers:
            await issuer.keys.open()
        standing = asyncio.all_tasks()
        await sources.settle(issuers)
        assert asyncio.all_tasks() == standing
        await sources.settle(issuers[:1])
        assert len(asyncio.all_tasks()) < len(standing)
        assert trusted_issuers(settings_from(tables, {}), sources)[0].keys is issuers[0].keys
        assert trusted_issuers(settings_from(tables, {}), sources)[1].keys is not issuers[1].keys
        await sources.settle(())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(reload())


def test_a_file_that_went_bad_after_the_check(messenger: dict[str, Any], login: dict[str, Any], tmp_path: Path) -> None:
    """Files are read again when they are trusted; every issuer whose file went bad meanwhile is named."""
    settings = settings_of(messenger, login)
    (tmp_path / "secret").write_text("short")
    (tmp_path / "jwks.json").write_text("{}")
    with pytest.raises(SettingsInvalid) as caught:
        trusted_issuers(settings)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "workspaces.acme.issuers[0]",
        "workspaces.acme.issuers[1]",
    ]
