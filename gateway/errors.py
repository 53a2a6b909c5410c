"""Every way in which the gateway says no.

    GatewayError
    ├── Refusal            a verdict on what was presented; carries one `Code` of the closed list
    │   └── RateLimited    a budget of requests is spent
    ├── Outage             no verdict could be reached (keys, store, upstream); never becomes a refusal
    ├── ContactNotFound    no record stands under that id
    │   └── VisitorNotFound    no live lead does
    ├── ContactMerged      the record was merged into another one
    ├── ContactConflict    a record holds an identifier that another one asked for
    ├── ChangeRefused      a change that no record may take; carries a `ChangeProblem`
    ├── SearchRefused      a search that cannot be run; carries a `SearchProblem`
    ├── StoreUnusable      the database is newer than the program, damaged, or not ours
    └── SettingsInvalid    the configuration has problems; all of them, named together

No class here knows an HTTP status: `web/problems.py` is the one place that does.
A `reason` is for the operator's log. It names what was expected and what kind of thing was found; it never
holds a token, a secret or the value of a claim (advisories A17, B20, B25).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Code(StrEnum):
    """The closed set of codes that a client can meet (design section 6)."""

    CREDENTIALS_MISSING = "credentials_missing"
    CREDENTIALS_CONFLICT = "credentials_conflict"
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105 - a code, not a secret
    TOKEN_TOO_LARGE = "token_too_large"  # noqa: S105 - a code, not a secret
    ALG_NOT_ALLOWED = "alg_not_allowed"
    ISSUER_UNKNOWN = "issuer_unknown"
    KID_UNKNOWN = "kid_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    CRIT_UNSUPPORTED = "crit_unsupported"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code, not a secret
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105 - a code, not a secret
    ISSUED_IN_FUTURE = "issued_in_future"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    AUDIENCE_MISMATCH = "audience_mismatch"
    CLAIM_MISSING = "claim_missing"
    CLAIM_TYPE = "claim_type"
    USER_ID_MISSING = "user_id_missing"
    USER_ID_PLACEHOLDER = "user_id_placeholder"
    USER_ID_INVALID = "user_id_invalid"
    USER_ID_IS_CONTACT_ID = "user_id_is_contact_id"
    EMAIL_INVALID = "email_invalid"
    EMAIL_MISMATCH = "email_mismatch"
    EMAIL_AMBIGUOUS = "email_ambiguous"
    IDENTITY_CONFLICT = "identity_conflict"
    CONTACT_UNKNOWN = "contact_unknown"
    CONTACT_BLOCKED = "contact_blocked"
    CONTACT_ARCHIVED = "contact_archived"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a code, not a secret
    KEYS_UNAVAILABLE = "keys_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    REQUEST_INVALID = "request_invalid"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"


class GatewayError(Exception):
    """The base of everything that the gateway raises on purpose."""


class Refusal(GatewayError):
    """A verdict on what was presented: one code, an inward reason, and the field where there is one."""

    def __init__(self, code: Code, reason: str, *, field: str | None = None) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.field = field


class RateLimited(Refusal):
    """A budget is spent; there is a request in it again after `retry_after` seconds."""

    def __init__(self, reason: str, *, retry_after: int) -> None:
        super().__init__(Code.RATE_LIMITED, reason)
        self.retry_after = retry_after


class Outage(GatewayError):
    """No verdict could be reached; the client is told to come back after `retry_after` seconds."""

    def __init__(self, code: Code, reason: str, *, retry_after: int = 5) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class ContactNotFound(GatewayError):
    """No record stands under that id in that workspace."""


class VisitorNotFound(ContactNotFound):
    """No live lead stands under that id or user_id in that workspace."""


class ContactMerged(GatewayError):
    """The record was merged into another one, and `contact_id` answers for it now."""

    def __init__(self, contact_id: str) -> None:
        super().__init__(f"merged into the contact {contact_id}")
        self.contact_id = contact_id


class ContactConflict(GatewayError):
    """Another record, `contact_id`, holds the identifier in `field`, and whether that one is archived or blocked."""

    def __init__(self, contact_id: str, field: str, *, archived: bool = False, blocked: bool = False) -> None:
        super().__init__(f"{field} is held by the contact {contact_id}")
        self.contact_id = contact_id
        self.field = field
        self.archived = archived
        self.blocked = blocked


class ChangeProblem(StrEnum):
    """What can be wrong with a change of a record that an operator asks for."""

    VALUE_INVALID = "value_invalid"
    IDENTIFIER_MISSING = "identifier_missing"
    USER_STAYS_USER = "user_stays_user"
    NOT_RESTORABLE = "not_restorable"
    MERGE_INVALID = "merge_invalid"
    MERGE_UNCHECKED = "merge_unchecked"
    MERGE_NOT_DUPLICATES = "merge_not_duplicates"
    NOT_UNDONE = "not_undone"
    ATTRIBUTE_UNKNOWN = "attribute_unknown"
    ATTRIBUTE_NOT_FOUND = "attribute_not_found"


class ChangeRefused(GatewayError):
    """A change that no record may take: the problem, words for whoever asked, and the field where there is one."""

    def __init__(self, problem: ChangeProblem, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{problem}: {message}")
        self.problem = problem
        self.message = message
        self.field = field


class SearchProblem(StrEnum):
    """What can be wrong with a search for records."""

    QUERY_INVALID = "query_invalid"
    SORT_ORDER_INVALID = "sort_order_invalid"
    CURSOR_INVALID = "cursor_invalid"
    TOO_SLOW = "too_slow"


class SearchRefused(GatewayError):
    """A search that cannot be run: the problem, words for whoever asked, and the place where there is one."""

    def __init__(self, problem: SearchProblem, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{problem}: {message}")
        self.problem = problem
        self.message = message
        self.field = field


class StoreUnusable(GatewayError):
    """The database cannot be used as it is: newer than the program, damaged, or not a contact store."""


class SettingsInvalid(GatewayError):
    """The configuration has problems; `problems` holds a line for each of them."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))
