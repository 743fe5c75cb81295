"""
The produce request, version 7, written and read by hand: over aiokafka's connection, without what it does for each.

aiokafka builds a request from schemas field by field, and gives each a task and a timer: some 150 us, of which the
bytes need ten.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors as kafka_errors

from enforcer.broker.client import retrieve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.structs import TopicPartition

_PRODUCE: Final = 0
_PRODUCE_VERSION: Final = 7
_ALL_REPLICAS: Final = -1

_HEAD: Final = struct.Struct(">hhih")
_BEGIN: Final = struct.Struct(">hhii")
_PARTITION: Final = struct.Struct(">ii")
_ANSWER: Final = struct.Struct(">ihqqq")
_COUNT: Final = struct.Struct(">i")
_LENGTH: Final = struct.Struct(">h")


class _Header(NamedTuple):
    correlation_id: int


class _Bytes(NamedTuple):
    """What aiokafka's connection encodes."""

    content: bytes

    def encode(self) -> bytes:
        return self.content


class _Answer:
    """Of a produce request: error code and base offset, by topic and partition."""

    @staticmethod
    def decode(buffer: Any) -> dict[tuple[str, int], tuple[int, int]]:
        data = buffer.read()
        (topics,) = _COUNT.unpack_from(data)
        at, found = 4, {}
        for _ in range(topics):
            (length,) = _LENGTH.unpack_from(data, at)
            topic = data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            (partitions,) = _COUNT.unpack_from(data, at)
            at += 4
            for _ in range(partitions):
                partition, code, offset, _, _ = _ANSWER.unpack_from(data, at)
                found[topic, partition] = (code, offset)
                at += _ANSWER.size
        return found


class Produce:
    """A produce request of version 7, as aiokafka's connection takes it: it prepares, encodes and is answered."""

    RESPONSE_TYPE = _Answer

    def __init__(self, batches: Iterable[tuple[TopicPartition, bytes]], timeout_ms: int) -> None:
        """*batches*: of different partitions. *timeout_ms*: for the acknowledgement of all replicas."""
        by_topic: dict[str, list[tuple[int, bytes]]] = {}
        for tp, body in batches:
            by_topic.setdefault(tp.topic, []).append((tp.partition, body))
        parts = [_BEGIN.pack(-1, _ALL_REPLICAS, timeout_ms, len(by_topic))]
        for topic, bodies in by_topic.items():
            name = topic.encode()
            parts += (_LENGTH.pack(len(name)), name, _COUNT.pack(len(bodies)))
            for partition, body in bodies:
                parts += (_PARTITION.pack(partition, len(body)), body)
        self._body = b"".join(parts)

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Produce:
        low, high = versions[_PRODUCE]
        if not low <= _PRODUCE_VERSION <= high:
            raise kafka_errors.IncompatibleBrokerVersion(f"produce {low} to {high}")
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> _Bytes:
        name = client_id.encode()
        return _Bytes(_HEAD.pack(_PRODUCE, _PRODUCE_VERSION, correlation_id, len(name)) + name)

    def encode(self) -> bytes:
        return self._body

    @staticmethod
    def parse_response_header(buffer: Any) -> _Header:
        return _Header(*_COUNT.unpack(buffer.read(4)))


def written(connection: Any, request: Produce) -> asyncio.Future[Any]:
    """
    Write *request* and return the future of its answer, without aiokafka's task and timer for each.

    Raises: KafkaConnectionError if the connection is closed.
    """
    writer = connection._writer  # noqa: SLF001 — client.PRIVATE_NAMES
    if writer is None:
        raise kafka_errors.KafkaConnectionError("the connection is closed")
    request.prepare(connection._versions)  # noqa: SLF001 — client.PRIVATE_NAMES
    number = connection._next_correlation_id()  # noqa: SLF001 — client.PRIVATE_NAMES
    head = request.build_request_header(number, connection._client_id).encode()  # noqa: SLF001 — client.PRIVATE_NAMES
    body = request.encode()
    writer.write(b"".join((_COUNT.pack(len(head) + len(body)), head, body)))
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    answer.add_done_callback(retrieve)
    connection._requests.append((number, request, answer))  # noqa: SLF001 — client.PRIVATE_NAMES
    return answer
