"""Requests and answers over a connection that the library opened."""

from __future__ import annotations

import asyncio
import struct

import pytest
from aiokafka import errors as kafka_errors
from hypothesis import given
from hypothesis import strategies as st

from enforcer.broker.line import FRAME_BYTES_MAX, Line, Question
from tests.unit.broker.fake_kafka import Connection

ECHO = Question(0, 7, bytes)


def asked(line: Line, count: int) -> list[bytes | Exception]:
    got: list[bytes | Exception] = []
    for n in range(count):
        line.ask(ECHO, b"%d" % n, answered=got.append, lost=got.append)
    return got


@given(
    answers=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 60)),
)
def test_answers_arrive_in_order_however_the_bytes_are_cut(
    answers: list[bytes], cuts: list[int]
) -> None:
    """A transport knows no frames: it may deliver half of one, or three and a half."""
    connection = Connection()
    line = Line(connection)
    got = asked(line, len(answers))
    stream = b"".join(connection.frame(answer) for answer in answers)
    for size in [*cuts, len(stream)]:
        if stream[:size]:
            line.data_received(stream[:size])
        stream = stream[size:]
    assert got == answers


def test_an_answer_is_handed_over_in_the_turn_in_which_it_comes() -> None:
    """With no event loop there is no other turn."""
    connection = Connection()
    got = asked(Line(connection), 1)
    connection.answer(b"told")
    assert got == [b"told"]


def test_what_waits_is_told_when_the_connection_is_lost_and_so_is_the_library() -> None:
    """Nothing can be asked afterwards."""
    connection = Connection()
    line = Line(connection)
    got = asked(line, 2)
    connection.close()
    assert [type(each) for each in got] == [kafka_errors.KafkaConnectionError] * 2
    assert connection.told == ["lost"]
    with pytest.raises(kafka_errors.KafkaConnectionError):
        asked(line, 1)


def test_a_connection_that_was_reset_takes_no_question_though_the_library_thinks_it_open() -> None:
    """It would neither be answered nor lost; nor would it by another line over the same connection."""
    connection = Connection()
    line = Line(connection)
    got = asked(line, 1)
    connection.reset()
    assert connection.connected()
    assert [type(each) for each in got] == [kafka_errors.KafkaConnectionError]
    for each in (line, Line(connection)):
        with pytest.raises(kafka_errors.KafkaConnectionError):
            asked(each, 1)


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">ii", 4, 9),
        struct.pack(">i", FRAME_BYTES_MAX + 1),
        struct.pack(">i", -1),
    ],
)
def test_what_is_no_answer_to_us_ends_the_connection(stream: bytes) -> None:
    """Another's number, or a length that cannot be: what follows could be anything."""
    connection = Connection()
    line = Line(connection)
    got = asked(line, 1)
    line.data_received(stream)
    assert not line.is_open
    assert isinstance(got[0], kafka_errors.KafkaConnectionError)


def test_an_answer_that_cannot_be_read_is_lost_and_so_are_those_after_it() -> None:
    """The reader of answers says so by the errors of struct."""
    connection = Connection()
    line = Line(connection)
    got: list[object] = []
    number = Question(0, 7, struct.Struct(">i").unpack)
    line.ask(number, b"", answered=got.append, lost=got.append)
    line.ask(number, b"", answered=got.append, lost=got.append)
    connection.answer(b"\0")
    assert [type(each) for each in got] == [kafka_errors.KafkaConnectionError] * 2


def test_a_version_that_the_broker_does_not_offer_is_not_sent() -> None:
    """It would answer by closing the connection."""
    connection = Connection()
    line = Line(connection)
    with pytest.raises(kafka_errors.IncompatibleBrokerVersion):
        line.ask(Question(0, 14, bytes), b"", answered=print, lost=print)
    with pytest.raises(kafka_errors.IncompatibleBrokerVersion):
        line.ask(Question(99, 0, bytes), b"", answered=print, lost=print)
    assert connection.sent == []


async def test_what_waits_is_lost_by_a_close_though_the_peer_reads_nothing() -> None:
    """A host that is gone acknowledges nothing for a quarter of an hour: the rest of a request is not waited for."""
    is_over = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket
        await is_over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    connection = Connection()
    connection._writer = writer
    connection._protocol = writer.transport.get_protocol()
    connection.close = writer.close  # type: ignore[method-assign]
    line = Line(connection)
    lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    line.ask(ECHO, b"x" * (32 << 20), answered=lambda _: None, lost=lost.set_result)
    await asyncio.sleep(0)
    assert writer.transport.get_write_buffer_size() > 0
    line.close()
    assert isinstance(await asyncio.wait_for(lost, 5), kafka_errors.KafkaConnectionError)
    is_over.set()
    server.close()
