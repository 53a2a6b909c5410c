"""The path that is matched is the path that is sent: whatever has a second spelling is refused."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, Refusal
from gateway.web.proxy.target import TARGET_LIMIT, check_path

GOOD = (
    *(
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/a/...",
        "/.well-known/x",
        "/a/..b",
        "/a/b..",
        "/~ada",
        "/a@b:c",
        "/a,b=c",
        "/a(b)!$&'*+",
    ),
    *("/a%20b", "/%E5%BC%A0", "/a%25", "/a%25zz", "/a%3Fb", "/a%23b", "/a%22", "/a%3Cb%3E", "/a%5B1%5D", "/%c3%a9"),
)
DOT_SEGMENTS = ("/.", "/..", "/a/.", "/a/..", "/a/../b", "/./a", "/../a", "/a/./b", "/..;/a", "/.;/a", "/a/..;x=1/b")
ENCODED_DOTS = ("/%2e", "/%2E%2e/a", "/a/%2e%2e/b", "/a%2eb", "/.%2e/a", "/%2e./a")
SEPARATORS = (
    "//",
    "/a//b",
    "//a",
    "/a//",
    "/a\\b",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a%5Cb",
    "/..%2fa",
    "/..%5ca",
    "/a\\..\\b",
)
DOUBLE = ("/%252e", "/%252e%252e/a", "/a%252fb", "/a%255cb", "/%25%32%65", "/a%25%32fb")
PARAMETERS = ("/a;b", "/a;b=1/c", "/a%3bb", "/a%3Bb")
PLAIN = ("/%61", "/%41", "/%7e", "/%7E", "/%5f", "/%2d", "/%30", "/ch%61t/x")
OTHERS = (
    *(
        "",
        "a",
        "*",
        "http://a/b",
        "/a?b",
        "/a#b",
        "/a b",
        "/\x00",
        "/%00",
        "/%0a",
        "/%0D%0A",
        "/%1f",
        "/%7f",
        "/\u00e9",
    ),
    *("/%", "/%2", "/%zz", "/\x7f", '/"', "/<", "/|", "/^", "/`", "/{", "/["),
)


@pytest.mark.parametrize("path", GOOD)
def test_a_path_in_its_one_spelling_passes(path: str) -> None:
    """What every server reads alike is nobody's business."""
    check_path(path.encode())


@pytest.mark.parametrize("path", [*DOT_SEGMENTS, *ENCODED_DOTS, *SEPARATORS, *DOUBLE, *PARAMETERS, *PLAIN, *OTHERS])
def test_b06_a_path_with_a_second_spelling_is_refused(path: str) -> None:
    """B05, B06: what a server behind us could read as another path is not repaired and not sent."""
    with pytest.raises(Refusal) as caught:
        check_path(path.encode())
    assert caught.value.code is Code.REQUEST_INVALID


def test_a_path_has_a_longest_length() -> None:
    """8 KiB, as servers take."""
    check_path(b"/" + b"a" * (TARGET_LIMIT - 1))
    with pytest.raises(Refusal):
        check_path(b"/" + b"a" * TARGET_LIMIT)


@given(st.binary(max_size=40))
def test_what_passes_decodes_once_to_no_other_path(tail: bytes) -> None:
    """For any bytes: a path that passes keeps its segments when it is decoded, and decoding again changes nothing."""
    path = b"/" + tail
    try:
        check_path(path)
    except Refusal:
        return
    decoded = unquote_to_bytes(path)
    assert decoded.count(b"/") == path.count(b"/")
    assert not {b".", b".."} & set(decoded.split(b"/"))
    assert b"\\" not in decoded
    assert b"\0" not in decoded
    assert unquote_to_bytes(decoded) == decoded or b"%25" in path


@given(st.text(st.characters(exclude_characters="/\\;", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20))
def test_a_text_as_a_library_encodes_it_passes(text: str) -> None:
    """What a client's library makes of a name is in the one spelling, but for the dots and percent signs above."""
    segment = quote(text, safe="")
    if text in {".", ".."} or "%" in text or set(segment) & set("."):
        return
    check_path(f"/files/{segment}".encode())
