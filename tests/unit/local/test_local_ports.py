"""Free ports."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.errors import UnavailableError
from enforcer.local import ports


@pytest.fixture
def listening():
    """A port on which somebody listens."""
    with socket.socket() as server:
        server.bind((ports.HOST, 0))
        server.listen()
        yield server.getsockname()[1]


@given(count=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_chosen_ports_are_distinct_free_and_below_the_ephemeral_range(count: int) -> None:
    """No two are the same, each can be listened on, and no outgoing connection takes one."""
    chosen = ports.choose(count)

    assert len(set(chosen)) == len(chosen) == count
    assert all(20_000 <= port < ports._ephemeral_start() for port in chosen)


def test_preferred_ports_come_first() -> None:
    """A restart gets the ports that it had, so that clients find it again."""
    first = ports.choose(2)

    assert ports.choose(2, preferred=first) == first
    assert len(set(ports.choose(2, preferred=[first[0], first[0]]))) == 2


def test_a_taken_port_is_never_chosen(listening: int) -> None:
    """A preferred port that somebody took is passed over."""
    assert not ports.is_free(listening)
    assert listening not in ports.choose(2, preferred=[listening])


def test_a_port_in_time_wait_is_free() -> None:
    """Connections of the last broker that still linger do not make its port taken."""
    with socket.socket() as server:
        # As the broker's own listener has it.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ports.HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection((ports.HOST, port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)

    assert ports.is_free(port)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_what_is_no_port_is_refused(port: int) -> None:
    """A number outside the range is an error with exit code 8, not an OverflowError."""
    with pytest.raises(UnavailableError):
        ports.require(port)


def test_a_fixed_port_that_is_taken_is_named(listening: int) -> None:
    """The error names the port and the way out."""
    with pytest.raises(UnavailableError) as caught:
        ports.require(listening)

    assert caught.value.code == "port_taken"
    assert str(listening) in caught.value.message
    assert "--port" in caught.value.help


def test_no_free_port_at_all_ends(monkeypatch) -> None:
    """The search is bounded."""
    monkeypatch.setattr(ports, "is_free", lambda _: False)

    with pytest.raises(UnavailableError) as caught:
        ports.choose(1)

    assert caught.value.code == "no_port"
