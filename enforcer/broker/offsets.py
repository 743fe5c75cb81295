"""Where partitions begin and end, and where a time is: asked of their leaders."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from enforcer.broker.client import retrieve, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Partition

EARLIEST: Final = -2
LATEST: Final = -1
_NOT_FOUND: Final = -1
_REPLICA: Final = -1
_METADATA_S: Final = 0.5


async def look_up(
    client: Any, config: BrokerConfig, times_ms: Mapping[Partition, int], *, isolation: int
) -> dict[Partition, int | None]:
    """
    The first offset at or after each time; None where there is none.

    Args:
        client: aiokafka's.
        config: How long it may take (``request_timeout_ms``).
        times_ms: ``EARLIEST`` and ``LATEST`` are times too.
        isolation: As of a fetch: what the end is.

    Raises: as ``within``; AuthError for a topic that is not ours to see.
    """
    asked = _until_answered(client, config, times_ms, isolation)
    return await within(config.request_timeout_ms / 1000, asked, "look offsets up")


async def _until_answered(
    client: Any, config: BrokerConfig, times_ms: Mapping[Partition, int], isolation: int
) -> dict[Partition, int | None]:
    found: dict[Partition, int | None] = {}
    is_first = True
    while True:
        left = {place: at for place, at in times_ms.items() if place not in found}
        if not left:
            return found
        by_node = _by_leader(client, left)
        answers = await asyncio.gather(
            *(
                _ask(client, node, topics, isolation)
                for node, topics in by_node.items()
                if node >= 0
            )
        )
        for answer in answers:
            found.update(answer)
        if len(found) < len(times_ms):
            # Once at once: a topic that was not known is known with the next metadata.
            if not is_first:
                await asyncio.sleep(config.retry_backoff_ms / 1000)
            is_first = False
            learning = client.force_metadata_update()
            learning.add_done_callback(retrieve)
            await asyncio.wait({learning}, timeout=_METADATA_S)


def _by_leader(
    client: Any, times_ms: Mapping[Partition, int]
) -> dict[int, dict[str, list[tuple[int, int]]]]:
    """What to ask of each node; -1: nobody leads it, as far as is known."""
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for (topic, partition), time_ms in times_ms.items():
        if topic in client.cluster.unauthorized_topics:
            raise kafka_errors.TopicAuthorizationFailedError(topic)
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if leader is None:
            client.add_topic(topic).add_done_callback(retrieve)
        node = -1 if leader is None else leader
        by_node.setdefault(node, {}).setdefault(topic, []).append((partition, time_ms))
    return by_node


async def _ask(
    client: Any, node: int, topics: Mapping[str, list[tuple[int, int]]], isolation: int
) -> dict[Partition, int | None]:
    """What *node* answers; without what is to be asked again."""
    found: dict[Partition, int | None] = {}
    try:
        answer = await client.send(node, OffsetRequest(_REPLICA, isolation, [*topics.items()]))
    except kafka_errors.KafkaError as error:
        if not error.retriable:
            raise
        return found
    for topic, partitions in answer.topics:
        for partition, code, _, offset in partitions:
            refusal = kafka_errors.for_code(code)
            if refusal is kafka_errors.NoError:
                found[topic, partition] = None if offset == _NOT_FOUND else offset
            elif not refusal.retriable:
                raise refusal(f"{topic}-{partition}")
    return found
