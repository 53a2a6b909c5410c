"""The path of a request as it is matched and as it is sent on: the same bytes, in the one spelling that they have.

Whatever a server behind us could read as another path than the one that we matched is refused, not repaired: dot
segments, empty segments, backslashes, path parameters, an encoded slash or dot, an encoded letter or digit, and what
decodes twice (advisories B05, B06; RFC 3986 section 6.2.2).
"""

from __future__ import annotations

import re

from gateway.errors import Code, Refusal

TARGET_LIMIT = 8 * 1024

# A segment of RFC 3986 section 3.3 without `;`. Encoded are only bytes that have no plain spelling in a path: neither
# unreserved characters, nor `/`, `\`, `;`, nor `%` before two more hex digits, nor controls.
_ENCODED = rb"%(?:2[0-46-9A-Ca-c]|25(?![0-9A-Fa-f]{2})|3[AaC-Fc-f]|40|5[BbDdEe]|60|7[BbCcDd]|[89A-Fa-f][0-9A-Fa-f])"
_CANONICAL = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|" + _ENCODED + rb")*+)+")
_EMPTY_SEGMENT = b"//"


def check_path(path: bytes) -> None:
    """Refuse a path (without its query) that has, or could be taken for, another spelling: `request_invalid`."""
    if len(path) > TARGET_LIMIT or _EMPTY_SEGMENT in path or _CANONICAL.fullmatch(path) is None:
        raise Refusal(Code.REQUEST_INVALID, "the path is not in its one spelling", field="path")
