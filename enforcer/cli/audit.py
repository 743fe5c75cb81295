"""``audit``: verify the chain of the ledger, from the topic or from a file."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from enforcer.audit.files import read_lines
from enforcer.audit.verifier import START, Anchor, Report, Verifier
from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, OutputOption, emit, note
from enforcer.cli.reading import connected, records
from enforcer.config import data
from enforcer.errors import ConfigError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from enforcer.cli.broker_options import BrokerTarget

FileArgument: TypeAlias = Annotated[
    Path | None,
    typer.Argument(help="As `tail audit --output raw` writes it, `-` for stdin; else the topic."),
]

app = typer.Typer(help="Verify the chain of the audit ledger.")


@app.callback()
def _group() -> None:
    """Keeps ``verify`` a verb of its own while it is the only one."""


@app.command()
def verify(
    file: FileArgument = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="P:SEQ:DIGEST",
            help="A known record of partition P; `P:start` demands the chain from its first record.",
        ),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P:SEQ:DIGEST", help="A known record of partition P that must be there."
        ),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Check every digest and every link, and name the first bad record and what is wrong with it.

    A record is modified, missing, reordered, duplicated, forked (two for one place) or truncated (an
    anchor knows of it). Without anchors nobody can tell whether whoever may write the topic has cut
    off or rewritten its end: the report calls such an end unanchored. What it prints as head is the
    anchor for next time.
    """
    verifier = Verifier(_schemas(), from_=_anchors(from_), head=_anchors(head))
    if file is not None:
        with opened(file) as lines:
            for stored in read_lines(lines, name=str(file)):
                verifier.add(stored.partition, stored.value, offset=stored.offset)
    else:
        target = resolve(bootstrap, prefix, kafka_config=kafka_config)
        import uvloop  # noqa: PLC0415 — help stays quick

        uvloop.run(_read_topic(verifier, target))
    _tell(verifier.report(), output, where=str(file) if file is not None else "the topic")


async def _read_topic(verifier: Verifier, target: BrokerTarget) -> None:
    topic = f"{target.prefix}.audit"
    async with connected(target) as broker:
        async for record in records(broker, topic, from_beginning=True, follow=False):
            verifier.add(record.partition, record.value, offset=record.offset)


def _tell(report: Report, output: OutputFormat, *, where: str) -> None:
    if not report.records and report.whole:
        raise NotFoundError(
            f"nothing to verify: {where} holds no audit record",
            help="is this the right --prefix, and has a worker decided anything yet?",
        )
    if output is OutputFormat.TABLE:
        emit([_row(chain) for chain in _plain(report)["partitions"]], output)
    else:
        emit(_plain(report), output)
    findings = report.findings
    for finding in findings[1:]:
        note(
            f"partition {finding.partition}: record {finding.sequence} is {finding.kind}: {finding.message}"
        )
    if findings:
        first = findings[0]
        at = "" if first.offset is None else f", offset {first.offset}"
        raise IntegrityError(
            f"partition {first.partition}: record {first.sequence} (position {first.position}{at}) "
            f"is {first.kind}: {first.message}",
            help="compare with an archive of the topic; what comes before it is whole",
        )
    held = "anchored" if report.anchored else "unanchored: pass --head to hold the ends"
    note(f"{report.records} records, {len(report.partitions)} chains whole, {held}")


def _plain(report: Report) -> dict[str, Any]:
    kinds: dict[str, int] = {}
    for chain in report.partitions:
        for kind, count in chain.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return {
        "whole": report.whole,
        "anchored": report.anchored,
        "records": report.records,
        "kinds": kinds,
        "partitions": [
            {
                "partition": chain.partition,
                "records": chain.records,
                "first_sequence": chain.first_sequence,
                "last_sequence": chain.last_sequence,
                "head": chain.head.hex(),
                "start": chain.start,
                "end": chain.end,
                "kinds": dict(chain.kinds),
                "finding": None
                if chain.finding is None
                else {
                    "kind": chain.finding.kind,
                    "sequence": chain.finding.sequence,
                    "position": chain.finding.position,
                    "offset": chain.finding.offset,
                    "message": chain.finding.message,
                },
            }
            for chain in report.partitions
        ],
    }


def _row(chain: dict[str, Any]) -> dict[str, object]:
    finding = chain["finding"]
    return {
        "partition": chain["partition"],
        "records": chain["records"],
        "first": chain["first_sequence"],
        "last": chain["last_sequence"],
        "start": chain["start"],
        "end": chain["end"],
        "finding": "whole" if finding is None else f"{finding['kind']} at {finding['sequence']}",
        "head": chain["head"],
    }


def _anchors(texts: list[str] | None) -> dict[int, Anchor]:
    """``3:1041:<64 hex digits>`` and ``3:start``, by partition."""
    anchors: dict[int, Anchor] = {}
    for text in texts or ():
        known = re.fullmatch(r"(\d{1,9}):(?:start|(\d{1,18}):([0-9a-fA-F]{64}))", text)
        if known is None:
            raise ConfigError(
                f"`{text}` is no anchor",
                help="PARTITION:SEQUENCE:DIGEST with the digest as 64 hex digits, or PARTITION:start",
            )
        partition, sequence, digest = known.groups()
        anchors[int(partition)] = (
            START if digest is None else Anchor(int(sequence), bytes.fromhex(digest))
        )
    return anchors


def _schemas() -> list[dict[str, Any]]:
    """Every schema of an audit record that this distribution knows."""
    found = [json.loads(path.read_text()) for path in sorted(data("schemas").rglob("*.avsc"))]
    return [schema for schema in found if schema["name"] == "Audit"]


@contextlib.contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file of audit records, or stdin for ``-``. Raises: NotFoundError."""
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as lines:
            yield lines
    except OSError as error:
        raise NotFoundError(
            f"{file} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from None
