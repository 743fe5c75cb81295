"""
Throughput: the echo, our worker and each framework in turn, over one backlog.

Every system is a fresh process in each round and goes on where it stopped. All read the same topic from its beginning.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from enforcer.bench import machine, workload
from enforcer.bench.processes import Rate, started, window
from enforcer.bench.site import scratch_topic
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.bench.peers.systems import System
    from enforcer.bench.processes import Measured
    from enforcer.bench.site import Place
    from enforcer.broker import KafkaBroker, Outgoing, Producer

ECHO: Final = "echo"
_RUN: Final = "rounds"
_WARM_S: Final = 2.5
_FIRST_RATE: Final = 8_000
_MARGIN: Final = 1.6
"""A round may be so much faster than the fastest before and still not run dry."""
_BATCH: Final = 2_000
_QUEUED_BYTES_MAX: Final = 16 << 20
_DECISION_BYTES: Final = 600

Start = Callable[[], AbstractAsyncContextManager["Measured"]]


@dataclass(slots=True)
class Throughput:
    """What the rounds gave, by system; the echo is one of them."""

    rates: dict[str, list[Rate]] = field(default_factory=lambda: defaultdict(list))
    rss_mb: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    loads: list[dict[str, float]] = field(default_factory=list)


class _Backlog:
    """Requests that wait for the fastest system."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer, self._topic = producer, topic
        self._source = workload.Workload(1, tag="p")
        self._produced = 0
        self._decided: dict[str, int] = defaultdict(int)
        self._rate = float(_FIRST_RATE)

    def decided(self, name: str, count: int, per_s: float) -> None:
        """*name* has decided so many more, so fast."""
        self._decided[name] += count
        self._rate = max(self._rate, per_s)

    async def fill(self, seconds: float) -> None:
        """Produce until nobody runs dry within *seconds*."""
        decided = max(self._decided.values(), default=0)
        missing = int(self._rate * _MARGIN * seconds) - (self._produced - decided)
        for begin in range(0, missing, _BATCH):
            by_partition: dict[int, list[Outgoing]] = defaultdict(list)
            for partition, record in self._source.records(min(_BATCH, missing - begin)):
                by_partition[partition].append(record)
            sent = [self._producer.send(self._topic, n, each) for n, each in by_partition.items()]
            if self._producer.queued_bytes > _QUEUED_BYTES_MAX:
                await asyncio.gather(*sent)
            await asyncio.sleep(0)
        self._produced += max(0, missing)
        await self._producer.flush()


async def run(
    where: Place,
    broker: KafkaBroker,
    systems: Sequence[System],
    *,
    rounds: int,
    seconds: float,
    warm_up_s: float,
    tell: Callable[[str], None],
) -> Throughput:
    """
    Measure *rounds* of *seconds* of each.

    Raises: UnavailableError when a process fails or has nothing to do.
    """
    found = Throughput()
    requests = where.topic("requests")
    async with AsyncExitStack() as stack:
        producer = await broker.open_producer()
        stack.push_async_callback(producer.close)
        await producer.prepare([requests])
        backlog = _Backlog(producer, requests)
        starts = await _starts(where, broker, systems, stack)
        await backlog.fill(2)
        if warm_up_s:
            tell(f"warming up the broker for {warm_up_s:.0f} s")
            await _measure(where, starts[ECHO], warm_up_s)
        for number in range(rounds):
            await backlog.fill(_WARM_S + seconds + 1)
            for name, start in starts.items():
                rate, report, load = await _measure(where, start, seconds)
                found.rates[name].append(rate)
                found.rss_mb[name] = max(found.rss_mb[name], report["rss_mb"])
                found.loads.append(load)
                if name != ECHO:
                    backlog.decided(name, report["samples"][-1][2], rate.per_s)
            told = (f"{name} {rates[-1].per_s:,.0f}/s" for name, rates in found.rates.items())
            tell(f"round {number + 1} of {rounds}: {', '.join(told)}")
    return found


async def _starts(
    where: Place, broker: KafkaBroker, systems: Sequence[System], stack: AsyncExitStack
) -> dict[str, Start]:
    """How each is started, over the common topic of requests; their topics are gone with *stack*."""
    requests = where.topic("requests")
    echoed = await stack.enter_async_context(scratch_topic(broker, where.topic("echoed")))
    echo = {
        "bootstrap": where.bootstrap,
        "source": requests,
        "target": echoed,
        "partitions": workload.PARTITIONS,
        "value_bytes": _DECISION_BYTES,
        "loops": True,
    }
    starts: dict[str, Start] = {ECHO: partial(started, "echo_round", echo, where.directory)}
    for each in systems:
        topics = replace(each.topics(where, _RUN), requests=requests)
        if not each.is_ours:
            for name in (topics.decisions, topics.audit):
                await stack.enter_async_context(scratch_topic(broker, name))
        starts[each.name] = partial(each.start, where, topics, _RUN)
    return starts


async def _measure(
    where: Place, start: Start, seconds: float
) -> tuple[Rate, dict[str, Any], dict[str, float]]:
    async with start() as process:
        before = machine.read(where.broker_pid)
        await asyncio.sleep(_WARM_S + seconds)
        after = machine.read(where.broker_pid)
        report = await process.stop()
    samples = report["samples"]
    rate = window(samples, skip_s=_WARM_S)
    if rate is None or rate.events <= 0:
        raise UnavailableError(
            "a round was over before it could be measured",
            help="give longer rounds, with --seconds",
            code="round_too_short",
        )
    return rate, report, machine.load(before, after, samples[-1][1] - samples[0][1])
