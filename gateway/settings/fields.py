"""What the tables of the settings are made of: strict tables, and the types of their fields.

A message never holds a value, for a value may be a secret.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

from gateway.identity.jose import ALGORITHMS
from keys.errors import KeyMaterialError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

OF_TABLE = "of_table"
_NAME = "[A-Za-z0-9_.-]{1,64}"
_UNFIT_HEADERS = frozenset(
    {"authorization", "connection", "content-length", "cookie", "host", "set-cookie", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "x-identity-error", "x-identity-assertion"}
)


class Table(BaseModel):
    """A table whose unknown keys are errors, and whose defaults are checked like everything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def usable(read: Callable[[], T], prefix: str = "") -> T:
    """What `read` returns; its `KeyMaterialError` becomes a problem of the field."""
    try:
        return read()
    except KeyMaterialError as error:
        raise ValueError(f"{prefix}{error}") from None


def place(location: Sequence[int | str]) -> str:
    """`workspaces.acme.issuers[0].name`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def problem_of_table(message: str) -> PydanticCustomError:
    """A problem whose place is the table, not the field at which it was noticed."""
    return PydanticCustomError(OF_TABLE, "{message}", {"message": message})


def one_is_a_list(value: Any) -> Any:
    """A single text or table where a list is expected."""
    return [value] if isinstance(value, str | dict) else value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _known_algorithm(value: str) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f"no such algorithm; there are {', '.join(ALGORITHMS)}")
    return value


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    version: int = 4 if host == "localhost" else 0
    with contextlib.suppress(ValueError):
        version = ipaddress.ip_address(host[1:-1] if bracketed else host).version
    good_port = re.fullmatch(r"[0-9]{1,5}", port) is not None and 0 < int(port) < 65536
    if not colon or not good_port or version != (6 if bracketed else 4):
        raise ValueError("not an address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise ValueError("a header's name has letters, digits and dashes")
    if value.lower() in _UNFIT_HEADERS:
        raise ValueError("this header has a meaning of its own")
    return value


def is_name(text: str) -> bool:
    """Whether a text can name a workspace, an issuer or a key."""
    return re.fullmatch(_NAME, text) is not None


Name = Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(one_is_a_list)]
Number = Annotated[int, BeforeValidator(_no_boolean)]
Bind = Annotated[str, AfterValidator(_address)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Algorithm = Annotated[str, AfterValidator(_known_algorithm)]
