"""The probe's bytes, against another reader; and what it says of a server that is no broker."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from enforcer.local import ports, probe


def test_crc32c_of_its_specification() -> None:
    """The check value of CRC-32C, and two vectors of RFC 3720."""
    assert probe.crc32c(b"123456789") == 0xE3069283
    assert probe.crc32c(bytes(32)) == 0x8A9136AA
    assert probe.crc32c(b"\xff" * 32) == 0x62A8AB43


@given(value=st.binary(min_size=0, max_size=50), time_ms=st.integers(0, 2**42))
def test_the_record_batch_is_read_by_another_reader(value: bytes, time_ms: int) -> None:
    """A Kafka client's own reader finds the checksum right and the one record in it."""
    batch = DefaultRecordBatch(probe._record_batch(value, time_ms=time_ms))

    assert batch.validate_crc()
    (found,) = list(batch)
    assert (found.key, found.value, found.timestamp, found.offset) == (None, value, time_ms, 0)


def test_nobody_listening_is_an_oserror() -> None:
    """A broker that has not bound its port yet: try again."""
    (port,) = ports.choose(1)

    with pytest.raises(OSError, match="refused"):
        probe.prove_ready(port)


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x00\x04\x00\x00\x00\x63"])
def test_a_server_that_is_no_broker_is_not_ready(answer: bytes) -> None:
    """A connection that closes, or an answer to another request, proves nothing."""
    with socket.create_server((ports.HOST, 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(probe.NotReadyError):
            probe.prove_ready(server.getsockname()[1], timeout_s=2)
        thread.join()


def test_a_silent_server_does_not_hold_the_probe() -> None:
    """A server that accepts and says nothing costs the time limit, no more."""
    with (
        socket.create_server((ports.HOST, 0)) as server,
        pytest.raises(TimeoutError),
    ):
        probe.prove_ready(server.getsockname()[1], timeout_s=0.1)
