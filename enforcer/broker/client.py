"""
What this package knows of aiokafka beyond its public face: private names, error classes, its logging.

Private names are used here and in the sibling modules only as listed in ``PRIVATE_NAMES``; a unit test holds
the list against the pinned version, so that an upgrade fails there and not in a takeover.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import errors as kafka_errors
from aiokafka.conn import AIOKafkaConnection

from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    AuthError,
    ConfigError,
    EnforcerError,
    NotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

PINNED_VERSION = "0.14.0"

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    # The accumulator's queue is fed directly, so that a send need not wait until the batch before is drained.
    "MessageAccumulator": (
        "_append_batch",
        "_batches",
        "_pending_batches",
        "_exception",
        "create_builder",
        "fail_all",
    ),
    "MessageBatch": ("_builder", "_drain_waiter", "future", "record_count"),
    # The fast lane has the ledger producer's id and epoch.
    "TransactionManager": (
        "_pid_and_epoch",
        "_transaction_waiter",
        "fatal_error",
        "increment_sequence_number",
        "is_in_transaction",
    ),
    "AIOKafkaProducer": ("_message_accumulator", "_txn_manager", "_sender", "_closed"),
    "Sender": ("sender_task",),
    "AIOKafkaAdminClient": ("_client",),
    # A TLS connection is cut when its peer does not take leave in time.
    # A ``Line`` takes the transport of a connection over.
    "AIOKafkaConnection": (
        "_versions",
        "_writer",
        "_protocol",
        "_security_protocol",
        "_client_id",
        "_last_action",
    ),
    "AIOKafkaClient": ("_get_conn",),
    # Records are read where the library's own reader gives up.
    "_DefaultRecordBatchPy": ("_buffer", "_maybe_uncompress", "_num_records", "_pos"),
    # A consumer that does not stop in time is cut.
    "AIOKafkaConsumer": ("_fetcher", "_coordinator", "_closed", "_client"),
    "Fetcher": ("_fetch_task",),
    # A static member that was dropped or replaced must not join again by itself.
    "GroupCoordinator": (
        "reset_generation",
        "_closing",
        "_send_req",
        "member_id",
        "group_id",
        "generation",
        "_stop_heartbeat_task",
        "_stop_commit_offsets_refresh_task",
        "_coordination_task",
    ),
}


class FencedInstanceIdError(kafka_errors.BrokerResponseError):  # type: ignore[misc] # aiokafka is untyped
    """Kafka's FENCED_INSTANCE_ID, which aiokafka does not know."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "Another member has taken this group.instance.id over."
    retriable = False


class FencedProducerError(kafka_errors.BrokerResponseError):  # type: ignore[misc] # aiokafka is untyped
    """Kafka's PRODUCER_FENCED, which aiokafka does not know by its number."""

    errno = 90
    message = "PRODUCER_FENCED"
    description = "A newer producer has the same transactional id."
    retriable = False


# Without this the two codes become UnknownError, which says nothing about fencing.
kafka_errors.kafka_errors.setdefault(82, FencedInstanceIdError)
kafka_errors.kafka_errors.setdefault(90, FencedProducerError)

_FENCED = (
    kafka_errors.ProducerFenced,
    kafka_errors.InvalidProducerEpoch,
    kafka_errors.InvalidProducerIdMapping,
    FencedProducerError,
    FencedInstanceIdError,
)
_UNKNOWN_NAME = (
    kafka_errors.AuthenticationFailedError,
    kafka_errors.AuthenticationMethodNotSupported,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.SaslAuthenticationFailed,
)
_AUTH = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)
_CONFIG = (
    kafka_errors.KafkaConfigurationError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.InvalidTransactionTimeout,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
)

TLS_LEAVE_S = 0.05
"""So long a TLS connection that is being closed may wait for its peer to take leave."""


def _cut_in_time() -> None:
    """
    Let closing a TLS connection end.

    uvloop waits 30 s for the peer's close_notify, which Kafka does not send while an answer is on its way: a reader
    closed in the middle of a fetch would hold up a takeover by as much. Nothing is waited for on it any more.
    """
    close = AIOKafkaConnection.close

    def closing(self: Any, reason: Any = None, exc: Any = None) -> Any:
        transport = None if self._writer is None else self._writer.transport
        closed = close(self, reason=reason, exc=exc)
        if transport is not None and self._security_protocol in {"SSL", "SASL_SSL"}:
            asyncio.get_running_loop().call_later(TLS_LEAVE_S, transport.abort)
        return closed

    AIOKafkaConnection.close = closing


_cut_in_time()

DEFINITE_REFUSALS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.InvalidTopicError,
)
"""The broker has appended nothing and never will: the sequence numbers can be used again."""


def translated(error: BaseException, doing: str) -> EnforcerError:
    """What *error* of the client means to us; *doing* says what failed ("send to enforcer.audit-3")."""
    if isinstance(error, EnforcerError):
        return error
    what = f"{doing}: {type(error).__name__}: {error}"
    if isinstance(error, _FENCED):
        return AgentFencedError(what, help="Another worker owns this partition now.")
    if isinstance(error, _UNKNOWN_NAME):
        return AuthError(
            what, help="Check sasl.mechanism, sasl.username and sasl.password in --kafka-config."
        )
    if isinstance(error, _AUTH):
        return AuthError(
            what,
            help="What each role may do: `enforcer topics acls --print`; who we are: --kafka-config.",
        )
    if isinstance(error, _CONFIG):
        return ConfigError(what)
    if isinstance(error, kafka_errors.OffsetOutOfRangeError):
        return AgentCorruptedError(what, code="offset_out_of_range")
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return NotFoundError(what, help="Run `enforcer topics apply`.")
    if isinstance(error, DEFINITE_REFUSALS):
        return UnavailableError(what, code="refused")
    if isinstance(error, TimeoutError):
        return UnavailableError(f"{doing}: no answer in time", help="Is the broker overloaded?")
    return UnavailableError(what)


async def within(seconds: float, step: Awaitable[T], doing: str) -> T:
    """Await *step* for at most *seconds*; any failure of the client comes out translated."""
    try:
        async with asyncio.timeout(seconds):
            return await step
    except EnforcerError:
        raise
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise translated(error, doing) from error
    except (AssertionError, kafka_errors.ConsumerStoppedError) as error:
        # aiokafka guards its transaction states by assert: reached when its sender has already failed.
        raise UnavailableError(f"{doing}: the client has stopped: {error}") from error


def retrieve(future: asyncio.Future[Any]) -> None:
    """Done-callback: look at the failure, so that the event loop does not report it as forgotten."""
    if not future.cancelled():
        future.exception()


def quiet_client_logs() -> None:
    """
    Keep aiokafka's log records off stderr: every failure it logs reaches the caller as an error.

    Set its logger's level yourself, after this, to see them (they then go to the root's handlers).
    """
    logger = logging.getLogger("aiokafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)


async def dispose_producer(producer: Any, *, grace_s: float) -> None:
    """
    Stop *producer* within *grace_s*, then cut it: aiokafka's own ``stop`` waits for unsendable batches for ever.

    0 cuts at once: what is still queued is dropped.
    """
    if grace_s > 0 and not producer._closed:  # noqa: SLF001 — PRIVATE_NAMES
        with contextlib.suppress(Exception):
            async with asyncio.timeout(grace_s):
                await producer.stop()
                _silence(producer)
                return
    producer._closed = True  # noqa: SLF001 — PRIVATE_NAMES: stops the destructor's warning
    sender = producer._sender.sender_task  # noqa: SLF001 — PRIVATE_NAMES
    for _ in range(20):
        # When cancelled, the sender awaits its request tasks one after the other; each cancel ends one.
        if sender is None or sender.done():
            break
        sender.cancel()
        await asyncio.wait([sender], timeout=0.05)
    accumulator = producer._message_accumulator  # noqa: SLF001 — PRIVATE_NAMES
    with contextlib.suppress(Exception):
        accumulator.fail_all(kafka_errors.ProducerClosed())
    _silence(producer)
    await closed_client(producer.client, seconds=1)


async def closed_client(client: Any, *, seconds: float) -> None:
    """Close the connections of *client* within *seconds*, or leave them: its CancelledError is not ours."""
    closing = asyncio.ensure_future(client.close())
    closing.add_done_callback(retrieve)
    try:
        await asyncio.wait({closing}, timeout=seconds)
    finally:
        closing.cancel()


def _silence(producer: Any) -> None:
    accumulator = producer._message_accumulator  # noqa: SLF001 — PRIVATE_NAMES
    batches = [batch for queue in accumulator._batches.values() for batch in queue]  # noqa: SLF001 — PRIVATE_NAMES
    batches.extend(accumulator._pending_batches)  # noqa: SLF001 — PRIVATE_NAMES
    for batch in batches:
        batch.future.add_done_callback(retrieve)
        batch._drain_waiter.add_done_callback(retrieve)  # noqa: SLF001 — PRIVATE_NAMES
    waiter = producer._txn_manager._transaction_waiter  # noqa: SLF001 — PRIVATE_NAMES
    if waiter is not None:
        waiter.add_done_callback(retrieve)


async def dispose_consumer(consumer: Any, *, grace_s: float) -> None:
    """Stop *consumer* within *grace_s*, then leave it: its tasks are cancelled, its connections closed."""
    # In a task of its own: a fetch that waits to try again answers stop() by its own CancelledError,
    # which here would pass for the caller's.
    stopping = asyncio.ensure_future(consumer.stop())
    stopping.add_done_callback(retrieve)
    try:
        await asyncio.wait({stopping}, timeout=grace_s)
    finally:
        stopping.cancel()
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    consumer._closed = True  # noqa: SLF001 — PRIVATE_NAMES
    fetcher, coordinator = consumer._fetcher, consumer._coordinator  # noqa: SLF001 — PRIVATE_NAMES
    if fetcher is not None:
        fetcher._fetch_task.cancel()  # noqa: SLF001 — PRIVATE_NAMES
    task = getattr(coordinator, "_coordination_task", None)
    if task is not None:
        task.cancel()
    await closed_client(consumer._client, seconds=1)  # noqa: SLF001 — PRIVATE_NAMES
