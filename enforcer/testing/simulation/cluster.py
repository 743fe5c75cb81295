"""What survives every process: topics, the coordinator of transactions, groups, the broker's clock."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enforcer.broker.ports import TopicInfo
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError
from enforcer.testing.simulation.group import Group
from enforcer.testing.simulation.log import Log
from enforcer.testing.simulation.loop import nobodys_context
from enforcer.testing.simulation.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker.ports import Partition

TRANSACTION_TIMEOUT_S = 10.0


class ConcurrentTransactionsError(EnforcerError):
    """The markers of the last transaction are not all written yet: ask again."""


@dataclass(slots=True)
class Transactions:
    """One transactional id, as its coordinator knows it."""

    producer_id: int
    epoch: int = -1
    state: str = "empty"
    """empty, ongoing or ending."""
    logs: list[Log] = field(default_factory=list)
    offsets: dict[str, dict[Partition, int]] = field(default_factory=dict)
    number: int = 0
    """Of the transaction, for its timeout."""


class Cluster:
    """
    One simulated cluster of one broker.

    What is asked of it happens at once; delays are the clients'. Its own delays (markers) run in nobody's context.
    """

    def __init__(self, weather: Weather | None = None) -> None:
        self.name = "cluster"
        self.weather = weather or Weather()
        self.session_timeout_ms = 6_000
        self.transaction_timeout_s = TRANSACTION_TIMEOUT_S
        self.now_ms: int | None = None
        """A fixed append time; None: the clock's."""
        self.topics: dict[str, dict[int, Log]] = {}
        self.configs: dict[str, dict[str, str]] = {}
        self.transactions: dict[str, Transactions] = {}
        self.group_offsets: dict[str, dict[Partition, int]] = {}
        self.groups: dict[str, Group] = {}
        self._producer_ids = itertools.count(1)
        self._generations: dict[str, int] = {}

    # -- topics --------------------------------------------------------------------------------------------

    def create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Make a topic; one that exists is left as it is."""
        if topic not in self.topics:
            settings = self.configs.setdefault(topic, dict(config))
            self.topics[topic] = {n: Log(topic, n, settings) for n in range(partitions)}

    def delete(self, topic: str) -> None:
        """Remove a topic, records and all."""
        if self.topics.pop(topic, None) is not None:
            self.configs.pop(topic, None)
            self._generations[topic] = self._generations.get(topic, 0) + 1

    def log(self, topic: str, partition: int) -> Log:
        """One partition. NotFoundError."""
        try:
            return self.topics[topic][partition]
        except KeyError:
            raise NotFoundError(f"no topic {topic}", help="Run `enforcer topics apply`.") from None

    def describe(self, topic: str) -> TopicInfo:
        """A topic as clients see it."""
        generation = self._generations.get(topic, 0)
        return TopicInfo(
            topic,
            f"id-{topic}" + (f"-{generation}" if generation else ""),
            len(self.topics[topic]),
            1,
            dict(self.configs[topic]),
        )

    def time_ms(self) -> int:
        """The broker's clock."""
        return self.now_ms if self.now_ms is not None else int(time.time() * 1000)

    def group(self, name: str, topic: str) -> Group:
        """The group *name* over the partitions of *topic*."""
        if name not in self.groups:
            self.groups[name] = Group(len(self.topics[topic]), self.session_timeout_ms / 1000)
        return self.groups[name]

    # -- producers -----------------------------------------------------------------------------------------

    def new_producer_id(self) -> int:
        """For a producer without transactions."""
        return next(self._producer_ids)

    def init_producer_id(self, transactional_id: str) -> tuple[int, int]:
        """
        Take a transactional id over: its producer id, and an epoch above all before.

        Raises: ConcurrentTransactionsError while an older transaction ends, which this call begins if it was open.
        """
        state = self.transactions.get(transactional_id)
        if state is None:
            state = self.transactions[transactional_id] = Transactions(self.new_producer_id())
        if state.state == "ongoing":
            state.epoch += 1
            self._end(state, commits=False)
        if state.state == "ending":
            raise ConcurrentTransactionsError("the last transaction is ending")
        state.epoch += 1
        return state.producer_id, state.epoch

    def add_partition(self, transactional_id: str, epoch: int, log: Log) -> None:
        """Let *log* be written in the transaction, which begins with the first one."""
        state = self._owned(transactional_id, epoch)
        if state.state == "empty":
            state.state = "ongoing"
            state.number += 1
            asyncio.get_running_loop().call_later(
                self.transaction_timeout_s,
                self._time_out,
                state,
                state.number,
                context=nobodys_context(),
            )
        if log not in state.logs:
            state.logs.append(log)

    def check_write(self, transactional_id: str, epoch: int, log: Log) -> None:
        """What a partition asks before it takes a transactional batch: is the transaction open, and this in it."""
        state = self._owned(transactional_id, epoch)
        if state.state != "ongoing" or log not in state.logs:
            raise AgentFencedError("the transaction is over", code="agent_fenced")

    def add_offsets(
        self, transactional_id: str, epoch: int, group: str, offsets: Mapping[Partition, int]
    ) -> None:
        """Commit offsets with the transaction."""
        state = self._owned(transactional_id, epoch)
        if state.state == "empty":
            state.state = "ongoing"
        state.offsets.setdefault(group, {}).update(offsets)

    def end_transaction(self, transactional_id: str, epoch: int, *, commits: bool) -> None:
        """Decide the transaction. Its markers follow when they follow."""
        state = self._owned(transactional_id, epoch)
        if state.state == "ongoing":
            self._end(state, commits=commits)

    def _owned(self, transactional_id: str, epoch: int) -> Transactions:
        state = self.transactions[transactional_id]
        if state.epoch != epoch:
            raise AgentFencedError(f"a newer owner holds {transactional_id}")
        if state.state == "ending":
            raise ConcurrentTransactionsError("the last transaction is ending")
        return state

    def _end(self, state: Transactions, *, commits: bool) -> None:
        state.state = "ending"
        left = list(state.logs)
        producer = (state.producer_id, state.epoch)

        def done() -> None:
            if commits:
                for group, offsets in state.offsets.items():
                    self.group_offsets.setdefault(group, {}).update(offsets)
            state.offsets, state.logs, state.state = {}, [], "empty"

        def mark(log: Log) -> None:
            log.end_transaction(producer, now_ms=self.time_ms(), commits=commits)
            left.remove(log)
            if not left:
                done()

        for log in list(left):
            delay_s = self.weather.marker_delay_s()
            if delay_s > 0:
                asyncio.get_running_loop().call_later(delay_s, mark, log, context=nobodys_context())
            else:
                mark(log)
        if not state.logs:
            done()

    def _time_out(self, state: Transactions, number: int) -> None:
        if state.state == "ongoing" and state.number == number:
            self.weather.marks.sometimes("transaction timed out")
            state.epoch += 1
            self._end(state, commits=False)
