"""
A Kafka in memory, as far as the data plane uses one: append times, transactions, fencing, and processes that die.

A ``FakeCluster`` is what survives; a ``FakeBroker`` is one process's view of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from enforcer.broker import Assignment
from enforcer.broker.ports import TopicInfo
from enforcer.errors import AgentCorruptedError, AgentFencedError, UnavailableError


class Died(BaseException):
    """The process is gone. No handler of ours may catch it."""


@dataclass(slots=True)
class Entry:
    """One offset of a log. *value* None and *control* True: a transaction's marker."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Any, ...]
    timestamp: int
    pid: int
    epoch: int
    status: str = "plain"
    """plain, open, committed, aborted or control."""
    timestamp_type: int = 1


class FakeLog:
    """One partition."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.begin = 0

    @property
    def end(self) -> int:
        return self.begin + len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset."""
        for entry in self.entries:
            if entry.status == "open":
                return entry.offset
        return self.end

    def append(self, entry: Entry) -> int:
        entry.offset = self.end
        self.entries.append(entry)
        return entry.offset

    def delete_before(self, offset: int) -> None:
        """Retention, or DeleteRecords."""
        self.entries = [e for e in self.entries if e.offset >= offset]
        self.begin = offset


@dataclass(slots=True)
class FakeCluster:
    """Logs, transactions and groups."""

    partitions: int = 1
    logs: dict[tuple[str, int], FakeLog] = field(default_factory=lambda: defaultdict(FakeLog))
    epochs: dict[str, int] = field(default_factory=dict)
    groups: dict[str, dict[tuple[str, int], int]] = field(default_factory=lambda: defaultdict(dict))
    open: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    configs: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    name: str = "cluster"
    now_ms: int | None = None
    """A fixed append time; None: the machine's clock."""

    def count(self, topic: str) -> int:
        if topic.endswith((".policies", ".policy-history", ".policy-acks")):
            return 1
        return self.counts.get(topic, self.partitions)

    def pid(self, transactional_id: str) -> int:
        return hash(transactional_id) & 0xFFFF

    def time_ms(self) -> int:
        return self.now_ms if self.now_ms is not None else int(time.time() * 1000)

    def end_transaction(self, transactional_id: str, status: str) -> None:
        """Write the markers."""
        pid, epoch = self.pid(transactional_id), self.epochs[transactional_id]
        for place in sorted(self.open.pop(transactional_id, set())):
            log = self.logs[place]
            for entry in log.entries:
                if entry.pid == pid and entry.status == "open":
                    entry.status = status
            log.append(Entry(0, None, None, (), self.time_ms(), pid, epoch, "control"))


class FakeBroker:
    """One process's way to the cluster. Implements ``ports.Broker`` as far as it goes."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.alive = True
        self.fail: dict[str, Exception] = {}
        """Operation to what it raises, once, before it is done."""
        self.fail_after: dict[str, Exception] = {}
        """The same after it is done: the answer is lost."""
        self.ledgers: list[FakeLedger] = []
        self.memberships: list[FakeMembership] = []
        self.journal: list[str] = []

    async def do(self, name: str, act: Any = lambda: None) -> Any:
        """One operation, which the process may not survive."""
        await asyncio.sleep(0)
        return self.now(name, act)

    def now(self, name: str, act: Any = lambda: None) -> Any:
        """The same without a turn of the loop."""
        if not self.alive:
            raise Died
        if name in self.fail:
            raise self.fail.pop(name)
        self.journal.append(name)
        done = act()
        if name in self.fail_after:
            raise self.fail_after.pop(name)
        return done

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def cluster_id(self) -> str:
        return self.cluster.name

    async def broker_count(self) -> int:
        return 1

    async def topic_id(self, topic: str) -> str:
        return f"id-{topic}"

    async def partitions(self, topic: str) -> int:
        return self.cluster.count(topic)

    async def describe_topics(self, topics: Any) -> dict[str, TopicInfo]:
        return {
            t: TopicInfo(t, f"id-{t}", self.cluster.count(t), 1, self.cluster.configs.get(t, {}))
            for t in topics
            if self.cluster.count(t)
        }

    async def create_topics(self, topics: Any) -> None: ...

    async def alter_topic_configs(self, changes: Any) -> None:
        for topic, settings in changes.items():
            self.cluster.configs.setdefault(topic, {}).update(settings)

    async def group_offsets(self, group: str) -> dict[tuple[str, int], int]:
        return dict(self.cluster.groups[group])

    async def open_reader(self, *, read_committed: bool = True) -> FakeReader:
        return FakeReader(self, read_committed)

    async def open_producer(self) -> FakeFast:
        return FakeFast(self, "", 0)

    def open_ledger(self, transactional_id: str) -> FakeLedger:
        ledger = FakeLedger(self, transactional_id)
        self.ledgers.append(ledger)
        return ledger

    def open_membership(
        self, group: str, topic: str, *, instance_id: str, assigned: Any, **_: Any
    ) -> FakeMembership:
        seat = FakeMembership(assigned)
        self.memberships.append(seat)
        return seat


class FakeReader:
    """``ports.Reader``."""

    def __init__(self, broker: FakeBroker, read_committed: bool) -> None:
        self._broker = broker
        self._read_committed = read_committed
        self._positions: dict[tuple[str, int], int | None] = {}
        self._ends: dict[tuple[str, int], int | None] = {}
        self.paused: set[tuple[str, int]] = set()
        self.polls = 0

    def assign(self, partitions: Any) -> None:
        self._positions = {tuple(p): self._positions.get(tuple(p)) for p in partitions}
        self.paused &= set(self._positions)

    def assignment(self) -> frozenset[tuple[str, int]]:
        return frozenset(self._positions)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        assert (topic, partition) in self._positions
        self._positions[topic, partition] = offset
        self._ends[topic, partition] = None

    async def seek_to_beginning(self, *partitions: Any) -> None:
        for place in partitions or list(self._positions):
            self.seek(*place, self._log(place).begin)

    async def seek_to_end(self, *partitions: Any) -> None:
        for place in partitions or list(self._positions):
            self.seek(*place, self._end(place))

    async def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        self.polls += 1
        found = self._fetch()
        if not found:
            await asyncio.sleep(min(timeout_ms / 1000, 0.002))
            if not self._broker.alive:
                raise Died
        return found

    def _fetch(self) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        for place, position in self._positions.items():
            if position is None or place in self.paused:
                continue
            log = self._log(place)
            if position < log.begin or position > log.end:
                raise AgentCorruptedError("out of range", code="offset_out_of_range")
            end = self._end(place)
            kinds = (
                ("plain", "committed")
                if self._read_committed
                else ("plain", "committed", "open", "aborted")
            )
            entries = log.entries[position - log.begin : end - log.begin]
            records = [_record(place, e) for e in entries if e.status in kinds]
            self._positions[place] = max(position, end)
            self._ends[place] = end
            if records:
                found[place] = records
        return found

    def pause(self, *partitions: Any) -> None:
        self.paused |= set(partitions)

    def resume(self, *partitions: Any) -> None:
        self.paused -= set(partitions)

    def position(self, topic: str, partition: int) -> int | None:
        return self._positions.get((topic, partition))

    def end(self, topic: str, partition: int) -> int | None:
        assert (topic, partition) in self._positions, "it is not assigned"
        return self._ends.get((topic, partition))

    async def offsets_begin(self, partitions: Any) -> dict[Any, int]:
        return await self._broker.do(
            "offsets_begin", lambda: {tuple(p): self._log(p).begin for p in partitions}
        )

    async def offsets_end(self, partitions: Any) -> dict[Any, int]:
        return await self._broker.do(
            "offsets_end", lambda: {tuple(p): self._end(p) for p in partitions}
        )

    async def close(self) -> None:
        self._positions = {}

    def _log(self, place: Any) -> FakeLog:
        return self._broker.cluster.logs[tuple(place)]

    def _end(self, place: Any) -> int:
        log = self._log(place)
        return log.stable if self._read_committed else log.end


def _record(place: tuple[str, int], entry: Entry) -> Any:
    return SimpleNamespace(
        topic=place[0],
        partition=place[1],
        offset=entry.offset,
        timestamp=entry.timestamp,
        timestamp_type=entry.timestamp_type,
        key=entry.key,
        value=entry.value,
        headers=entry.headers,
    )


class FakeFast:
    """``ports.Producer``; under a ledger's id and epoch, or a client's own without fencing."""

    def __init__(self, broker: FakeBroker, transactional_id: str, epoch: int) -> None:
        self._broker = broker
        self._id = transactional_id
        self._epoch = epoch
        self.queued_bytes = 0
        self.held: list[Any] | None = None
        """Set to a list, sends are kept there and acknowledged by ``let_go``."""

    def send(self, topic: str, partition: int, records: Any) -> asyncio.Future[int]:
        ack: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ack.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.held is not None:
            self.held.append((ack, topic, partition, records))
            return ack
        self._append(ack, topic, partition, records)
        return ack

    def let_go(self) -> None:
        """Send and acknowledge what was held."""
        held, self.held = self.held or [], None
        for ack, topic, partition, records in held:
            self._append(ack, topic, partition, records)

    def _append(self, ack: Any, topic: str, partition: int, records: Any) -> None:
        name = f"fast:{topic.partition('.')[2]}"
        try:
            ack.set_result(self._broker.now(name, lambda: self._do(topic, partition, records)))
        except (UnavailableError, AgentFencedError) as error:
            ack.set_exception(error)

    def _do(self, topic: str, partition: int, records: Any) -> int:
        cluster = self._broker.cluster
        log = cluster.logs[topic, partition]
        pid = cluster.pid(self._id) if self._id else -1
        if self._id and any(e.pid == pid and e.epoch > self._epoch for e in log.entries):
            raise AgentFencedError("a newer owner has claimed the partition")
        first = log.end
        for key, value, headers, _ in records:
            log.append(Entry(0, key, value, tuple(headers), cluster.time_ms(), pid, self._epoch))
        return first

    async def prepare(self, topics: Any) -> None: ...
    async def flush(self) -> None: ...
    async def close(self) -> None: ...


class FakeLedger:
    """``ports.LedgerProducer``."""

    def __init__(self, broker: FakeBroker, transactional_id: str) -> None:
        self._broker = broker
        self.transactional_id = transactional_id
        self.epoch = -1
        self.closed = False
        self._failure: Exception | None = None
        self._sends: list[asyncio.Future[int]] = []
        self._offsets: dict[str, dict[Any, int]] = {}
        self.fast = FakeFast(broker, transactional_id, -1)

    @property
    def producer_id(self) -> int:
        return self._broker.cluster.pid(self.transactional_id)

    async def start(self) -> int:
        def act() -> None:
            cluster = self._broker.cluster
            self.epoch = cluster.epochs.get(self.transactional_id, -1) + 1
            cluster.epochs[self.transactional_id] = self.epoch
            cluster.end_transaction(self.transactional_id, "aborted")

        await self._step("start", act)
        self.fast._epoch = self.epoch
        return self.epoch

    async def begin(self) -> None:
        await self._step("begin", lambda: None)

    def send(self, topic: str, partition: int, records: Any) -> asyncio.Future[int]:
        assert records
        if self._failure is not None:
            raise self._failure
        sent = asyncio.ensure_future(self._sent(topic, partition, list(records)))
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._sends.append(sent)
        return sent

    async def _sent(self, topic: str, partition: int, records: Any) -> int:
        def act() -> int:
            cluster = self._broker.cluster
            self._check_epoch()
            log = cluster.logs[topic, partition]
            first = log.end
            for key, value, headers, _ in records:
                entry = Entry(
                    0,
                    key,
                    value,
                    tuple(headers),
                    cluster.time_ms(),
                    self.producer_id,
                    self.epoch,
                    "open",
                )
                log.append(entry)
            cluster.open[self.transactional_id].add((topic, partition))
            return first

        try:
            return int(await self._broker.do(f"send:{topic.partition('.')[2]}", act))
        except Exception as error:
            self._failure = self._failure or error
            raise

    async def offsets(self, group: str, offsets: Any) -> None:
        await self._step("offsets", lambda: self._offsets.update({group: dict(offsets)}))

    async def commit(self) -> None:
        for sent in self._sends:
            await sent
        self._sends = []

        def act() -> None:
            cluster = self._broker.cluster
            cluster.end_transaction(self.transactional_id, "committed")
            for group, offsets in self._offsets.items():
                cluster.groups[group].update(offsets)
            self._offsets = {}

        await self._step("commit", act)

    async def abort(self) -> None:
        await self._step(
            "abort",
            lambda: self._broker.cluster.end_transaction(self.transactional_id, "aborted"),
        )

    async def close(self) -> None:
        self.closed = True
        self._failure = self._failure or UnavailableError("closed", code="closed")
        for sent in self._sends:
            sent.cancel()

    async def _step(self, name: str, act: Any) -> None:
        if self._failure is not None:
            raise self._failure

        def checked() -> None:
            if name != "start":
                self._check_epoch()
            act()

        try:
            await self._broker.do(name, checked)
        except Exception as error:
            self._failure = error
            raise

    def _check_epoch(self) -> None:
        if self._broker.cluster.epochs[self.transactional_id] != self.epoch:
            raise AgentFencedError("a newer owner has started")


class FakeMembership:
    """``ports.Membership``: ``give`` is the finished assignment."""

    def __init__(self, assigned: Any) -> None:
        self._assigned = assigned
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: Exception | None = None
        self.left = False
        self.closed = False
        self.partitions: frozenset[int] = frozenset()

    def give(self, *partitions: int) -> None:
        """Finish a rebalance."""
        self.partitions = frozenset(partitions)
        self._assigned(Assignment(self.partitions))

    def lose(self) -> None:
        """The group has dropped this member."""
        self.failure = AgentFencedError("the seat is lost", code="membership_lost")
        if not self._lost.done():
            self._lost.set_exception(self.failure)

    async def start(self) -> None: ...

    async def run(self) -> None:
        await asyncio.shield(self._lost)

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def leave(self) -> None:
        self.left = True

    async def close(self) -> None:
        self.closed = True
        self._lost.cancel()
