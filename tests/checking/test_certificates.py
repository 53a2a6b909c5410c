"""`gateway check https://...`: whether the certificate is trusted, is made for the host, and how long it lasts."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.checking.conftest import check, faulty_gateway, write_configuration

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


class Authority:
    """A throw-away CA."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA of this test alone")])
        own = self._builder(self._name, self._key, timedelta(days=365))
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        own = own.add_extension(usage, critical=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def certificate(self, lasts: timedelta, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """The files of a certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a gateway")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = self._builder(name, key, lasts).add_extension(names, critical=False)
        certificate, private = self._folder / "certificate.pem", self._folder / "certificate-key.pem"
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 90 * DAY)
            .not_valid_after(now + lasts)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority, critical=False)
        )


@pytest.mark.parametrize(
    ("lasts", "outcome", "found"),
    [
        (90 * DAY, "passed", "90 days left"),
        (10 * DAY, "warning", "10 days left"),
        (2 * DAY, "failed", "2 days left"),
    ],
    ids=["long", "short", "nearly over"],
)
def test_how_long_it_lasts(tmp_path: Path, lasts: timedelta, outcome: str, found: str) -> None:
    """Three weeks or more are good, three days are too few; everything else of the check goes on over TLS."""
    authority, config = Authority(tmp_path), write_configuration(tmp_path)
    with faulty_gateway(config, tls=authority.certificate(lasts)) as url:
        checked = check(url, config, "--ca-file", str(authority.file))
    assert (checked.rows["certificate"]["outcome"], checked.rows["certificate"]["found"]) == (outcome, found)
    assert checked.named("failed") == ({"certificate"} if outcome == "failed" else set())
    assert checked.rows["login"]["outcome"] == checked.rows["forward-auth agrees"]["outcome"] == "passed"


@pytest.mark.parametrize(
    ("lasts", "host", "trusted", "told"),
    [
        (90 * DAY, "127.0.0.1", False, "unable to get local issuer certificate"),
        (90 * DAY, "127.0.0.9", True, "IP address mismatch"),
        (-5 * DAY, "127.0.0.1", True, "expired 5 days ago"),
    ],
    ids=["an unknown CA", "another host", "expired"],
)
def test_one_that_clients_refuse(tmp_path: Path, lasts: timedelta, host: str, trusted: bool, told: str) -> None:
    """Nobody sends a token there: nothing further is asked."""
    authority, config = Authority(tmp_path), write_configuration(tmp_path)
    with faulty_gateway(config, tls=authority.certificate(lasts, host)) as url:
        checked = check(url, config, *(["--ca-file", str(authority.file)] if trusted else []))
    assert (checked.code, checked.named("failed")) == (1, {"certificate", "reachable"})
    assert told in checked.rows["certificate"]["found"]
    assert "not trusted" in checked.rows["reachable"]["found"]
    assert checked.named("passed") == set()


def test_no_tls_where_https_is_said(tmp_path: Path) -> None:
    """A plain server behind an https URL."""
    config = write_configuration(tmp_path)
    with faulty_gateway(config) as url:
        checked = check(url.replace("http://", "https://"), config)
    assert checked.named("failed") == {"certificate", "reachable"}
