"""
Settings, and where packaged data lies. The only reader of the environment.

| variable | meaning | default |
|---|---|---|
| ``ENFORCER_BOOTSTRAP`` | brokers, ``host:port,host:port`` | the running local stack |
| ``ENFORCER_PREFIX`` | the first part of every topic's name | ``enforcer`` |
| ``ENFORCER_KAFKA_CONFIG`` | file with TLS and SASL settings | none |
| ``ENFORCER_HOME`` | state: the local stack, worker identities, tables | ``$XDG_STATE_HOME/enforcer`` |
| ``ENFORCER_CACHE`` | what can be made again: jars, the JVM's caches | ``$XDG_CACHE_HOME/enforcer`` |
| ``ENFORCER_MAVEN_URL`` | a mirror of Maven Central for the local stack | Maven Central |
| ``M2_REPO`` | a Maven repository that is read before anything is downloaded | none |
| ``ENFORCER_REDACTION_KEY_FILE`` | key of the redaction styles hash and pseudonym, the same for all workers | none |
| ``ENFORCER_SIGN_KEY`` | private key that changes of policies are signed with | none |
| ``ENFORCER_POLICY_KEYS`` | public keys of those who may change policies: a file, or a directory of ``*.pub`` | none |
| ``OTEL_*`` | a collector for traces, by OpenTelemetry's own names (extra ``otel``) | none |
| ``ENFORCER_DEBUG`` | ``1``: show tracebacks | off |
| ``NO_COLOR`` | no colour, whatever its value | off |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = Path(__file__).resolve().parent
_KEY_BYTES_MIN = 16
_KEY_BYTES_MAX = 1_024
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Options of the command line go before it."""

    home: Path
    cache: Path
    bootstrap: str | None = None
    prefix: str = "enforcer"
    kafka_config: Path | None = None
    maven_url: str | None = None
    maven_repository: Path | None = None
    redaction_key_file: Path | None = None
    sign_key: Path | None = None
    policy_keys: Path | None = None
    wants_tracing: bool = False
    """Whether OpenTelemetry's own variables name a collector for traces, and do not say no."""
    debug: bool = False
    no_color: bool = False

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """
        Read the settings; an empty variable counts as absent.

        Args:
            environment: Instead of the process's own environment, for tests.

        Raises: ConfigError, if the prefix cannot begin the name of a topic, or no home can be found.
        """
        values = os.environ if environment is None else environment

        def path(name: str) -> Path | None:
            text = values.get(name, "")
            return Path(text).expanduser().absolute() if text else None

        return cls(
            home=path("ENFORCER_HOME") or _xdg(values, "XDG_STATE_HOME", ".local/state"),
            cache=path("ENFORCER_CACHE") or _xdg(values, "XDG_CACHE_HOME", ".cache"),
            bootstrap=values.get("ENFORCER_BOOTSTRAP") or None,
            prefix=checked_prefix(values.get("ENFORCER_PREFIX") or "enforcer"),
            kafka_config=path("ENFORCER_KAFKA_CONFIG"),
            maven_url=values.get("ENFORCER_MAVEN_URL") or None,
            maven_repository=path("M2_REPO"),
            redaction_key_file=path("ENFORCER_REDACTION_KEY_FILE"),
            sign_key=path("ENFORCER_SIGN_KEY"),
            policy_keys=path("ENFORCER_POLICY_KEYS"),
            wants_tracing=_wants_tracing(values),
            debug=values.get("ENFORCER_DEBUG", "").lower() in _TRUE,
            no_color=bool(values.get("NO_COLOR")),
        )


def _wants_tracing(values: Mapping[str, str]) -> bool:
    if values.get("OTEL_SDK_DISABLED", "").lower() in _TRUE:
        return False
    exporter = values.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter == "otlp" or (not exporter and any(values.get(name) for name in endpoints))


def redaction_key(file: Path | None) -> bytes | None:
    """
    The key of redaction that a file holds, less the blanks around it; None without a file.

    Raises: ConfigError, if it cannot be read, or if it is no key.
    """
    place = "ENFORCER_REDACTION_KEY_FILE or --redaction-key-file"
    return None if file is None else _symmetric_key(file, "redaction", place)


def pseudonym_key(file: Path | None) -> bytes | None:
    """
    The key of pseudonyms that a file holds, less the blanks around it; None without a file.

    Raises: ConfigError, if it cannot be read, or if it is no key.
    """
    return None if file is None else _symmetric_key(file, "pseudonym", "--pseudonym-key-file")


def _symmetric_key(file: Path, kind: str, place: str) -> bytes:
    try:
        with file.open("rb") as opened:
            key = opened.read(_KEY_BYTES_MAX + 1).strip()
    except OSError as error:
        raise ConfigError(
            f"the {kind} key in {file} cannot be read: {error.strerror}", help=f"correct {place}"
        ) from error
    if len(key) < _KEY_BYTES_MIN:
        raise ConfigError(
            f"the {kind} key in {file} is shorter than {_KEY_BYTES_MIN} bytes",
            help="make one: openssl rand -hex 32",
        )
    if len(key) > _KEY_BYTES_MAX:
        # A certificate, a database, a log: what is no secret must not pass for one.
        raise ConfigError(
            f"{file} is no {kind} key: it has more than {_KEY_BYTES_MAX} bytes",
            help=f"correct {place}, or make a key: openssl rand -hex 32",
        )
    return key


def signing_key(file: Path) -> bytes:
    """
    The private key in *file*, in PEM.

    Raises: ConfigError, if it cannot be read, or if others can read it.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the signing key in {file} cannot be read: {error.strerror}",
            help="make one: enforcer policy keygen FILE",
        ) from error
    if readable_by_others(file):
        raise ConfigError(
            f"the signing key in {file} can be read by others",
            help=f"chmod 600 {file}; if they may have read it, make another one",
            code="key_permissions",
        )
    return text


def policy_keys(place: Path | None) -> tuple[bytes, ...]:
    """
    The public keys in a file, or in the ``*.pub`` of a directory; none without *place*.

    Raises: ConfigError, if nothing is there or it cannot be read.
    """
    if place is None:
        return ()
    files = sorted(place.glob("*.pub")) if place.is_dir() else [place]
    try:
        texts = tuple(file.read_bytes() for file in files)
    except OSError as error:
        raise ConfigError(
            f"policy keys cannot be read: {error}",
            help="give a *.pub file, or a folder of them; `enforcer policy keygen` writes them",
        ) from error
    if not texts:
        raise ConfigError(f"{place} holds no *.pub", help="`enforcer policy keygen` writes them")
    return texts


def readable_by_others(file: Path) -> bool:
    """Whether somebody who is neither its owner nor root can read *file*; False where it is not there."""
    try:
        return bool(file.stat().st_mode & 0o044)
    except OSError:
        return False


def _xdg(values: Mapping[str, str], name: str, under_home: str) -> Path:
    """``$NAME/enforcer``, or its default; XDG asks to ignore a relative path."""
    text = values.get(name, "")
    if text and Path(text).is_absolute():
        return Path(text) / "enforcer"
    home = values.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 — Path.home raises where this answers "~"
    if not Path(home).is_absolute():
        raise ConfigError(
            "no home directory is known for this user",
            help="set ENFORCER_HOME and ENFORCER_CACHE to directories that can be written",
        )
    return Path(home) / under_home / "enforcer"


def checked_prefix(prefix: str) -> str:
    """
    Return *prefix* if it can begin the name of a topic.

    Kafka allows letters, digits, dot, underscore and hyphen in at most 249 characters; our longest
    suffix is ``.policy-history``.

    Raises: ConfigError.
    """
    legal = all(c.isascii() and (c.isalnum() or c in "._-") for c in prefix)
    if not prefix or not legal or len(prefix) > 200 or prefix.strip(".") == "":
        raise ConfigError(
            f"`{prefix}` cannot begin the name of a topic",
            help="use letters, digits, `.`, `_` and `-`, at most 200 of them",
        )
    return prefix


def data(name: str) -> Path:
    """
    Where the packaged directory *name* lies: ``schemas``, ``topics``, ``policies`` or ``docs``.

    In a source checkout these stand beside the package; in a wheel they are inside it.

    Raises: IntegrityError, if the installation lacks it.
    """
    assert name in {"schemas", "topics", "policies", "docs"}, name
    for place in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise IntegrityError(
        f"this installation lacks its `{name}` directory",
        help="install it again: pip install --force-reinstall llm-enforcer",
    )


def environment_without(*names: str) -> dict[str, str]:
    """The environment for a child process, less *names*."""
    return {name: value for name, value in os.environ.items() if name not in names}


def is_set(name: str) -> bool:
    """Is the variable *name* in the environment, whatever its value?"""
    return name in os.environ
