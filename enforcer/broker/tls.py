"""Certificates: what a refused handshake means, and how long those in use are still valid."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from enforcer.errors import AuthError, ConfigError, UnavailableError

if TYPE_CHECKING:
    import datetime as dt

_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21, 24})
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset({62, 64})
"""Numbers of X509_V_ERR_*: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/."""
_HANDSHAKE_S: Final = 5.0


def refusal(error: ssl.SSLError, address: str) -> AuthError:
    """What a failed handshake with *address* means, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_refusal(error, address)
    reason = str(error.reason or "").replace("_", " ").lower() or "the handshake failed"
    if "wrong version" in reason or "record layer" in reason:
        return AuthError(
            f"{address} does not speak TLS",
            help="name the port of a TLS listener, or another security.protocol",
            code="tls",
        )
    return AuthError(
        f"{address}: TLS: {reason}",
        help="check ssl.certificate.location, ssl.key.location and security.protocol in --kafka-config",
        code="tls",
    )


def _certificate_refusal(error: ssl.SSLCertVerificationError, address: str) -> AuthError:
    number, said = error.verify_code, str(error.verify_message or "it is not trusted").rstrip(".")
    if number == _EXPIRED:
        message, fix = "the broker's certificate has expired", "renew it on the broker"
    elif number == _NOT_YET_VALID:
        message, fix = "the broker's certificate is not valid yet", "compare both clocks"
    elif number in _OTHER_NAME:
        message = f"the broker's certificate is for another name: {said}"
        fix = "name the broker as its certificate does, in --bootstrap and in its advertised.listeners"
    elif number in _UNKNOWN_ISSUER:
        message = "the broker's certificate is signed by nobody we trust"
        fix = "ssl.ca.location in --kafka-config must hold the authority that signed it"
    else:
        message, fix = f"the broker's certificate is refused: {said}", "see ssl.* in --kafka-config"
    return AuthError(f"{address}: {message}", help=fix, code="tls_certificate")


def closed_unanswered(address: str, *, is_tls: bool, has_certificate: bool) -> AuthError:
    """The error for a broker that takes connections, and closes each before it answers."""
    if not is_tls:
        fix = "it may be a TLS listener: set security.protocol in --kafka-config"
    elif has_certificate:
        fix = "it may not trust ssl.certificate.location of --kafka-config, or not any more"
    else:
        fix = (
            "it may want a client's certificate (ssl.certificate.location in --kafka-config), "
            "or it is no TLS listener"
        )
    message = f"{address} closes the connection before it answers"
    return AuthError(message, help=fix, code="closed_unanswered")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One in use: of a broker, or our own."""

    whose: str
    subject: str
    ends: dt.datetime


def own_certificate(place: str) -> Certificate:
    """Our own certificate, in the file *place*. Raises ConfigError."""
    try:
        loaded = x509.load_pem_x509_certificates(Path(place).read_bytes())[0]
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(f"{place} holds no certificate: {error}") from error
    return Certificate("ours", loaded.subject.rfc4514_string(), loaded.not_valid_after_utc)


async def broker_certificate(address: str, context: ssl.SSLContext) -> Certificate:
    """
    The certificate that *address*, ``host:port``, shows.

    Raises: AuthError, if it is refused; UnavailableError.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_HANDSHAKE_S):
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    except ssl.SSLError as error:
        raise refusal(error, address) from error
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"{address} does not answer: {error}") from error
    shown: Any = writer.get_extra_info("ssl_object")
    loaded = x509.load_der_x509_certificate(shown.getpeercert(binary_form=True))
    writer.transport.abort()
    return Certificate(address, loaded.subject.rfc4514_string(), loaded.not_valid_after_utc)
