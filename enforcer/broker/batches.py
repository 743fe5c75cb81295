"""Record batches as they were fetched: where they end, and their records, without those of aborted transactions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.broker.ports import Headers, Partition

_BATCH: Final = struct.Struct(">qi11xi")
"""Of a batch's head: base offset, length after itself, and (past epoch, magic, checksum, attributes) the last offset's delta."""
_BEFORE_LENGTH_BYTES: Final = 12


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

    Raises: KafkaError (CorruptRecordException) if a checksum is wrong.
    """
    topic, partition = place
    found: list[KafkaRecord] = []
    batches = MemoryRecords(records)
    to_come = sorted(aborted or (), key=lambda each: each[1], reverse=True)
    aborting: set[int] = set()
    while batches.has_next():
        batch = batches.next_batch()
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
        kind = batch.timestamp_type
        read_all = [
            KafkaRecord(topic, partition, r.offset, r.timestamp, kind, r.key, r.value, r.headers)
            for r in batch
        ]
        if batch.base_offset < begin:
            read_all = [record for record in read_all if record.offset >= begin]
        found += read_all
    return found


def _is_abort(batch: object) -> bool:
    marker = next(iter(batch), None)  # type: ignore[call-overload] # aiokafka is untyped
    return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER
