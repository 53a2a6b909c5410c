"""The settings: what can be configured, and what is refused.

Each check stands at the field that it concerns and sees the fields above it, so that one bad value hides no other.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.contacts.resolver import EmailConflict
from gateway.identity.platforms import Platform
from gateway.settings.assertion import AssertionSettings, assertion_problems
from gateway.settings.fields import Bind, HeaderName, Number, Table, Text, is_name, one_is_a_list, usable
from gateway.settings.issuers import IssuerSettings  # noqa: TC001 - a field's type, read at run time
from gateway.settings.limits import LimitsSettings
from gateway.settings.routes import Network, RouteSettings  # noqa: TC001 - as above
from gateway.web.enforcement import Mode
from gateway.web.headers import HeaderNames
from keys.files import read_secret_file


class FirstSight(StrEnum):
    """What becomes of a user_id that nobody has."""

    CREATE = "create"
    REJECT = "reject"


class ArchivedLogin(StrEnum):
    """What becomes of the login of an archived contact."""

    RESTORE = "restore"
    REJECT = "reject"


class HeaderSettings(Table):
    """`[public.headers]`: the names of the identity headers."""

    contact_id: HeaderName = HeaderNames().contact_id
    user_id: HeaderName = HeaderNames().user_id
    user_email: HeaderName = HeaderNames().user_email
    matched_by: HeaderName = HeaderNames().matched_by
    forwarded_user: HeaderName = HeaderNames().forwarded_user
    forwarded_email: HeaderName = HeaderNames().forwarded_email

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [name.lower() for name in self.model_dump().values()]
        if len(set(names)) < len(names):
            raise ValueError("two headers have the same name")
        return self

    def names(self) -> HeaderNames:
        """The names as the web side takes them."""
        return HeaderNames(**self.model_dump())


class PublicSettings(Table):
    """`[public]`: the listener that clients reach.

    `trusted_proxies` are the peers whose `X-Forwarded-*` is believed; nobody's by default.
    """

    bind: Bind = "127.0.0.1:8080"
    default_workspace: str | None = None
    express_lane: bool = True
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(one_is_a_list)] = ()
    headers: HeaderSettings = HeaderSettings()


class AdminSettings(Table):
    """`[admin]`: the listener for operators and their programs.

    `requests_per_minute` is the budget of each access token, spent in slices of ten seconds.
    """

    bind: Bind = "127.0.0.1:8081"
    requests_per_minute: Annotated[Number, Field(ge=6)] = 10_000


class StoreSettings(Table):
    """`[store]`: where contacts live. A relative SQLite path is relative to the working directory."""

    url: str = "sqlite:///var/contacts.db"

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        """`url_file` names a file that holds the URL, for it may hold a password."""
        if not isinstance(data, dict) or data.get("url_file") is None:
            return data
        if data.get("url") is not None:
            raise ValueError("give url or url_file, not both")
        url = usable(lambda: read_secret_file(Path(str(data["url_file"]))))
        return {**{key: value for key, value in data.items() if key != "url_file"}, "url": url}

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
            return value
        if scheme in {"postgresql", "postgres"} and rest:
            return value
        raise ValueError("a store is named sqlite:///path or postgresql://...")


class KeySettings(Table):
    """`[keys]`: where the gateway keeps the last good remote key sets; relative to the working directory."""

    folder: Path = Path("var/keys")


class EnforcementSettings(Table):
    """`[workspaces.<app_id>.enforcement]`: on which platforms who is not proven is refused (`web/enforcement.py`)."""

    web: Mode = Mode.ON
    ios: Mode = Mode.ON
    android: Mode = Mode.ON

    def modes(self) -> dict[Platform, Mode]:
        """The modes as the web side takes them."""
        return {platform: getattr(self, platform) for platform in Platform}


class WorkspaceSettings(Table):
    """`[workspaces.<app_id>]`: one tenant's policies and trusted issuers. Times in seconds."""

    email_conflict: EmailConflict = EmailConflict.FLAG
    first_sight: FirstSight = FirstSight.CREATE
    archived_login: ArchivedLogin = ArchivedLogin.RESTORE
    email_fallback: bool = True
    extra_placeholders: frozenset[Text] = frozenset()
    exempt_placeholders: frozenset[str] = frozenset()
    alarm_emails: Annotated[Number, Field(ge=2)] = 3
    alarm_window: Annotated[Number, Field(gt=0)] = 86_400
    enforcement: EnforcementSettings = EnforcementSettings()
    issuers: tuple[IssuerSettings, ...]
    routes: tuple[RouteSettings, ...] = ()

    @field_validator("issuers", mode="wrap")
    @classmethod
    def _distinct(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> tuple[IssuerSettings, ...]:
        """No two issuers have the same name or `iss`; reported beside the problems inside each of them."""
        repeated = _repeated(value)
        try:
            issuers: tuple[IssuerSettings, ...] = handler(value)
        except ValidationError as error:
            if not repeated:
                raise
            raise ValidationError.from_exception_data("issuers", [*_details(error), *repeated]) from None
        if repeated:
            raise ValidationError.from_exception_data("issuers", repeated)
        if not issuers:
            raise ValueError("a workspace needs an issuer")
        return issuers


class Settings(BaseSettings):
    """Everything that can be configured. Made by `load_settings`; made directly, it reads nothing but its arguments."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True, case_sensitive=True)

    workspaces: Annotated[dict[str, WorkspaceSettings], Field(min_length=1)]
    public: PublicSettings = PublicSettings()
    admin: AdminSettings = AdminSettings()
    store: StoreSettings = StoreSettings()
    keys: KeySettings = KeySettings()
    assertion: AssertionSettings | None = None
    limits: LimitsSettings = LimitsSettings()
    workers: Annotated[Number, Field(ge=1, le=256)] = 1
    drain_seconds: Annotated[Number, Field(ge=0, le=3600)] = 30
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: the environment comes in as an argument of `load_settings`."""
        return (init_settings,)

    @field_validator("workspaces")
    @classmethod
    def _app_ids(cls, value: dict[str, WorkspaceSettings]) -> dict[str, WorkspaceSettings]:
        if not all(map(is_name, value)):
            raise ValueError("an app_id has letters, digits, dashes, dots and underscores, at most 64")
        return value

    @field_validator("workspaces")
    @classmethod
    def _routes(cls, value: dict[str, WorkspaceSettings]) -> dict[str, WorkspaceSettings]:
        """A request has one route: no two have the same prefix for the same host, whatever their workspaces."""
        places: dict[tuple[str, str | None], str] = {}
        for app_id, workspace in value.items():
            for index, route in enumerate(workspace.routes):
                here = f"{app_id}.routes[{index}]"
                there = places.setdefault((route.prefix, route.host), here)
                if there != here:
                    raise ValueError(f"{here} has the prefix and host of {there}")
        return value

    @field_validator("assertion")
    @classmethod
    def _assertion(cls, value: AssertionSettings | None, info: ValidationInfo) -> AssertionSettings | None:
        problems = list(assertion_problems(value, info.data.get("workspaces") or {}))
        if problems:
            raise ValidationError.from_exception_data("assertion", problems)
        return value

    @field_validator("public")
    @classmethod
    def _default_workspace(cls, value: PublicSettings, info: ValidationInfo) -> PublicSettings:
        workspaces = info.data.get("workspaces")
        if workspaces and value.default_workspace is not None and value.default_workspace not in workspaces:
            raise ValueError("default_workspace names no workspace")
        return value

    @field_validator("admin")
    @classmethod
    def _own_address(cls, value: AdminSettings, info: ValidationInfo) -> AdminSettings:
        public = info.data.get("public")
        if public and public.bind == value.bind:
            raise ValueError("the admin listener needs an address of its own")
        return value


def _repeated(value: Any) -> list[InitErrorDetails]:
    problems: list[InitErrorDetails] = []
    issuers = [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list | tuple) else []
    for field, what in (("name", "name"), ("issuer", "iss")):
        given = [issuer.get(field) for issuer in issuers]
        for index, one in enumerate(given):
            if one is not None and one in given[:index]:
                problem = PydanticCustomError(
                    "repeated", "another issuer of the workspace has the same {what}", {"what": what}
                )
                problems.append(InitErrorDetails(type=problem, loc=(index, field), input=None))
    return problems


def _details(error: ValidationError) -> list[InitErrorDetails]:
    return [
        InitErrorDetails(
            type=PydanticCustomError(one["type"], "{message}", {"message": one["msg"]}), loc=one["loc"], input=None
        )
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
