"""``send`` and ``tail``: requests in, decisions and audit records out."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, OutputOption
from enforcer.errors import ConfigError

RequestsArgument: TypeAlias = Annotated[
    Path, typer.Argument(help="One request as JSON a line; `-` reads stdin.")
]


class TailOutput(enum.StrEnum):
    """The forms that a follower knows; raw is what ``audit verify`` reads."""

    TABLE = "table"
    JSONL = "jsonl"
    RAW = "raw"


class TailTopic(enum.StrEnum):
    """What can be followed."""

    DECISIONS = "decisions"
    AUDIT = "audit"


def send(
    file: RequestsArgument,
    *,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    tenant: Annotated[
        str | None, typer.Option(help="Send all of them as this tenant's, whatever they say.")
    ] = None,
    deadline_ms: Annotated[
        int, typer.Option(min=1, help="How long to wait for each verdict.")
    ] = 5000,
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Calls in flight at most.")
    ] = 256,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave bad lines out instead of stopping at the first.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Send requests through the gateway and print each verdict, in the order of the file.

    A line that is no request is named by its number and ends the sending (exit 2), unless --skip.
    """
    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    import uvloop  # noqa: PLC0415 — the client is loaded by those who connect: help stays quick

    from enforcer.cli import sending  # noqa: PLC0415 — as above

    printed = sending.Printed(output)
    lines = sending.read_requests(file, tenant=tenant, skip=skip)
    uvloop.run(
        sending.send_all(target, lines, printed, deadline_ms=deadline_ms, concurrency=concurrency)
    )
    printed.end()


def tail(
    topic: Annotated[TailTopic, typer.Argument(help="What to follow.")],
    *,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    follow: Annotated[
        bool, typer.Option(help="Go on for ever; else print what is there now, and end.")
    ] = True,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start where the topic starts, not now.")
    ] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FIELD=VALUE",
            help="Only such records: verdict=deny. May be repeated.",
        ),
    ] = None,
    max_: Annotated[int | None, typer.Option("--max", min=1, help="End after so many.")] = None,
    output: Annotated[
        TailOutput,
        typer.Option("--output", "-o", help="For people, as JSON, or as stored (raw)."),
    ] = TailOutput.TABLE,
) -> None:
    """
    Print decisions or audit records as they come.

    A filter compares a field of the JSON form, nested ones by dots (`source.partition=3`); of an
    audit record, the decision in it too. All filters must hold.
    """
    wanted = [_filter(text) for text in filter_ or ()]
    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    import uvloop  # noqa: PLC0415 — as for send

    from enforcer.cli.tailing import follow_topic  # noqa: PLC0415 — as for send

    uvloop.run(
        follow_topic(
            target,
            topic,
            wanted,
            follow=follow,
            # Without following, from now on there is nothing.
            from_beginning=from_beginning or not follow,
            limit=max_,
            output=output,
        )
    )


def _filter(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise ConfigError(f"`{text}` is no filter", help="FIELD=VALUE, such as verdict=deny")
    return field, value
