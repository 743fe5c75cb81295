"""
Is the broker ready? It is when a produce has been acknowledged, and nothing less proves it.

Three requests of Kafka's protocol, by hand, in the oldest versions that a 4.x broker serves: no
client library to import, no event loop, and a start is known to the millisecond. Message formats:
https://kafka.apache.org/protocol; record batches: https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from enforcer.local.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_TOPIC = "local-stack.ready"
_PRODUCE, _METADATA, _CREATE_TOPICS = 0, 3, 19
_NO_ERROR, _TOPIC_ALREADY_EXISTS = 0, 36
_TIMEOUT_MS = 5_000
_RETENTION_MS = b"3600000"
_CASTAGNOLI = 0x82F63B78


class NotReadyError(Exception):
    """The broker does not answer yet, or answered that it cannot."""


class Reply:
    """Reads the fields of an answer, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self, form: str) -> int:
        """The next big-endian integer, of one of struct's forms."""
        (value,) = struct.unpack_from(">" + form, self._body, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def text(self) -> str:
        """The next string; a null string is empty."""
        length = self.number("h")
        value = self._body[self._at : self._at + max(length, 0)].decode()
        self._at += max(length, 0)
        return value


class Connection:
    """One connection to one broker; one request at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._ids = itertools.count(1)

    def call(self, api: int, version: int, body: bytes) -> Reply:
        """Send a request with header version 1, return its answer. Raises: OSError, NotReadyError."""
        number = next(self._ids)
        message = struct.pack(">hhi", api, version, number) + _string("enforcer-local") + body
        self._socket.sendall(struct.pack(">i", len(message)) + message)
        (size,) = struct.unpack(">i", self._exactly(4))
        answer = Reply(self._exactly(size))
        if answer.number("i") != number:
            raise NotReadyError("an answer to another request")
        return answer

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise NotReadyError("the connection was closed")
            parts += part
        return bytes(parts)


@contextmanager
def connect(port: int, *, timeout_s: float) -> Iterator[Connection]:
    """A connection to the broker on the loopback interface. Raises: OSError."""
    with socket.create_connection((HOST, port), timeout=timeout_s) as connected:
        yield Connection(connected)


def prove_ready(port: int, *, timeout_s: float = 10.0) -> None:
    """
    Create the probe's topic if need be, and produce one record to it with acks=all.

    Raises: OSError or NotReadyError: try again while the process lives.
    """
    with connect(port, timeout_s=timeout_s) as connection:
        _create_topic(connection)
        # A topic is created before its leader takes records.
        deadline_s = time.monotonic() + timeout_s
        while (error := _produce(connection)) != _NO_ERROR:
            if time.monotonic() > deadline_s:
                raise NotReadyError(f"produce was refused with error {error}")
            time.sleep(0.01)


def topics(port: int, *, timeout_s: float = 2.0) -> list[str]:
    """The names of all topics but the probe's own. Raises: OSError, NotReadyError."""
    with connect(port, timeout_s=timeout_s) as connection:
        # Metadata version 4: all topics (a null list), none created.
        reply = connection.call(_METADATA, 4, struct.pack(">ib", -1, 0))
    reply.number("i")
    for _ in range(reply.number("i")):
        reply.number("i")
        reply.text()
        reply.number("i")
        reply.text()
    reply.text()
    reply.number("i")
    names = []
    for _ in range(reply.number("i")):
        reply.number("h")
        names.append(reply.text())
        reply.number("b")
        for _ in range(reply.number("i")):
            for form in ("h", "i", "i"):
                reply.number(form)
            for _ in range(2):
                for _ in range(reply.number("i")):
                    reply.number("i")
    return sorted(name for name in names if name != READY_TOPIC)


def _create_topic(connection: Connection) -> None:
    config = _string("retention.ms") + _string(_RETENTION_MS.decode())
    topic = _string(READY_TOPIC) + struct.pack(">ihi", 1, 1, 0) + struct.pack(">i", 1) + config
    body = struct.pack(">i", 1) + topic + struct.pack(">ib", _TIMEOUT_MS, 0)
    reply = connection.call(_CREATE_TOPICS, 2, body)
    reply.number("i")
    reply.number("i")
    reply.text()
    error = reply.number("h")
    if error not in {_NO_ERROR, _TOPIC_ALREADY_EXISTS}:
        raise NotReadyError(f"creating a topic was refused with error {error}")


def _produce(connection: Connection) -> int:
    batch = _record_batch(b"ready", time_ms=int(time.time() * 1000))
    partition = struct.pack(">ii", 0, len(batch)) + batch
    topic = _string(READY_TOPIC) + struct.pack(">i", 1) + partition
    # No transactional id, acks=all.
    body = struct.pack(">hhi", -1, -1, _TIMEOUT_MS) + struct.pack(">i", 1) + topic
    reply = connection.call(_PRODUCE, 3, body)
    reply.number("i")
    reply.text()
    reply.number("i")
    reply.number("i")
    return reply.number("h")


def _record_batch(value: bytes, *, time_ms: int) -> bytes:
    """A batch (magic 2) of one record with no key and no headers, from no idempotent producer."""
    # Attributes, time and offset deltas 0, key null (-1), value, no headers; zigzag varints.
    fields = b"\x00\x00\x00\x01" + bytes([len(value) << 1]) + value + b"\x00"
    record = bytes([len(fields) << 1]) + fields
    checked = struct.pack(">hiqqqhii", 0, 0, time_ms, time_ms, -1, -1, -1, 1) + record
    tail = struct.pack(">ibI", -1, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(tail)) + tail


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli, RFC 3720) of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded
