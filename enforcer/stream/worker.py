"""
A worker: one process that owns some partitions, and the tasks around its agents.

*Membership* says which partitions are ours; it never touches data. The *pump* drains every fetch into the
queues of the agents at once, for a partition left undrained blocks its node's fetches. The *policy follower*
keeps the policy table. Each partition has one *agent*. A rebalance stops nothing: an agent goes on until the
finished assignment gives its partition to somebody else, and whoever was replaced is fenced by the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.errors import AgentCorruptedError, ConfigError, EnforcerError
from enforcer.store.table import Meta
from enforcer.stream.agent import Agent
from enforcer.stream.policies import PolicyFollower
from enforcer.stream.restore import CHANGELOGS, ROWS_VERSION
from enforcer.stream.services import CommitGate
from enforcer.stream.topology import INPUTS, PARTITIONED

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Broker, Membership, Reader
    from enforcer.engine import Engine
    from enforcer.events import PositionRow
    from enforcer.store.table import Table
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.policies import SetInForce
    from enforcer.telemetry import Metrics

POLL_MS: Final = 500
LAG_EVERY_S: Final = 1.0
DELETE_RETENTION_MS_DEFAULT: Final = 86_400_000

_log = structlog.get_logger("enforcer.worker")


class Worker:
    """``run`` until ``stop`` is called or something happens that only a restart can mend."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        broker: Broker,
        engine: Engine,
        metrics: Metrics,
        open_table: Callable[[int], Table],
        on_restore: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self.config = config
        self.broker = broker
        self.engine = engine
        self.metrics = metrics
        self.commit_gate = CommitGate(config.commits_per_second)
        self.policies = PolicyFollower(
            broker, config.topic("policies"), on_change=self._policy_changed
        )
        self.table_meta = Meta(cluster_id="", topic_ids={}, schema=ROWS_VERSION, partitions=0)
        self.table_age_ms_max = DELETE_RETENTION_MS_DEFAULT // 2
        self.open_table = open_table
        self._on_restore = on_restore
        self._reader: Reader
        self._membership: Membership
        self._agents: dict[int, Agent] = {}
        self._agent_tasks: dict[int, asyncio.Task[None]] = {}
        self._fetched: set[int] = set()
        self._paused: set[int] = set()
        self._wanted: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._have_inputs = asyncio.Event()
        self._stopping = asyncio.Event()
        self._topics = {config.topic(name): name for name in INPUTS}
        self._assigned_once = False

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """
        Join, own, decide, until ``stop``; then drain, leave the group, close the tables.

        Raises: ConfigError for an installation that does not fit, AgentFencedError when another process took
        this identity or a partition, TableWriteError when a table could not be written.
        """
        await self._check_installation()
        await self.policies.start()
        self._reader = await self.broker.open_reader(read_committed=True)
        self._membership = self.broker.open_membership(
            self.config.group_id,
            self.config.topic("requests"),
            instance_id=self.config.instance_id,
            assigned=self._assigned,
        )
        await self._membership.start()
        # What lives now lives for long; collecting it again and again costs verdicts their milliseconds.
        gc.collect()
        gc.freeze()
        pump: asyncio.Task[object] = asyncio.create_task(self._pump(), name="pump")
        tasks: set[asyncio.Task[object]] = {
            pump,
            asyncio.create_task(self._membership.run(), name="membership"),
            asyncio.create_task(self.policies.run(), name="policies"),
            asyncio.create_task(self._reconcile(), name="agents"),
            asyncio.create_task(self._measure(), name="measure"),
            asyncio.create_task(self._stopping.wait(), name="stop"),
        }
        failure: BaseException | None = None
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failure = failure or task.exception()
        finally:
            await self._shut_down(tasks, drain=failure is None)
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Ask for a planned stop; ``run`` returns when it is done."""
        self._stopping.set()

    async def _shut_down(self, tasks: set[asyncio.Task[object]], *, drain: bool) -> None:
        """Drain the agents, then leave. What is still fetched and undecided is decided, told and committed."""
        by_name = {task.get_name(): task for task in tasks}
        for name in ("pump", "agents", "stop", "measure"):
            by_name[name].cancel()
        for agent in self._agents.values():
            agent.release(drain=drain)
        if self._agent_tasks:
            _, late = await asyncio.wait(
                set(self._agent_tasks.values()), timeout=self.config.drain_timeout_ms / 1000 + 5
            )
            for late_task in late:
                _log.error("agent_drain_late")
                late_task.cancel()
        if drain:
            with contextlib.suppress(EnforcerError, TimeoutError):
                await asyncio.wait_for(self._membership.leave(), 5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._agent_tasks.values(), return_exceptions=True)
        await self._membership.close()
        await self._reader.close()
        await self.policies.stop()
        gc.unfreeze()

    async def _check_installation(self) -> None:
        """Topics are there, agree in their partitions, and have the times and retention that agents rely on."""
        names = [*PARTITIONED, "policies", "policy-history", "dead-letters"]
        found = await self.broker.describe_topics([self.config.topic(name) for name in names])
        missing = [name for name in names if self.config.topic(name) not in found]
        if missing:
            raise ConfigError(
                f"topics are missing: {', '.join(self.config.topic(name) for name in missing)}",
                help="run `enforcer topics apply`",
                code="topics_missing",
            )
        counts = {name: found[self.config.topic(name)].partitions for name in PARTITIONED}
        if len(set(counts.values())) > 1:
            raise ConfigError(
                f"the topics differ in their number of partitions: {counts}",
                help="they must be equal: see `enforcer topics repartition`",
                code="partition_count",
            )
        state = found[self.config.topic("state")]
        retention = int(state.config.get("delete.retention.ms", DELETE_RETENTION_MS_DEFAULT))
        self.table_age_ms_max = retention // 2
        self.table_meta = Meta(
            cluster_id=await self.broker.cluster_id(),
            topic_ids={name: found[self.config.topic(name)].topic_id for name in CHANGELOGS},
            schema=ROWS_VERSION,
            partitions=counts["requests"],
        )

    # -- partitions ------------------------------------------------------------------------------------------

    def _assigned(self, partitions: frozenset[int]) -> None:
        self._wanted = partitions
        self._assigned_once = True
        self._changed.set()

    async def _reconcile(self) -> None:
        """Start agents for what we were given, end those of what was given away, raise what one died of."""
        while True:
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait(
                {changed, *self._agent_tasks.values()}, return_when=asyncio.FIRST_COMPLETED
            )
            changed.cancel()
            self._changed.clear()
            for partition, task in list(self._agent_tasks.items()):
                if task.done():
                    del self._agent_tasks[partition]
                    self._agents.pop(partition, None)
                    task.result()
            for partition, agent in self._agents.items():
                if partition not in self._wanted:
                    agent.release(drain=False)
            for partition in sorted(self._wanted - self._agents.keys()):
                agent = self._agents[partition] = Agent(partition, self)
                self._agent_tasks[partition] = asyncio.create_task(
                    agent.run(), name=f"agent-{partition}"
                )

    def forget(self, partition: int) -> None:
        """An agent has ended; a partition that was given back to us meanwhile gets a new one."""
        self.metrics.lag_forget(partition)
        self._changed.set()

    # -- inputs ----------------------------------------------------------------------------------------------

    def seek_inputs(self, partition: int, position: PositionRow) -> None:
        """Begin to fetch both inputs of *partition* from *position*."""
        self._fetched.add(partition)
        self._assign_inputs()
        self._reader.seek(self.config.topic("requests"), partition, position.request_offset)
        self._reader.seek(self.config.topic("usage"), partition, position.usage_offset)
        self._have_inputs.set()

    def unseek_inputs(self, partition: int) -> None:
        """Fetch them no more."""
        if partition in self._fetched:
            self._fetched.discard(partition)
            self._paused.discard(partition)
            self._assign_inputs()

    def _assign_inputs(self) -> None:
        topics = [self.config.topic(name) for name in INPUTS]
        self._reader.assign([(topic, p) for p in sorted(self._fetched) for topic in topics])
        if not self._fetched:
            self._have_inputs.clear()

    def is_at_end(self, name: str, partition: int) -> bool:
        """Whether everything that is known to be in the input has been fetched."""
        topic = self.config.topic(name)
        end = self._reader.end(topic, partition)
        position = self._reader.position(topic, partition)
        return end is not None and position is not None and position >= end

    def made_room(self, agent: Agent) -> None:
        """Resume inputs that were paused, once the queues are half empty."""
        if agent.partition in self._paused and agent.has_room:
            self._paused.discard(agent.partition)
            self._reader.resume(*self._inputs_of(agent.partition))

    def _inputs_of(self, partition: int) -> list[tuple[str, int]]:
        return [(self.config.topic(name), partition) for name in INPUTS]

    async def _pump(self) -> None:
        """Drain every fetch into the agents' queues."""
        while True:
            await self._have_inputs.wait()
            try:
                polled = await self._reader.poll(POLL_MS)
            except AgentCorruptedError as error:
                # Retention deleted input that nobody had decided: loud, and on with what there is.
                _log.error("input_lost", code=error.code)
                await self._reader.seek_to_beginning()
                continue
            for (topic, partition), records in polled.items():
                agent = self._agents.get(partition)
                if agent is None or partition not in self._fetched:
                    continue
                if agent.feed(self._topics[topic], records) and partition not in self._paused:
                    self._paused.add(partition)
                    self._reader.pause(*self._inputs_of(partition))

    # -- the rest --------------------------------------------------------------------------------------------

    @staticmethod
    def now_ms() -> int:
        """The wall clock."""
        return int(time.time() * 1000)

    def transactional_id(self, partition: int) -> str:
        """``<group>-<partition>``: whoever starts it owns the partition."""
        return f"{self.config.group_id}-{partition}"

    def restore_progress(self, partition: int) -> Callable[[int, int], None] | None:
        """Who is told how a restore goes, if anybody."""
        tell = self._on_restore
        if tell is None:
            return None
        return lambda done, total: tell(partition, done, total)

    def _policy_changed(self, in_force: SetInForce) -> None:
        _log.info(
            "policy_set_in_force",
            scope=in_force.scope,
            digest=in_force.digest,
            offset=in_force.offset,
            reason=in_force.invalid or None,
        )
        for agent in self._agents.values():
            agent.policy_changed(in_force)

    async def _measure(self) -> None:
        """Lag of every owned input, once a second."""
        while True:
            await asyncio.sleep(LAG_EVERY_S)
            for partition, agent in self._agents.items():
                for name in INPUTS:
                    topic = self.config.topic(name)
                    end = self._reader.end(topic, partition)
                    behind = agent.behind(name, end) if end is not None else 0
                    seconds = agent.lag_ms / 1000 if behind else 0.0
                    self.metrics.lag(name, partition, behind, seconds)

    # -- what operators ask ----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Assigned, every partition restored and deciding, policies current."""
        return self._assigned_once and all(
            partition in self._agents and self._agents[partition].is_ready
            for partition in self._wanted
        )

    def describe(self) -> dict[str, object]:
        """For /ready: each partition's state, and the policies it runs under."""
        return {
            "ready": self.is_ready,
            "instance_id": self.config.instance_id,
            "partitions": {str(p): a.state for p, a in sorted(self._agents.items())},
            "restored_rows": {str(p): a.restored_rows for p, a in sorted(self._agents.items())},
            "policy_offset": self.policies.table.offset,
            "policy_sets": {s.scope: s.digest for s in self.policies.table.sets()},
            "policy_invalid": [s.invalid for s in self.policies.table.sets() if s.invalid],
        }
