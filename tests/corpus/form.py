"""Tokens that are no well-formed JWS of two JSON objects: size, segments, base64url, JSON."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from gateway.errors import Code
from gateway.identity.broken.form import padded, spare_bit_set
from gateway.identity.crafting import encoded
from gateway.identity.issuing import encode_segment

if TYPE_CHECKING:
    from gateway.identity.crafting import Signer
    from tests.corpus.signer import Cases

LIMIT = 8192
MALFORMED, TOO_LARGE = Code.TOKEN_MALFORMED, Code.TOKEN_TOO_LARGE


def size_cases(signer: Signer) -> Cases:
    """A16, R2: what is over the limit is refused before it is read."""
    yield "a megabyte", signer.token(claims={"name": "x" * 1_000_000}), TOO_LARGE
    yield "ten megabytes of dots", b"." * 10_000_000, TOO_LARGE
    yield "one byte over", signer.token() + b"A" * (LIMIT + 1 - len(signer.token())), TOO_LARGE
    yield "header of three kilobytes", signer.token({"kid": "a" * 2200}), TOO_LARGE
    yield "100,000 deep in the payload", signer.seal(encoded(signer.header), nested(100_000)), TOO_LARGE
    yield "100,000 deep in the header", signer.seal(nested(100_000), encoded(signer.claims)), TOO_LARGE


def segment_cases(signer: Signer) -> Cases:
    """R1, R6: three segments, nothing before, between or behind them."""
    good = signer.token()
    header, payload, signature = good.split(b".")
    tokens = {
        "empty": b"",
        "one dot": b".",
        "two dots": b"..",
        "one segment": header,
        "dot behind": good + b".",
        "dot before": b"." + good,
        "empty header": b"." + payload + b"." + signature,
        "blank before": b" " + good,
        "blank behind": good + b" ",
        "newline behind": good + b"\n",
        "CRLF behind": good + b"\r\n",
        "tab within": good[:10] + b"\t" + good[10:],
        "newline within": good[:10] + b"\n" + good[10:],
        "blanks around the dots": good.replace(b".", b" . "),
        "NUL behind": good + b"\0",
        "scheme left on": b"Bearer " + good,
        "quoted": b'"' + good + b'"',
        "two tokens": good + b"," + good,
        "percent-encoded dots": good.replace(b".", b"%2E"),
        "full-width dots": good.replace(b".", "\uff0e".encode()),
        "Latin letter": good[:5] + "é".encode() + good[5:],
        "byte FF": good + b"\xff",
    }
    for name, token in tokens.items():
        yield name, token, MALFORMED


def encoding_cases(signer: Signer) -> Cases:
    """R1, A13: one spelling of each byte string. Signatures are right for the bytes as they stand."""
    header, payload, signature = signer.token().split(b".")
    short_header = _with_spare_bits(signer.header)
    yield "padded header", signer.sign(padded(short_header), payload), MALFORMED
    yield "padded signature", signer.token() + (b"=" * (-len(signature) % 4) or b"===="), MALFORMED
    yield "too much padding", signer.sign(header, payload + b"===="), MALFORMED
    yield "spare bits set in the header", signer.sign(spare_bit_set(short_header), payload), MALFORMED
    if len(signature) % 4:
        good = signer.token()
        yield "spare bits set in the signature", spare_bit_set(good), MALFORMED
    for length in (1, 5):
        yield f"a segment of {length} characters", header + b"." + payload + b"." + signature[:length], MALFORMED
    yield "not base64 at all", signer.sign(header, b"!!!!"), MALFORMED
    yield "plain JSON as a segment", signer.sign(header, encoded(signer.claims)), MALFORMED


def json_cases(signer: Signer) -> Cases:
    """R3, R4, A12: header and payload are strict JSON objects in UTF-8."""
    header, payload = encoded(signer.header), encoded(signer.claims)
    for name, text in _bad_objects(header).items():
        yield f"header {name}", signer.seal(text, payload), MALFORMED
    for name, text in _bad_objects(payload).items():
        yield f"payload {name}", signer.seal(header, text), MALFORMED
    first = {"header": (header, b'"alg"', b'"\\u0061lg"'), "payload": (payload, b'"user_id"', b'"user\\u005fid"')}
    for place, (text, member, spelled) in first.items():
        for name, again in {
            "twice": member + b':"other"',
            "twice with the same value": text[1:-1].split(b",")[0] if place == "header" else b'"user_id":"user-1"',
            "twice, once escaped": spelled + b':"other"',
            "twice, first null": member + b":null",
        }.items():
            doubled = b"{" + again + b"," + text[1:]
            token = signer.seal(doubled, payload) if place == "header" else signer.seal(header, doubled)
            yield f"{place} {member.decode()} {name}", token, MALFORMED
    yield (
        "payload 2,500 deep",
        signer.seal(header, b'{"a":' + b"[" * 2500 + b"]" * 2500 + b"," + payload[1:]),
        MALFORMED,
    )
    yield "payload member twice, deep", signer.seal(header, payload[:-1] + b',"a":{"b":[{"c":1,"c":2}]}}'), MALFORMED
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"9" * 400, b"9" * 5000, b"1e99999"):
        shown = number.decode() if len(number) < 20 else f"{len(number)} digits"
        for claim in (b"exp", b"level"):
            members = {name: value for name, value in signer.claims.items() if name != "exp"}
            text = encoded(members)[:-1] + b',"' + claim + b'":' + number + b"}"
            yield f"payload {claim.decode()} {shown}", signer.seal(header, text), MALFORMED
        if len(number) > 1000:
            continue  # a header has a smaller limit of its own
        yield f"header number {shown}", signer.seal(header[:-1] + b',"n":' + number + b"}", payload), MALFORMED


def _bad_objects(text: bytes) -> dict[str, bytes]:
    string = text.decode()
    return {
        "empty text": b"",
        "blank": b" ",
        "null": b"null",
        "string": b'"text"',
        "number": b"1",
        "array": b"[" + text + b"]",
        "nested JWS": b"eyJhbGciOiJub25lIn0.e30.",
        "cut": text[:-1],
        "twice": text + text,
        "garbage behind": text + b"x",
        "NUL behind": text + b"\0",
        "comma behind the last": text[:-1] + b",}",
        "single quotes": text.replace(b'"', b"'"),
        "comment": b"/**/" + text,
        "member without quotes": b"{a:1," + text[1:],
        "unescaped control character": text[:-1] + b',"name":"a\nb"}',
        "leading zero": text[:-1] + b',"n":01}',
        "plus sign": text[:-1] + b',"n":+1}',
        "True": text[:-1] + b',"n":True}',
        "byte order mark": codecs.BOM_UTF8 + text,
        "UTF-16": string.encode("utf-16"),
        "UTF-16LE": string.encode("utf-16-le"),
        "UTF-16BE": string.encode("utf-16-be"),
        "UTF-32": string.encode("utf-32"),
        "Latin-1": text[:-1] + b',"name":"\xe9"}',
        "overlong UTF-8": text[:-1] + b',"name":"\xc0\xaf"}',
        "surrogate in UTF-8": text[:-1] + b',"name":"\xed\xa0\x80"}',
        "no-break space around": "\u00a0".encode() + text,
        "500 deep": text[:-1] + b',"a":' + b"[" * 500 + b"]" * 500 + b"}",
        "100 deep": text[:-1] + b',"a":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
    }


def nested(depth: int) -> bytes:
    """A JSON object that is this deep."""
    return b'{"a":' * depth + b"1" + b"}" * depth


def _with_spare_bits(members: object) -> bytes:
    text = encoded(members)
    return encode_segment(text + b" " * ((1 - len(text)) % 3))
