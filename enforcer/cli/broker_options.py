"""Which broker a verb speaks to: the options that such verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from enforcer.config import Settings, checked_prefix
from enforcer.errors import UnavailableError

BootstrapOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        metavar="HOST:PORT,…",
        help="Brokers; else ENFORCER_BOOTSTRAP, else the running local stack.",
    ),
]
PrefixOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="NAME",
        help="First part of every topic's name; else ENFORCER_PREFIX, else `enforcer`.",
    ),
]
KafkaConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kafka-config",
        metavar="FILE",
        help="TLS and SASL settings; else ENFORCER_KAFKA_CONFIG. Secrets only by file or environment.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]

PrincipalOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--principal",
        metavar="ROLE=NAME",
        help="Who has the role, again for each; else User:<prefix>-<role>.",
    ),
]
GroupOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--group", help="The workers' consumer group; else the prefix."),
]


@dataclass(frozen=True, slots=True)
class BrokerTarget:
    """Where to connect, and under which names."""

    bootstrap: str
    prefix: str
    kafka_config: Path | None


def resolve(
    bootstrap: str | None = None,
    prefix: str | None = None,
    *,
    kafka_config: Path | None = None,
    settings: Settings | None = None,
) -> BrokerTarget:
    """
    What the options mean: each option, else its variable, else the default.

    Raises: UnavailableError, if no broker is named and no local stack runs; ConfigError.
    """
    known = settings or Settings.load()
    where = bootstrap or known.bootstrap or _running_here(known)
    if where is None:
        raise UnavailableError(
            "no broker is named, and the local stack does not run",
            help="enforcer up starts one here; or name one by --bootstrap or ENFORCER_BOOTSTRAP",
            code="no_broker",
        )
    return BrokerTarget(
        bootstrap=where,
        prefix=checked_prefix(prefix) if prefix is not None else known.prefix,
        kafka_config=kafka_config or known.kafka_config,
    )


def _running_here(settings: Settings) -> str | None:
    """Where the local stack listens, if it runs."""
    from enforcer.local import Stack  # noqa: PLC0415 — 15 ms that `--help` need not pay

    return Stack.from_settings(settings).running_bootstrap()
