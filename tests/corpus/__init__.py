"""Bad tokens, each with the code that refuses it; the same corpus runs against the verifier and against the listener.

It begins with the product's own catalogue of broken tokens and goes into the breadth where that shows one of a kind.
`bad_tokens(signer)` makes the whole of it for a `Signer`: `shared_secret_signer` (Messenger style, HS256) or
`key_signer` (an issuer with `iss`, `aud` and a private key). Times keep at least two minutes from every border, so that
the corpus also serves against a clock that runs. A consumer that speaks HTTP takes the cases that `fit_a_header`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.identity.broken import CATALOGUE
from tests.corpus.claims import claim_cases, email_cases, issuer_cases, user_id_cases
from tests.corpus.form import encoding_cases, json_cases, segment_cases, size_cases
from tests.corpus.keys import (
    confusion_cases,
    ecdsa_cases,
    embedded_key_cases,
    header_cases,
    public_key_forms,
    signature_cases,
)
from tests.corpus.signer import BadToken, generate_key, key_signer, shared_secret_signer

if TYPE_CHECKING:
    from gateway.identity.crafting import Signer

__all__ = [
    "BadToken",
    "bad_tokens",
    "generate_key",
    "key_signer",
    "public_key_forms",
    "shared_secret_signer",
]


def bad_tokens(signer: Signer) -> list[BadToken]:
    """The whole corpus for a signer; the names are unique."""
    groups = [size_cases, segment_cases, encoding_cases, json_cases, header_cases, embedded_key_cases, signature_cases]
    groups += [claim_cases, user_id_cases, email_cases]
    if not signer.symmetric:
        groups += [confusion_cases, issuer_cases]
    if signer.algorithm.startswith("ES"):
        groups += [ecdsa_cases]
    catalogue = [
        BadToken(entry.slug, entry.make(signer), entry.code_for(signer))
        for entry in CATALOGUE.values()
        if entry.unsuited(signer) is None
    ]
    return catalogue + [
        BadToken(f"{group.__name__.removesuffix('_cases')}: {name}", token, code)
        for group in groups
        for name, token, code in group(signer)
    ]
