"""Record batches as they were fetched: where they end, and their records, without those of aborted transactions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.broker.ports import Headers, Partition

_BATCH: Final = struct.Struct(">qi11xi")
"""Of a batch's head: base offset, length after itself, and (past epoch, magic, checksum, attributes) the last offset's delta."""
_BEFORE_LENGTH_BYTES: Final = 12
_LENGTH: Final = struct.Struct(">8xi")
_OLDEST_MAGIC: Final = 2


class KafkaRecord(NamedTuple):
    """``ports.Record``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def end_of(records: bytes) -> int | None:
    """The offset after the last whole batch of *records*; None if there is none."""
    at, size, end = 0, len(records), None
    while size - at >= _BATCH.size:
        base, length, delta = _BATCH.unpack_from(records, at)
        at += _BEFORE_LENGTH_BYTES + length
        if at > size or length <= 0:
            break
        end = base + delta + 1
    return end


def read(
    place: Partition,
    records: bytes,
    *,
    begin: int,
    aborted: Sequence[tuple[int, int]] | None,
) -> list[KafkaRecord]:
    """
    The records of *place* from offset *begin* on, in order; control records are left out.

    Args:
        place: Topic and partition.
        records: Whole batches, and perhaps the beginning of another one.
        begin: Batches begin where the broker likes: what is before it is left out.
        aborted: Producer id and first offset of each aborted transaction, to be left out; None: whatever was written
            is read.

    Raises: KafkaError: CorruptRecordException if a checksum is wrong, a batch damaged or of a format before Kafka 0.11,
        UnsupportedCodecError.
    """
    topic, partition = place
    found: list[KafkaRecord] = []
    batches, at = MemoryRecords(records), 0
    to_come = sorted(aborted or (), key=lambda each: each[1], reverse=True)
    aborting: set[int] = set()
    while batches.has_next():
        batch, begun = batches.next_batch(), at
        at += _BEFORE_LENGTH_BYTES + _LENGTH.unpack_from(records, at)[0]
        if getattr(batch, "magic", 0) < _OLDEST_MAGIC:
            raise kafka_errors.CorruptRecordException(
                f"{topic}-{partition}: messages of a format before Kafka 0.11: write them anew"
            )
        if not batch.validate_crc():
            raise kafka_errors.CorruptRecordException(f"{topic}-{partition}: wrong checksum")
        if aborted is not None:
            while to_come and to_come[-1][1] <= batch.base_offset:
                aborting.add(to_come.pop()[0])
        if batch.is_control_batch:
            if _is_abort(batch):
                aborting.discard(batch.producer_id)
            continue
        if batch.is_transactional and batch.producer_id in aborting:
            continue
        read_all = _records(place, batch, memoryview(records)[begun:at])
        if batch.base_offset < begin:
            read_all = [record for record in read_all if record.offset >= begin]
        found += read_all
    return found


def _records(place: Partition, batch: Any, whole: memoryview) -> list[KafkaRecord]:
    """All of *batch*, whose bytes are *whole*; whatever is wrong with them is a KafkaError."""
    topic, partition = place
    kind = batch.timestamp_type
    try:
        return [
            KafkaRecord(topic, partition, r.offset, r.timestamp, kind, r.key, r.value, r.headers)
            for r in batch
        ]
    except UnicodeDecodeError:
        pass
    except kafka_errors.KafkaError:
        raise
    except Exception as error:  # each codec has errors of its own
        raise kafka_errors.CorruptRecordException(
            f"{topic}-{partition}: a batch that cannot be read: {error}"
        ) from error
    try:
        return [KafkaRecord(topic, partition, *each) for each in _with_any_names(whole)]
    except (ValueError, IndexError) as error:
        raise kafka_errors.CorruptRecordException(
            f"{topic}-{partition}: a record that cannot be read: {error}"
        ) from error


def _with_any_names(
    whole: memoryview,
) -> Iterator[tuple[int, int, int, bytes | None, bytes | None, Headers]]:
    """
    The records of a batch some of whose headers have names that are no UTF-8.

    A broker takes such names, Java reads them with replacement characters, and the library reads no record behind one:
    whoever may write to a topic could so stop all that read it.
    """
    batch = _DefaultRecordBatchPy(whole)
    batch._maybe_uncompress()  # noqa: SLF001 — client.PRIVATE_NAMES
    data, at = batch._buffer, batch._pos  # noqa: SLF001 — client.PRIVATE_NAMES
    kind = batch.timestamp_type

    def sized(at: int) -> tuple[bytes | None, int]:
        size, at = decode_varint(data, at)
        return (bytes(data[at : at + size]), at + size) if size >= 0 else (None, at)

    for _ in range(batch._num_records):  # noqa: SLF001 — client.PRIVATE_NAMES
        length, at = decode_varint(data, at)
        end = at + length
        since_ms, at = decode_varint(data, at + 1)
        delta, at = decode_varint(data, at)
        key, at = sized(at)
        value, at = sized(at)
        count, at = decode_varint(data, at)
        headers: list[tuple[str, Any]] = []
        for _ in range(count):
            name, at = sized(at)
            held, at = sized(at)
            headers.append(((name or b"").decode(errors="replace"), held))
        if at != end:
            raise ValueError(f"a record of {length} bytes ends {at - end} bytes past its end")
        at_ms = batch.max_timestamp if kind else batch.first_timestamp + since_ms
        yield batch.base_offset + delta, at_ms, kind, key, value, headers


def _is_abort(batch: object) -> bool:
    marker = next(iter(batch), None)  # type: ignore[call-overload] # aiokafka is untyped
    return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER
