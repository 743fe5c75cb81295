"""``replay``: what other policies would have decided, what was decided, and why."""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, emit, is_animated, note, table, write
from enforcer.cli.since import SinceOption, since_us
from enforcer.config import Settings, pseudonym_key
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.control.replay.running import Job, Replayed

EXIT_CHANGED = 10
EXIT_NOT_IDENTICAL = 9
_CHANGE = re.compile(r"(allow|warn|modify|deny|any)-to-(allow|warn|modify|deny|any)")


class ReplayOutput(enum.StrEnum):
    """How the answer is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    HTML = "html"


def replay(
    policies: Annotated[
        list[Path] | None,
        typer.Option(
            "--policies",
            "-p",
            help="The candidate: files or folders, put in force as `policy apply` would. Default: what was in force.",
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            help="Whose documents of the existing engine's form are; with --request, whose it is.",
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="The candidate's scopes hold nothing but the candidate.")
    ] = False,
    since: SinceOption = None,
    from_offsets: Annotated[
        str | None,
        typer.Option(
            "--from-offsets", metavar="P:OFFSET,…", help="Begin at these offsets of requests."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--input", help="A recording as --export writes it; else the topics."),
    ] = None,
    last_demo: Annotated[
        bool, typer.Option("--last-demo", help="The topics of the last `enforcer demo` here.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the records to a file, and replay nothing."),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option("--request", metavar="ID", help="Explain the decision of this request."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="FROM-to-TO",
            help="Exit code 10 if a verdict changes so: deny-to-allow, any-to-deny. May be repeated.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Partitions at once. Default: as many as there are cores."
        ),
    ] = None,
    pseudonym_key_file: Annotated[
        Path | None,
        typer.Option(
            "--pseudonym-key-file",
            help="As the workers have it: rows are named by it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: Annotated[
        ReplayOutput,
        typer.Option("--output", "-o", help="For people, as JSON, one change a line, or a page."),
    ] = ReplayOutput.TABLE,
) -> int:
    """
    Decide recorded traffic again, with the budgets as they were, and show what would differ.

    With --policies: verdicts from and to, by rule, tenant and model, and what would have been spent. Without: whether the
    ledger can be reproduced, byte by byte; exit code 9 if it cannot. Nothing is written to any topic.
    """
    wanted = [_change(text) for text in fail_on or ()]
    if last_demo and (file or bootstrap or prefix):
        raise ConfigError("--last-demo names its topics itself", code="usage")
    if policies and request:
        raise ConfigError("--request explains what was decided; leave --policies out", code="usage")
    if (wanted or prune) and not policies:
        # Without a candidate nothing can change: the check would pass for ever.
        option = "--fail-on" if wanted else "--prune"
        raise ConfigError(
            f"{option} is asked of a candidate, and there is none",
            code="usage",
            help="name the candidate: --policies PATH",
        )
    candidate = _candidate(policies, tenant) if policies else None
    with _demo_stack(last_demo) as where:
        job = _job(
            file,
            *(where or (bootstrap, prefix)),
            kafka_config=kafka_config,
            candidate=candidate,
            prune=prune,
            since=since_us(since),
            offsets=_offsets(from_offsets),
            key=pseudonym_key_file,
        )
        if export is not None:
            return _export(job, export)
        if request is not None:
            return _explain(job, request, tenant, output)
        return _replay(job, processes or os.cpu_count() or 1, output, wanted)


def _replay(job: Job, processes: int, output: ReplayOutput, wanted: list[tuple[str, str]]) -> int:
    from enforcer.control.replay.answer import answer_of  # noqa: PLC0415 — help stays quick
    from enforcer.control.replay.running import replay as run  # noqa: PLC0415 — as above

    def told(done: int, of: int) -> None:
        if is_animated():
            note(f"{done} of {of} partitions")

    replayed = run(job, processes=processes, told=told)
    answer = answer_of(replayed)
    if not answer["decisions"]:
        raise NotFoundError(
            "there is nothing to replay: the ledger holds no decision from there on",
            help="is this the right --prefix, and --since early enough?",
        )
    _tell(answer, replayed, output)
    return _exit_code(answer, wanted)


def _tell(answer: dict[str, Any], replayed: Replayed, output: ReplayOutput) -> None:
    if output is ReplayOutput.HTML:
        from enforcer.control.replay.page import page_of  # noqa: PLC0415 — as above

        title = "What the candidate would change" if answer["candidate"] else "The ledger, replayed"
        write(page_of(replayed, title=title))
    elif output is ReplayOutput.JSON:
        emit(answer, OutputFormat.JSON)
    elif output is ReplayOutput.JSONL:
        emit(answer["examples"], OutputFormat.JSONL)
    else:
        _show(answer, replayed)


def _exit_code(answer: dict[str, Any], wanted: list[tuple[str, str]]) -> int:
    for before, after in wanted:
        for change in answer["differs"]:
            was, _, now = change.partition("->")
            if was != now and before in (was, "any") and after in (now, "any"):
                note(f"{answer['differs'][change]} verdicts change {was} to {now}")
                return EXIT_CHANGED
    # With facts of another version, or without the beginning, another outcome proves nothing.
    is_known = not answer["without_input"] and not answer["facts"]["recorded"]
    is_whole = is_known and answer["rows"].startswith("folded")
    if not answer["candidate"] and not answer["identical"] and is_whole:
        note("the ledger is not what these policies and inputs come to: see first_difference")
        return EXIT_NOT_IDENTICAL
    return 0


def _show(answer: dict[str, Any], replayed: Replayed) -> None:
    if answer["candidate"]:
        if answer["rules"]:
            table(answer["rules"][:40])
            write("")
            columns = ("request_id", "tenant", "model", "change", "policy", "rule", "code")
            table([{c: e[c] for c in columns} for e in answer["examples"][:20]])
        changes = ", ".join(f"{n} {change}" for change, n in answer["differs"].items())
        note(f"{answer['decisions']} decisions: {changes or 'no verdict changes'}")
        spend = answer["spend"]
        note(
            f"spend {spend['recorded_usd']:.4f} USD as recorded, {spend['replayed_usd']:.4f} with the candidate: "
            f"{spend['change_usd']:+.4f}"
        )
    else:
        table(answer["partitions"])
        same = "every one is the same, to the byte" if answer["identical"] else "NOT all the same"
        note(f"{answer['decisions']} decisions, {answer['entries']} entries of the ledger: {same}")
    facts = answer["facts"]
    if facts["recorded"]:
        note(f"{facts['recorded']} were decided with other data: their facts are the recorded ones")
    note(
        f"rows: {answer['rows']}; {replayed.live_seconds:.0f} s of traffic in {replayed.seconds:.1f} s, "
        f"{replayed.times_live:.1f} times live"
    )


def _explain(job: Job, request: str, tenant: str | None, output: ReplayOutput) -> int:
    from enforcer.cli.eval_trace import Listing, as_json  # noqa: PLC0415 — as above
    from enforcer.control.replay.explain import explain  # noqa: PLC0415 — as above

    found = explain(job, request, tenant=tenant)
    listings = [(Listing(one.pop("sources")), one["trace"]) for one in found]
    for one in found:
        one["trace"] = as_json(one["trace"])
    if output is not ReplayOutput.TABLE:
        emit(found, OutputFormat.JSONL if output is ReplayOutput.JSONL else OutputFormat.JSON)
        return 0
    for one, (listing, traces) in zip(found, listings, strict=True):
        decision = one["decision"]
        write(f"{one['verdict']}  {request}  attempt {decision['attempt']}  {decision['tenant']}")
        write(f"  decided at partition {one['partition']}, record {one['sequence']} of the ledger")
        write(f"  sets: {', '.join(f'{s} {d[:12]}' for s, d in decision['policy_sets'].items())}")
        for reason in (*decision["reasons"], *decision["warnings"]):
            write(f"  {reason['policy']}/{reason['rule']} {reason['code']}: {reason['message']}")
        listing.policies(traces)
        for row in one["rows"]:
            write(f"  row {row['key']}")
            write(f"    before {_brief(row['before'])}")
            write(f"    after  {_brief(row['after'])}")
        for entry in one["ledger"]:
            notes = ", ".join(entry["notes"])
            write(f"  then {entry['kind']} {entry['charged_usd']:.6f} USD {notes}".rstrip())
        same = "the same, to the byte" if one["reproduced"] else "NOT the same"
        note(f"decided again: {same}")
    return 0


def _brief(row: dict[str, Any] | None) -> str:
    if row is None:
        return "none"
    return ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("decision", "content"))[:300]


def _export(job: Job, path: Path) -> int:
    from enforcer.control.replay.recording import to_lines  # noqa: PLC0415 — as above
    from enforcer.control.replay.running import opened  # noqa: PLC0415 — as above

    recording = opened(job)
    count = -1
    try:
        with path.open("wb") as lines:
            # It holds prompts.
            path.chmod(0o600)
            for line in to_lines(recording):
                lines.write(line)
                count += 1
    except OSError as error:
        raise NotFoundError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        recording.close()
    note(f"{count} records in {path}; it holds prompts, as the topic of requests does")
    return 0


def _job(
    file: Path | None,
    bootstrap: str | None,
    prefix: str | None,
    *,
    kafka_config: Path | None,
    candidate: tuple[bytes, ...] | None,
    prune: bool,
    since: int,
    offsets: dict[int, int],
    key: Path | None,
) -> Job:
    from enforcer.control.replay.running import Job  # noqa: PLC0415 — as above
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging("error")
    broker, name = None, prefix or Settings.load().prefix
    if file is None:
        from enforcer.broker import load  # noqa: PLC0415 — only who connects needs the client

        target = resolve(bootstrap, prefix, kafka_config=kafka_config)
        name = target.prefix
        broker = load(bootstrap=target.bootstrap, prefix=name, file=target.kafka_config)
    secret = pseudonym_key(key)
    return Job(broker, name, file, candidate, prune, since, offsets, secret)


def _candidate(paths: list[Path], tenant: str | None) -> tuple[bytes, ...]:
    from enforcer.cli.findings_report import report  # noqa: PLC0415 — as above
    from enforcer.cli.policy_files import load  # noqa: PLC0415 — as above
    from enforcer.control.replay.running import candidate_of  # noqa: PLC0415 — as above

    loaded = load(paths, tenant=tenant)
    if loaded.has_errors:
        report(loaded.findings, OutputFormat.TABLE)
        raise typer.Exit(3)
    return candidate_of(loaded.documents)


def _demo_stack(wanted: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202 — a context manager
    """The last demo's broker and prefix; its Kafka is started for it, and stopped, where it does not run."""
    import contextlib  # noqa: PLC0415 — as above

    @contextlib.contextmanager
    def opened() -> Iterator[tuple[str, str] | None]:
        if not wanted:
            yield None
            return
        import json  # noqa: PLC0415 — as above

        from enforcer.cli.stack import progress_shown  # noqa: PLC0415 — as above
        from enforcer.local import Stack  # noqa: PLC0415 — as above

        settings = Settings.load()
        try:
            last = json.loads((settings.home / "last-demo.json").read_text())
        except (OSError, ValueError):
            raise NotFoundError("no demo has run here", help="enforcer demo --seconds 20") from None
        stack = Stack.from_settings(settings)
        with progress_shown() as progress:
            running = stack.start(progress=progress)
        try:
            yield running.bootstrap, last["prefix"]
        finally:
            if running.started:
                stack.stop()

    return opened()


def _change(text: str) -> tuple[str, str]:
    found = _CHANGE.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"`{text}` is no change of verdict", help="such as deny-to-allow, or any-to-deny"
        )
    return found[1], found[2]


def _offsets(text: str | None) -> dict[int, int]:
    if text is None:
        return {}
    found = re.fullmatch(r"\d{1,6}:\d{1,18}(,\d{1,6}:\d{1,18})*", text.replace(" ", ""))
    if found is None:
        raise ConfigError(
            f"`{text}` names no offsets", help="PARTITION:OFFSET, such as 0:1042,1:99"
        )
    pairs = (part.split(":") for part in found[0].split(","))
    return {int(partition): int(offset) for partition, offset in pairs}
