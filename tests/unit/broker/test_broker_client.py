"""What the broker package knows of aiokafka holds for the pinned version; its errors become ours."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.structs import TopicPartition

from enforcer.broker import BrokerConfig, client
from enforcer.broker.producer import new_producer
from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    AuthError,
    ConfigError,
    NotFoundError,
    UnavailableError,
)

TP = TopicPartition("t", 0)


def test_the_pinned_version_is_installed() -> None:
    """Private names are used as of this version; another one needs this file's other tests read again."""
    assert aiokafka.__version__ == client.PINNED_VERSION


async def test_every_private_name_exists() -> None:
    """An upgrade that renames one of them fails here, and not in a takeover."""
    producer = AIOKafkaProducer(enable_idempotence=True)
    consumer = AIOKafkaConsumer()
    kafka = AIOKafkaClient()
    fetcher = Fetcher(kafka, SubscriptionState())
    coordinator = GroupCoordinator(kafka, SubscriptionState())
    accumulator = producer._message_accumulator
    objects: dict[str, Any] = {
        "AIOKafkaProducer": producer,
        "MessageAccumulator": accumulator,
        "MessageBatch": MessageBatch(TP, accumulator.create_builder(), 1, 0),
        "TransactionManager": producer._txn_manager,
        "Sender": producer._sender,
        "AIOKafkaAdminClient": AIOKafkaAdminClient(),
        "AIOKafkaClient": kafka,
        "AIOKafkaConnection": AIOKafkaConnection("localhost", 1),
        "AIOKafkaConsumer": consumer,
        "Fetcher": fetcher,
        "GroupCoordinator": coordinator,
        "_DefaultRecordBatchPy": _DefaultRecordBatchPy(
            DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 10).build()
        ),
    }
    try:
        assert set(objects) == set(client.PRIVATE_NAMES)
        for name, attributes in client.PRIVATE_NAMES.items():
            for attribute in attributes:
                assert hasattr(objects[name], attribute), f"{name}.{attribute}"
    finally:
        producer._closed = consumer._closed = True
        await fetcher.close()
        await coordinator.close()


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (kafka_errors.ProducerFenced(), AgentFencedError),
        (kafka_errors.InvalidProducerEpoch(), AgentFencedError),
        (kafka_errors.InvalidProducerIdMapping(), AgentFencedError),
        (kafka_errors.for_code(82)(), AgentFencedError),
        (kafka_errors.for_code(90)(), AgentFencedError),
        (kafka_errors.TopicAuthorizationFailedError("t"), AuthError),
        (kafka_errors.SaslAuthenticationFailed(), AuthError),
        (kafka_errors.AuthenticationFailedError(), AuthError),
        (kafka_errors.InvalidSessionTimeoutError(), ConfigError),
        (kafka_errors.UnknownTopicOrPartitionError(), NotFoundError),
        (kafka_errors.OffsetOutOfRangeError({TP: 1}), AgentCorruptedError),
        (kafka_errors.OutOfOrderSequenceNumber(), UnavailableError),
        (kafka_errors.InvalidTxnState(), UnavailableError),
        (kafka_errors.KafkaConnectionError(), UnavailableError),
        (TimeoutError(), UnavailableError),
        (ConnectionResetError(), UnavailableError),
        (AgentFencedError("ours"), AgentFencedError),
    ],
)
def test_errors_are_translated(error: BaseException, ours: type[Exception]) -> None:
    """Fencing, refusal, absence and damage are told apart; everything else is unavailable."""
    translated = client.translated(error, "send to t-0")
    assert type(translated) is ours


async def test_within_bounds_a_step_and_translates() -> None:
    """A step that never ends is an error in time, and an assertion of the client is no bug of ours."""

    async def refused() -> None:
        raise kafka_errors.ProducerFenced

    async def asserted() -> None:
        raise AssertionError("Invalid state transition")

    with pytest.raises(UnavailableError, match="no answer in time"):
        await client.within(0.01, asyncio.sleep(10), "wait")
    with pytest.raises(AgentFencedError):
        await client.within(1, refused(), "x")
    with pytest.raises(UnavailableError):
        await client.within(1, asserted(), "x")


async def test_a_fenced_producer_leaves_no_failure_that_the_loop_reports() -> None:
    """Fenced between two transactions or within one that nobody awaits any more: told once, by the next send."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for in_between in (False, True):
        producer = new_producer(BrokerConfig(bootstrap="127.0.0.1:1"), transactional_id="t")
        producer._closed = True
        txn = producer._txn_manager
        txn.set_pid_and_epoch(1, 1)
        txn.begin_transaction()
        if in_between:
            txn.committing_transaction()
            txn.complete_transaction()
        txn.fatal_error(kafka_errors.ProducerFenced())
        assert txn.is_fatal_error()
        await asyncio.sleep(0)
        del producer, txn
        gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
