"""
Throughput of one worker process, beside a raw echo.

Rounds alternate: the echo, then the worker, each a fresh process. Requests are made and produced between rounds, so
neither pays for them. A round is measured from after its warm-up to its end; the figure is the median of the rounds'
ratios. The worker goes through a backlog as fast as it can, and so does the echo, over the same bytes again and again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer.bench import flame as flames
from enforcer.bench import machine, workload
from enforcer.bench.conversations import Conversations
from enforcer.bench.figures import is_noisy, rounded, spread
from enforcer.bench.processes import Rate, started, window
from enforcer.bench.site import installed, scratch_topic
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing, Producer

COMMIT_INTERVAL_MS: Final = 100
_WARM_S: Final = 2.5
_FIRST_RATE: Final = 6_000
_MARGIN: Final = 1.6
"""A round may be so much faster than the one before and still not run dry."""
_BATCH: Final = 2_000
_QUEUED_BYTES_MAX: Final = 16 << 20
_DECISION_BYTES: Final = 600
"""Until the first decisions are there to be measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure. *warm_up_s* is for the broker, whose compiler needs its time."""

    rounds: int = 7
    seconds: float = 10.0
    warm_up_s: float = 25.0
    commit_interval_ms: int = COMMIT_INTERVAL_MS
    flame: Path | None = None
    """Where to write the flame graph of one more worker, after the rounds."""
    turns: int = 1
    """Of a conversation, on average; 1: no prompt has anything before it."""

    def source(self) -> workload.Workload:
        """The requests."""
        if self.turns > 1:
            return Conversations(1, tag="s", turns=self.turns)
        return workload.Workload(1, tag="s")


@dataclass(slots=True)
class _Round:
    """One echo and the worker after it."""

    echo: Rate
    worker: Rate
    report: dict[str, Any]
    load: dict[str, float]
    echo_load: dict[str, float]


@dataclass(slots=True)
class _Backlog:
    """Requests produced, and how many of them were decided."""

    producer: Producer
    topic: str
    source: workload.Workload
    produced: int = 0
    decided: int = 0
    rate: float = _FIRST_RATE
    value_bytes: int = _DECISION_BYTES
    request_bytes: int = 0
    """Of all requests produced."""
    rounds: list[_Round] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return self.produced - self.decided

    async def fill(self, wanted: int) -> None:
        """Produce until *wanted* requests wait."""
        while self.waiting < wanted:
            count = min(_BATCH, wanted - self.waiting)
            by_partition: dict[int, list[Outgoing]] = defaultdict(list)
            for partition, record in self.source.records(count):
                by_partition[partition].append(record)
                self.request_bytes += len(record[1] or b"")
            sent = [
                self.producer.send(self.topic, partition, records)
                for partition, records in by_partition.items()
            ]
            self.produced += count
            if self.producer.queued_bytes > _QUEUED_BYTES_MAX:
                await asyncio.gather(*sent)
            await asyncio.sleep(0)
        await self.producer.flush()


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the rounds and return the answer of ``bench stream``.

    Args:
        where: Broker and directory.
        plan: How long.
        publish: Puts the policies in force.
        tell: Gets a line a round.

    Raises: UnavailableError when a process fails or a round could not be measured.
    """
    async with installed(where, publish) as broker:
        producer = await broker.open_producer()
        try:
            topic = where.topic("requests")
            await producer.prepare([topic])
            backlog = _Backlog(producer, topic, plan.source())
            await _warm_up(where, plan, broker, backlog, tell)
            for number in range(plan.rounds):
                rate = max(backlog.rate, _FIRST_RATE)
                await backlog.fill(int(rate * (plan.seconds + _WARM_S + 1) * _MARGIN))
                found = await _round(where, plan, broker, backlog, number)
                backlog.rounds.append(found)
                backlog.rate = found.worker.per_s
                tell(
                    f"round {number + 1} of {plan.rounds}: echo {found.echo.per_s:,.0f}/s "
                    f"({found.echo.cpu_us:.1f} us), worker {found.worker.per_s:,.0f}/s "
                    f"({found.worker.cpu_us:.1f} us), share "
                    f"{found.worker.per_s / found.echo.per_s:.3f}"
                )
            if plan.flame is not None:
                await backlog.fill(int(backlog.rate * (plan.seconds + _WARM_S + 1) * _MARGIN))
                await _worker(where, plan, backlog, plan.seconds, flame=plan.flame)
        finally:
            await producer.close()
    return _answer(where, plan, backlog)


async def _warm_up(
    where: Place,
    plan: Plan,
    broker: KafkaBroker,
    backlog: _Backlog,
    tell: Callable[[str], None],
) -> None:
    """Bring the broker's compiler up to speed, learn the worker's rate and the size of its decisions."""
    tell(f"warming up the broker for {plan.warm_up_s:.0f} s")
    seconds = max(2.0, plan.warm_up_s / 5)
    await backlog.fill(int(_FIRST_RATE * (seconds + _WARM_S)))
    worker, report, _ = await _worker(where, plan, backlog, seconds)
    backlog.decided += int(sum(report["verdicts"].values()))
    backlog.rate = worker.per_s
    backlog.value_bytes = await _decision_bytes(where, broker)
    async with scratch_topic(broker, where.topic("echo-warm-up")) as target:
        await _echo(where, backlog, target, max(1.0, plan.warm_up_s))


async def _round(
    where: Place, plan: Plan, broker: KafkaBroker, backlog: _Backlog, number: int
) -> _Round:
    async with scratch_topic(broker, where.topic(f"echo-{number}")) as target:
        echo, echo_load = await _echo(where, backlog, target, plan.seconds)
    worker, report, load = await _worker(where, plan, backlog, plan.seconds)
    backlog.decided += int(sum(report["verdicts"].values()))
    return _Round(echo, worker, report, load, echo_load)


async def _echo(
    where: Place, backlog: _Backlog, target: str, seconds: float
) -> tuple[Rate, dict[str, float]]:
    task = {
        "bootstrap": where.bootstrap,
        "source": backlog.topic,
        "target": target,
        "partitions": workload.PARTITIONS,
        "value_bytes": backlog.value_bytes,
        "loops": True,
    }
    async with started("echo_round", task, where.directory) as process:
        before = machine.read(where.broker_pid)
        await asyncio.sleep(_WARM_S + seconds)
        after = machine.read(where.broker_pid)
        report = await process.stop()
    rate = _windowed(report, backlog, bounded=False)
    return rate, machine.load(before, after, report["samples"][-1][1] - report["samples"][0][1])


async def _worker(
    where: Place, plan: Plan, backlog: _Backlog, seconds: float, flame: Path | None = None
) -> tuple[Rate, dict[str, Any], dict[str, float]]:
    task = {
        "bootstrap": where.bootstrap,
        "prefix": where.prefix,
        "state_dir": str(where.directory / "worker"),
        "commit_interval_ms": plan.commit_interval_ms,
    }
    async with started("worker_round", task, where.directory) as process:
        before = machine.read(where.broker_pid)
        await asyncio.sleep(_WARM_S)
        if flame is None:
            await asyncio.sleep(seconds)
        else:
            title = "A worker at full speed"
            await flames.record(process.pid, flame, seconds=seconds, title=title)
        after = machine.read(where.broker_pid)
        report = await process.stop()
    if report["commit_failures"] or not report["commits"]:
        raise UnavailableError("the worker's ledger had failures: nothing was measured")
    rate = _windowed(report, backlog, bounded=True)
    cpu_s = report["samples"][-1][1] - report["samples"][0][1]
    return rate, report, machine.load(before, after, cpu_s)


def _windowed(report: dict[str, Any], backlog: _Backlog, *, bounded: bool) -> Rate:
    # The partitions of a backlog do not end at quite the same moment: the last tenth of it is left out.
    events_max = 0.9 * backlog.waiting if bounded else float("inf")
    rate = window(report["samples"], skip_s=_WARM_S, events_max=events_max)
    if rate is None or rate.events <= 0:
        raise UnavailableError(
            "a round was over before it could be measured",
            help="give longer rounds, with --seconds",
            code="round_too_short",
        )
    return rate


async def _decision_bytes(where: Place, broker: KafkaBroker) -> int:
    """Mean size of the newest decisions."""
    reader = await broker.open_reader(read_committed=True)
    try:
        places = [(where.topic("decisions"), number) for number in range(workload.PARTITIONS)]
        ends = await reader.offsets_end(places)
        reader.assign(places)
        for (topic, partition), end in ends.items():
            reader.seek(topic, partition, max(0, end - 200))
        sizes: list[int] = []
        for _ in range(20):
            for records in (await reader.poll(200)).values():
                sizes.extend(len(record.value or b"") for record in records)
            if len(sizes) >= 400:
                break
    finally:
        await reader.close()
    return sum(sizes) // len(sizes) if sizes else _DECISION_BYTES


def _answer(where: Place, plan: Plan, backlog: _Backlog) -> dict[str, Any]:
    rounds = backlog.rounds
    shares = [r.worker.per_s / r.echo.per_s for r in rounds]
    echoes = [r.echo.per_s for r in rounds]
    verdicts: dict[str, int] = defaultdict(int)
    for found in rounds:
        for verdict, count in found.report["verdicts"].items():
            verdicts[verdict] += int(count)
    loads = [load for r in rounds for load in (r.echo_load, r.load)]
    answer = {
        "figures": {
            "events_per_s": median(r.worker.per_s for r in rounds),
            "rounds_events_per_s": [r.worker.per_s for r in rounds],
            "commits_per_s": median(
                r.report["commits"]
                / max(1e-3, r.report["samples"][-1][0] - r.report["samples"][0][0])
                for r in rounds
            ),
            "request_bytes": backlog.request_bytes / max(1, backlog.produced),
            "decision_bytes": backlog.value_bytes,
            "verdicts": dict(verdicts),
        },
        "baseline": {
            "events_per_s": median(echoes),
            "rounds_events_per_s": echoes,
            "cpu_us_per_event": median(r.echo.cpu_us for r in rounds),
        },
        "share": median(shares),
        "share_spread": spread(shares),
        "cpu_share": median(r.echo.cpu_us / r.worker.cpu_us for r in rounds),
        "cpu_us_per_event": median(r.worker.cpu_us for r in rounds),
        "rss_mb": max(r.report["rss_mb"] for r in rounds),
        "machine": {
            **machine.describe(where.jvm_flags),
            **{name: median(load[name] for load in loads) for name in loads[0]},
            "partitions": workload.PARTITIONS,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "turns": plan.turns,
        },
        "noisy": is_noisy(echoes),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
