"""What ``send`` does: requests of a file through the gateway, their verdicts in the order of the file."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import orjson

from enforcer import events
from enforcer.cli import traffic_rows
from enforcer.cli.output import OutputFormat, note, write
from enforcer.cli.reading import connected
from enforcer.client import Gateway, Outcome
from enforcer.errors import EnforcerError, NotFoundError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from enforcer.cli.broker_options import BrokerTarget

_LINE_BYTES_MAX = 8 * 1024 * 1024


class Printed:
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


async def send_all(
    target: BrokerTarget,
    requests: Iterator[dict[str, Any]],
    printed: Printed,
    *,
    deadline_ms: int,
    concurrency: int,
) -> None:
    """
    Decide all *requests* through one gateway, at most *concurrency* at once.

    Raises: the first error of a call; what was sent before it is printed all the same.
    """
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


def read_requests(file: Path, *, tenant: str | None, skip: bool) -> Iterator[dict[str, Any]]:
    """
    The requests of a file of JSON lines; ``-`` is stdin.

    Raises: NotFoundError: no such file. RequestError, naming the line: it is no request, unless *skip*.
    """
    try:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise NotFoundError(
            f"{file} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from None
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
