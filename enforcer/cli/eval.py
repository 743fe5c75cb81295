"""``eval``: decide requests from a file, with no broker."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.output import OutputFormat, OutputOption, note, table, write
from enforcer.cli.policy_files import report, sources
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from enforcer import policy

LINE_BYTES_MAX = 16 * 1024 * 1024


def evaluate(
    policies: Annotated[
        list[Path],
        typer.Option("--policies", "-p", help="Files or folders with documents.", allow_dash=True),
    ],
    requests: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="A request a line, as JSON; `-` is stdin.", allow_dash=True
        ),
    ],
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Whose documents of the existing engine's form are."),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option("--now", help="Event time of the first request, RFC 3339; else this moment."),
    ] = None,
    step_ms: Annotated[
        int, typer.Option("--step-ms", min=0, help="Event time between two lines.")
    ] = 0,
    output: OutputOption = OutputFormat.JSONL,
) -> int:
    """
    Print a decision for each line of the input, in order.

    Budgets and rate limits count from line to line, as they would in one partition. A line that is no request is
    denied `invalid_request`, as an agent would deny it. Usage is not read here.
    """
    from enforcer import events, policy  # noqa: PLC0415 — the checker takes its time to load
    from enforcer.engine import Arrival, Engine  # noqa: PLC0415 — as above
    from enforcer.state import ExpiryQueue, MemoryRows  # noqa: PLC0415 — as above

    loaded = policy.load(sources(policies), default_tenant=tenant or "*")
    if any(f.severity == "error" for f in loaded.findings):
        report(loaded.findings, OutputFormat.TABLE if output is OutputFormat.TABLE else output)
        return 3
    for finding in loaded.findings:
        note(f"{finding.span}: {finding.severity}[{finding.code}]: {finding.message}")
    program_of = _programs(loaded.documents)
    engine, rows, queue = Engine(), MemoryRows(), ExpiryQueue()
    now_us = _event_time_us(now)
    shown: list[dict[str, Any]] = []
    for offset, line in enumerate(_lines(requests)):
        if not line.strip():
            continue
        source = events.Source("eval", 0, offset, 0, 0, 0)
        arrival = Arrival(None, line, source, now_us, now_us)
        outcome = engine.request(program_of, arrival, rows, queue)
        now_us += step_ms * 1000
        decision = _decision(outcome.value, offset, line)
        if output is OutputFormat.TABLE:
            shown.append(_row(decision))
        elif output is OutputFormat.JSON:
            shown.append(decision)
        else:
            write(json.dumps(decision, ensure_ascii=False, separators=(",", ":")))
    if output is OutputFormat.TABLE:
        table(shown)
    elif output is OutputFormat.JSON:
        write(json.dumps(shown, indent=2, ensure_ascii=False))
    return 0


def _programs(documents: tuple[policy.Document, ...]) -> Callable[[str], policy.TenantProgram]:
    """Programs by tenant, composed as an agent composes them."""
    from enforcer import policy  # noqa: PLC0415 — as above

    scopes = {d.scope for d in documents}
    compiled = {
        scope: policy.compile_scope([d for d in documents if d.scope == scope], scope)
        for scope in scopes
    }
    composed: dict[str, policy.TenantProgram] = {}

    def program_of(tenant: str) -> policy.TenantProgram:
        program = composed.get(tenant)
        if program is None:
            program = composed[tenant] = policy.compile_tenant(
                compiled.get("*"), compiled.get(tenant) if tenant != "*" else None, tenant
            )
        return program

    return program_of


def _lines(path: Path) -> Iterator[bytes]:
    if str(path) == "-":
        yield from iter(lambda: sys.stdin.buffer.readline(LINE_BYTES_MAX), b"")
        return
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.readline(LINE_BYTES_MAX), b"")
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from error


def _event_time_us(now: str | None) -> int:
    if now is None:
        return int(time.time() * 1_000_000)
    try:
        at = datetime.fromisoformat(now)
    except ValueError:
        raise ConfigError(
            f"`{now}` is no time", help="write it like 2026-11-23T12:00:00Z"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp() * 1_000_000)


def _decision(value: bytes | None, offset: int, line: bytes) -> dict[str, Any]:
    """The decision as JSON; a line without an id gets one that says so, for every line has its answer."""
    from enforcer import events  # noqa: PLC0415 — as above

    if value is None:
        del line
        return {
            "line": offset + 1,
            "verdict": "deny",
            "http_status": 400,
            "reasons": [
                {
                    "policy": "",
                    "rule": "",
                    "verdict": "deny",
                    "code": "invalid_request",
                    "message": "the line is no request, and no id can be read in it",
                }
            ],
        }
    return events.to_json(events.read_decision(value))


def _row(decision: dict[str, Any]) -> dict[str, Any]:
    reasons = decision["reasons"]
    first = reasons[0] if reasons else {}
    return {
        "request": decision.get("request_id", f"line {decision.get('line')}"),
        "verdict": decision["verdict"],
        "status": decision["http_status"],
        "code": first.get("code", ""),
        "policy": first.get("policy", ""),
        "message": first.get("message", ""),
    }
