"""Which public keys are too weak to verify with (R10, advisory A27). Each refusal says what is wanted instead."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

from keys.errors import KeyMaterialError

# Keys of small order verify forged signatures. They are told by their y, in any of its spellings: 0, 1 and -1 on both
# curves, and on Ed25519 the two of order 8.
_PRIME_25519 = 2**255 - 19
_PRIME_448 = 2**448 - 2**224 - 1
_SMALL_ORDER_25519 = frozenset(
    {
        0,
        1,
        _PRIME_25519 - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
_SMALL_ORDER_448 = frozenset({0, 1, _PRIME_448 - 1})
_ROCA_PRIMES = tuple(number for number in range(3, 168) if all(number % divisor for divisor in range(2, number)))


def check_rsa(key: rsa.RSAPublicKey) -> None:
    """`KeyMaterialError` for a short modulus, a bad exponent, and what OpenSSL would refuse at each signature."""
    numbers = key.public_numbers()
    if key.key_size < 2048 or numbers.e < 65537 or numbers.e % 2 == 0:
        raise KeyMaterialError("RSA keys have at least 2048 bits and an odd exponent of at least 65537")
    if key.key_size > 16384 or numbers.e.bit_length() > 64:
        raise KeyMaterialError("RSA keys have at most 16384 bits and an exponent of at most 64")
    if numbers.n % 2 == 0:
        raise KeyMaterialError("the RSA modulus is even, so anybody can factor it")
    if _is_roca(numbers.n):
        raise KeyMaterialError("the RSA key was made by a chip whose keys can be factored (ROCA, CVE-2017-15361)")


def check_edwards(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) -> None:
    """`KeyMaterialError` for a point of small order."""
    encoded = bytearray(key.public_bytes_raw())
    encoded[-1] &= 0x7F  # the sign of x (RFC 8032 sections 5.1.2 and 5.2.2)
    ordinate = int.from_bytes(encoded, "little")
    if isinstance(key, ed25519.Ed25519PublicKey):
        small = ordinate % _PRIME_25519 in _SMALL_ORDER_25519
    else:
        small = ordinate % _PRIME_448 in _SMALL_ORDER_448
    if small:
        raise KeyMaterialError("the Ed25519 or Ed448 key has small order")


def _is_roca(modulus: int) -> bool:
    """Whether a modulus is a power of 65537 modulo each of the odd primes up to 167: by chance one in 2**30 is."""
    return all(modulus % prime in {pow(65537, power, prime) for power in range(prime)} for prime in _ROCA_PRIMES)
