"""Free ports for the broker."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = "127.0.0.1"
_LOWEST = 20_000
_EPHEMERAL_DEFAULT = 32_768
_TRIES = 200


def is_free(port: int) -> bool:
    """Can a server listen on *port* of the loopback interface now?"""
    with socket.socket() as probe:
        # As the broker does: a connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(count: int, *, preferred: Iterable[int] = ()) -> list[int]:
    """
    Choose *count* free ports, the *preferred* ones first.

    They lie below the range from which the kernel takes ports for outgoing connections, so that no
    client's connection takes one between this choice and the broker's bind.

    Raises: UnavailableError, if there are not enough.
    """
    chosen: list[int] = []
    highest = _ephemeral_start() - 1
    tried = (random.randint(_LOWEST, highest) for _ in range(_TRIES))  # noqa: S311 — no secret
    for port in (*preferred, *tried):
        if len(chosen) == count:
            break
        if port not in chosen and is_free(port):
            chosen.append(port)
    if len(chosen) < count:
        raise UnavailableError(
            f"no free port between {_LOWEST} and {highest} on {HOST}",
            help="end some servers, or name a port: enforcer up --port N",
            code="no_port",
        )
    return chosen


def require(port: int) -> None:
    """Raises: UnavailableError, if *port* is taken or needs more rights."""
    if not 1 <= port <= 65_535 or not is_free(port):
        raise taken(port)


def taken(port: int) -> UnavailableError:
    """The error for a fixed port that cannot be had."""
    return UnavailableError(
        f"port {port} on {HOST} is taken",
        help="end what listens there, or name another: enforcer up --port N (without --port a free "
        "one is chosen)",
        code="port_taken",
    )


def _ephemeral_start() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        start = int(text.split()[0])
        if start > _LOWEST + 1_000:
            return start
    return _EPHEMERAL_DEFAULT
