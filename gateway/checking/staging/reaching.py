"""Is it there, does it call itself ready, is its certificate good, does its clock agree with ours?"""

from __future__ import annotations

import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from cryptography import x509

from gateway.checking.row import Row, failed, not_performed, passed, verdict, warning

if TYPE_CHECKING:
    from gateway.checking.staging.site import Reply, Site

SKEW_WARNING = 5.0
"""Seconds that two clocks may differ before it is told."""

DAYS_WARNING = 21
DAYS_FAILURE = 3
_DAY = 86_400
_DATE_AGE = 2.0
"""How old a Date may be when it arrives: it is cut to whole seconds, and servers write it once a second."""


def check_ready(site: Site) -> Row:
    """`/readyz` is 200; 404 where only logins are let through to the gateway."""
    expected = "GET /readyz: 200"
    reply = site.ask("GET", "/readyz")
    if reply.status == 404:
        return not_performed("ready", expected, "404", "let /readyz through to the gateway, or check it directly")
    checks = reply.member("checks")
    missing = (
        [f"{name}: {state}" for name, state in checks.items() if state != "ok"] if isinstance(checks, dict) else []
    )
    return verdict("ready", expected, ", ".join([str(reply.status), *missing]), good=reply.status == 200)


def check_clock(reply: Reply, leeway: float) -> Row:
    """The `Date` of an answer and this machine's clock; tokens are judged by the gateway's and made by ours."""
    expected = f"Date within {SKEW_WARNING:g} s of this machine's clock, tokens have a leeway of {leeway:g} s"
    text = reply.header("date")
    try:
        date = parsedate_to_datetime(text or "").timestamp()
    except (ValueError, OverflowError):
        hint = "let the Date header of the gateway through"
        return not_performed("clock", expected, "no Date that can be read", hint)
    ahead, behind = date - reply.received, reply.sent - (date + _DATE_AGE)
    skew = max(ahead, behind, 0.0)
    found = f"{skew:.0f} s {'ahead of' if ahead > 0 else 'behind'} ours" if skew else "no difference"
    hint = "set both clocks by NTP"
    if skew > leeway:
        return failed("clock", expected, found, hint)
    return warning("clock", expected, found, hint) if skew > SKEW_WARNING else passed("clock", expected, found)


def check_certificate(site: Site) -> Row:
    """An https site's certificate is trusted, made for its host, and has some days left."""
    expected = f"trusted, for {site.host}, {DAYS_WARNING} days or more to its expiry"
    if not site.secure:
        return not_performed("certificate", expected, "the URL is http", "check the https URL that clients use")
    try:
        distrust = _distrust(site)
        days = (_expiry(site) - time.time()) / _DAY
    except (OSError, ValueError) as error:
        return failed("certificate", expected, f"no TLS: {error}")
    found = f"{days:.0f} days left" if days >= 0 else f"expired {-days:.0f} days ago"
    if distrust is not None:
        return failed(
            "certificate", expected, f"{found}; {distrust}", "--ca-file names the CA of a private certificate"
        )
    if days < DAYS_FAILURE:
        return failed("certificate", expected, found, "renew it now")
    return (
        warning("certificate", expected, found, "renew it")
        if days < DAYS_WARNING
        else passed("certificate", expected, found)
    )


def _distrust(site: Site) -> str | None:
    """Why the certificate is not trusted; None when it is. Raises `OSError`."""
    try:
        with (
            socket.create_connection((site.host, site.port), site.timeout) as plain,
            site.trust.wrap_socket(plain, server_hostname=site.host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


def _expiry(site: Site) -> float:
    """When the certificate ends, in seconds; of one that nobody trusts, too. Raises `OSError` and `ValueError`."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((site.host, site.port), site.timeout) as plain,
        anybody.wrap_socket(plain, server_hostname=site.host) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(certificate or b"").not_valid_after_utc.timestamp()
