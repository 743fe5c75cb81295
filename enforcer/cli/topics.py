"""``topics apply`` and ``topics diff``: the broker's topics as specified; ``acls`` stands in its own file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli import topics_acls
from enforcer.cli.broker_options import (
    BootstrapOption,
    KafkaConfigOption,
    PrefixOption,
    resolve,
)
from enforcer.cli.output import OutputFormat, OutputOption, emit, note

if TYPE_CHECKING:
    from enforcer.broker import BrokerConfig
    from enforcer.broker.topics import Difference

_EXIT_CHANGES = 10

app = typer.Typer(no_args_is_help=True)
app.command("acls")(topics_acls.acls)

PartitionsOption = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        min=1,
        max=10_000,
        help="Of every topic of the data plane; else as many as those that exist have, else 12.",
    ),
]
SpecsOption = Annotated[
    Path | None,
    typer.Option(
        "--specs",
        metavar="DIR",
        help="Specifications to use instead of the packaged ones.",
        exists=True,
        file_okay=False,
    ),
]


@app.command("apply")
def apply_(
    partitions: PartitionsOption = None,
    specs: SpecsOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Create the topics that are missing, and set the settings that differ.

    Settings that no specification names stay as they are. The number of partitions of a topic that exists
    is never changed: if it differs, nothing at all is done, and the exit code is 6.
    """
    config = _config(bootstrap, prefix, kafka_config)

    from enforcer.broker import KafkaBroker, topics  # noqa: PLC0415 — help stays quick

    async def run() -> list[Difference]:
        async with KafkaBroker(config) as broker:
            return await topics.apply(
                broker, topics.load_specs(specs), prefix=config.prefix, partitions=partitions
            )

    done = asyncio.run(run())
    _show(done, output)
    if output is OutputFormat.TABLE:
        note(f"{len(done)} changed" if done else "nothing to change")


@app.command()
def diff(
    partitions: PartitionsOption = None,
    specs: SpecsOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """Say what `apply` would change; exit code 10 if anything, 0 if nothing."""
    config = _config(bootstrap, prefix, kafka_config)

    from enforcer.broker import KafkaBroker, topics  # noqa: PLC0415 — help stays quick

    async def run() -> list[Difference]:
        async with KafkaBroker(config) as broker:
            return await topics.differences(
                broker, topics.load_specs(specs), prefix=config.prefix, partitions=partitions
            )

    found = asyncio.run(run())
    _show(found, output)
    if output is OutputFormat.TABLE:
        if any(not difference.fixable for difference in found):
            note("the number of partitions is changed by `enforcer topics repartition` only")
        if not found:
            note("nothing differs")
    return _EXIT_CHANGES if found else 0


@app.command()
def repartition(
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, max=10_000, help="How many there shall be.")
    ],
    group: Annotated[
        str | None, typer.Option("--group", help="The workers' group. Default: the prefix.")
    ] = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Move the installation to more partitions: budgets, calls and waiting inputs go where their account belongs then.

    Stop the workers first: while any runs nothing is changed, exit code 6. Killed anywhere, the same command goes on where it was.
    Gateways of the SDK notice within 30 seconds; what they, or others, send to an account's old partition until then is denied, `misrouted`.
    """
    config = _config(bootstrap, prefix, kafka_config)

    from enforcer.broker import KafkaBroker  # noqa: PLC0415 — help stays quick
    from enforcer.control.repartition import Moved  # noqa: PLC0415 — as above
    from enforcer.control.repartition import repartition as move  # noqa: PLC0415 — as above
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging("error")

    async def run() -> Moved:
        async with KafkaBroker(config) as broker:
            return await move(
                broker, config.prefix, partitions, group=group or config.prefix, tell=note
            )

    moved = asyncio.run(run())
    if output is OutputFormat.TABLE:
        note(
            f"{moved.partitions} partitions, {moved.before} before: {moved.rows} rows moved, "
            f"{moved.inputs} inputs sent on; start workers again"
        )
    else:
        emit(moved, output)


def _config(bootstrap: str | None, prefix: str | None, kafka_config: Path | None) -> BrokerConfig:
    from enforcer.broker import load  # noqa: PLC0415 — as above

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    return load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)


def _show(found: list[Difference], output: OutputFormat) -> None:
    rows = [
        {
            "topic": difference.topic,
            "kind": difference.kind,
            "setting": difference.setting,
            "wanted": difference.wanted,
            "actual": difference.actual,
            "fixable": difference.fixable,
        }
        for difference in found
    ]
    emit(rows, output)
