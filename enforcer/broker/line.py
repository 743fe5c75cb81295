"""
A line: requests and answers as bytes over a connection that aiokafka has opened, answers handed over as they arrive.

Theory of operation
-------------------
aiokafka connects, with TLS, SASL and the versions of the broker, and reads by a task from a stream into futures: an
answer needs four to seven turns of the event loop, and in a worker that decides each turn is a wait for some
milliseconds of everybody's decisions. So the transport of such a connection is given another protocol, this one.
It cuts frames and calls whoever asked in the very turn in which the bytes came.

What else happens to the connection stays aiokafka's: this protocol passes it on. Its reading task waits for a stream
that is never fed, and ends with the connection.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from aiokafka import errors as kafka_errors

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_BYTES_MAX: Final = 256 << 20
"""A longer one is not Kafka's."""
_LENGTH: Final = struct.Struct(">i")
_FRAME: Final = struct.Struct(">ii")
_HEAD: Final = struct.Struct(">ihhih")

T = TypeVar("T")


class Question(NamedTuple, Generic[T]):
    """A kind of request: its number, its version, and how its answer is read (struct.error, ValueError if it cannot be)."""

    api: int
    version: int
    read: Callable[[memoryview], T]


class _Asked(NamedTuple):
    number: int
    read: Callable[[memoryview], Any]
    answered: Callable[[Any], None]
    lost: Callable[[Exception], None]


class Line(asyncio.Protocol):
    """One connection to a broker. Answers come in the order of the requests."""

    def __init__(self, connection: Any) -> None:
        """Take the *connection* over: aiokafka's, connected, and used by nobody else from now on."""
        self._connection = connection
        self._transport = connection._writer.transport  # noqa: SLF001 — client.PRIVATE_NAMES
        self._before = connection._protocol  # noqa: SLF001 — client.PRIVATE_NAMES
        self._client_id: bytes = connection._client_id.encode()  # noqa: SLF001 — client.PRIVATE_NAMES
        self._number = 0
        self._waiting: deque[_Asked] = deque()
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes to come before a frame can be whole."""
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """
        Whether something can be asked.

        Of a reset aiokafka learns turns of the loop later; what is asked meanwhile would neither be answered nor lost.
        """
        return not self._transport.is_closing() and bool(self._connection.connected())

    def ask(
        self,
        question: Question[T],
        body: bytes,
        *,
        answered: Callable[[T], None],
        lost: Callable[[Exception], None],
    ) -> None:
        """
        Write a request; later either *answered* gets what was read, or *lost* why there is nothing.

        Raises: KafkaConnectionError if the line is closed, IncompatibleBrokerVersion.
        """
        if not self.is_open:
            raise kafka_errors.KafkaConnectionError("the connection is closed")
        api, version, read = question
        low, high = self._connection._versions.get(api, (0, -1))  # noqa: SLF001 — client.PRIVATE_NAMES
        if not low <= version <= high:
            raise kafka_errors.IncompatibleBrokerVersion(f"request {api}, version {version}")
        self._number = number = (self._number + 1) & 0x7FFF_FFFF
        name = self._client_id
        length = _HEAD.size - _LENGTH.size + len(name) + len(body)
        head = _HEAD.pack(length, api, version, number, len(name))
        self._waiting.append(_Asked(number, read, answered, lost))
        self._transport.write(b"".join((head, name, body)))

    def close(self) -> None:
        """
        Close the connection; what waits for an answer is lost a turn of the loop later.

        Whatever is not written yet: a peer that is gone takes it never, and a transport that is only closed waits for it.
        """
        self._connection.close()
        self._transport.abort()

    # -- what the transport says ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut frames out of what has come."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        at, size = 0, len(data)
        while size - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if not _LENGTH.size <= length <= FRAME_BYTES_MAX:
                self._transport.abort()
                return
            end = at + _LENGTH.size + length
            if end > size:
                self._missing = end - size
                break
            self._answer(data, at, end)
            at = end
        else:
            self._missing = _LENGTH.size - (size - at)
        if at < size:
            self._parts.append(data[at:] if at else data)

    def _answer(self, data: bytes, at: int, end: int) -> None:
        _, number = _FRAME.unpack_from(data, at)
        if not self._waiting or self._waiting[0].number != number:
            self._transport.abort()
            return
        # aiokafka closes a connection that has been idle for long by this.
        self._connection._last_action = time.monotonic()  # noqa: SLF001 — client.PRIVATE_NAMES
        asked = self._waiting.popleft()
        try:
            found = asked.read(memoryview(data)[at + _FRAME.size : end])
        except (struct.error, ValueError, IndexError) as error:
            self._transport.abort()
            asked.lost(kafka_errors.KafkaConnectionError(f"an answer that cannot be read: {error}"))
        else:
            asked.answered(found)

    def eof_received(self) -> bool | None:
        """As before."""
        eof: bool | None = self._before.eof_received()
        return eof

    def pause_writing(self) -> None:
        """As before; nobody waits: what is sent at once is bounded by who sends it."""
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """As before."""
        self._before.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._before.connection_lost(exc)
        waiting, self._waiting = self._waiting, deque()
        for asked in waiting:
            asked.lost(
                kafka_errors.KafkaConnectionError(f"the connection was closed: {exc or 'ended'}")
            )
