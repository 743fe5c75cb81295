"""A reader of assigned partitions on aiokafka: positions survive a change of the assignment."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ConsumerStoppedError, KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from enforcer.broker.client import dispose_consumer, translated, within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Partition, Record

_REFUSED_LOOK_S = 0.5
"""How often it is looked whether a question waits for what we may not see."""

_PREFETCH_BACKOFF_S = 0.02
"""How long a partition fetched and not drained (paused) holds up its node's next fetch; aiokafka's 0.1 is long."""


class KafkaReader:
    """``ports.Reader`` over a group-less aiokafka consumer."""

    def __init__(self, consumer: Any, config: BrokerConfig, *, read_committed: bool) -> None:
        self._consumer = consumer
        self._config = config
        self._read_committed = read_committed
        self._placed: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()

    @classmethod
    async def start(cls, config: BrokerConfig, *, read_committed: bool) -> KafkaReader:
        """Connect, with nothing assigned."""
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            # A position that the log no longer holds must be known, never skipped.
            auto_offset_reset="none",
            isolation_level="read_committed" if read_committed else "read_uncommitted",
            fetch_max_wait_ms=config.fetch_max_wait_ms,
            max_partition_fetch_bytes=config.max_partition_fetch_bytes,
            request_timeout_ms=config.request_timeout_ms,
            retry_backoff_ms=config.retry_backoff_ms,
            **config.connection(),
        )
        try:
            await within(config.start_timeout_s, consumer.start(), "start reader")
        except BaseException:
            await dispose_consumer(consumer, grace_s=config.close_timeout_s)
            raise
        consumer._fetcher._prefetch_backoff = _PREFETCH_BACKOFF_S  # noqa: SLF001 — client.PRIVATE_NAMES
        pace_fetches(consumer._fetcher, config.fetch_gap_ms / 1000)  # noqa: SLF001 — client.PRIVATE_NAMES
        return cls(consumer, config, read_committed=read_committed)

    def assign(self, partitions: Sequence[Partition]) -> None:
        """See ``ports.Reader``."""
        wanted = {TopicPartition(*partition) for partition in partitions}
        if wanted == self._consumer.assignment():
            return
        positions = {tp: self._state(tp).position for tp in self._placed & wanted}
        self._placed &= wanted
        self._paused &= wanted
        self._consumer.assign(list(wanted))
        for tp in wanted:
            # A partition without a position would be reset by policy, which "none" makes an error: the new
            # ones stand at 0, paused, until they are placed.
            self._consumer.seek(tp, positions.get(tp, 0))
            if tp not in self._placed or tp in self._paused:
                self._consumer.pause(tp)

    def assignment(self) -> frozenset[Partition]:
        """See ``ports.Reader``."""
        return frozenset((tp.topic, tp.partition) for tp in self._consumer.assignment())

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See ``ports.Reader``."""
        tp = TopicPartition(topic, partition)
        state = self._state(tp)
        # What an answer to the old position said about the end may be older than the caller's knowledge.
        state.lso = state.highwater = None
        self._consumer.seek(tp, offset)
        self._placed.add(tp)
        if tp not in self._paused:
            self._consumer.resume(tp)

    async def seek_to_beginning(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for (topic, partition), offset in (
            await self.offsets_begin(self._named(partitions))
        ).items():
            self.seek(topic, partition, offset)

    async def seek_to_end(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for (topic, partition), offset in (await self.offsets_end(self._named(partitions))).items():
            self.seek(topic, partition, offset)

    async def poll(
        self, timeout_ms: int, max_records: int | None = None
    ) -> dict[Partition, list[Record]]:
        """See ``ports.Reader``."""
        # aiokafka throws away what it has fetched of a paused partition when asked for it; it is not asked.
        ready = self._placed - self._paused
        if not ready:
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        try:
            # A TopicPartition is a named tuple, and so already a Partition.
            polled: dict[Partition, list[Record]] = await self._consumer.getmany(
                *ready, timeout_ms=timeout_ms, max_records=max_records
            )
        except (KafkaError, ConsumerStoppedError) as error:
            raise translated(error, "poll") from error
        return polled

    def pause(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for tp in self._tps(partitions):
            self._paused.add(tp)
            self._consumer.pause(tp)

    def resume(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for tp in self._tps(partitions):
            self._paused.discard(tp)
            if tp in self._placed:
                self._consumer.resume(tp)

    def position(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        tp = TopicPartition(topic, partition)
        if tp not in self._placed:
            return None
        position: int = self._state(tp).position
        return position

    def end(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        tp = TopicPartition(topic, partition)
        if tp not in self._placed:
            return None
        state = self._state(tp)
        end: int | None = state.lso if self._read_committed else state.highwater
        return end

    async def offsets_begin(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        return await self._asked(self._consumer.beginning_offsets, partitions)

    async def offsets_end(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        return await self._asked(self._consumer.end_offsets, partitions)

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int]
    ) -> dict[Partition, int | None]:
        """See ``ports.Reader``."""
        found = await within(
            self._config.request_timeout_ms / 1000,
            self._consumer.offsets_for_times(
                {TopicPartition(*partition): time_ms for partition, time_ms in times_ms.items()}
            ),
            "look offsets up by time",
        )
        return {
            (tp.topic, tp.partition): None if at is None else at.offset for tp, at in found.items()
        }

    async def close(self) -> None:
        """See ``ports.Reader``."""
        await dispose_consumer(self._consumer, grace_s=self._config.close_timeout_s)

    async def _asked(self, ask: Any, partitions: Sequence[Partition]) -> dict[Partition, int]:
        tps = self._tps(partitions)
        if not tps:
            return {}
        await self._know({tp.topic for tp in tps})
        asked = self._unless_refused(ask(tps), {tp.topic for tp in tps})
        found = await within(self._config.request_timeout_ms / 1000, asked, "look offsets up")
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def _know(self, topics: set[str]) -> None:
        """Learn the leaders of *topics* first: asked for offsets of others, aiokafka fails once and waits 0.1 s."""
        client = self._consumer._client  # noqa: SLF001 — client.PRIVATE_NAMES
        known = client.cluster.partitions_for_topic
        learning = [client.add_topic(topic) for topic in sorted(topics) if known(topic) is None]
        if learning:
            await asyncio.wait(learning, timeout=_REFUSED_LOOK_S)

    async def _unless_refused(self, asked: Awaitable[Any], topics: set[str]) -> Any:
        """Await the answer. aiokafka asks for ever for the leader of a topic that is not ours to see."""
        asking = asyncio.ensure_future(asked)
        try:
            while True:
                await asyncio.wait({asking}, timeout=_REFUSED_LOOK_S)
                if asking.done():
                    return asking.result()
                refused = topics & self._consumer._client.cluster.unauthorized_topics  # noqa: SLF001 — client.PRIVATE_NAMES
                if refused:
                    raise TopicAuthorizationFailedError(", ".join(sorted(refused)))
        finally:
            asking.cancel()

    def _named(self, partitions: Sequence[Partition]) -> Sequence[Partition]:
        return partitions or sorted(self.assignment())

    def _state(self, tp: TopicPartition) -> Any:
        subscription = self._consumer._subscription.subscription  # noqa: SLF001 — client.PRIVATE_NAMES
        state = None if subscription is None else subscription.assignment.state_value(tp)
        assert state is not None, f"{tp.topic}-{tp.partition} is not assigned"
        return state

    @staticmethod
    def _tps(partitions: Iterable[Partition]) -> list[TopicPartition]:
        return [TopicPartition(*partition) for partition in partitions]


def pace_fetches(fetcher: Any, gap_s: float) -> None:
    """
    Let *fetcher* begin a fetch of a node no sooner than *gap_s* after the one before.

    A record that comes to a waiting fetch is answered at once, so a quiet input is not delayed. A busy one is
    asked for less often, and each answer, which costs both sides about half a millisecond, holds more records.
    """
    send = fetcher._proc_fetch_request  # noqa: SLF001 — client.PRIVATE_NAMES
    begun_s: dict[int, float] = {}

    async def paced(assignment: Any, node_id: int, request: Any) -> bool:
        wait_s = begun_s.get(node_id, 0.0) + gap_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        begun_s[node_id] = time.monotonic()
        done: bool = await send(assignment, node_id, request)
        return done

    fetcher._proc_fetch_request = paced  # noqa: SLF001 — client.PRIVATE_NAMES
