"""A demo's own place: its lock, its prefix, the record of the last run, and the end of older ones."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from enforcer.local import files, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from enforcer.broker import Broker

PREFIX: Final = "demo-"
_LOCK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class LastDemo:
    """What ``last-demo.json`` says; ``replay --last-demo`` reads it."""

    prefix: str
    bootstrap: str
    partitions: int
    started_s: float
    seconds: float
    requests: int


def new_prefix(now_s: float | None = None) -> str:
    """``demo-<date>-<time>``; one demo at a time runs from one home, so that no two are equal."""
    return PREFIX + time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_s))


def directory(home: Path) -> Path:
    """Where demos keep worker state, log and lock."""
    return home / "demo"


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """
    Hold the lock: a second demo of the same home would take the first one's topics away.

    Raises: UnavailableError, naming the process that holds it.
    """
    place = directory(home)
    files.ensure_directory(place)
    with files.locked(place / "lock", what="running a demo", timeout_s=_LOCK_S):
        yield


def record(home: Path, last: LastDemo) -> None:
    """Write ``last-demo.json``. Raises: UnavailableError."""
    with files.explained(home):
        files.write_whole(home / "last-demo.json", json.dumps(asdict(last), indent=2) + "\n")


async def forget_others(broker: Broker, bootstrap: str, keep: str) -> int:
    """Delete the topics of all demos but *keep*; returns how many topics that were."""
    port = int(bootstrap.rpartition(":")[2])
    # A broker that does not answer keeps them; the next demo will ask again.
    with contextlib.suppress(OSError, probe.NotReadyError):
        old = [
            name
            for name in probe.topics(port)
            if name.startswith(PREFIX) and not name.startswith(f"{keep}.")
        ]
        await broker.delete_topics(old)
        return len(old)
    return 0
