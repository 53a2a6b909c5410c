"""The parser's two ways: the fast one for plain tokens, and the plain one that says what is wrong."""

from __future__ import annotations

import json

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.identity.unverified import _is_deep, _strictly, strict_json_object

TEXTS = st.text(st.characters(codec=None, categories=None), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)
_WRITERS = (
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"),
    lambda value: json.dumps(value, separators=(",", ":")).encode(),
)
PIECES = (
    b'{"a":1}',
    b'{"a":1,"a":2}',
    b'{"a":"x","\\u0061":"x"}',
    b'{"":0,"":0}',
    b'{"a":-0}',
    b'{"a":-0.0}',
    b'{"a":1e5}',
    b'{"a":"\\ud800"}',
    b'{"\\udfff":1}',
    b'{"a":"\\ud83d\\ude00"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"\xff":1}',
    b"{}",
    b'{"a":18446744073709551615}',
    b'{"a":18446744073709551616}',
    b'{"a":-9223372036854775809}',
    b'{"a":1E400}',
    b'{"a":123456789012345678901}',
    b'{"a":NaN}',
    b'{"a":"\\/"}',
    b'{"a":"\x7f"}',
    b'{"a":"\\u007f"}',
    b'{"a":"\n"}',
    b'{"a":{}}',
    b'{"a":{"b":1,"b":1}}',
    b'{"a":[{"b":1,"b":1}]}',
    b'{"a":[]}',
    b'{"a":[NaN]}',
    b'[{"a":1}]',
    b"1",
    b'{"a":"\xc0\xaf"}',
    b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xe2\x80\xa8"}',
    b'{"a":1.5}',
    b'{"a":true,"b":null}',
)


def strictly(text: bytes) -> object:
    """What the slow and plain way makes of a text; a `ValueError` is one of the outcomes."""
    try:
        return _strictly(text)
    except ValueError:
        return ValueError


@settings(max_examples=800)
@given(
    st.builds(lambda value, write: write(value), JSON | OBJECTS, st.sampled_from(_WRITERS))
    | st.sampled_from(PIECES)
    | st.binary(max_size=30).map(lambda data: b'{"a":"' + data + b'"}')
)
@example(b'{"a":' * 100_000)
@example(b'{"a":' + b"[" * 17 + b"]" * 17 + b"}")
def test_the_fast_way_of_the_parser_takes_nothing_that_the_plain_way_refuses(text: bytes) -> None:
    """R3, R4: both ways of `strict_json_object` come to the same value, in the same types, or both refuse."""
    try:
        found: object = strict_json_object(text)
    except ValueError as error:
        found = ValueError
        assert len(str(error)) < 60  # noqa: PT017 - a refusal is one of two right outcomes
    plain = strictly(text)
    assert found == plain
    assert repr(found) == repr(plain)
    if isinstance(found, dict):
        msgspec.json.encode(found)  # whoever answers with it, or stores it, can


def depth_of(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


BRACKETS = st.text('[]{}",:\\a1', max_size=60).map(str.encode)


@given(st.integers(1, 40), st.lists(st.booleans(), min_size=40, max_size=40), TEXTS | st.text('[{}]"\\', max_size=40))
def test_a12_sixteen_levels_and_no_more(depth: int, objects: list[bool], text: str) -> None:
    """A12: lists and objects count alike, brackets in strings do not count, and neither does what stands beside."""
    value: object = text
    for as_object in [*objects[: depth - 1], True]:
        value = {"a": [], text: value, "b": {}} if as_object else [[], value, {}]
    written = json.dumps(value).encode()
    deepest = depth_of(value)
    assert _is_deep(written) == (deepest > 16)
    if deepest > 16:
        assert strictly(written) is ValueError


@given(BRACKETS)
def test_a12_the_depth_of_no_json_is_found_without_harm(text: bytes) -> None:
    """A12: what is no JSON is refused whatever its brackets look like."""
    found = strictly(text)
    assert found is ValueError or isinstance(found, dict)
