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
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import events
from enforcer.broker.ports import Assignment
from enforcer.errors import AgentCorruptedError, EnforcerError, IntegrityError
from enforcer.policy.signing import Verifier
from enforcer.policy.trust import trust_of
from enforcer.store.table import Meta
from enforcer.stream.acks import PolicyAcks
from enforcer.stream.agent import Agent
from enforcer.stream.installation import MisalignedError, check_installation
from enforcer.stream.memory import keep_freed_memory, rare_collections
from enforcer.stream.poison import Trial
from enforcer.stream.policy_follower import PolicyFollower
from enforcer.stream.restore import ROWS_VERSION
from enforcer.stream.services import CommitGate
from enforcer.stream.signed_sets import SignedSets
from enforcer.stream.standby import Standbys
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from enforcer.broker.ports import Broker, Membership, Reader
    from enforcer.engine import Engine
    from enforcer.policy.trust import Refusal
    from enforcer.store.table import Table
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.policies import SetInForce
    from enforcer.stream.text_readers import TextReaders
    from enforcer.telemetry import Metrics
    from enforcer.tracing import Spans

POLL_MS: Final = 20
"""A poll answers for the partitions it began with: this long an input just assigned or resumed may wait."""
LAG_EVERY_S: Final = 1.0
CACHED_ROWS_MIN: Final = 1_000
PENDING_S: Final = 10.0
"""A partition that is warm does not wait longer for others that are to come with it."""

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
        text_readers: TextReaders | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.config = config
        self.broker = broker
        self.engine = engine
        self.metrics = metrics
        self.commit_gate = CommitGate(config.commits_per_second)
        self.policies = PolicyFollower(
            broker,
            config.topic("policies"),
            on_change=self._policy_changed,
            trust=trust_of(config.policy_keys, prefix=config.prefix),
            on_refusal=self._policy_refused,
        )
        self._acks = PolicyAcks(broker, config.topic("policy-acks"), self._in_force)
        self._is_stale = False
        self.table_meta = Meta(cluster_id="", topic_ids={}, schema=ROWS_VERSION, partitions=0)
        self.table_age_ms_max = 0
        self.trial = Trial()
        self.text_readers = text_readers
        self.spans = spans
        self.open_table = open_table
        self.open_signed_sets: Callable[[], Table] | None = None
        """Where signed policies are kept beside the topics; to be given before ``run``."""
        self._on_restore = on_restore
        self._reader: Reader
        self._membership: Membership
        self._agents: dict[int, Agent] = {}
        self._agent_tasks: dict[int, asyncio.Task[None]] = {}
        self._fetched: set[int] = set()
        self._paused: set[tuple[str, int]] = set()
        self._given = Assignment()
        self._given_s = 0.0
        self._changed = asyncio.Event()
        self._have_inputs = asyncio.Event()
        self._stopping = asyncio.Event()
        self._handed_over = asyncio.Event()
        """Perhaps: there is something to look at."""
        self._topics = {config.topic(name): name for name in INPUTS}
        self._assigned_once = False
        self._standbys = Standbys(self, warmed=self._ask_for_pending)

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """
        Join, own, decide, until ``stop``; then drain, leave the group, close the tables.

        Raises: ConfigError and MisalignedError for an installation that does not fit, AgentFencedError when
        another process took this identity or a partition, TableWriteError when a table could not be written.
        """
        keep_freed_memory()
        self.table_meta, self.table_age_ms_max = await check_installation(self.broker, self.config)
        async with contextlib.AsyncExitStack() as opened:
            opened.push_async_callback(self.policies.stop)
            if self.policies.trust is not None and self.open_signed_sets is not None:
                self.policies.held = SignedSets(self.open_signed_sets())
            await self.policies.start()
            self._reader = await self.broker.open_reader(read_committed=True)
            opened.push_async_callback(self._reader.close)
            self._membership = self.broker.open_membership(
                self.config.group_id,
                self.config.topic("requests"),
                instance_id=self.config.instance_id,
                assigned=self._assigned,
                warm=self._standbys.warm,
                standbys=self.config.standbys,
            )
            opened.push_async_callback(self._membership.close)
            await self._membership.start()
            opened.enter_context(rare_collections())
            await self._run_tasks()

    async def _run_tasks(self) -> None:
        pump: asyncio.Task[object] = asyncio.create_task(self._pump(), name="pump")
        tasks: set[asyncio.Task[object]] = {
            pump,
            asyncio.create_task(self._membership.run(), name="membership"),
            asyncio.create_task(self.policies.run(), name="policies"),
            asyncio.create_task(self.policies.watch(self._policies_known), name="policy age"),
            asyncio.create_task(self._acks.run(), name="policy acks"),
            asyncio.create_task(self._reconcile(), name="agents"),
            asyncio.create_task(self._measure(), name="measure"),
            asyncio.create_task(self._standbys.run(), name="standbys"),
            asyncio.create_task(self._until_handed_over(), name="stop"),
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

    async def _until_handed_over(self) -> None:
        """
        Wait for a stop; then hand over, deciding all the while, what others can take.

        The group gives it to those who are warm for it, and tells when it has. Who nobody can follow drains at once.
        """
        await self._stopping.wait()
        if not self._assigned_once or self._given.is_last:
            return
        self._membership.rejoin(leaving=True)
        begun_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.handover_timeout_ms / 1000):
                # What an agent told is committed before it ends, and all have ended when its table is closed.
                while (self._given.partitions or self._agents) and not self._given.is_last:
                    self._handed_over.clear()
                    await self._handed_over.wait()
        _log.info(
            "handed_over",
            pending=len(self._given.partitions),
            took_ms=round((time.monotonic() - begun_s) * 1000),
        )

    async def _shut_down(self, tasks: set[asyncio.Task[object]], *, drain: bool) -> None:
        """
        Drain the agents, then leave. What is fetched and undecided is decided, told and committed.

        Without *drain* something is wrong, perhaps with our right to these partitions: agents end where they
        stand and send nothing more, for the next owner finds in the tail what was told.
        """
        by_name = {task.get_name(): task for task in tasks}
        for name in ("pump", "agents", "stop", "measure", "standbys"):
            by_name[name].cancel()
        agents = set(self._agent_tasks.values())
        if drain:
            for agent in self._agents.values():
                agent.release(drain=True)
            if agents:
                await asyncio.wait(agents, timeout=self.config.drain_timeout_ms / 1000 + 5)
            for task in agents:
                if not task.done():
                    _log.error("agent_drain_late")
        for task in agents:
            task.cancel()
        await asyncio.gather(*agents, return_exceptions=True)
        if drain:
            with contextlib.suppress(EnforcerError, TimeoutError):
                async with asyncio.timeout(5):
                    await self._membership.leave()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- partitions ------------------------------------------------------------------------------------------

    def _assigned(self, given: Assignment) -> None:
        self._given, self._given_s = given, time.monotonic()
        self._assigned_once = True
        self._changed.set()

    def _ask_for_pending(self) -> None:
        """All that is to become ours is warm, or some of it for long: the group may give it to us."""
        pending = self._given.pending
        warm = pending & self._standbys.warm()
        is_late = time.monotonic() - self._given_s > PENDING_S
        if warm and (warm == pending or is_late) and not self._stopping.is_set():
            self._given_s = time.monotonic()
            self._membership.rejoin()

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
            wanted = self._given.partitions
            for partition, agent in self._agents.items():
                if partition not in wanted:
                    agent.release(drain=False)
            if wanted and max(wanted) >= self.table_meta.partitions:
                raise MisalignedError(
                    f"{self.config.topic('requests')} has more partitions than when this worker started"
                )
            # A table has one holder: closed before an agent opens it, opened when the agent is gone.
            self._standbys.want(self._given.standbys - wanted - self._agents.keys())
            for partition in sorted(wanted - self._agents.keys()):
                agent = self._agents[partition] = Agent(partition, self)
                self._agent_tasks[partition] = asyncio.create_task(
                    agent.run(), name=f"agent-{partition}"
                )
            self._handed_over.set()

    def forget(self, partition: int) -> None:
        """An agent has ended; a partition that was given back to us meanwhile gets a new one."""
        self.metrics.lag_forget(partition)
        self._changed.set()

    # -- inputs ----------------------------------------------------------------------------------------------

    def seek_inputs(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Begin to fetch the inputs of *partition* from these offsets, by the input's name."""
        self._fetched.add(partition)
        self._assign_inputs()
        for name, offset in offsets.items():
            self._reader.seek(self.config.topic(name), partition, offset)
        self._have_inputs.set()

    def unseek_inputs(self, partition: int) -> None:
        """Fetch them no more."""
        if partition in self._fetched:
            self._fetched.discard(partition)
            self._paused -= set(self._inputs_of(partition))
            self._assign_inputs()

    def _assign_inputs(self) -> None:
        self._reader.assign([tp for p in sorted(self._fetched) for tp in self._inputs_of(p)])
        if not self._fetched:
            self._have_inputs.clear()

    def is_at_end(self, name: str, partition: int) -> bool:
        """Whether everything that is known to be in the input has been fetched."""
        if partition not in self._fetched:
            return False
        topic = self.config.topic(name)
        end = self._reader.end(topic, partition)
        position = self._reader.position(topic, partition)
        return end is not None and position is not None and position >= end

    def made_room(self, agent: Agent) -> None:
        """Resume inputs that were paused, once their queue is half empty."""
        if not self._paused:
            return
        for topic, partition in self._inputs_of(agent.partition):
            if (topic, partition) in self._paused and agent.has_room(self._topics[topic]):
                self._paused.discard((topic, partition))
                self._reader.resume((topic, partition))

    def _inputs_of(self, partition: int) -> list[tuple[str, int]]:
        return [(self.config.topic(name), partition) for name in INPUTS]

    async def _pump(self) -> None:
        """Drain every fetch into the agents' queues."""
        while True:
            await self._have_inputs.wait()
            try:
                polled = await self._reader.poll(POLL_MS)
            except AgentCorruptedError:
                await self._skip_what_is_lost()
                continue
            for (topic, partition), records in polled.items():
                agent = self._agents.get(partition)
                if agent is None or partition not in self._fetched:
                    continue
                name = self._topics[topic]
                agent.feed(name, records)
                # Each input by itself: one that is far ahead must not keep the other from being compared.
                if agent.is_full(name) and (topic, partition) not in self._paused:
                    self._paused.add((topic, partition))
                    self._reader.pause((topic, partition))

    async def _skip_what_is_lost(self) -> None:
        """Retention deleted input that nobody had decided: loud, and on with what there is."""
        wanted = [tp for partition in sorted(self._fetched) for tp in self._inputs_of(partition)]
        begins = await self._reader.offsets_begin(wanted)
        ends = await self._reader.offsets_end(wanted)
        for tp, begin in begins.items():
            position = self._reader.position(*tp) if tp[1] in self._fetched else None
            if position is None:
                continue
            if position < begin:
                _log.error(
                    "input_lost",
                    partition=tp[1],
                    topic=tp[0],
                    offset=position,
                    records=begin - position,
                )
                self._reader.seek(*tp, begin)
            elif position > ends[tp]:
                raise IntegrityError(
                    f"{tp[0]}-{tp[1]} ends before what was already read of it",
                    help="the topic was truncated, or deleted and made again",
                    code="input_truncated",
                )

    # -- the rest --------------------------------------------------------------------------------------------

    @staticmethod
    def now_ms() -> int:
        """The wall clock."""
        return int(time.time() * 1000)

    def check_seat(self) -> None:
        """Raise AgentFencedError when the seat in the group is lost or this loop was late by a session."""
        self._membership.check()

    def cached_rows_max(self) -> int:
        """How many decoded rows one agent may keep."""
        return max(CACHED_ROWS_MIN, self.config.cached_rows_max // max(1, len(self._agents)))

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
        self.metrics.policies_changed()
        for agent in self._agents.values():
            agent.policy_changed(in_force)
        self._acks.changed()

    def believe(self, public_pems: Sequence[bytes]) -> None:
        """Other keys of those who may change policies, from now on. Raises: ConfigError, and then the old ones stay."""
        self.policies.believe(Verifier(public_pems, prefix=self.config.prefix))
        self._acks.changed()

    def _policy_refused(self, refusal: Refusal) -> None:
        self.metrics.policy_refused(refusal.code)
        self._acks.changed()

    @property
    def refused_policies(self) -> dict[str, str]:
        """By scope, the newest record that was not believed, for as long as nothing newer of it was."""
        return {} if self.policies.trust is None else self.policies.trust.told()

    def _in_force(self) -> events.PolicyAck:
        """What this worker's agents decide under now."""
        sets, trust = self.policies.table.sets(), self.policies.trust
        return events.PolicyAck(
            self.config.instance_id,
            self.policies.table.offset,
            partitions=sorted(p for p, agent in self._agents.items() if agent.is_ready),
            sets={s.scope: s.digest for s in sets if not s.invalid},
            invalid={s.scope: s.invalid for s in sets if s.invalid},
            refused=self.refused_policies,
            revisions={} if trust is None else trust.revisions(),
        )

    def _policies_known(self, age_s: float) -> None:
        """So long ago the policy table was known to be current: loud when that is too long, and when it is over."""
        self.metrics.policies_known(age_s)
        is_stale = age_s * 1000 > self.config.policy_stale_ms_max
        if is_stale and not self._is_stale:
            _log.error(
                "policies_stale", ms=round(age_s * 1000), topic=self.config.topic("policies")
            )
        elif self._is_stale and not is_stale:
            _log.info("policies_current", topic=self.config.topic("policies"))
        self._is_stale = is_stale

    async def _measure(self) -> None:
        """Lag of every owned input, once a second."""
        while True:
            await asyncio.sleep(LAG_EVERY_S)
            self._ask_for_pending()
            for partition, agent in self._agents.items():
                if partition not in self._fetched:
                    continue
                self.metrics.holds(partition, agent.open_reservations)
                for name in INPUTS:
                    end = self._reader.end(self.config.topic(name), partition)
                    behind = agent.behind(name, end) if end is not None else 0
                    seconds = agent.lag_ms / 1000 if behind else 0.0
                    self.metrics.lag(name, partition, behind, seconds)

    # -- what operators ask ----------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Assigned, every partition restored and deciding, policies current."""
        is_current = self.policies.age_s() * 1000 <= self.config.policy_stale_ms_max
        return (
            is_current
            and self._assigned_once
            and all(
                partition in self._agents and self._agents[partition].is_ready
                for partition in self._given.partitions
            )
        )

    def describe(self) -> dict[str, object]:
        """For /ready: each partition's state, and the policies it runs under."""
        return {
            "ready": self.is_ready,
            "instance_id": self.config.instance_id,
            "partitions": {str(p): a.state for p, a in sorted(self._agents.items())},
            "standbys": self._standbys.describe(),
            "restored_rows": {str(p): a.restored_rows for p, a in sorted(self._agents.items())},
            "policy_offset": self.policies.table.offset,
            "policy_age_ms": round(self.policies.age_s() * 1000),
            "policy_stale_ms_max": self.config.policy_stale_ms_max,
            "policy_sets": {s.scope: s.digest for s in self.policies.table.sets()},
            "policy_refused": [*self.refused_policies.values()],
            "policy_invalid": [s.invalid for s in self.policies.table.sets() if s.invalid],
        }
