"""
A Kafka of its own with TLS, SASL and an authorizer; certificates and passwords are made for the run.

    SCRAM     SASL_SSL, SCRAM-SHA-512          MTLS      SSL, a client's certificate is its name
    EXPIRED   SSL, a certificate of yesterday  STRANGER  SSL, a certificate of another host
    PLAINTEXT (127.0.0.1) is everybody's way in as super user: what an administrator does, tests do there.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from enforcer.broker import KafkaBroker, load
from enforcer.config import Settings
from enforcer.local import Stack, ports, properties

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
DAY = dt.timedelta(days=1)
ITERATIONS = 4096
SCRAM_SHA_512 = 2


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(self._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY * 3)
            .not_valid_after(now + DAY * 3)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, host: str | None = None, ends: dt.timedelta = DAY) -> Path:
        """A file with key and certificate of *name*, which ends so long from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY * 2)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if host is not None:
            one = (
                x509.IPAddress(ipaddress.ip_address(host))
                if host[0].isdigit()
                else x509.DNSName(host)
            )
            builder = builder.add_extension(x509.SubjectAlternativeName([one]), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        file = self.folder / f"{name}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        file.chmod(0o600)
        return file


def _usage(*, ca: bool) -> x509.KeyUsage:
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    wanted = {"key_cert_sign", "crl_sign"} if ca else {"digital_signature"}
    return x509.KeyUsage(**{name: name in wanted for name in names})


@dataclass
class Secured:
    """A running broker, and how to speak to it as somebody."""

    stack: Stack
    folder: Path
    authority: Authority
    listener: dict[str, int]
    plain: str
    passwords: dict[str, str] = field(default_factory=dict)

    def bootstrap(self, listener: str) -> str:
        """Where it listens."""
        return f"{HOST}:{self.listener[listener]}"

    def scram(self, user: str, *, password: str | None = None, ca: Path | None = None) -> Path:
        """A ``--kafka-config`` file of *user*, who is known to the broker unless *password* is given."""
        known = self.passwords.get(user)
        if known is None and password is None:
            known = self.passwords[user] = secrets.token_hex(12)
            import asyncio

            asyncio.run(_add_user(self.plain, user, known))
        secret = self.folder / f"{user}.password"
        secret.write_text(password or known or "")
        secret.chmod(0o600)
        return self._config(
            user,
            self.bootstrap("SCRAM"),
            "SASL_SSL",
            ca,
            f"sasl.mechanism=SCRAM-SHA-512\nsasl.username={user}\nsasl.password=file:{secret}\n",
        )

    def mtls(self, user: str, *, listener: str = "MTLS", certificate: Path | None = None) -> Path:
        """A ``--kafka-config`` file of whoever the certificate names."""
        file = certificate or self.authority.issue(user)
        more = f"ssl.certificate.location={file}\n"
        return self._config(f"{user}-tls", self.bootstrap(listener), "SSL", None, more)

    def tls(self, listener: str) -> Path:
        """A ``--kafka-config`` file that knows the authority and says no name."""
        return self._config(listener.lower(), self.bootstrap(listener), "SSL", None, "")

    def _config(self, name: str, where: str, protocol: str, ca: Path | None, more: str) -> Path:
        file = self.folder / f"{name}.properties"
        file.write_text(
            f"bootstrap.servers={where}\nsecurity.protocol={protocol}\n"
            f"ssl.ca.location={ca or self.authority.file}\n{more}"
        )
        return file


def start(home: Path) -> Secured:
    """Start it."""
    folder = home / "trust"
    folder.mkdir(parents=True)
    authority = Authority(folder, "authority")
    names = ("SCRAM", "MTLS", "EXPIRED", "STRANGER")
    numbers = dict(zip(names, ports.choose(len(names)), strict=True))
    protocols = {"SCRAM": "SASL_SSL"}
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
    }
    certificates = {
        "SCRAM": authority.issue("broker", host=HOST),
        "MTLS": authority.issue("broker-mtls", host=HOST),
        "EXPIRED": authority.issue("broker-expired", host=HOST, ends=-DAY),
        "STRANGER": authority.issue("broker-stranger", host="kafka.example.com"),
    }
    for name, file in certificates.items():
        at = f"listener.name.{name.lower()}.ssl"
        settings |= {
            f"{at}.keystore.type": "PEM",
            f"{at}.keystore.location": str(file),
            f"{at}.truststore.type": "PEM",
            f"{at}.truststore.location": str(authority.file),
        }
    known = Settings.load()
    stack = Stack(
        home,
        cache=known.cache,
        train=False,
        maven_url=known.maven_url,
        maven_repository=known.maven_repository,
        extras=properties.Extras(
            tuple(properties.Listener(n, protocols.get(n, "SSL"), p) for n, p in numbers.items()),
            settings,
        ),
    )
    return Secured(stack, folder, authority, numbers, stack.start().bootstrap)


class _Response(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    API_KEY = 51
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "deletions",
            CompactArray(
                ("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields)
            ),
        ),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUsers(Request[_Struct]):
    API_KEY = 51

    def __init__(self, user: str, password: str) -> None:
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
        self._row = (user, SCRAM_SHA_512, ITERATIONS, salt, salted, {})

    def build(self, request_struct_class):
        return request_struct_class([], [self._row], {})


async def _add_user(bootstrap: str, user: str, password: str) -> None:
    async with KafkaBroker(load(bootstrap=bootstrap)) as broker:
        answer = await broker._admin._send(_AlterUsers(user, password), "add a user")
        assert answer.results[0][1] == 0, answer
