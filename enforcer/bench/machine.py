"""What machine it was, and who else was using it."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since the boot: of everybody, stolen by the host, and of the broker."""

    at_s: float
    busy_s: float
    steal_s: float
    broker_s: float


def read(broker_pid: int | None) -> Reading:
    """The state now. *broker_pid* is None for a broker that is not ours to look at."""
    times = psutil.cpu_times()
    steal_s = getattr(times, "steal", 0.0)
    # Guests are part of user and nice already; time spent waiting for a disk is idle.
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    broker_s = 0.0
    if broker_pid is not None:
        with suppress(psutil.Error):
            broker = psutil.Process(broker_pid).cpu_times()
            broker_s = broker.user + broker.system
    return Reading(time.monotonic(), sum(times) - idle_s - steal_s - guests_s, steal_s, broker_s)


def load(before: Reading, after: Reading, own_cpu_s: float) -> dict[str, float]:
    """
    Cores in use between two readings: the broker's, stolen, and everybody else's.

    Args:
        before: At the beginning.
        after: At the end.
        own_cpu_s: What the measured processes themselves used.
    """
    took_s = max(1e-3, after.at_s - before.at_s)
    broker_s = after.broker_s - before.broker_s
    other_s = after.busy_s - before.busy_s - broker_s - own_cpu_s
    return {
        "broker_cores": broker_s / took_s,
        "steal_cores": (after.steal_s - before.steal_s) / took_s,
        "other_cores": max(0.0, other_s / took_s),
    }


def describe(jvm_flags: tuple[str, ...]) -> dict[str, object]:
    """Cores, memory, Python and the broker's JVM."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jvm": " ".join(jvm_flags) or "not ours",
    }


def children(pid: int) -> list[int]:
    """The process ids of its living children."""
    return [child.pid for child in psutil.Process(pid).children()]


def used(pid: int) -> tuple[float, float]:
    """CPU seconds since its start, and resident memory, MiB, of a process."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return times.user + times.system, process.memory_info().rss / 2**20
