"""How a framework's process talks to the benchmark: from a thread, for the main one is the framework's."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from enforcer.bench.sampling import SAMPLE_S, rss_mb, say

if TYPE_CHECKING:
    from enforcer.bench.peers.job import Job

_STOP_S: Final = 20.0


class Reporter(threading.Thread):
    """
    Ready with the first decision; samples from then on; the report, and the end, when stdin ends.

    The framework ends as its guide says, by SIGTERM; a process that does not is ended.
    """

    def __init__(self, job: Job) -> None:
        """Begin at ``start``."""
        super().__init__(daemon=True, name="reporter")
        self._job = job
        self._samples: list[tuple[float, float, int]] = []
        # A framework that greets on stdout must not speak to the parent.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def run(self) -> None:
        """Until the parent closes our stdin, or dies."""
        told = threading.Event()
        threading.Thread(target=_read_to_end, args=(told,), daemon=True).start()
        while not self._job.count and not told.is_set():
            time.sleep(0.01)
        say({"ready": True}, self._out)
        while not told.wait(SAMPLE_S):
            self._samples.append((time.monotonic(), time.process_time(), self._job.count))
        report = {"samples": self._samples, "count": self._job.count, "rss_mb": rss_mb()}
        say(report, self._out)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_S)
        os._exit(0)


def _read_to_end(told: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    told.set()
