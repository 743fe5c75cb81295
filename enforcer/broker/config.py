"""
How to reach the brokers, and with what limits.

A file given as ``--kafka-config`` holds Kafka's own setting names, as properties (``name=value``) or as
YAML. Secrets never stand in it: ``file:/run/secrets/password`` or ``env:NAME`` says where they are.
"""

from __future__ import annotations

import difflib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka.abc import AbstractTokenProvider
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from enforcer.config import checked_prefix, environment_without
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYNTAX = (
    "one setting a line: `name=value`, or in a .yaml `name: value`; docs/security.md has examples"
)
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SECRETS = ("ssl.key.password", "sasl.password", "sasl.oauthbearer.token")
SETTINGS = (
    "bootstrap.servers",
    "client.id",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.token",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Addresses, credentials (never printed) and limits. Every duration and size carries its unit."""

    bootstrap: str
    prefix: str = "enforcer"
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    certificate_file: str | None = None
    """Our own certificate, for mTLS."""
    secret_files: tuple[Path, ...] = ()
    """What ``file:`` and ssl.key.location name: for their owner's eyes."""

    connect_timeout_s: float = 5.0
    """For the first answer of any broker; tried again within it."""
    start_timeout_s: float = 20.0
    """To start a reader or producer; covers a predecessor's transaction being ended."""
    step_timeout_s: float = 10.0
    """For each step of a transaction; a longer one is indefinite and ends the producer."""
    close_timeout_s: float = 3.0
    request_timeout_ms: int = 10_000
    retry_backoff_ms: int = 50
    transaction_backoff_ms: int = 20
    transaction_timeout_ms: int = 10_000
    """Kafka ends the transaction of a dead owner after it; until then read-committed readers stand still."""
    fetch_max_wait_ms: int = 20
    fetch_gap_ms: int = 3
    """A node is asked again no sooner than this after it was last asked; a fetch that waits is answered at once."""
    max_partition_fetch_bytes: int = 1 << 20
    batch_bytes: int = 768 * 1024
    """Below every topic's max.message.bytes, so that only a record by itself can be too large."""
    queued_bytes_max: int = 64 << 20
    session_timeout_ms: int = 6_000
    heartbeat_interval_ms: int = 500

    def topic(self, name: str) -> str:
        """The topic's name on the broker: ``requests`` is ``enforcer.requests``."""
        return f"{self.prefix}.{name}"

    def connection(self) -> dict[str, Any]:
        """Arguments of any aiokafka client."""
        return {"bootstrap_servers": self.bootstrap, "client_id": "enforcer", **self.security}


def load(
    *,
    bootstrap: str | None,
    prefix: str = "enforcer",
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> BrokerConfig:
    """
    The configuration from command line and *file*; *bootstrap* goes before the file's.

    ``env:NAME`` is looked up in *environment*, the process's own if None.

    Raises: ConfigError, naming file and setting.
    """
    values = {} if file is None else read_settings(file)
    environment = environment_without() if environment is None else environment
    addresses = bootstrap or values.get("bootstrap.servers")
    if not addresses:
        raise ConfigError(
            "no broker is known",
            help="pass --bootstrap host:port, set ENFORCER_BOOTSTRAP, or start one by `enforcer up`",
        )
    return BrokerConfig(
        bootstrap=_checked_addresses(addresses),
        prefix=checked_prefix(prefix),
        security=security(values, where=str(file), environment=environment),
        certificate_file=values.get("ssl.certificate.location"),
        secret_files=_secret_files(values),
    )


def _secret_files(values: Mapping[str, str]) -> tuple[Path, ...]:
    named = [values[name].partition(":") for name in SECRETS if name in values]
    files = [place for kind, _, place in named if kind == "file"]
    # Without a file of its own, the key stands beside the certificate.
    key = values.get("ssl.key.location", values.get("ssl.certificate.location"))
    return tuple(Path(place) for place in (*files, *([key] if key else [])))


def read_settings(file: Path) -> dict[str, str]:
    """
    The settings in *file*, known names only.

    Raises: ConfigError, if it cannot be read, or for an unknown, repeated or misspelt name.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read: {error}", help="name a text file with Kafka's own settings"
        ) from error
    is_yaml = file.suffix in {".yaml", ".yml"}
    values = _from_yaml(text, file) if is_yaml else _from_properties(text, file)
    for name in values:
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            known = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(SETTINGS)}"
            raise ConfigError(f"{file}: unknown setting `{name}`", help=known)
    return values


def _from_yaml(text: str, file: Path) -> dict[str, str]:
    try:
        loaded = YAML(typ="safe").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        problem = getattr(error, "problem", "no YAML")
        raise ConfigError(f"{file}{line}: {problem}", help=_SYNTAX) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: expected a mapping of settings", help=_SYNTAX)
    return {str(name): str(value) for name, value in loaded.items()}


def _from_properties(text: str, file: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#!":
            continue
        name, separator, value = line.partition("=")
        if not separator:
            raise ConfigError(f"{file}:{number}: expected `name=value`", help=_SYNTAX)
        if name.strip() in values:
            raise ConfigError(
                f"{file}:{number}: `{name.strip()}` is set twice", help="keep one of the two lines"
            )
        values[name.strip()] = value.strip()
    return values


def security(
    values: Mapping[str, str], *, where: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Arguments of aiokafka's clients for TLS and SASL. Raises ConfigError, naming the setting."""
    protocol = values.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        raise ConfigError(
            f"{where}: security.protocol `{protocol}`", help=f"one of {', '.join(PROTOCOLS)}"
        )
    arguments: dict[str, Any] = {"security_protocol": protocol}
    if "client.id" in values:
        arguments["client_id"] = values["client.id"]
    secrets = {
        name: _Secret(name, values[name], where=where, environment=environment)
        for name in SECRETS
        if name in values
    }
    for name in values:
        unused = ("ssl." in name and "SSL" not in protocol) or (
            name.startswith("sasl.") and "SASL" not in protocol
        )
        if unused:
            wanted = "SSL or SASL_SSL" if name.startswith("ssl.") else "SASL_SSL or SASL_PLAINTEXT"
            raise ConfigError(
                f"{where}: `{name}` has no effect with security.protocol {protocol}",
                help=f"set security.protocol to {wanted}, or take the setting out",
            )
    if protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(values, secrets, where)
    if protocol.startswith("SASL"):
        arguments.update(_sasl(values, secrets, where))
    return arguments


def _ssl_context(
    values: Mapping[str, str], secrets: Mapping[str, _Secret], where: str
) -> ssl.SSLContext:
    algorithm = values.get("ssl.endpoint.identification.algorithm", "https").lower()
    if algorithm not in {"https", "none", ""}:
        raise ConfigError(
            f"{where}: ssl.endpoint.identification.algorithm is `https` or `none`",
            help="https checks that the broker's certificate names its host; none does not",
        )
    try:
        context = ssl.create_default_context(cafile=values.get("ssl.ca.location"))
        context.check_hostname = algorithm == "https"
        certificate = values.get("ssl.certificate.location")
        if certificate is not None:
            password = secrets.get("ssl.key.password")
            context.load_cert_chain(
                certificate,
                keyfile=values.get("ssl.key.location"),
                # Without a password OpenSSL would ask for one at the terminal.
                password="" if password is None else password.read(),
            )
        elif "ssl.key.location" in values:
            raise ConfigError(
                f"{where}: ssl.key.location needs ssl.certificate.location",
                help="name the certificate that the key belongs to, a PEM file",
            )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{where}: certificates cannot be used: {error}",
            help="ssl.ca.location, ssl.certificate.location and ssl.key.location name PEM files",
        ) from error
    return context


def _sasl(values: Mapping[str, str], secrets: Mapping[str, _Secret], where: str) -> dict[str, Any]:
    mechanism = values.get("sasl.mechanism", "PLAIN").upper()
    if mechanism not in MECHANISMS:
        raise ConfigError(
            f"{where}: sasl.mechanism `{mechanism}`", help=f"one of {', '.join(MECHANISMS)}"
        )
    if mechanism == "OAUTHBEARER":
        if "sasl.oauthbearer.token" not in secrets:
            raise ConfigError(
                f"{where}: OAUTHBEARER needs sasl.oauthbearer.token",
                help="write sasl.oauthbearer.token=file:/path/to/token or =env:NAME",
            )
        token = secrets["sasl.oauthbearer.token"]
        token.read()
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": _Token(token)}
    if "sasl.username" not in values or "sasl.password" not in secrets:
        raise ConfigError(
            f"{where}: {mechanism} needs sasl.username and sasl.password",
            help="write sasl.password=file:/path/to/password or =env:NAME",
        )
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": values["sasl.username"],
        "sasl_plain_password": secrets["sasl.password"].read(),
    }


class _Secret:
    """Where a secret is. Read late, so that a rotated token is seen, and never shown."""

    def __init__(
        self, name: str, reference: str, *, where: str, environment: Mapping[str, str]
    ) -> None:
        kind, separator, place = reference.partition(":")
        if not separator or kind not in {"file", "env"} or not place:
            # The text may be the secret itself: it is not repeated.
            raise ConfigError(
                f"{where}: `{name}` must say where the secret is",
                help=f"write {name}=file:/path/to/file or {name}=env:NAME",
            )
        self._name, self._kind, self._place = name, kind, place
        self._where, self._environment = where, environment

    def read(self) -> str:
        """The secret, less line ends at its end. Raises ConfigError."""
        try:
            if self._kind == "env":
                return self._environment[self._place]
            return Path(self._place).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, KeyError, UnicodeDecodeError) as error:
            missing = f"{self._where}: `{self._name}`: {self._kind}:{self._place} cannot be read"
            what = "set the variable" if self._kind == "env" else "let this user read the file"
            raise ConfigError(missing, help=f"{what}, or name another place") from error


class _Token(AbstractTokenProvider):  # type: ignore[misc] # aiokafka is untyped
    def __init__(self, secret: _Secret) -> None:
        self._secret = secret

    async def token(self) -> str:
        return self._secret.read()


def _checked_addresses(text: str) -> str:
    for address in text.split(","):
        host, separator, port = address.strip().rpartition(":")
        if not separator or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ConfigError(
                f"`{address.strip()}` is no broker address", help="write host:port,host:port"
            )
    return ",".join(address.strip() for address in text.split(","))
