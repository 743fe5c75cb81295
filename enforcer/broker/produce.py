"""
The produce request, version 7, written and read by hand.

aiokafka builds a request from schemas field by field, and gives each a task and a timer: some 150 us, of which the
bytes need ten.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from enforcer.broker.line import Question

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.structs import TopicPartition

_ALL_REPLICAS: Final = -1

_BEGIN: Final = struct.Struct(">hhii")
_PARTITION: Final = struct.Struct(">ii")
_ANSWER: Final = struct.Struct(">ihqqq")
_COUNT: Final = struct.Struct(">i")
_LENGTH: Final = struct.Struct(">h")


def request(batches: Iterable[tuple[TopicPartition, bytes]], timeout_ms: int) -> bytes:
    """
    The body of a request.

    Args:
        batches: Of different partitions.
        timeout_ms: For the acknowledgement of all replicas.
    """
    by_topic: dict[str, list[tuple[int, bytes]]] = {}
    for tp, body in batches:
        by_topic.setdefault(tp.topic, []).append((tp.partition, body))
    parts = [_BEGIN.pack(-1, _ALL_REPLICAS, timeout_ms, len(by_topic))]
    for topic, bodies in by_topic.items():
        name = topic.encode()
        parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(bodies)))
        for partition, body in bodies:
            parts += (_PARTITION.pack(partition, len(body)), body)
    return b"".join(parts)


def read_answer(data: memoryview) -> dict[tuple[str, int], tuple[int, int]]:
    """
    Error code and base offset, by topic and partition.

    Raises: struct.error or ValueError for what is no answer.
    """
    (topics,) = _COUNT.unpack_from(data)
    at, found = 4, {}
    for _ in range(topics):
        (length,) = _LENGTH.unpack_from(data, at)
        topic = str(data[at + 2 : at + 2 + length], "utf-8")
        at += 2 + length
        (partitions,) = _COUNT.unpack_from(data, at)
        at += 4
        for _ in range(partitions):
            partition, code, offset, _, _ = _ANSWER.unpack_from(data, at)
            found[topic, partition] = (code, offset)
            at += _ANSWER.size
    return found


PRODUCE: Final = Question(0, 7, read_answer)
