"""
Producers: the idempotent one for clients, and the ledger's transactional one with its fast lane.

Both put their records into a ``Lane``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from enforcer.broker.client import (
    dispose_producer,
    retrieve,
    translated,
    within,
)
from enforcer.broker.lane import Lane
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Outgoing, Partition


class KafkaProducer:
    """``ports.Producer`` over one idempotent aiokafka producer."""

    def __init__(self, producer: Any, config: BrokerConfig, *, poison_on_refusal: bool) -> None:
        self._producer = producer
        self._config = config
        self._lane = Lane(
            producer,
            queued_bytes_max=config.queued_bytes_max,
            poison_on_refusal=poison_on_refusal,
        )

    @classmethod
    async def start(cls, config: BrokerConfig) -> KafkaProducer:
        """Connect and get a producer id of our own."""
        producer = new_producer(config)
        try:
            await within(config.start_timeout_s, producer.start(), "start producer")
        except BaseException:
            await dispose_producer(producer, grace_s=0)
            raise
        return cls(producer, config, poison_on_refusal=False)

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.Producer``."""
        return self._lane.send(topic, partition, records)

    @property
    def queued_bytes(self) -> int:
        """See ``ports.Producer``."""
        return self._lane.queued_bytes

    def poison(self, error: EnforcerError) -> None:
        """Let every later send raise *error*: the ledger it belongs to has failed."""
        self._lane.poison(error)

    async def prepare(self, topics: Sequence[str]) -> None:
        """See ``ports.Producer``."""
        await know_topics(self._producer, topics, self._config.start_timeout_s)

    async def flush(self) -> None:
        """See ``ports.Producer``."""
        await self._lane.settled()

    async def close(self) -> None:
        """See ``ports.Producer``."""
        grace_s = 0.0 if self._lane.failure is not None else self._config.close_timeout_s
        self._lane.poison(UnavailableError("the producer is closed", code="closed"))
        await dispose_producer(self._producer, grace_s=grace_s)


class KafkaLedger:
    """``ports.LedgerProducer``: a transactional producer, and a fast lane under its id and epoch."""

    def __init__(self, transactional_id: str, config: BrokerConfig) -> None:
        self._transactional_id = transactional_id
        self._config = config
        self._producer: Any = None
        self._lane: Lane | None = None
        self._fast: KafkaProducer | None = None
        self._failure: EnforcerError | None = None
        self._producer_id = -1
        self._epoch = -1

    @property
    def transactional_id(self) -> str:
        """See ``ports.LedgerProducer``."""
        return self._transactional_id

    @property
    def producer_id(self) -> int:
        """See ``ports.LedgerProducer``; -1 before ``start``."""
        return self._producer_id

    @property
    def epoch(self) -> int:
        """See ``ports.LedgerProducer``; -1 before ``start``."""
        return self._epoch

    @property
    def fast(self) -> KafkaProducer:
        """See ``ports.LedgerProducer``."""
        assert self._fast is not None, "start first"
        return self._fast

    async def start(self) -> int:
        """See ``ports.LedgerProducer``."""
        assert self._producer is None, "start once"
        config = self._config
        self._producer = new_producer(
            config,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=config.transaction_timeout_ms,
            # While the markers of one transaction are written the next is told to wait: this long.
            retry_backoff_ms=config.transaction_backoff_ms,
        )
        fast = new_producer(config)
        try:
            # A predecessor's open transaction is aborted first; until then the broker says "concurrent".
            await within(
                config.start_timeout_s,
                asyncio.gather(self._producer.start(), fast.client.bootstrap()),
                f"take over {self._transactional_id}",
            )
            pid, epoch = self._producer._txn_manager._pid_and_epoch  # noqa: SLF001 — client.PRIVATE_NAMES
            fast._txn_manager.set_pid_and_epoch(pid, epoch)  # noqa: SLF001 — client.PRIVATE_NAMES
            await fast._sender.start()  # noqa: SLF001 — client.PRIVATE_NAMES
        except BaseException as error:
            await dispose_producer(fast, grace_s=0)
            self._failure = translated(error, f"take over {self._transactional_id}")
            raise
        self._producer_id, self._epoch = int(pid), int(epoch)
        self._fast = KafkaProducer(fast, config, poison_on_refusal=True)
        self._lane = Lane(
            self._producer, queued_bytes_max=config.queued_bytes_max, poison_on_refusal=True
        )
        return self._epoch

    async def prepare(self, topics: Sequence[str]) -> None:
        """Know the leaders of *topics* in both lanes."""
        await know_topics(self._producer, topics, self._config.start_timeout_s)
        await self.fast.prepare(topics)

    async def begin(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._producer.begin_transaction(), "begin")

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.LedgerProducer``."""
        self._check()
        assert self._lane is not None, "start first"
        txn = self._producer._txn_manager  # noqa: SLF001 — client.PRIVATE_NAMES
        if not txn.is_in_transaction():
            raise self._poison(
                UnavailableError(f"{self._transactional_id}: no transaction is open")
            )
        try:
            return self._lane.send(topic, partition, records)
        except EnforcerError as error:
            raise self._poison(error) from error

    async def offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """See ``ports.LedgerProducer``."""
        wanted = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "")
            for (topic, partition), offset in offsets.items()
        }
        await self._step(self._producer.send_offsets_to_transaction(wanted, group), "offsets")

    async def commit(self) -> None:
        """See ``ports.LedgerProducer``."""
        assert self._lane is not None, "start first"
        # aiokafka commits a transaction whose sends have failed: their futures are the only witnesses.
        await self._step(self._lane.settled(), "sends")
        await self._step(self._producer.commit_transaction(), "commit")

    async def abort(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._producer.abort_transaction(), "abort")

    async def close(self) -> None:
        """See ``ports.LedgerProducer``."""
        poisoned = self._failure is not None
        self._poison(UnavailableError(f"{self._transactional_id} is closed", code="closed"))
        if self._fast is not None:
            await self._fast.close()
        if self._producer is not None:
            # aiokafka would flush an open transaction's batches; they must not be waited for.
            open_transaction = self._producer._txn_manager.is_in_transaction()  # noqa: SLF001 — client.PRIVATE_NAMES
            grace_s = 0.0 if poisoned or open_transaction else self._config.close_timeout_s
            await dispose_producer(self._producer, grace_s=grace_s)

    async def _step(self, step: Awaitable[Any], name: str) -> None:
        try:
            self._check()
        except EnforcerError:
            with contextlib.suppress(AttributeError):
                step.close()  # type: ignore[attr-defined] # A coroutine that nobody will await.
            raise
        doing = f"{name} of {self._transactional_id}"
        try:
            await within(self._config.step_timeout_s, step, doing)
        except EnforcerError as error:
            raise self._poison(error) from error
        except BaseException:
            # Cancelled in the middle: whether the step was done is unknown.
            self._poison(UnavailableError(f"{doing}: interrupted", code="indefinite"))
            raise

    def _check(self) -> None:
        if self._failure is None and self._lane is not None:
            fenced = self.fast._lane.failure  # noqa: SLF001 — the two lanes are one object to the caller
            self._failure = self._lane.failure or (
                fenced if isinstance(fenced, AgentFencedError) else None
            )
        if self._failure is not None:
            raise self._failure

    def _poison(self, error: EnforcerError) -> EnforcerError:
        if self._failure is None:
            self._failure = error
            if self._lane is not None:
                self._lane.poison(error)
            if self._fast is not None:
                self._fast.poison(error)
        return self._failure


def new_producer(config: BrokerConfig, **more: Any) -> Any:
    """An aiokafka producer as every one of ours is: idempotent, no linger, no compression; not started."""
    arguments: dict[str, Any] = {"retry_backoff_ms": config.retry_backoff_ms, **more}
    producer = AIOKafkaProducer(
        enable_idempotence=True,
        linger_ms=0,
        compression_type=None,
        max_batch_size=config.batch_bytes,
        request_timeout_ms=config.request_timeout_ms,
        **config.connection(),
        **arguments,
    )
    accumulator = producer._message_accumulator  # noqa: SLF001 — client.PRIVATE_NAMES
    accumulator._pending_batches = _TolerantSet()  # noqa: SLF001 — client.PRIVATE_NAMES
    _look_at_failures(producer._txn_manager)  # noqa: SLF001 — client.PRIVATE_NAMES
    return producer


def _look_at_failures(txn: Any) -> None:
    """
    Retrieve what a fatal error of *txn* leaves in the futures that nobody may be waiting for.

    A producer fenced between two transactions, or whose owner was cancelled in the middle of one, has no waiter:
    the failure reaches the caller by the next send, and the event loop would report it once more as forgotten.
    """
    fail = txn.fatal_error

    def fatal_error(error: BaseException) -> None:
        before = txn._transaction_waiter  # noqa: SLF001 — client.PRIVATE_NAMES
        if before is None:
            return  # Not transactional: aiokafka would fail on the waiter that it never had.
        before.add_done_callback(retrieve)
        fail(error)
        txn._transaction_waiter.add_done_callback(retrieve)  # noqa: SLF001 — client.PRIVATE_NAMES

    txn.fatal_error = fatal_error


class _TolerantSet(set[Any]):
    """
    For aiokafka's set of batches under way.

    It takes a batch out when it queues it again, and once more, by ``remove``, when that batch then fails:
    a KeyError in a callback, which nobody but the event loop sees.
    """

    def remove(self, element: Any) -> None:
        """As ``discard``."""
        self.discard(element)


async def know_topics(producer: Any, topics: Sequence[str], timeout_s: float) -> None:
    """Fetch the leaders of *topics*. Raises NotFoundError or AuthError, naming the first that is not there or not ours."""
    client = producer.client
    for topic in topics:
        client.add_topic(topic).add_done_callback(retrieve)
    for topic in topics:
        if client.cluster.partitions_for_topic(topic) is None:
            await within(timeout_s, client.force_metadata_update(), "fetch metadata")
        if topic in client.cluster.unauthorized_topics:
            raise translated(TopicAuthorizationFailedError(topic), "fetch metadata")
        if client.cluster.partitions_for_topic(topic) is None:
            raise NotFoundError(f"no topic {topic}", help="Run `enforcer topics apply`.")
