"""
One system under an open load that goes on while its process is killed: how late verdicts come, and what is true after.

A plain client sends requests when they are due and reads decisions as they are committed, so that what it sees is what
a gateway may act on. First the load is undisturbed: those calls' latency counts. Then the process is killed (SIGKILL)
and started again, several times. Budgets are tight, so that a decision taken twice, or on rows that were lost, shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer import events
from enforcer.bench import workload
from enforcer.bench.figures import percentile
from enforcer.bench.openloop import Course
from enforcer.bench.peers.verdicts import Verdicts
from enforcer.bench.site import scratch_topic
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from enforcer.bench.peers.systems import System, Topics
    from enforcer.bench.site import Place
    from enforcer.broker import KafkaBroker, Outgoing, Producer, Reader

TIGHT: Final = (
    "tight.yaml",
    """
apiVersion: enforcer/v1
kind: Policy
metadata: {id: bench-tight}
spec:
  priority: 50
  budgets:
    - {id: team-total, key: team.id, per: total, limit_usd: 0.02, on_exceeded: deny}
""",
)
_RUN: Final = "trial"
_FIRST: Final = 40
"""Requests before the load: a framework's process is ready when it has decided one."""
_WARM_S: Final = 2.0
_GRACE_S: Final = 90.0
_POLL_MS: Final = 100
_HEADER: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Trial:
    """*rate* calls a second, for *seconds* undisturbed, and then until the process was killed *kills* times."""

    rate: float = 200.0
    seconds: float = 8.0
    kills: int = 3
    in_flight_s: float = 4.0
    """From a process's being ready to its being killed; twice as much is planned for a kill."""
    settle_s: float = 0.5
    """From the last call whose latency counts to the first kill: what its verdict may take."""

    @property
    def calm_s(self) -> float:
        """How long nothing is killed."""
        return _WARM_S + self.seconds + self.settle_s

    @property
    def schedule_s(self) -> list[float]:
        """When calls are due."""
        length_s = self.calm_s + self.kills * 2 * self.in_flight_s
        return [number / self.rate for number in range(int(length_s * self.rate))]


async def run(where: Place, broker: KafkaBroker, system: System, trial: Trial) -> dict[str, float]:
    """
    Try one system, in an installation or on topics of its own.

    Returns: ``p50_ms`` and ``p99_ms`` undisturbed, ``worst_ms`` of all calls, ``kills`` (with work in flight), and what
    ``Verdicts.counted`` says.
    Raises: UnavailableError when its process does not come up.
    """
    topics = system.topics(where, _RUN)
    async with contextlib.AsyncExitStack() as stack:
        if not system.is_ours:
            for name in (topics.requests, topics.decisions, topics.audit):
                await stack.enter_async_context(scratch_topic(broker, name))
        client = await stack.enter_async_context(_opened(broker, topics, trial))
        await client.send_first()
        begun_s, kills = await _driven(where, system, topics, trial, client)
        verdicts = client.verdicts
        for decision in await _audited(broker, topics.audit, is_ours=system.is_ours):
            verdicts.write(decision)
    counted_s, due_s = _WARM_S + trial.seconds, trial.schedule_s
    latencies = client.course.latencies_ms(
        begun_s, skip_s=_WARM_S, measured=lambda number: due_s[number] < counted_s
    )
    everything = client.course.latencies_ms(begun_s, skip_s=_WARM_S)
    return {
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "worst_ms": everything[-1],
        "kills": kills,
        **verdicts.counted(client.ids),
    }


class _Client:
    """A producer and a reader; answers are matched by the header that every system copies."""

    def __init__(self, producer: Producer, reader: Reader, topics: Topics, trial: Trial) -> None:
        self._producer, self._reader, self._topics = producer, reader, topics
        self.course = Course(trial.schedule_s)
        self.verdicts = Verdicts()
        self.ids: list[str] = []
        source = workload.Workload(4, tag="t")
        self._records: list[tuple[int, Outgoing]] = []
        for number in range(-_FIRST, len(trial.schedule_s)):
            request, partition = source.request()
            self.ids.append(request.id)
            header = ((_HEADER, b"%d" % number),)
            value = events.encode_request(request)
            self._records.append((partition, (request.tenant.encode(), value, header, None)))

    async def send_first(self) -> None:
        self._send(self._records[:_FIRST])
        await self._producer.flush()

    def fire(self, begin: int, end: int) -> None:
        self._send(self._records[_FIRST + begin : _FIRST + end])

    def _send(self, records: Iterable[tuple[int, Outgoing]]) -> None:
        by_partition: dict[int, list[Outgoing]] = defaultdict(list)
        for partition, record in records:
            by_partition[partition].append(record)
        for partition, each in by_partition.items():
            self._producer.send(self._topics.requests, partition, each)

    async def read(self) -> None:
        """Take decisions as they come, until cancelled."""
        while True:
            for records in (await self._reader.poll(_POLL_MS)).values():
                for record in records:
                    number = next((v for name, v in record.headers if name == _HEADER), None)
                    if number is None or record.value is None:
                        continue  # A claim, or nobody's.
                    if int(number) >= 0:
                        self.course.answered(int(number))
                    self.verdicts.tell(events.decode_decision(record.value))


@contextlib.asynccontextmanager
async def _opened(broker: KafkaBroker, topics: Topics, trial: Trial) -> AsyncIterator[_Client]:
    """A client that reads."""
    reader = await broker.open_reader(read_committed=True)
    producer = await broker.open_producer()
    client = _Client(producer, reader, topics, trial)
    try:
        await producer.prepare([topics.requests])
        reader.assign([(topics.decisions, number) for number in range(workload.PARTITIONS)])
        await reader.seek_to_beginning()
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    finally:
        await producer.close()
        await reader.close()


async def _driven(
    where: Place, system: System, topics: Topics, trial: Trial, client: _Client
) -> tuple[float, int]:
    """Follow the schedule, and kill. Returns its start on ``time.perf_counter``, and the kills with work in flight."""
    kills = 0
    loading: asyncio.Task[float] | None = None
    try:
        for number in range(trial.kills + 1):
            async with system.start(where, topics, _RUN, more=[TIGHT]) as process:
                calm_s = trial.in_flight_s
                if loading is None:
                    # A process that has decided its first requests may still be warming up.
                    await asyncio.sleep(_WARM_S)
                    loading = asyncio.create_task(client.course.run(client.fire, grace_s=_GRACE_S))
                    calm_s = trial.calm_s
                is_last = number == trial.kills
                await asyncio.wait({loading}, timeout=None if is_last else calm_s)
                if loading.done() or is_last:
                    await process.stop()
                    break
                kills += 1
                await process.end()
        assert loading is not None
        return await loading, kills
    finally:
        if loading is not None:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


async def _audited(broker: KafkaBroker, topic: str, *, is_ours: bool) -> list[events.Decision]:
    """All decisions in the audit, as they are committed; ours stand in records of the chain."""
    found: list[events.Decision] = []
    places = [(topic, number) for number in range(workload.PARTITIONS)]
    reader = await broker.open_reader(read_committed=True)
    try:
        ends = await reader.offsets_end(places)
        reader.assign(places)
        await reader.seek_to_beginning()
        until_s = time.monotonic() + _GRACE_S
        while any((reader.position(*place) or 0) < ends[place] for place in places):
            if time.monotonic() > until_s:
                raise UnavailableError(
                    "the audit could not be read to its end", code="audit_unread"
                )
            for records in (await reader.poll(_POLL_MS)).values():
                for record in records:
                    found += _decision(record.value or b"", is_ours=is_ours)
    finally:
        await reader.close()
    return found


def _decision(value: bytes, *, is_ours: bool) -> list[events.Decision]:
    if not is_ours:
        return [events.decode_decision(value)]
    record: Any = events.decode_audit(value)
    return [events.decode_decision(record.payload)] if record.kind == "decision" else []
