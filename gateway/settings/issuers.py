"""The settings of an issuer: who signs, with what, and what its tokens must say.

Each check stands at the field that it concerns and sees the fields above it, so that one bad value hides no other.
Loosening a bound of the design is spelled `insecure_...`.
"""

from __future__ import annotations

import ssl
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.identity.claims import SHORTEST_SESSION
from gateway.identity.platforms import Platform  # noqa: TC001 - a field's type, read at run time
from gateway.settings.fields import Algorithm, Name, Number, Table, Text, Texts, one_is_a_list, problem_of_table, usable
from keys.destinations import checked_url
from keys.files import load_jwks_file, load_pem_file, read_secret_file
from keys.jwk import HMAC, signing_key_from_pem
from keys.keyring import load_keyring
from keys.secrets import checked_secret

LONGEST_LEEWAY = 60
LONGEST_LIFETIME = 86_400


class Profile(StrEnum):
    """What kind of issuer: the messenger's shared secrets, or asymmetric keys with `iss` and `aud`."""

    INTERCOM = "intercom"
    OIDC = "oidc"


class SecretSettings(Table):
    """One shared secret; `id` is its `kid`. Give the text or, better, the file that holds it.

    `platforms` names those that it is enabled for, as `identity/platforms.py` explains; none named means all.
    """

    id: Name
    secret: SecretStr | None = None
    secret_file: Path | None = None
    platforms: tuple[Platform, ...] = ()

    @field_validator("secret")
    @classmethod
    def _sound(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            usable(lambda: checked_secret(value.get_secret_value()))
        return value

    @field_validator("secret_file")
    @classmethod
    def _sound_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            usable(lambda: checked_secret(read_secret_file(value)))
        if "secret" in info.data and (value is None) == (info.data["secret"] is None):
            raise problem_of_table("give secret or secret_file, and not both")
        return value

    def text(self) -> str:
        """The secret itself; `KeyMaterialError` when its file cannot be read."""
        return self.secret.get_secret_value() if self.secret else read_secret_file(Path(self.secret_file or ""))


class PemSettings(Table):
    """One public key in PEM; `id` is its `kid`, for tokens that name one."""

    file: Path
    id: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"file": data} if isinstance(data, str) else data

    @field_validator("file")
    @classmethod
    def _sound(cls, value: Path) -> Path:
        usable(lambda: load_pem_file(value))
        return value


class IssuerSettings(Table):
    """`[[workspaces.<app_id>.issuers]]`: who signs, with what, and what its tokens must say.

    `keyring` is the file of the keys that `gateway keys` makes: key pairs of our own, or the messenger's secrets. With
    it, or with `signing_key_file`, `gateway token issue` signs in its name; `production` forbids that for ever.
    `session_duration` ends an identity that many seconds after its token was issued, however late its `exp` is.
    `user_hash` lets its secrets serve the messenger's older proof, too: see `identity/user_hash.py` before it is
    switched on.
    """

    name: Name
    profile: Profile = Profile.OIDC
    production: bool = False
    issuer: Text | None = None
    audience: Texts = ()
    insecure_no_audience: bool = False
    algorithms: Annotated[tuple[Algorithm, ...], BeforeValidator(one_is_a_list)] = ()
    secrets: tuple[SecretSettings, ...] = ()
    jwks_file: Path | None = None
    insecure_jwks_loopback: bool = False
    jwks_url: str | None = None
    discovery: bool = False
    jwks_refresh: Annotated[Number, Field(ge=60, le=3600)] = 300
    jwks_cooldown: Annotated[Number, Field(ge=5, le=3600)] = 30
    jwks_stale_limit: Annotated[Number, Field(ge=3600, le=7 * 86_400)] = 86_400
    jwks_ca_file: Path | None = None
    jwks_allow_networks: Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(one_is_a_list)] = ()
    pem_files: Annotated[tuple[PemSettings, ...], BeforeValidator(one_is_a_list)] = ()
    signing_key_file: Path | None = None
    keyring: Path | None = None
    leeway: Annotated[Number, Field(ge=0, le=LONGEST_LEEWAY)] = LONGEST_LEEWAY
    insecure_leeway: Annotated[Number, Field(gt=LONGEST_LEEWAY)] | None = None
    max_lifetime: Annotated[Number, Field(gt=0, le=LONGEST_LIFETIME)] | None = None
    insecure_max_lifetime: Annotated[Number, Field(gt=LONGEST_LIFETIME)] | Literal["unlimited"] | None = None
    session_duration: Annotated[Number, Field(ge=SHORTEST_SESSION)] | None = None
    require_exp: bool | None = None
    insecure_no_exp: bool = False
    user_id_claim: Text = ""
    custom_attributes: tuple[Text, ...] = ()
    email_authoritative: bool | None = None
    user_hash: bool = False

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str | None, info: ValidationInfo) -> str | None:
        profile = info.data.get("profile")
        if profile is Profile.OIDC and value is None:
            raise ValueError("required: the exact iss of the tokens")
        if profile is Profile.INTERCOM and value is not None:
            raise ValueError('tokens of profile "intercom" have no iss; use profile = "oidc"')
        return value

    @field_validator("audience")
    @classmethod
    def _audience(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("profile") is Profile.INTERCOM and value:
            raise ValueError('tokens of profile "intercom" have no aud; use profile = "oidc"')
        return value

    @field_validator("insecure_no_audience")
    @classmethod
    def _some_audience(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if info.data.get("profile") is Profile.OIDC and not value and info.data.get("audience") == ():
            raise problem_of_table("audience: required: what aud must name; or say insecure_no_audience = true")
        return value

    @field_validator("algorithms")
    @classmethod
    def _algorithms(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        profile = info.data.get("profile")
        if not value and profile is Profile.INTERCOM:
            return ("HS256",)
        if not value and profile is Profile.OIDC:
            raise ValueError('required: what the issuer signs with, such as ["ES256"]')
        if len({name in HMAC for name in value}) > 1:
            raise ValueError("HS algorithms and asymmetric ones never share an issuer")
        if profile is Profile.INTERCOM and not HMAC.issuperset(value):
            raise ValueError('profile "intercom" signs with HS algorithms')
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, value: tuple[SecretSettings, ...], info: ValidationInfo) -> tuple[SecretSettings, ...]:
        algorithms = info.data.get("algorithms") or ()
        if value and algorithms and not HMAC.issuperset(algorithms):
            raise ValueError("secrets are for HS algorithms, which never share an issuer with asymmetric ones")
        if len({secret.id for secret in value}) < len(value):
            raise ValueError("two secrets have the same id")
        for index, secret in enumerate(value):
            if algorithms:
                usable(partial(_checked, secret, algorithms), f"[{index}]: ")
        return value

    @field_validator("jwks_file")
    @classmethod
    def _jwks_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            keys = usable(lambda: load_jwks_file(value))
            algorithms = set(info.data.get("algorithms") or ())
            if algorithms & HMAC:
                raise ValueError("holds asymmetric keys, which never share an issuer with HS algorithms")
            if algorithms and not any(key.algorithms & algorithms for key in keys):
                raise ValueError("holds no key that suits the algorithms")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _jwks_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        usable(lambda: checked_url(value, loopback_http=bool(info.data.get("insecure_jwks_loopback"))))
        _alone(info)
        return value

    @field_validator("discovery")
    @classmethod
    def _discovery(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if not value:
            return value
        if info.data.get("jwks_url") is not None:
            raise ValueError("finds the key set by itself; give discovery or jwks_url, not both")
        issuer = info.data.get("issuer")
        if issuer is not None:
            loopback_http = bool(info.data.get("insecure_jwks_loopback"))
            usable(lambda: checked_url(issuer, loopback_http=loopback_http), "asks at the issuer: ")
            if "?" in issuer:
                raise ValueError("asks at the issuer: a URL with a query is no issuer of OpenID Connect")
        _alone(info)
        return value

    @field_validator("jwks_ca_file")
    @classmethod
    def _jwks_ca_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (OSError, ValueError):
                raise ValueError(f"{value}: holds no certificate in PEM, or cannot be read") from None
        return value

    @field_validator("pem_files")
    @classmethod
    def _pem_files(cls, value: tuple[PemSettings, ...], info: ValidationInfo) -> tuple[PemSettings, ...]:
        algorithms = set(info.data.get("algorithms") or ())
        if value and algorithms & HMAC:
            raise ValueError("hold asymmetric keys, which never share an issuer with HS algorithms")
        for index, pem in enumerate(value):
            key = usable(partial(load_pem_file, pem.file))
            if algorithms and not key.algorithms & algorithms:
                raise ValueError(f"[{index}]: the key does not suit the algorithms")
        if value and info.data.get("jwks_url") is not None:
            raise ValueError("keys come from one place: give jwks_url or pem_files, not both")
        if value and info.data.get("discovery"):
            raise ValueError("keys come from one place: give discovery or pem_files, not both")
        return value

    @field_validator("signing_key_file")
    @classmethod
    def _signing_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        if info.data.get("production"):
            raise ValueError("an issuer marked production has no signing key here")
        usable(lambda: signing_key_from_pem(read_secret_file(value).encode()), f"{value}: ")
        return value

    @field_validator("keyring")
    @classmethod
    def _keyring(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """A file that is not there yet is no mistake: `gateway keys` makes it, and `trust.py` asks for it."""
        places = ("secrets", "jwks_file", "jwks_url", "discovery", "pem_files", "signing_key_file")
        beside = [place for place in places if info.data.get(place)]
        if value is None:
            if not beside and all(place in info.data for place in places):
                raise problem_of_table("no keys: give keyring, secrets, jwks_url, discovery, jwks_file or pem_files")
            return value
        if beside:
            raise ValueError(f"keys come from one place: give keyring or {beside[0]}, not both")
        if value.exists():
            keyring = usable(lambda: load_keyring(value))
            algorithms = set(info.data.get("algorithms") or ())
            if (
                algorithms
                and keyring.keys
                and not any(algorithms & key.algorithms for key in keyring.verification_keys)
            ):
                raise ValueError("holds no key that suits the algorithms")
        return value

    @field_validator("require_exp")
    @classmethod
    def _require_exp(cls, value: bool | None) -> bool | None:  # noqa: FBT001 - pydantic's signature
        if value is False:
            raise ValueError("to take tokens without exp, say insecure_no_exp = true")
        return value

    @field_validator("user_hash")
    @classmethod
    def _user_hash(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if value and info.data.get("profile") is Profile.OIDC:
            raise ValueError('is made with the shared secrets of an issuer of profile "intercom"')
        return value

    @field_validator("user_id_claim", mode="before")
    @classmethod
    def _user_id_claim(cls, value: Any, info: ValidationInfo) -> Any:
        default = {Profile.INTERCOM: "user_id", Profile.OIDC: "sub"}
        return value or default.get(info.data.get("profile", Profile.OIDC))


def _checked(secret: SecretSettings, algorithms: tuple[str, ...]) -> bytes:
    return checked_secret(secret.text(), algorithms)


def _alone(info: ValidationInfo) -> None:
    """Fetched keys stand beside no others: which of the two withdrew a key could not be told."""
    if HMAC & set(info.data.get("algorithms") or ()):
        raise ValueError("fetches asymmetric keys, which never share an issuer with HS algorithms")
    if info.data.get("secrets") or info.data.get("jwks_file") is not None:
        raise ValueError("keys come from one place: give no secrets and no jwks_file beside it")
