"""
What every measured process does beside its work: count, say so at the end, and end with its parent.

A measured process gets its task as JSON in its only argument. It writes two lines of JSON to stdout: one when it is
ready, one with its samples when it has been told to stop, which is the end of its stdin. So it ends too when its
parent is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_S: Final = 0.1
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def task() -> dict[str, Any]:
    """What this process is to do."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def say(value: dict[str, Any], out: TextIO | None = None) -> None:
    """One line to the parent; to *out* where stdout is another's."""
    out = out or sys.stdout
    out.write(json.dumps(value) + "\n")
    out.flush()


def rss_mb() -> float:
    """The largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**20


def stopped_by_parent() -> asyncio.Event:
    """An event that is set when the parent closes our stdin, or dies."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stopped.set()

    loop.add_reader(0, readable)
    return stopped


class Sampler:
    """Time, CPU seconds and count, ten times a second."""

    def __init__(self, count: Callable[[], int]) -> None:
        """*count* gives the events so far; it is called ten times a second."""
        self._count = count
        self.samples: list[tuple[float, float, int]] = []

    async def run(self) -> None:
        """Take samples until cancelled. A late one carries the time it was taken at."""
        while True:
            self.samples.append((time.monotonic(), time.process_time(), self._count()))
            await asyncio.sleep(SAMPLE_S)
