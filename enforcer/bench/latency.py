"""
Latency at a given rate, open loop, from intended send to receipt: through the client, beside a raw echo.

Rounds alternate. The echo's client is a plain producer and reader on the broker port that finds its answers by a
header; records of the requests' sizes go in, records of a decision's size come out. The product's client is
``client.Gateway``, in the same process and event loop, against one worker process.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer import events
from enforcer.bench import flame as flames
from enforcer.bench import machine, workload
from enforcer.bench.figures import is_noisy, percentile, rounded, spread
from enforcer.bench.openloop import Course
from enforcer.bench.processes import started
from enforcer.bench.site import installed, scratch_topic
from enforcer.client import Gateway
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing

COMMIT_INTERVAL_MS: Final = 100
_WARM_S: Final = 2.0
_GRACE_S: Final = 5.0
_DEADLINE_MS: Final = 2_000
_DECISION_BYTES: Final = 600
_POLL_MS: Final = 500
_CHARACTERS_PER_TOKEN: Final = 5
_CHARACTERS_MAX: Final = 20_000
_STALLS: Final = 20
_SHARES: Final = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))

Arrivals = Sequence[tuple[float, int]]
"""Seconds from the first, and tokens of the prompt."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How long to measure, and at what rate a second.

    *arrivals* replace the rate: recorded ones, *speed* times as fast, from the beginning again at their end.
    """

    rounds: int = 7
    seconds: float = 10.0
    rate: float = 1_000.0
    arrivals: Arrivals = ()
    speed: float = 1.0
    flame: Path | None = None
    """Where to write the flame graph of one more worker, after the rounds."""
    stalls: bool = False
    """Whether the worker's event loop is watched for its longest gaps; that costs time of its own."""


@dataclass(slots=True)
class _Round:
    ms: dict[str, float]
    lost: int
    load: dict[str, float]
    bypass_rate: float = 0.0
    cpu_us: float = 0.0
    client_cpu_us: float = 0.0
    rss_mb: float = 0.0
    late_ms: dict[str, float] = field(default_factory=dict)
    """From the record's time to its being taken up by the agent: fetch and queue."""
    stalls: list[dict[str, Any]] = field(default_factory=list)


def schedule(plan: Plan, number: int) -> tuple[list[float], list[int]]:
    """When the calls of a round are due, in seconds from its start, and the characters of their prompts."""
    length_s = _WARM_S + plan.seconds
    if not plan.arrivals:
        count = int(length_s * plan.rate)
        return [n / plan.rate for n in range(count)], [workload.PROMPT_CHARACTERS] * count
    whole_s = plan.arrivals[-1][0] / plan.speed + 1e-3
    begin_s = (number * length_s) % whole_s
    due: list[float] = []
    sizes: list[int] = []
    lap_s = 0.0
    while lap_s < begin_s + length_s:
        for at_s, tokens in plan.arrivals:
            when_s = lap_s + at_s / plan.speed - begin_s
            if 0 <= when_s < length_s:
                due.append(when_s)
                sizes.append(max(20, min(tokens * _CHARACTERS_PER_TOKEN, _CHARACTERS_MAX)))
        lap_s += whole_s
    return due, sizes


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Run the rounds and return the answer of ``bench latency``.

    Args:
        where: Broker and directory.
        plan: How long, and when calls are due.
        publish: Puts the policies in force.
        tell: Gets a line a round.

    Raises: UnavailableError when a process fails.
    """
    source = workload.Workload(2, tag="l")
    echoes: list[_Round] = []
    products: list[_Round] = []
    async with installed(where, publish) as broker:
        tell("warming up")
        short = Plan(1, 2.0, min(plan.rate, 500.0))
        await _product(where, broker, source, schedule(short, 0))
        await _echo(where, broker, source, schedule(short, 0))
        for number in range(plan.rounds):
            due = schedule(plan, number)
            if not due[0] or due[0][-1] < _WARM_S:
                raise UnavailableError("a round has no calls", help="give longer rounds")
            echoes.append(await _echo(where, broker, source, due))
            products.append(await _product(where, broker, source, due, stalls=plan.stalls))
            tell(
                f"round {number + 1} of {plan.rounds}: echo {_shown(echoes[-1])}, "
                f"enforcer {_shown(products[-1])}"
            )
        if plan.flame is not None:
            due = schedule(plan, plan.rounds)
            requests = [source.request(size)[0] for size in due[1]]
            await product_round(where, broker, requests, due[0], flame=plan.flame)
    return _answer(where, plan, echoes, products)


def _shown(found: _Round) -> str:
    return f"{found.ms['p50']:.2f} / {found.ms['p99']:.2f} ms"


async def _echo(
    where: Place,
    broker: KafkaBroker,
    source: workload.Workload,
    due: tuple[list[float], list[int]],
) -> _Round:
    requests = []
    for size in due[1]:
        request, partition = source.request(size)
        requests.append((partition, request.tenant.encode(), events.encode_request(request)))
    async with (
        scratch_topic(broker, where.topic(f"ask-{id(due):x}")) as ask,
        scratch_topic(broker, where.topic(f"told-{id(due):x}")) as told,
    ):
        task = {
            "bootstrap": where.bootstrap,
            "source": ask,
            "target": told,
            "partitions": workload.PARTITIONS,
            "value_bytes": _DECISION_BYTES,
            "loops": False,
        }
        async with started("echo_round", task, where.directory) as process:
            course = Course(due[0])
            async with _plain_client(broker, ask, told, course) as fire:
                before, own_s = machine.read(where.broker_pid), time.process_time()
                begun_s = await course.run(
                    lambda begin, end: fire(requests, begin, end), grace_s=_GRACE_S
                )
                after, own_s = machine.read(where.broker_pid), time.process_time() - own_s
            report = await process.stop()
    load = machine.load(before, after, _cpu_s(report) + own_s)
    return _found(course, begun_s, load, report, own_s)


class _plain_client:  # noqa: N801 — used as a context manager only
    """A producer and a reader; answers are matched by the header ``gateway``, which holds the call's number."""

    def __init__(self, broker: KafkaBroker, ask: str, told: str, course: Course) -> None:
        self._broker, self._ask, self._told, self._course = broker, ask, told, course

    async def __aenter__(self) -> Callable[[list[Any], int, int], None]:
        self._reader = await self._broker.open_reader(read_committed=True)
        self._producer = await self._broker.open_producer()
        await self._producer.prepare([self._ask])
        places = [(self._told, number) for number in range(workload.PARTITIONS)]
        self._reader.assign(places)
        await self._reader.seek_to_end()
        self._reading = asyncio.create_task(self._read())
        _settle_memory()
        return self._fire

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._producer.close()
        await self._reader.close()
        gc.unfreeze()

    def _fire(self, requests: list[tuple[int, bytes, bytes]], begin: int, end: int) -> None:
        by_partition: dict[int, list[Outgoing]] = defaultdict(list)
        for number in range(begin, end):
            partition, key, value = requests[number]
            header = (("gateway", b"%d" % number),)
            by_partition[partition].append((key, value, header, None))
        for partition, records in by_partition.items():
            self._producer.send(self._ask, partition, records)

    async def _read(self) -> None:
        answered = self._course.answered
        while True:
            for records in (await self._reader.poll(_POLL_MS)).values():
                for record in records:
                    answered(int(record.headers[0][1]))


async def _product(
    where: Place,
    broker: KafkaBroker,
    source: workload.Workload,
    due: tuple[list[float], list[int]],
    *,
    stalls: bool = False,
) -> _Round:
    requests = [source.request(size)[0] for size in due[1]]
    return await product_round(where, broker, requests, due[0], stalls=stalls)


async def product_round(
    where: Place,
    broker: KafkaBroker,
    requests: Sequence[events.Request],
    due_s: list[float],
    *,
    text_readers: int = 1,
    measured: Callable[[int], bool] = lambda _number: True,
    flame: Path | None = None,
    stalls: bool = False,
) -> _Round:
    """
    One round of the product: a fresh worker process and a gateway.

    Args:
        where: Broker and directory.
        broker: For the gateway.
        requests: To be sent, in order.
        due_s: When each is due, in seconds from the start.
        text_readers: Processes of the worker that read long texts; 0: it reads them itself.
        measured: Whether the latency of a call, by its number, counts.
        flame: Where to write the worker's flame graph, if one is wanted.
        stalls: Whether the worker's event loop is watched for gaps.
    """
    task = {
        "bootstrap": where.bootstrap,
        "prefix": where.prefix,
        "state_dir": str(where.directory / "worker"),
        "commit_interval_ms": COMMIT_INTERVAL_MS,
        "text_readers": text_readers,
        "stalls": stalls,
    }
    async with (
        started("worker_round", task, where.directory) as process,
        Gateway(broker, prefix=where.prefix) as gateway,
    ):
        course = Course(due_s)
        calls: set[asyncio.Task[None]] = set()
        late_ms: list[int] = []

        async def call(number: int) -> None:
            # A call whose deadline passed has its answer too, late; the bypass rate counts it.
            outcome = await gateway.decide(requests[number], _DEADLINE_MS)
            course.answered(number)
            if outcome.decision is not None and due_s[number] >= _WARM_S:
                late_ms.append(outcome.decision.source.late_ms)

        def fire(begin: int, end: int) -> None:
            for number in range(begin, end):
                task = asyncio.create_task(call(number))
                calls.add(task)
                task.add_done_callback(calls.discard)

        _settle_memory()
        before, own_s = machine.read(where.broker_pid), time.process_time()
        begun_s, _ = await asyncio.gather(
            course.run(fire, grace_s=_GRACE_S), _recorded(process.pid, due_s, flame)
        )
        after, own_s = machine.read(where.broker_pid), time.process_time() - own_s
        gc.unfreeze()
        await asyncio.gather(*calls, return_exceptions=True)
        bypass_rate = gateway.stats.bypass_rate
        report = await process.stop()
    load = machine.load(before, after, _cpu_s(report) + own_s)
    found = _found(course, begun_s, load, report, own_s, measured)
    found.bypass_rate = bypass_rate
    found.stalls = report["stalls"]
    found.late_ms = {name: percentile(sorted(late_ms) or [0], share) for name, share in _SHARES}
    return found


async def _recorded(pid: int, due_s: Sequence[float], flame: Path | None) -> None:
    """The flame graph of a round after its warm-up, if one is wanted."""
    if flame is not None:
        seconds = due_s[-1] - _WARM_S
        title = f"A worker at {len(due_s) / due_s[-1]:,.0f} calls a second"
        await asyncio.sleep(_WARM_S)
        await flames.record(pid, flame, seconds=seconds, title=title)


def _settle_memory() -> None:
    """The prepared requests live on: the collector need not look at them while calls are timed."""
    gc.collect()
    gc.freeze()


def _cpu_s(report: dict[str, Any]) -> float:
    samples = report["samples"]
    used_s: float = samples[-1][1] - samples[0][1]
    return used_s


def _found(
    course: Course,
    begun_s: float,
    load: dict[str, float],
    report: dict[str, Any],
    own_s: float,
    measured: Callable[[int], bool] = lambda _number: True,
) -> _Round:
    ordered = course.latencies_ms(begun_s, skip_s=_WARM_S, measured=measured)
    assert ordered, "a schedule goes on after its warm-up"
    ms = {name: percentile(ordered, share) for name, share in _SHARES}
    ms["max"] = ordered[-1]
    calls = len(course.schedule_s)
    return _Round(
        ms,
        course.missing,
        load,
        cpu_us=_cpu_s(report) / calls * 1e6,
        client_cpu_us=own_s / calls * 1e6,
        rss_mb=report["rss_mb"],
    )


def _answer(
    where: Place, plan: Plan, echoes: list[_Round], products: list[_Round]
) -> dict[str, Any]:
    multiples = {
        name: [p.ms[name] / e.ms[name] for p, e in zip(products, echoes, strict=True)]
        for name, _ in _SHARES
    }
    loads = [found.load for found in (*echoes, *products)]
    calls_per_s = [len(schedule(plan, n)[0]) / (_WARM_S + plan.seconds) for n in range(plan.rounds)]
    answer = {
        "figures": {
            **{f"{name}_ms": median(p.ms[name] for p in products) for name, _ in _SHARES},
            "max_ms": max(p.ms["max"] for p in products),
            **{
                f"taken_up_{name}_ms": median(p.late_ms[name] for p in products)
                for name in ("p50", "p99")
            },
            "calls_per_s": median(calls_per_s),
            "client_cpu_us_per_call": median(p.client_cpu_us for p in products),
            "bypass_rate": max(p.bypass_rate for p in products),
            "lost": sum(p.lost for p in products),
        },
        "baseline": {
            **{f"{name}_ms": median(e.ms[name] for e in echoes) for name, _ in _SHARES},
            "max_ms": max(e.ms["max"] for e in echoes),
            "lost": sum(e.lost for e in echoes),
            "client_cpu_us_per_call": median(e.client_cpu_us for e in echoes),
            "cpu_us_per_event": median(e.cpu_us for e in echoes),
        },
        "multiple": {name: median(values) for name, values in multiples.items()},
        "multiple_spread": {name: spread(values) for name, values in multiples.items()},
        "cpu_us_per_event": median(p.cpu_us for p in products),
        "rss_mb": max(p.rss_mb for p in products),
        "machine": {
            **machine.describe(where.jvm_flags),
            **{name: median(load[name] for load in loads) for name in loads[0]},
            "partitions": workload.PARTITIONS,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "noisy": is_noisy([e.ms["p50"] for e in echoes]),
    }
    if plan.stalls:
        longest = sorted((s for p in products for s in p.stalls), key=lambda s: -float(s["ms"]))
        answer["stalls"] = longest[:_STALLS]
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
