"""A seat in the consumer group that carries no data: which partition numbers are ours."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.protocol.group import LeaveGroupRequest

from enforcer.broker.assignor import Claim, Share, share_out
from enforcer.broker.client import FencedInstanceIdError, dispose_consumer, within
from enforcer.broker.ports import Assignment
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Assigned, Warm

_TICK_MS = 250
"""How often the seat looks at the clock; far below any session timeout."""


class _Assignor:
    """``share_out`` as aiokafka calls an assignor: it uses attributes only, so an instance with a state will do."""

    name = "enforcer-sticky"

    def __init__(self, topic: str, instance_id: str, *, warm: Warm, standbys: int) -> None:
        self._topic = topic
        self._instance_id = instance_id
        self._warm = warm
        self._standbys = standbys
        self.share = Share()
        """What the leader gave us is what we claim next time."""
        self.leaves = False

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the leader, asked at each join: what it owns, and what it is warm for."""
        claim = Claim(
            self._instance_id,
            self.share.round_number,
            self.share.owned,
            tuple(sorted(self._warm())),
            self.leaves,
        )
        return ConsumerProtocolMemberMetadata(0, sorted(topics), claim.encode())

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """The leader's decision for all."""
        numbers = cluster.partitions_for_topic(self._topic)
        if not numbers:
            raise NotFoundError(f"no topic {self._topic}", help="Run `enforcer topics apply`.")
        claims = {member: Claim.decode(told.user_data) for member, told in members.items()}
        shares = share_out(len(numbers), claims, standbys=self._standbys)
        return {
            member: ConsumerProtocolMemberAssignment(
                0, [(self._topic, list(share.owned))], share.encode()
            )
            for member, share in shares.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Keep what the leader gave us."""
        self.share = Share.decode(assignment.user_data)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    def __init__(self, seat: KafkaMembership) -> None:
        self._seat = seat

    def on_partitions_revoked(self, revoked: Any) -> None:
        """A rebalance has begun: nothing stops until it is finished."""

    def on_partitions_assigned(self, assigned: Any) -> None:
        """A rebalance is finished."""
        self._seat.on_assigned(assigned)


class KafkaMembership:
    """``ports.Membership`` over an aiokafka consumer that fetches nothing."""

    def __init__(
        self,
        config: BrokerConfig,
        group: str,
        topic: str,
        *,
        instance_id: str,
        assigned: Assigned,
        warm: Warm,
        standbys: int,
    ) -> None:
        self._config = config
        self._group, self._topic, self._instance_id = group, topic, instance_id
        self._assigned = assigned
        self._assignor = _Assignor(topic, instance_id, warm=warm, standbys=standbys)
        self._consumer: Any = None
        self._partitions: frozenset[int] = frozenset()
        self._failure: BaseException | None = None
        self._stopping = False
        self._last_tick_s = 0.0

    @property
    def partitions(self) -> frozenset[int]:
        """See ``ports.Membership``."""
        return self._partitions

    async def start(self) -> None:
        """See ``ports.Membership``."""
        config = self._config
        self._consumer = AIOKafkaConsumer(
            group_id=self._group,
            group_instance_id=self._instance_id,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            # Partitions are paused as soon as they are given; what a first fetch brings before is thrown away.
            fetch_max_bytes=1,
            max_partition_fetch_bytes=1,
            partition_assignment_strategy=(self._assignor,),
            session_timeout_ms=config.session_timeout_ms,
            rebalance_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_interval_ms,
            request_timeout_ms=max(config.request_timeout_ms, config.session_timeout_ms * 2),
            retry_backoff_ms=config.retry_backoff_ms,
            **config.connection(),
        )
        try:
            await within(config.start_timeout_s, self._consumer.start(), "start membership")
        except BaseException:
            await dispose_consumer(self._consumer, grace_s=config.close_timeout_s)
            raise
        # Nothing is subscribed yet, so the coordinator's task has not joined: the hook is in time.
        self._watch_for_loss()
        self._last_tick_s = time.monotonic()
        self._consumer.subscribe([self._topic], listener=_Listener(self))

    async def run(self) -> None:
        """See ``ports.Membership``."""
        while not self._is_stopping():
            self.check()
            self._last_tick_s = time.monotonic()
            try:
                # Polled although all is paused: a consumer that is not polled leaves its group.
                await within(
                    self._config.start_timeout_s,
                    self._consumer.getmany(timeout_ms=_TICK_MS),
                    f"membership in {self._group}",
                )
            except EnforcerError as error:
                if self._is_stopping():
                    return
                raise self._cause(error) from error

    def check(self) -> None:
        """See ``ports.Membership``."""
        if self._failure is not None:
            raise self._failure
        late_s = time.monotonic() - self._last_tick_s
        if late_s * 1000 > self._config.session_timeout_ms and not self._stopping:
            self._failure = AgentFencedError(
                f"this process stood still for {late_s:.1f} s; its session in {self._group} has ended",
                code="agent_late",
                help="Start the worker again.",
            )
            raise self._failure

    def rejoin(self, *, leaving: bool = False) -> None:
        """See ``ports.Membership``."""
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is None or self._failure is not None or self._stopping:
            return
        # A join whose metadata are others than before makes the coordinator begin a rebalance.
        self._assignor.leaves = leaving
        coordinator.request_rejoin()

    async def leave(self) -> None:
        """See ``ports.Membership``."""
        self._stopping = True
        coordinator = getattr(self._consumer, "_coordinator", None)
        if coordinator is not None and coordinator.generation > 0 and self._failure is None:
            # aiokafka leaves for dynamic members only; others would wait for a static one's session to end.
            request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
            with contextlib.suppress(EnforcerError):
                await within(
                    self._config.close_timeout_s,
                    coordinator._send_req(request),  # noqa: SLF001 — client.PRIVATE_NAMES
                    "leave group",
                )
        await self.close()

    async def close(self) -> None:
        """See ``ports.Membership``."""
        self._stopping = True
        if self._consumer is None:
            return
        coordinator = self._consumer._coordinator  # noqa: SLF001 — client.PRIVATE_NAMES
        if coordinator is not None and coordinator._closing.done():  # noqa: SLF001 — client.PRIVATE_NAMES
            # We closed it when the seat was lost; its own close() then does nothing.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._config.close_timeout_s):
                    await coordinator._stop_heartbeat_task()  # noqa: SLF001 — client.PRIVATE_NAMES
                    await coordinator._stop_commit_offsets_refresh_task()  # noqa: SLF001 — client.PRIVATE_NAMES
        await dispose_consumer(self._consumer, grace_s=self._config.close_timeout_s)

    def on_assigned(self, assigned: Any) -> None:
        """Called at the end of a rebalance; aiokafka swallows what listeners raise, so it is kept for ``run``."""
        try:
            self._consumer.pause(*assigned)
            self._partitions = frozenset(tp.partition for tp in assigned)
            share = self._assignor.share
            self._assigned(
                Assignment(
                    self._partitions,
                    frozenset(share.standby),
                    frozenset(share.pending),
                    is_last=share.is_last,
                )
            )
        except Exception as error:  # noqa: BLE001 — raised again by run()
            self._failure = self._failure or error

    def _watch_for_loss(self) -> None:
        coordinator = self._consumer._coordinator  # noqa: SLF001 — client.PRIVATE_NAMES
        reset = coordinator.reset_generation

        def lost() -> None:
            # Called when the broker knows this member or its generation no more. aiokafka would join again,
            # and two processes with one identity would throw each other out for ever.
            if not self._stopping:
                self._failure = self._failure or self._lost()
                if not coordinator._closing.done():  # noqa: SLF001 — client.PRIVATE_NAMES
                    coordinator._closing.set_result(None)  # noqa: SLF001 — client.PRIVATE_NAMES
            reset()

        coordinator.reset_generation = lost

    def _lost(self) -> AgentFencedError:
        return AgentFencedError(
            f"{self._instance_id} has lost its seat in {self._group}",
            code="membership_lost",
            help="Its session ended, or another process has the same identity.",
        )

    def _is_stopping(self) -> bool:
        return self._stopping

    def _cause(self, error: EnforcerError) -> BaseException:
        if self._failure is not None:
            return self._failure
        # aiokafka wraps what a join answers into a KafkaError that only names it.
        if FencedInstanceIdError.__name__ in str(error) or "FENCED_INSTANCE_ID" in str(error):
            return self._lost()
        return error
