"""``send`` and ``tail``: requests in, decisions and audit records out."""

from __future__ import annotations

import asyncio
import enum
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import orjson
import typer
import uvloop

from enforcer import events
from enforcer.audit.files import Stored, to_line
from enforcer.cli import traffic_rows
from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, OutputOption, note, write
from enforcer.cli.reading import connected, records
from enforcer.client import Gateway, Outcome
from enforcer.errors import ConfigError, EnforcerError, NotFoundError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.broker import Record
    from enforcer.cli.broker_options import BrokerTarget

_LINE_BYTES_MAX = 8 * 1024 * 1024

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
    printed = _Printed(output)
    lines = _requests(file, tenant=tenant, skip=skip)
    uvloop.run(_send(target, lines, printed, deadline_ms=deadline_ms, concurrency=concurrency))
    printed.end()


class _Printed:
    """Verdicts as they come; one JSON document has to wait for the last."""

    def __init__(self, output: OutputFormat) -> None:
        self.output = output
        self.all: list[dict[str, Any]] = []
        self.count = 0

    def add(self, request: dict[str, Any], outcome: Outcome) -> None:
        self.count += 1
        if self.output is OutputFormat.TABLE:
            write(traffic_rows.outcome_line(request, outcome))
            return
        plain = traffic_rows.outcome_json(request, outcome)
        if self.output is OutputFormat.JSON:
            self.all.append(plain)
        else:
            write(orjson.dumps(plain).decode())

    def end(self) -> None:
        if self.output is OutputFormat.JSON:
            write(orjson.dumps(self.all, option=orjson.OPT_INDENT_2).decode())
        note(f"{self.count} requests sent")


async def _send(
    target: BrokerTarget,
    requests: Iterator[dict[str, Any]],
    printed: _Printed,
    *,
    deadline_ms: int,
    concurrency: int,
) -> None:
    waiting: asyncio.Queue[tuple[dict[str, Any], asyncio.Task[Outcome]] | None]
    waiting = asyncio.Queue(concurrency)

    failures: list[EnforcerError] = []

    async def print_in_order() -> None:
        while (sent := await waiting.get()) is not None:
            request, call = sent
            try:
                printed.add(request, await call)
            except EnforcerError as error:
                failures.append(error)

    async with connected(target) as broker, Gateway(broker, prefix=target.prefix) as gateway:
        printing = asyncio.create_task(print_in_order())
        try:
            # A line of stdin may be long in coming, and verdicts must not wait for it.
            while not failures:
                request = await asyncio.to_thread(next, requests, None)
                if request is None:
                    break
                call = asyncio.create_task(gateway.decide(request, deadline_ms))
                await waiting.put((request, call))
        finally:
            # What was sent before a bad line gets its verdict all the same.
            await waiting.put(None)
            await printing
    if failures:
        raise failures[0]


def _requests(file: Path, *, tenant: str | None, skip: bool) -> Iterator[dict[str, Any]]:
    try:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}") from None
    with stream:
        number = 0
        while line := stream.readline(_LINE_BYTES_MAX):
            number += 1
            if not line.strip():
                continue
            try:
                yield _request(line, tenant)
            except RequestError as error:
                where = f"{file}:{number}: {error.message}" + (
                    f" at {error.place}" if error.place else ""
                )
                if not skip:
                    raise RequestError(
                        where, code=error.code, help=error.help or "--skip leaves bad lines out"
                    ) from None
                note(f"skipped {where}")


def _request(line: bytes, tenant: str | None) -> dict[str, Any]:
    """The request of a line, checked as an agent would."""
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"no JSON: {error}") from None
    if not isinstance(request, dict):
        raise RequestError("a request is a JSON object")
    if tenant is not None:
        request["tenant"] = tenant
        line = orjson.dumps(request)
    events.request_from_json(line)
    return request


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
    uvloop.run(
        _tail(
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


async def _tail(
    target: BrokerTarget,
    topic: TailTopic,
    wanted: list[tuple[str, str]],
    *,
    follow: bool,
    from_beginning: bool,
    limit: int | None,
    output: TailOutput,
) -> None:
    printed = 0
    async with (
        connected(target) as broker,
        aclosing(
            records(
                broker, f"{target.prefix}.{topic}", from_beginning=from_beginning, follow=follow
            )
        ) as found,
    ):
        async for record in found:
            line = _line(record, topic, wanted, output)
            if line is None:
                continue
            write(line)
            printed += 1
            if printed == limit:
                return


def _line(
    record: Record, topic: TailTopic, wanted: list[tuple[str, str]], output: TailOutput
) -> str | None:
    """What to print of a record; None for one that a filter, or nobody, wants."""
    raw = output is TailOutput.RAW
    if raw and not wanted:
        return _raw(record)
    plain = traffic_rows.record_json(record, is_audit=topic is TailTopic.AUDIT)
    if plain is None or not traffic_rows.matches(plain, wanted):
        return None
    if raw:
        return _raw(record)
    if output is TailOutput.JSONL:
        return orjson.dumps(plain).decode()
    return traffic_rows.line(plain)


def _raw(record: Record) -> str:
    return to_line(Stored(record.partition, record.offset, record.value)).decode().rstrip("\n")
