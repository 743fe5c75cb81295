"""
The fetch request, version 10, written and read by hand, and the session that makes it short.

Within a session (KIP-227) the broker remembers what is fetched and from where: a request names only the partitions that
have moved, an answer only those with records or a new end. Of the partitions that an answer passes over, nothing is new.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.broker.line import Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from enforcer.broker.ports import Partition

READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1

_ANSWER_BYTES_MAX: Final = 50 << 20
_BEGIN: Final = struct.Struct(">iiiibiii")
_PARTITION: Final = struct.Struct(">iiqqi")
_NUMBER: Final = struct.Struct(">i")
_LENGTH: Final = struct.Struct(">h")
_ANSWER: Final = struct.Struct(">ihii")
_FOUND: Final = struct.Struct(">ihqqqi")
_ABORTED: Final = struct.Struct(">qq")
_EPOCH_MAX: Final = 0x7FFF_FFFF


class Fetched(NamedTuple):
    """What an answer says of one partition."""

    code: int
    end: int
    """High watermark."""
    stable_end: int
    """Last stable offset."""
    aborted: tuple[tuple[int, int], ...]
    """Aborted transactions within the records: producer id and first offset."""
    records: bytes
    """Batches; the last one may be cut off."""


class Answer(NamedTuple):
    """The answer to a fetch."""

    throttle_ms: int
    code: int
    session_id: int
    found: dict[Partition, Fetched]


class Session:
    """What one broker remembers of one reader."""

    __slots__ = (
        "_bytes_max",
        "_epoch",
        "_id",
        "_is_anew",
        "_isolation",
        "_names",
        "_sent",
        "_wait_ms",
    )

    def __init__(self, *, read_committed: bool, wait_ms: int, partition_bytes_max: int) -> None:
        """
        Begin with nothing remembered.

        Args:
            read_committed: Whether records of open and aborted transactions are left out.
            wait_ms: How long the broker waits for a record before it answers without one.
            partition_bytes_max: In an answer, of one partition; a batch that is larger comes whole by itself.
        """
        self._isolation = READ_COMMITTED if read_committed else READ_UNCOMMITTED
        self._wait_ms = wait_ms
        self._bytes_max = partition_bytes_max
        self._id = self._epoch = 0
        self._is_anew = True
        """Whether the answer under way, if any, is of a session that is to end."""
        self._sent: dict[Partition, int] = {}
        self._names: dict[str, bytes] = {}

    def forget(self) -> None:
        """Begin anew: the next request names everything, and its answer tells of everything."""
        self._epoch = 0
        self._sent = {}
        self._is_anew = True

    def names(self, place: Partition) -> bool:
        """Whether the broker remembers *place*, and may pass it over."""
        return place in self._sent

    def request(self, wanted: Mapping[Partition, int]) -> bytes:
        """The body of a request for records of *wanted*, from these offsets on."""
        sent = self._sent
        moved = {tp: at for tp, at in wanted.items() if sent.get(tp) != at}
        gone = [tp for tp in sent if tp not in wanted]
        self._sent = dict(wanted)
        self._is_anew = False
        begin = _BEGIN.pack(
            -1,
            self._wait_ms,
            1,
            _ANSWER_BYTES_MAX,
            self._isolation,
            self._id,
            self._epoch,
            len({topic for topic, _ in moved}),
        )
        limit = self._bytes_max
        moved_rows = ((tp, _PARTITION.pack(tp[1], -1, at, -1, limit)) for tp, at in moved.items())
        gone_rows = ((tp, _NUMBER.pack(tp[1])) for tp in gone)
        parts = [begin, *self._by_topic(moved_rows)]
        parts.append(_NUMBER.pack(len({topic for topic, _ in gone})))
        parts += self._by_topic(gone_rows)
        return b"".join(parts)

    def _by_topic(self, rows: Iterable[tuple[Partition, bytes]]) -> list[bytes]:
        grouped: dict[str, list[bytes]] = {}
        for (topic, _), row in rows:
            grouped.setdefault(topic, []).append(row)
        parts: list[bytes] = []
        for topic, found in grouped.items():
            parts += (self._name(topic), _NUMBER.pack(len(found)), *found)
        return parts

    def _name(self, topic: str) -> bytes:
        known = self._names.get(topic)
        if known is None:
            name = topic.encode()
            known = self._names[topic] = _LENGTH.pack(len(name)) + name
        return known

    def answered(self, answer: Answer) -> None:
        """Go on with the session as the broker has it: 0 is none, and each request names everything."""
        self._id = answer.session_id
        if answer.code or not self._id or self._is_anew:
            self.forget()
        else:
            self._epoch = self._epoch + 1 if self._epoch < _EPOCH_MAX else 1


def read_answer(data: memoryview) -> Answer:
    """
    Read the body of an answer.

    Raises: struct.error or ValueError for what is none.
    """
    throttle_ms, code, session_id, topics = _ANSWER.unpack_from(data)
    at, found = _ANSWER.size, {}
    for _ in range(topics):
        (length,) = _LENGTH.unpack_from(data, at)
        topic = str(data[at + 2 : at + 2 + length], "utf-8")
        (partitions,) = _NUMBER.unpack_from(data, at + 2 + length)
        at += 6 + length
        for _ in range(partitions):
            partition, error, end, stable_end, _, count = _FOUND.unpack_from(data, at)
            at += _FOUND.size
            aborted = tuple(
                _ABORTED.unpack_from(data, at + n * _ABORTED.size) for n in range(max(0, count))
            )
            at += len(aborted) * _ABORTED.size
            (size,) = _NUMBER.unpack_from(data, at)
            at += 4
            records = bytes(data[at : at + size]) if size > 0 else b""
            at += len(records)
            if len(records) != max(0, size):
                raise ValueError("records that are longer than the answer")
            found[topic, partition] = Fetched(error, end, stable_end, aborted, records)
    return Answer(throttle_ms, code, session_id, found)


FETCH: Final = Question(1, 10, read_answer)
"""To version 11 a follower would answer too, and with less than there is."""
