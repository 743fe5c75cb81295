"""What an agent needs of its worker: the seam between one partition and the process around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.broker.ports import Broker
    from enforcer.engine import Engine
    from enforcer.store.table import Meta, Table
    from enforcer.stream.agent import Agent
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.poison import Trial
    from enforcer.stream.policy_follower import PolicyFollower
    from enforcer.stream.text_readers import TextReaders
    from enforcer.telemetry import Metrics
    from enforcer.tracing import Spans


class CommitGate:
    """
    Spreads the commits of all agents of a process: at most so many a second, each at its own time.

    A transaction costs the client and the broker together about 8 ms of CPU however little is in it.
    """

    __slots__ = ("_gap_s", "_next_s")

    def __init__(self, commits_per_second: int) -> None:
        self._gap_s = 1.0 / commits_per_second
        self._next_s = 0.0

    async def turn(self, *, is_urgent: bool = False) -> None:
        """Wait for a slot of one's own; who is urgent goes first, and those that come next wait for it."""
        now_s = asyncio.get_running_loop().time()
        slot_s = max(now_s, self._next_s)
        self._next_s = slot_s + self._gap_s
        if slot_s > now_s and not is_urgent:
            await asyncio.sleep(slot_s - now_s)


class Services(Protocol):
    """One worker, as its agents see it."""

    config: WorkerConfig
    broker: Broker
    engine: Engine
    policies: PolicyFollower
    metrics: Metrics
    commit_gate: CommitGate
    trial: Trial
    text_readers: TextReaders | None
    spans: Spans | None
    table_meta: Meta
    table_age_ms_max: int

    def now_ms(self) -> int:
        """The worker's wall clock, for lateness and ages; never for decisions."""

    def transactional_id(self, partition: int) -> str:
        """``<group>-<partition>``: whoever starts it owns the partition."""

    def check_seat(self) -> None:
        """
        Raise AgentFencedError when the seat in the group is lost, or this loop was late by a session.

        Asked before anything is sent: after a long stop the partitions may be others' already.
        """

    def cached_rows_max(self) -> int:
        """How many decoded rows one agent may keep, as many agents as there are now."""

    def open_table(self, partition: int) -> Table:
        """The partition's table in this worker's state directory."""

    def seek_inputs(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Begin to fetch the inputs of *partition* from these offsets, by the input's name."""

    def unseek_inputs(self, partition: int) -> None:
        """Fetch them no more."""

    def is_at_end(self, name: str, partition: int) -> bool:
        """Whether everything that is known to be in the input has been fetched."""

    def made_room(self, agent: Agent) -> None:
        """Queues got shorter: resume inputs that were paused."""

    def restore_progress(self, partition: int) -> Callable[[int, int], None] | None:
        """Who is told how a restore goes, if anybody."""

    def forget(self, partition: int) -> None:
        """The agent of *partition* has ended."""
