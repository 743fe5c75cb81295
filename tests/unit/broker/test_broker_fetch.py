"""What is sent and read of a fetch, beside what the library would: its schemas, its reading of batches."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka import errors as kafka_errors
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.protocol.fetch import FetchRequest_v10, FetchResponse_v10
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from enforcer.broker import batches
from enforcer.broker.fetch import Answer, Fetched, Session, read_answer
from enforcer.broker.ports import Record

PLACE = ("t", 0)
ABORT, COMMIT = 0, 1


def session() -> Session:
    return Session(read_committed=True, wait_ms=20, partition_bytes_max=1 << 20)


def schema(number: int, epoch: int, topics: Any, gone: Any) -> bytes:
    rows = [(t, [(p, -1, at, -1, 1 << 20) for p, at in places]) for t, places in topics]
    encoded: bytes = FetchRequest_v10(-1, 20, 1, 50 << 20, 1, number, epoch, rows, gone).encode()
    return encoded


def answered(number: int, code: int = 0) -> Answer:
    return Answer(0, code, number, {})


def test_the_first_request_of_a_session_names_everything_and_later_ones_what_moved() -> None:
    """Byte for byte as the library's schema has it; partitions that are left out are told to be forgotten."""
    of = session()
    wanted = {("a", 0): 5, ("a", 1): 6, ("b", 0): 7}
    whole = schema(0, 0, [("a", [(0, 5), (1, 6)]), ("b", [(0, 7)])], [])
    assert of.request(wanted) == whole
    of.answered(answered(77))
    assert of.request(wanted) == schema(77, 1, [], [])
    of.answered(answered(77))
    moved = {("a", 1): 9, ("b", 0): 7, ("c", 2): 0}
    assert of.request(moved) == schema(77, 2, [("a", [(1, 9)]), ("c", [(2, 0)])], [("a", [0])])


@pytest.mark.parametrize("reason", ["forgotten by the broker", "forgotten by us", "none is kept"])
def test_without_a_session_everything_is_named(reason: str) -> None:
    """An error of the session, a seek, a broker that has no room for one."""
    of = session()
    wanted = {("a", 0): 5}
    of.request(wanted)
    of.answered(answered(77))
    if reason == "forgotten by us":
        of.forget()
        of.request(wanted)
        assert of.request(wanted) != schema(77, 0, [("a", [(0, 5)])], [])
        of.forget()
        assert of.request(wanted) == schema(77, 0, [("a", [(0, 5)])], [])
        return
    of.request(wanted)
    of.answered(answered(0, 71 if reason == "forgotten by the broker" else 0))
    assert of.request(wanted) == schema(0, 0, [("a", [(0, 5)])], [])


def test_what_is_forgotten_while_an_answer_is_under_way_stays_forgotten() -> None:
    """The answer belongs to the session that ended; its number is told, so that the broker lets it go."""
    of = session()
    of.request({("a", 0): 5})
    of.forget()
    of.answered(answered(77))
    assert of.request({("a", 0): 5}) == schema(77, 0, [("a", [(0, 5)])], [])


def test_an_answer_is_read_as_the_library_reads_it() -> None:
    """Codes, ends, aborted transactions, records; empty and missing lists alike."""
    topics = [
        ("a", [(0, 0, 10, 9, 0, [(7, 3), (8, 4)], b"abc"), (1, 6, -1, -1, -1, None, None)]),
        ("b", [(2, 0, 4, 4, 1, [], b"")]),
    ]
    encoded = FetchResponse_v10(5, 0, 77, topics).encode()
    assert read_answer(memoryview(encoded)) == Answer(
        5,
        0,
        77,
        {
            ("a", 0): Fetched(0, 10, 9, ((7, 3), (8, 4)), b"abc"),
            ("a", 1): Fetched(6, -1, -1, (), b""),
            ("b", 2): Fetched(0, 4, 4, (), b""),
        },
    )
    for cut in range(1, len(encoded)):
        with pytest.raises((struct.error, ValueError)):
            read_answer(memoryview(encoded[:cut]))


# -- batches --------------------------------------------------------------------------------------------------


def batch(base: int, count: int, *, producer: int = -1, kind: int = 0) -> bytes:
    """*count* records from offset *base* on; *kind*: 0 plain, 1 transactional."""
    builder = DefaultRecordBatchBuilder(2, 0, kind, producer, 0, 0, 1 << 20)
    for n in range(count):
        builder.append(n, 1_000 + n, b"k%d" % n, b"v%d" % (base + n), [("h", b"%d" % n)])
    return placed(builder.build(), base)


def marker(base: int, producer: int, kind: int) -> bytes:
    """The end of a transaction: a control batch of one record."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, 1_000, struct.pack(">hh", 0, kind), struct.pack(">hi", 0, 0), [])
    body = builder.build()
    attributes = struct.unpack_from(">h", body, 21)[0] | 0x20
    struct.pack_into(">h", body, 21, attributes)
    return placed(bytearray(sealed(body)), base)


def placed(body: bytearray, base: int) -> bytes:
    struct.pack_into(">q", body, 0, base)
    return bytes(body)


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]], int]:
    """Batches of some producers, their transactions ended one way or the other; what was aborted; where it ends."""
    parts: list[bytes] = []
    aborted: list[tuple[int, int]] = []
    begun: dict[int, int] = {}
    at = draw(st.integers(0, 5))
    for _ in range(draw(st.integers(0, 12))):
        producer = draw(st.integers(1, 3))
        step = draw(st.sampled_from(["plain", "transactional", "commit", "abort"]))
        if step in {"commit", "abort"}:
            first = begun.pop(producer, None)
            if step == "abort" and first is not None:
                aborted.append((producer, first))
            parts.append(marker(at, producer, ABORT if step == "abort" else COMMIT))
            at += 1
            continue
        count = draw(st.integers(1, 4))
        if step == "transactional":
            begun.setdefault(producer, at)
        kind = int(step == "transactional")
        parts.append(batch(at, count, producer=producer if kind else -1, kind=kind))
        at += count + draw(st.integers(0, 2))
    return b"".join(parts), aborted, at


@given(log=logs(), skipped=st.integers(0, 3), is_committed=st.booleans())
def test_batches_are_read_as_the_library_reads_them(
    log: tuple[bytes, list[tuple[int, int]], int], skipped: int, is_committed: bool
) -> None:
    """Whatever was committed and aborted, wherever in the first batch reading begins, in both isolations."""
    records, aborted, _ = log
    begin = skipped
    if records:
        (base,) = struct.unpack_from(">q", records)
        (last,) = struct.unpack_from(">i", records, 23)
        begin = base + min(skipped, last)
    theirs = PartitionRecords(
        TopicPartition(*PLACE),
        MemoryRecords(records),
        aborted,
        begin,
        None,
        None,
        True,
        int(is_committed),
    )
    expected = [(r.offset, r.key, r.value, list(r.headers), r.timestamp) for r in theirs]
    ours = batches.read(PLACE, records, begin=begin, aborted=aborted if is_committed else None)
    assert [(r.offset, r.key, r.value, list(r.headers), r.timestamp) for r in ours] == expected
    assert (batches.end_of(records) or begin) == theirs.next_fetch_offset


@given(log=logs(), cut=st.integers(1, 60))
def test_a_batch_that_is_cut_off_is_not_there_yet(
    log: tuple[bytes, list[tuple[int, int]], int], cut: int
) -> None:
    """The broker fills an answer up to its size: what does not fit whole is fetched again."""
    records, aborted, end = log
    more = batch(end, 3)
    cut_off = records + more[: len(more) - cut]
    assert batches.end_of(cut_off) == batches.end_of(records)
    read = batches.read(PLACE, cut_off, begin=0, aborted=aborted)
    assert read == batches.read(PLACE, records, begin=0, aborted=aborted)


def test_a_wrong_checksum_is_told() -> None:
    """A record is never made of bytes that were not written."""
    broken = bytearray(batch(0, 2))
    broken[-1] ^= 1
    with pytest.raises(kafka_errors.CorruptRecordException):
        batches.read(PLACE, bytes(broken), begin=0, aborted=())


def sealed(body: bytearray) -> bytes:
    """With the checksum of what it holds now."""
    struct.pack_into(">I", body, 17, calc_crc32c(bytes(body[21:])))
    return bytes(body)


def test_a_header_whose_name_is_no_text_stops_nobody() -> None:
    """A broker takes it: its record is read like every other, in the batch and behind it."""
    plain = batch(0, 3)
    body = bytearray(plain)
    body[body.index(b"\x02h\x021") + 1] = 0xFF
    read = batches.read(PLACE, sealed(body) + batch(3, 1), begin=0, aborted=())
    assert [list(record.headers) for record in read] == [
        [("h", b"0")],
        [("\N{REPLACEMENT CHARACTER}", b"1")],
        [("h", b"2")],
        [("h", b"0")],
    ]
    expected = batches.read(PLACE, plain + batch(3, 1), begin=0, aborted=())
    assert [r._replace(headers=()) for r in read] == [r._replace(headers=()) for r in expected]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_that_a_gateway_may_write_with_is_read(codec: str) -> None:
    """The producer chooses it, and some choose one unasked: without its library one batch would stop a partition."""
    number = ["none", "gzip", "snappy", "lz4", "zstd"].index(codec)
    builder = DefaultRecordBatchBuilder(2, number, 0, -1, 0, 0, 1 << 20)
    for n in range(50):
        builder.append(n, 1_000, b"k", b"the same again and again", [("h", None)])
    body = bytes(builder.build())
    assert struct.unpack_from(">h", body, 21) == (number,)
    read = batches.read(PLACE, body, begin=48, aborted=())
    assert [(r.offset, r.value) for r in read] == [
        (n, b"the same again and again") for n in (48, 49)
    ]


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5])
def test_a_batch_that_cannot_be_unpacked_is_told(codec: int) -> None:
    """Bytes that are not of their codec, a codec that nobody knows: an error of the partition, as a wrong checksum is."""
    body = bytearray(batch(0, 2))
    struct.pack_into(">h", body, 21, codec)
    with pytest.raises(kafka_errors.KafkaError):
        batches.read(PLACE, sealed(body), begin=0, aborted=())


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_of_old_formats_are_refused_by_name(magic: int) -> None:
    """What Kafka before 0.11 wrote has no producers, hence no transactions."""
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, 1_000, b"k", b"v")
    with pytest.raises(kafka_errors.CorruptRecordException, match=r"before Kafka 0\.11"):
        batches.read(PLACE, bytes(builder.build()), begin=0, aborted=())


def test_a_record_is_a_record_of_the_port() -> None:
    """It has every attribute of the Protocol."""
    names = {name for name, value in vars(Record).items() if isinstance(value, property)}
    (record,) = batches.read(PLACE, batch(4, 1), begin=0, aborted=())
    assert names == set(record._fields)
    assert (record.topic, record.partition, record.offset) == ("t", 0, 4)
