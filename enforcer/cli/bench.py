"""``bench``: figures, always beside a baseline of the same run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from enforcer.cli import bench_peers
from enforcer.cli.bench_answer import show, show_soak
from enforcer.cli.output import OutputFormat, OutputOption, emit, note
from enforcer.cli.stack import progress_shown
from enforcer.config import Settings
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.bench.site import Place
    from enforcer.local.jvm import Jit

app = typer.Typer(no_args_is_help=True)

_EXIT_FAULTS = 9
_EXIT_GROWTH = 10

RoundsOption: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Of the baseline and of Enforcer, alternating.")
]
SecondsOption: TypeAlias = Annotated[
    float, typer.Option(min=0.5, help="Measured in each round, after its warm-up.")
]
BenchBootstrapOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        metavar="HOST:PORT,…",
        help="Measure on these brokers, under a prefix of its own; else on a Kafka started for it.",
    ),
]
FlameOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a flame graph of one more worker (.svg, or .folded for other tools); extra `flame`.",
    ),
]
KeepOption: TypeAlias = Annotated[
    bool, typer.Option("--keep", help="Leave logs, tables and the broker's data for a look.")
]


@app.command()
def stream(
    rounds: RoundsOption = 7,
    seconds: SecondsOption = 10,
    warm_up: Annotated[
        float, typer.Option("--warm-up", min=0, help="Seconds for the broker's compiler.")
    ] = 25,
    turns: Annotated[
        int,
        typer.Option(
            min=1,
            max=50,
            help="Conversations of so many turns on average, each request with all that came before it. A chat service has 6.",
        ),
    ] = 1,
    flame: FlameOption = None,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Events a second of one worker process, beside a raw echo on the same broker.

    20 rules in 5 policies, a budget, a rate limit, 5,000 users, prompts of 600 characters of ordinary words that
    never repeat, exactly once. Takes about a minute and 40 s a round; with --turns longer, for there is more to produce.
    """
    from enforcer.bench import stream as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    _check_flame(flame)
    plan = bench.Plan(rounds, seconds, warm_up, flame=flame, turns=turns)
    answer = _run(
        "stream",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c2",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def latency(
    rounds: RoundsOption = 7,
    seconds: SecondsOption = 10,
    rate: Annotated[float, typer.Option(min=1, help="Calls a second, evenly spaced.")] = 1_000,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Arrivals and sizes from a file with TIMESTAMP,ContextTokens,GeneratedTokens, instead of a rate.",
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.001, help="How many times as fast the trace is replayed.")
    ] = 1.0,
    large: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.1,
            help="Share of calls of 400,000 characters, to one partition: what they cost calls to the others.",
        ),
    ] = 0.0,
    flame: FlameOption = None,
    stalls: Annotated[
        bool,
        typer.Option(
            "--stalls", help="The longest gaps of the worker's event loop, and what ran in them."
        ),
    ] = False,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Milliseconds from the intended send to the verdict, through the client, beside a raw echo.

    Open loop: calls leave when they are due, and a late answer counts from then. Same rules as `bench stream`.
    """
    from enforcer.bench import large as crowd  # noqa: PLC0415 — brings the whole data plane
    from enforcer.bench import latency as bench  # noqa: PLC0415 — as above
    from enforcer.control import policies  # noqa: PLC0415 — as above
    from enforcer.testing.trace import read_trace  # noqa: PLC0415 — as above

    arrivals = [(a.at_s, a.input_tokens) for a in read_trace(trace)] if trace else ()
    _check_flame(flame)
    plan = bench.Plan(rounds, seconds, rate, arrivals, speed, flame, stalls)
    answer = _run(
        "latency",
        lambda where: (
            crowd.measure(where, plan, large, publish=policies.apply, tell=note)
            if large
            else bench.measure(where, plan, publish=policies.apply, tell=note)
        ),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command("eval")
def evaluation(
    rounds: RoundsOption = 7,
    requests: Annotated[int, typer.Option(min=100, help="Decided in each round.")] = 2_000,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    CPU microseconds a request of the engine alone, step by step; no broker.

    The 20 compiled rules are measured beside a plain interpreter of the same conditions, facts given.
    """
    from enforcer.bench import evaluation as bench  # noqa: PLC0415 — brings the engine

    show(bench.measure(rounds, requests), output)


@app.command()
def tracing(
    rounds: RoundsOption = 7,
    requests: Annotated[int, typer.Option(min=400, help="Decided in each round.")] = 6_000,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    What OpenTelemetry spans cost a worker: CPU an event with 1 % of the traces sampled, beside none; no broker.

    Needs the extra `otel`.
    """
    from enforcer.bench import tracing as bench  # noqa: PLC0415 — brings the data plane

    show(bench.measure(rounds, requests), output)


@app.command("policies")
def change(
    rounds: Annotated[
        int, typer.Option(min=1, help="Each with 1,000 new policies in its middle.")
    ] = 3,
    seconds: Annotated[
        float, typer.Option(min=0.5, help="Measured before and after they arrive.")
    ] = 10,
    rate: Annotated[float, typer.Option(min=1, help="Calls a second, evenly spaced.")] = 200,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Milliseconds to the verdict before, while and after 1,000 policies arrive, at one worker."""
    from enforcer.bench import change as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    plan = bench.Plan(rounds, seconds, rate)
    answer = _run(
        "policies",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def detect(
    rounds: Annotated[
        int, typer.Option(min=1, help="Of each piece of work; the least counts.")
    ] = 5,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """CPU microseconds a text and MB/s of each detector, beside a bare RE2 set over the same texts."""
    from enforcer.bench import detect as bench  # noqa: PLC0415 — brings the detectors

    rows = bench.measure(rounds)
    emit(rows if output is OutputFormat.TABLE else bench.report(rows, rounds), output)


@app.command()
def restore(
    rows: Annotated[
        int, typer.Option(min=1_000, help="Of one partition's changelogs.")
    ] = 1_000_000,
    rounds: RoundsOption = 3,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Rows a second that a takeover reads back into an empty table, beside a plain read of the same records."""
    from enforcer.bench import restore as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    plan = bench.Plan(rows, rounds)
    answer = _run(
        "restore",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def failover(
    repeats: Annotated[int, typer.Option(min=1, help="Of each fault.")] = 5,
    rate: Annotated[
        float, typer.Option(min=20, help="Requests a second, of all partitions.")
    ] = 200,
    kinds: Annotated[
        str, typer.Option(help="Of planned, killed and host, with commas.")
    ] = "planned,killed,host",
    calls: Annotated[
        int, typer.Option(min=0, help="Of one partition beforehand; its owner is struck.")
    ] = 0,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    How long no verdict comes when a worker stops, is killed, or dies with its machine; beside the partitions of the other.

    Two supervised workers that stand by for each other, under load. Takes about 40 s a repeat.
    """
    from enforcer.bench import failover as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    chosen = tuple(filter(None, (kind.strip() for kind in kinds.split(","))))
    unknown = sorted(set(chosen) - set(bench.KINDS))
    if unknown or not chosen:
        raise ConfigError(
            f"no such fault: {', '.join(unknown) or 'none is named'}",
            help=f"--kinds takes {', '.join(bench.KINDS)}",
        )
    plan = bench.Plan(chosen, repeats, rate, calls)
    answer = _run(
        "failover",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def leases(
    seconds: Annotated[float, typer.Option(min=3, help="Of calls.")] = 30,
    rate: Annotated[float, typer.Option(min=20, help="Calls a second, of one tenant.")] = 800,
    partitions: Annotated[int, typer.Option(min=2, help="Over which it is spread.")] = 16,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    lasting: Annotated[
        float, typer.Option(min=0.05, max=1, help="For which part of the calls the budget is made.")
    ] = 0.6,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    A tenant's one budget, spent through many partitions to its end: overspent, stranded, turned too early.

    Beside the same limit cut into equal parts. Takes about 20 s and the calls.
    """
    from enforcer.bench import leases as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    plan = bench.Plan(seconds, rate, partitions, workers, lasting)
    answer = _run(
        "leases",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def memory(
    rows: Annotated[
        int, typer.Option(min=1_000, help="Users with a budget row, over all partitions.")
    ] = 1_000_000,
    seconds: Annotated[
        float, typer.Option(min=5, help="Of load before a worker is looked at.")
    ] = 20,
    rate: Annotated[
        float, typer.Option(min=10, help="Calls a second, each of another user.")
    ] = 500,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    MB that a worker holds with 1,000,000 budget rows read back from the changelog, beside one with few; and of what.

    Resident, shared (PSS) and largest; modules, vocabularies, RocksDB's cache, memtables and readers. Takes two minutes.
    """
    from enforcer.bench import memory as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    plan = bench.Plan(rows, seconds, rate)
    answer = _run(
        "memory",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
    )
    show(answer, output)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="Of load.")] = 30,
    rate: Annotated[float, typer.Option(min=10, help="Calls a second, of all partitions.")] = 1_000,
    every: Annotated[
        float, typer.Option("--every", min=1, max=60, help="Seconds from one look to the next.")
    ] = 5,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a page with a plot of each series here.", dir_okay=False
        ),
    ] = None,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Does anything grow? One worker under an even load, its topics bounded, its policies changing.

    Memory, open files, Python's heap, reservations, tables, topics, lag and latency are noted all the time. What still rises
    in the second half by more than its bound (slope by Theil and Sen) grows: exit code 10. Exit code 9 when calls were
    lost or a commit failed. What comes to rest only later (tables: after a quarter of an hour) is not judged in a shorter run.
    """
    from enforcer.bench import page as pages  # noqa: PLC0415 — only where it is wanted
    from enforcer.bench import soak as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    if page is not None and not page.resolve().parent.is_dir():
        raise ConfigError(f"{page.parent} is no directory", help="--page names a file in one")
    plan = bench.Plan(minutes, rate, every)
    answer = _run(
        "soak",
        lambda where: bench.measure(where, plan, publish=policies.apply, tell=note),
        jit="c1",
        bootstrap=bootstrap,
        keep=keep,
        broker=bench.BROKER_SETTINGS,
    )
    if page is not None:
        page.write_text(pages.page_of(answer), encoding="utf-8")
        note(f"plots: {page}")
    show_soak(answer, output)
    if answer["faults"]:
        return _EXIT_FAULTS
    return _EXIT_GROWTH if answer["growing"] else 0


@app.command()
def peers(
    names: bench_peers.NamesArgument = None,
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 8,
    rate: Annotated[
        float,
        typer.Option(
            min=1, help="Calls a second while latency is measured and processes are killed."
        ),
    ] = 200,
    kills: Annotated[
        int, typer.Option(min=0, help="How often each system's process is killed under that load.")
    ] = 3,
    bootstrap: BenchBootstrapOption = None,
    keep: KeepOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    The same job on Quix Streams and Faust, beside our worker and the echo: throughput, latency, and what kills leave.

    Each framework calls our engine with rows of its own state store, by its own guide, in an environment of its own
    that is installed once. `quix` commits as often as we do, `quix-default` every 5 s. Takes about 7 minutes.
    """
    from enforcer.bench.peers import beside as bench  # noqa: PLC0415 — brings the whole data plane
    from enforcer.control import policies  # noqa: PLC0415 — as above

    plan = bench_peers.plan_of(names, rounds, seconds, rate=rate, kills=kills)
    answer = _run(
        "peers",
        lambda where: bench.measure(
            where, plan, bench_peers.home(), publish=policies.apply, tell=note
        ),
        jit="c2",
        bootstrap=bootstrap,
        keep=keep,
    )
    bench_peers.show(answer, output)


def _check_flame(file: Path | None) -> None:
    """Raises ConfigError before a minute is spent on a graph that cannot be made."""
    if file is not None:
        from enforcer.bench import flame  # noqa: PLC0415 — only where it is wanted

        flame.check(file)


def _run(
    name: str,
    measure: Callable[[Place], Coroutine[Any, Any, dict[str, Any]]],
    *,
    jit: Jit,
    bootstrap: str | None,
    keep: bool,
    broker: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure in a place of its own. Ctrl-C and SIGTERM end every process and delete everything."""
    import uvloop  # noqa: PLC0415 — as above

    from enforcer.bench.site import place  # noqa: PLC0415 — as above

    settings = Settings.load()
    with _terminate_interrupts(), progress_shown() as progress:
        given = place(
            name,
            settings,
            jit=jit,
            bootstrap=bootstrap,
            keep=keep,
            progress=progress,
            broker=broker,
        )
        with given as where:
            answer = uvloop.run(measure(where))
            if keep:
                note(f"kept: {where.directory}")
    return answer


@contextlib.contextmanager
def _terminate_interrupts() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
