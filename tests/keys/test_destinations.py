"""Where a key set may be fetched from: public addresses, in whatever spelling they come."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.destinations import Destinations, shown_url

PUBLIC = ("93.184.215.14", "1.1.1.1", "8.8.8.8", "223.255.255.254", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
SPECIAL = {
    "unspecified": ("0.0.0.0", "0.1.2.3", "::"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"),
    "loopback": ("127.0.0.1", "127.255.0.1", "::1"),
    "link-local": ("169.254.0.1", "fe80::1", "fe80::1%1"),
    "site-local": ("fec0::1",),
    "shared": ("100.64.0.1", "100.127.255.254"),
    "metadata": ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"),
    "reserved": ("240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1"),
    "documentation": ("2001:db8::1", "3fff::1"),
    "discard and benchmarks": ("100::1", "2001:2::1", "2001:10::1", "5f00::1", "4000::1"),
    "local NAT64": ("64:ff9b:1::a00:1",),
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_asked(address: str) -> None:
    """What an issuer stands at; but never without TLS."""
    assert Destinations().permits(ipaddress.ip_address(address))
    assert Destinations(loopback=True).permits(ipaddress.ip_address(address))
    assert not Destinations(loopback=True).permits(ipaddress.ip_address(address), secure=False)


@pytest.mark.parametrize("address", [address for kind in SPECIAL.values() for address in kind])
def test_a09_special_addresses_are_not(address: str) -> None:
    """A09: the networks behind us, this machine, and what tells a cloud's secrets to whoever asks."""
    assert not Destinations().permits(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [one for kind in SPECIAL.values() for one in kind if ":" not in one])
@pytest.mark.parametrize("form", ["::ffff:{}", "64:ff9b::{}", "::{}", "6to4", "Teredo"])
def test_a09_an_address_inside_an_address_is_the_same(address: str, form: str) -> None:
    """A09: IPv4-mapped, IPv4-compatible, NAT64, 6to4 and Teredo spellings of an address lead where it leads."""
    number = int(ipaddress.IPv4Address(address))
    if form == "6to4":
        spelt = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    elif form == "Teredo":
        spelt = ipaddress.IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF))
    else:
        spelt = ipaddress.IPv6Address(form.format(address))
    assert not Destinations().permits(spelt)


def test_nat64_of_a_public_address_is_public() -> None:
    """A machine with IPv6 alone reaches an issuer with IPv4 alone by RFC 6052."""
    assert Destinations().permits(ipaddress.ip_address("64:ff9b::93.184.215.14"))
    assert Destinations().permits(ipaddress.ip_address("::ffff:93.184.215.14"))


def test_what_is_allowed_is_asked_and_nothing_else() -> None:
    """`jwks_allow_networks` opens the networks that it names, with TLS, in each spelling of their addresses."""
    destinations = Destinations(allowed=(ipaddress.IPv4Network("10.1.0.0/16"), ipaddress.IPv6Network("fd00:1::/32")))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5", "1.1.1.1"):
        assert destinations.permits(ipaddress.ip_address(address))
        assert not destinations.permits(ipaddress.ip_address(address), secure=False)
    for address in ("10.2.0.1", "fd00:2::1", "127.0.0.1", "::ffff:10.2.0.1", "169.254.169.254"):
        assert not destinations.permits(ipaddress.ip_address(address))


def test_loopback_is_this_machine_alone() -> None:
    """`insecure_jwks_loopback` opens 127.0.0.0/8 and ::1; an address that only looks like it stays shut."""
    destinations = Destinations(loopback=True)
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert destinations.permits(ipaddress.ip_address(address), secure=False)
    for address in ("::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "0.0.0.0", "::", "10.0.0.1"):
        assert not destinations.permits(ipaddress.ip_address(address), secure=False)
        assert not destinations.permits(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_nothing_that_is_not_global_is_asked(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Whatever the standard library knows to be special is refused, with TLS or without."""
    if Destinations().permits(address):
        assert address.is_global or (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None)
        assert not address.is_multicast
    assert not Destinations().permits(address, secure=False)


def test_a_url_is_shown_without_its_query() -> None:
    """A query may hold a key for the address; the rest tells an operator what it is."""
    assert shown_url("https://x.example/jwks?key=s3cret") == "https://x.example/jwks?..."
    assert shown_url("https://x.example/jwks") == "https://x.example/jwks"
