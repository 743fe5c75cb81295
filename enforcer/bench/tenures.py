"""
What an event costs a worker's process, without a broker: real tenures, tables and commits; what is sent is dropped.

Requests are made before a round and fed as polls give them. Time is CPU time of whole rounds, so that no clock is read
between two steps. Calls are counted in a round of their own, for counting them takes longer than they do.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, cast

from enforcer import detect, events
from enforcer.bench import workload
from enforcer.engine import Engine, EngineConfig
from enforcer.store import Meta, RocksTable
from enforcer.stream.commit import commit
from enforcer.stream.config import WorkerConfig
from enforcer.stream.inputs import LOG_APPEND_TIME, REQUESTS
from enforcer.stream.restore import Restored
from enforcer.stream.takeover import Taken
from enforcer.stream.tenure import Tenure
from enforcer.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer.broker.ports import LedgerProducer, Outgoing, Record
    from enforcer.policy import TenantProgram
    from enforcer.stream.services import Services
    from enforcer.tracing import Spans

PROFILED_EVENTS: Final = 400
COMMIT_EVENTS: Final = 500
"""Of one partition: what a worker commits at once at full speed."""
_CACHE_KEY: Final = bytes(32)
_NOW_MS: Final = 1_767_225_600_000
_META: Final = Meta(
    cluster_id="bench", topic_ids={}, schema="1", partitions=workload.PARTITIONS, written_ms=0
)


@dataclass(slots=True)
class _Record:
    """A request as a reader gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp_type: int = LOG_APPEND_TIME


class _Sink:
    """Both lanes of a ledger producer: every record is dropped and acknowledged at once."""

    queued_bytes = 0

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    @property
    def fast(self) -> _Sink:
        return self

    def send(self, topic: str, _: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        base = self._ends.get(topic, 0)
        self._ends[topic] = base + len(records)
        done.set_result(base)
        return done

    async def begin(self) -> None: ...

    async def offsets(self, group: str, offsets: object) -> None: ...

    async def commit(self) -> None: ...


class _Policies:
    """The benchmark's programs, in force from the beginning and always current."""

    offset = 1

    def __init__(self, program_of: Callable[[str], TenantProgram]) -> None:
        self.table = self
        self.program = program_of

    def changes_since(self, _: int) -> list[Any]:
        return []

    def sets(self) -> list[Any]:
        return []

    def age_s(self) -> float:
        return 0.0


class _Services:
    """As much of a worker as tenures ask for."""

    table_meta = _META
    spans: Spans | None = None
    text_readers = None

    def __init__(self, program_of: Callable[[str], TenantProgram], directory: Path) -> None:
        self.config = WorkerConfig(instance_id="bench", state_dir=directory)
        self.metrics = Metrics()
        self.engine = Engine(
            EngineConfig(
                pseudonym_key=self.config.pseudonym_key,
                fact_cache=detect.FactCache(_CACHE_KEY),
                timed=self.metrics.detected,
            )
        )
        self.policies = _Policies(program_of)

    def now_ms(self) -> int:
        return _NOW_MS

    def cached_rows_max(self) -> int:
        return self.config.cached_rows_max // workload.PARTITIONS

    def is_at_end(self, name: str, partition: int) -> bool:
        return name != REQUESTS or partition < 0


class Driver:
    """Four partitions of one process, each with its tenure and its table."""

    def __init__(self, tenures: list[Tenure], services: _Services) -> None:
        """See ``opened``."""
        self._tenures = tenures
        self._services = services
        self._source = workload.Workload(3, tag="d")
        self._offsets = [0] * len(tenures)

    def show(self, spans: Spans | None) -> None:
        """Make spans from now on, or none."""
        self._services.spans = spans

    @classmethod
    async def opened(
        cls, program_of: Callable[[str], TenantProgram], directory: Path
    ) -> tuple[Driver, list[RocksTable]]:
        """A driver over empty tables in *directory*; they are the caller's to close."""
        services = _Services(program_of, directory)
        tables, tenures = [], []
        for partition in range(workload.PARTITIONS):
            table = RocksTable(directory / f"p{partition}")
            tables.append(table)
            taken = Taken(
                cast("LedgerProducer", _Sink()),
                events.PositionRow(0, 0, bytes(32), 0, 0, 0, 0, workload.PARTITIONS, 0),
                {},
                0,
                Restored(0, {}, None),
                tail_lost=False,
                is_start=True,
            )
            given = cast("Services", services)
            tenures.append(
                await Tenure.begin(given, table, taken, partition=partition, condemned=())
            )
        return cls(tenures, services), tables

    def polls(self, count: int) -> list[list[list[Record]]]:
        """The next *count* requests by partition, in polls of as many as are committed together."""
        topic = self._services.config.topic("requests")
        by_partition: list[list[_Record]] = [[] for _ in self._tenures]
        for partition, (key, value, headers, _) in self._source.records(count):
            offset = self._offsets[partition]
            self._offsets[partition] = offset + 1
            at_ms = _NOW_MS + offset
            record = _Record(topic, partition, offset, at_ms, key, value, tuple(headers))
            by_partition[partition].append(record)
        return [
            [
                cast("list[Record]", records[at : at + COMMIT_EVENTS])
                for at in range(0, len(records), COMMIT_EVENTS)
            ]
            for records in by_partition
        ]

    async def take(self, polls: list[list[list[Record]]]) -> int:
        """Decide and commit all of *polls*, the partitions in turn; the events taken."""
        taken = 0
        for number in range(max(map(len, polls))):
            for tenure, of_partition in zip(self._tenures, polls, strict=True):
                if number < len(of_partition):
                    taken += await self._take(tenure, of_partition[number])
        return taken

    async def _take(self, tenure: Tenure, records: list[Record]) -> int:
        tenure.feed(REQUESTS, records)
        taken = 0
        while slice_ := tenure.take_slice():
            taken += slice_
            await asyncio.sleep(0)
        cut = tenure.cut()
        await commit(tenure.target, cut, now_ms=_NOW_MS)
        tenure.committed(cut)
        return taken


def measure(
    program_of: Callable[[str], TenantProgram], *, rounds: int, count: int
) -> dict[str, float]:
    """
    CPU time and calls an event.

    Returns: ``event_us`` (median of *rounds* of *count* events), ``event_best_us``, ``calls_per_event`` (of Python
    functions) and ``builtin_calls_per_event``.
    """
    return asyncio.run(_measure(program_of, rounds, count))


async def _measure(
    program_of: Callable[[str], TenantProgram], rounds: int, count: int
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="enforcer-bench-") as directory:
        driver, tables = await Driver.opened(program_of, Path(directory))
        try:
            taken_us: list[float] = []
            # The first round pays for what is made on first use.
            for _ in range(rounds + 1):
                polls = driver.polls(count)
                gc.collect()
                begun_s = time.process_time()
                taken = await driver.take(polls)
                taken_us.append((time.process_time() - begun_s) / taken * 1e6)
            calls, builtins = await _calls(driver)
        finally:
            for table in tables:
                table.close()
    return {
        "event_us": median(taken_us[1:]),
        "event_best_us": min(taken_us[1:]),
        "calls_per_event": calls,
        "builtin_calls_per_event": builtins,
    }


async def _calls(driver: Driver) -> tuple[float, float]:
    """Calls an event: of Python functions, and of builtins."""
    counted = {"call": 0, "c_call": 0}

    def count(_: object, event: str, __: object) -> None:
        if event in counted:
            counted[event] += 1

    polls = driver.polls(PROFILED_EVENTS * workload.PARTITIONS)
    sys.setprofile(count)
    try:
        taken = await driver.take(polls)
    finally:
        sys.setprofile(None)
    return counted["call"] / taken, counted["c_call"] / taken
