"""``shadow``: what policies in shadow would have changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, OutputOption, emit, note
from enforcer.cli.since import SinceOption, since_us

if TYPE_CHECKING:
    from enforcer.cli.broker_options import BrokerTarget
    from enforcer.control.shadow_report import ShadowReport

app = typer.Typer(help="See what policies in shadow would have changed.")


@app.callback()
def _group() -> None:
    """Keeps ``report`` a verb of its own while it is the only one."""


@app.command()
def report(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Audit records as `tail audit --output raw` writes them, `-` for stdin; else the topic."
        ),
    ] = None,
    since: SinceOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Count what shadow policies would have made of each decision in the ledger.

    By rule and limit: the verdict that stood, the one it would have been, how often, what those calls were estimated
    to cost, and requests to look at (`enforcer replay --request ID`).
    """
    from enforcer.audit.files import read_lines  # noqa: PLC0415 — help stays quick
    from enforcer.cli.audit import opened  # noqa: PLC0415 — as above
    from enforcer.control.shadow_report import ShadowReport  # noqa: PLC0415 — as above

    found = ShadowReport(since_us=since_us(since))
    if file is not None:
        with opened(file) as lines:
            for stored in read_lines(lines, name=str(file)):
                found.add(stored.value)
    else:
        import uvloop  # noqa: PLC0415 — as above

        uvloop.run(_read_topic(found, resolve(bootstrap, prefix, kafka_config=kafka_config)))
    _tell(found, output)


async def _read_topic(found: ShadowReport, target: BrokerTarget) -> None:
    from enforcer.cli.reading import connected, records  # noqa: PLC0415 — as above

    async with connected(target) as broker:
        topic = f"{target.prefix}.audit"
        async for record in records(broker, topic, from_beginning=True, follow=False):
            found.add(record.value)


def _tell(found: ShadowReport, output: OutputFormat) -> None:
    whole = found.as_json()
    if output is OutputFormat.JSON:
        emit(whole, output)
    elif output is OutputFormat.JSONL:
        emit(whole["rules"], output)
    else:
        emit([row | {"examples": ", ".join(row["examples"])} for row in whole["rules"]], output)
        usd = whole["spend_usd_change"]
        note(
            f"{found.decisions} decisions, {found.shadowed} of them met a shadow policy, "
            f"{found.changed} verdicts would be others; estimated spend {usd:+.4f} USD"
        )
    if found.unreadable:
        note(f"{found.unreadable} records cannot be read: see `enforcer audit verify`")
