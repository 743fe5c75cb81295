"""``ports.Broker`` on a simulated cluster: one process's view of it, and its seat in a group."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from enforcer.broker.ports import Assignment, nothing_warm
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError
from enforcer.testing.simulation.loop import Process
from enforcer.testing.simulation.producers import SimulatedLedger, SimulatedProducer
from enforcer.testing.simulation.reader import SimulatedReader
from enforcer.testing.simulation.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from enforcer.broker.assignor import Share
    from enforcer.broker.ports import Assigned, NewTopicSpec, Partition, TopicInfo, Warm
    from enforcer.testing.simulation.cluster import Cluster

HEARTBEATS_IN_A_SESSION: Final = 8


class SimulatedBroker:
    """One process's way to a cluster."""

    def __init__(self, cluster: Cluster, process: Process | None = None) -> None:
        self.cluster = cluster
        self.process = process or Process("client")
        self.wire = Wire(cluster, self.process)
        self.memberships: list[SimulatedMembership] = []

    async def start(self) -> None:
        """See ``ports.Broker``."""

    async def stop(self) -> None:
        """See ``ports.Broker``."""

    async def cluster_id(self) -> str:
        """See ``ports.Broker``."""
        return self.cluster.name

    async def broker_count(self) -> int:
        """See ``ports.Broker``."""
        return 1

    async def topic_id(self, topic: str) -> str:
        """See ``ports.Broker``."""
        self.cluster.log(topic, 0)
        return self.cluster.describe(topic).topic_id

    async def partitions(self, topic: str) -> int:
        """See ``ports.Broker``."""
        self.cluster.log(topic, 0)
        return len(self.cluster.topics[topic])

    async def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """See ``ports.Broker``."""
        known = [topic for topic in topics if topic in self.cluster.topics]
        return {topic: self.cluster.describe(topic) for topic in known}

    async def create_topics(self, topics: Sequence[NewTopicSpec]) -> None:
        """See ``ports.Broker``."""
        for topic in topics:
            self.cluster.create(topic.name, topic.partitions, topic.config)

    async def delete_topics(self, topics: Sequence[str]) -> None:
        """See ``ports.Broker``."""
        for topic in topics:
            self.cluster.delete(topic)

    async def alter_topic_configs(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """See ``ports.Broker``."""
        for topic, settings in changes.items():
            if topic not in self.cluster.configs:
                raise NotFoundError(f"no topic {topic}")
            for name, value in settings.items():
                if value is None:
                    self.cluster.configs[topic].pop(name, None)
                else:
                    self.cluster.configs[topic][name] = value

    async def grow_topics(self, counts: Mapping[str, int]) -> None:
        """Nobody repartitions a simulated cluster: see the tests on the real one."""
        raise NotImplementedError(counts)

    async def group_members(self, group: str) -> list[str]:
        """As ``grow_topics``."""
        raise NotImplementedError(group)

    async def group_offsets(self, group: str) -> dict[Partition, int]:
        """See ``ports.Broker``."""
        return await self.wire.call(
            "group_offsets", lambda: dict(self.cluster.group_offsets.get(group, {}))
        )

    async def open_reader(self, *, read_committed: bool = True) -> SimulatedReader:
        """See ``ports.Broker``."""
        return SimulatedReader(self.wire, read_committed=read_committed)

    async def open_producer(self) -> SimulatedProducer:
        """See ``ports.Broker``."""
        return SimulatedProducer(
            self.wire,
            lane="client",
            producer=(self.cluster.new_producer_id(), 0),
            poison_on_refusal=False,
        )

    def open_ledger(self, transactional_id: str) -> SimulatedLedger:
        """See ``ports.Broker``."""
        return SimulatedLedger(self.wire, transactional_id)

    def open_membership(
        self,
        group: str,
        topic: str,
        *,
        instance_id: str,
        assigned: Assigned,
        warm: Warm = nothing_warm,
        standbys: int = 0,
    ) -> SimulatedMembership:
        """See ``ports.Broker``."""
        seat = SimulatedMembership(self, group, topic, instance_id, assigned)
        seat.warm, seat.standbys = warm, standbys
        self.memberships.append(seat)
        return seat


class SimulatedMembership:
    """``ports.Membership``, by heartbeats."""

    def __init__(
        self,
        broker: SimulatedBroker,
        group: str,
        topic: str,
        instance_id: str,
        assigned: Assigned,
    ) -> None:
        self._broker = broker
        self._group, self._topic, self._instance_id = group, topic, instance_id
        self._assigned = assigned
        self._number = 0
        self._generation = 0
        self._is_stopping = False
        self._failure: EnforcerError | None = None
        self._last_tick_s = 0.0
        self.partitions: frozenset[int] = frozenset()
        self.warm: Warm = nothing_warm
        self.standbys = 0
        self._is_leaving = False
        self._has_news = False
        self.is_deaf = False
        """Parted from the coordinator and unaware of it: it sends nothing and hears nothing."""

    @property
    def _session_s(self) -> float:
        return self._broker.cluster.session_timeout_ms / 1000

    async def start(self) -> None:
        """See ``ports.Membership``."""
        group = self._broker.cluster.group(self._group, self._topic)

        def join() -> int:
            group.standbys = self.standbys
            return group.join(self._instance_id)

        self._number = await self._broker.wire.call("group.join", join)
        self._last_tick_s = time.monotonic()

    async def run(self) -> None:
        """See ``ports.Membership``."""
        while not self._is_stopping:
            self.check()
            self._last_tick_s = time.monotonic()
            if not self.is_deaf:
                await self._beat()
            await asyncio.sleep(self._session_s / HEARTBEATS_IN_A_SESSION)

    async def _beat(self) -> None:
        group = self._broker.cluster.group(self._group, self._topic)
        warm, leaves = self.warm(), self._is_leaving
        has_news, self._has_news = self._has_news, False

        def beat() -> tuple[int, Share] | None:
            if has_news:
                group.rejoin(self._instance_id, self._number)
            return group.heartbeat(self._instance_id, self._number, warm=warm, leaves=leaves)

        try:
            told = await self._broker.wire.call("group.heartbeat", beat)
        except AgentFencedError as error:
            if self._is_stopping:
                return
            self._failure = self._failure or error
            raise
        except EnforcerError:
            self._has_news = self._has_news or has_news
            return  # An answer is lost; the session bears a few.
        if told is not None and told[0] != self._generation:
            self._generation, share = told
            self.partitions = frozenset(share.owned)
            self._assigned(
                Assignment(
                    self.partitions,
                    frozenset(share.standby),
                    frozenset(share.pending),
                    is_last=share.is_last,
                )
            )

    def rejoin(self, *, leaving: bool = False) -> None:
        """See ``ports.Membership``."""
        self._is_leaving, self._has_news = leaving, True

    def check(self) -> None:
        """See ``ports.Membership``."""
        if self._failure is not None:
            raise self._failure
        late_s = time.monotonic() - self._last_tick_s
        if late_s > self._session_s and not self._is_stopping:
            self._failure = AgentFencedError(
                f"this process stood still for {late_s:.1f} s", code="agent_late"
            )
            raise self._failure

    async def leave(self) -> None:
        """See ``ports.Membership``."""
        self._is_stopping = True
        group = self._broker.cluster.group(self._group, self._topic)
        if self._failure is None:
            with contextlib.suppress(EnforcerError):
                await self._broker.wire.call(
                    "group.leave", lambda: group.leave(self._instance_id, self._number)
                )

    async def close(self) -> None:
        """See ``ports.Membership``."""
        self._is_stopping = True
