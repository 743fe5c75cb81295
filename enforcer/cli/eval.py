"""``eval``: decide requests from a file, with no broker."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.eval_trace import Watch
from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, note, table, write
from enforcer.cli.policy_files import load
from enforcer.config import Settings, redaction_key
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from enforcer import policy
    from enforcer.engine import Outcome

LINE_BYTES_MAX = 5 * 1024 * 1024
"""More than the largest request: a longer line is answered by its beginning."""
EVENT_TIME_US_MAX = 4_102_444_800_000_000
"""The year 2100: beyond it a time is a slip of the keyboard."""


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
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Tell what each rule looked at, and why others were skipped."),
    ] = False,
    output: OutputOption = OutputFormat.JSONL,
) -> int:
    """
    Print a decision for each line of the input, in order.

    Budgets and rate limits count from line to line, as they would in one partition. A line that is no request is
    denied `invalid_request`, as an agent would deny it. Usage is not read here: a line that reports some is told so.

    With `--trace` each decision has a `trace`: every policy and rule, the value of each part of each condition with
    its place, and why the rest was skipped; `--output table` prints it as an annotated source. Texts that callers
    wrote are shown by their length alone.
    """
    if str(requests) == "-" and any(str(path) == "-" for path in policies):
        raise ConfigError(
            "policies and requests cannot both come from stdin", help="give one of them as a file"
        )
    now_us = _event_time_us(now)
    loaded = load(policies, tenant=tenant)
    if any(f.severity == "error" for f in loaded.findings):
        report(loaded.findings, output)
        return 3
    for finding in loaded.findings:
        note(f"{finding.span}: {finding.severity}[{finding.code}]: {finding.message}")
    watch = Watch(loaded.documents) if trace else None
    answers = _answers(
        loaded.documents, _lines(requests), now_us, step_us=step_ms * 1000, watch=watch
    )
    if watch is not None and output is OutputFormat.TABLE:
        for answer in answers:
            watch.show(answer)
        return 0
    if output is OutputFormat.JSONL:
        count = 0
        for count, answer in enumerate(answers, 1):  # noqa: B007 — asked for behind the loop
            write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
    else:
        shown = list(answers)
        count = len(shown)
        if output is OutputFormat.TABLE:
            table([_row(answer) for answer in shown])
        else:
            write(json.dumps(shown, indent=2, ensure_ascii=False))
    if not count:
        note(f"{requests} holds no line with a request")
    return 0


def _answers(
    documents: tuple[policy.Document, ...],
    lines: Iterator[bytes],
    now_us: int,
    *,
    step_us: int,
    watch: Watch | None = None,
) -> Iterator[dict[str, Any]]:
    """A decision for each line that is not blank."""
    from enforcer import events  # noqa: PLC0415 — as above
    from enforcer.engine import Arrival, Engine, EngineConfig  # noqa: PLC0415 — as above
    from enforcer.state import ExpiryQueue, MemoryRows  # noqa: PLC0415 — as above

    program_of = _programs(documents, watch)
    engine = Engine(EngineConfig(redaction_key=redaction_key(Settings.load().redaction_key_file)))
    rows, queue = MemoryRows(), ExpiryQueue()
    for offset, line in enumerate(lines):
        if not line.strip():
            continue
        source = events.Source("eval", 0, offset, 0, 0, 0)
        arrival = Arrival(None, line, source, now_us, now_us)
        if watch is not None:
            watch.begin()
        outcome = engine.request(program_of, arrival, rows, queue)
        now_us += step_us
        decision = _decision(outcome, offset, line)
        yield decision if watch is None else watch.end(decision)


def _programs(
    documents: tuple[policy.Document, ...], watch: Watch | None
) -> Callable[[str], policy.TenantProgram]:
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
            compose = policy.compile_tenant if watch is None else watch.compose
            program = composed[tenant] = compose(
                compiled.get("*"),
                compiled.get(tenant) if tenant not in ("*", policy.STOPS) else None,
                tenant,
                stops=compiled.get(policy.STOPS),
            )
        if watch is not None:
            watch.asked(tenant)
        return program

    return program_of


def _lines(path: Path) -> Iterator[bytes]:
    if str(path) == "-":
        yield from _whole_lines(sys.stdin.buffer)
        return
    try:
        with path.open("rb") as file:
            yield from _whole_lines(file)
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from error


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Each line once: of one that no agent would take, its beginning, which is too large already."""
    while line := file.readline(LINE_BYTES_MAX):
        rest = line
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MAX)
        yield line


def _event_time_us(now: str | None) -> int:
    if now is None:
        return int(time.time() * 1_000_000)
    try:
        at = datetime.fromisoformat(now)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        now_us = int(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        now_us = -1
    if not 0 <= now_us <= EVENT_TIME_US_MAX:
        raise ConfigError(f"`{now}` is no time", help="write it like 2026-11-23T12:00:00Z")
    return now_us


def _decision(outcome: Outcome, offset: int, line: bytes) -> dict[str, Any]:
    """The decision as JSON, a line for each line: one that is no request gets a denial that says so."""
    from enforcer import events  # noqa: PLC0415 — as above

    usage = _is_usage(line)
    if outcome.value is not None and not usage:
        return events.to_json(events.read_decision(outcome.value))
    why = "the line is no request"
    if usage:
        why = "the line is a usage report, and only requests are decided"
    elif outcome.dead_letter is not None:
        why = outcome.dead_letter.reason
    reason = {"policy": "", "rule": "", "verdict": "deny", "code": "invalid_request"}
    return {
        "line": offset + 1,
        "verdict": "deny",
        "http_status": 400,
        "reasons": [{**reason, "message": why}],
    }


def _is_usage(line: bytes) -> bool:
    """Whether a line is a report of usage, which no request can be: it names its request, and has no id."""
    from enforcer import events  # noqa: PLC0415 — as above
    from enforcer.errors import RequestError  # noqa: PLC0415 — as above

    if b'"request_id"' not in line:
        return False
    try:
        events.read_usage(line)
    except RequestError:
        return False
    return True


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
