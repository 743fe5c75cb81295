"""What is done to a fleet of worker processes and to its broker, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from enforcement_points import DIED_AT, POINTS

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from enforcement_fleet import Fleet

    from enforcer.broker import KafkaBroker
    from enforcer.local import Stack

SESSION_S = 6
WORKERS = 3
DIES_S = 45.0
"""A worker that is to die by itself has done so by then."""


class Faults:
    """Each method is a fault by its name; ``point:NAME:WHEN`` is a death at a point of ``enforcement_points``."""

    def __init__(
        self,
        fleet: Fleet,
        broker: KafkaBroker,
        prefix: str,
        *,
        stack: Stack | None,
        rng: random.Random,
    ) -> None:
        self._fleet = fleet
        self._broker = broker
        self._prefix = prefix
        self._stack = stack
        self._rng = rng
        self.struck: list[tuple[str, int]] = []
        """What was done, and when, ms since the epoch."""

    async def strike(self, fault: str) -> None:
        """Do *fault*."""
        name, _, rest = fault.partition(":")
        await getattr(self, name)(*filter(None, rest.split(":")))

    def _now(self, what: str) -> None:
        self.struck.append((what, int(time.time() * 1000)))

    async def kill(self) -> None:
        """SIGKILL, and started again, now or a little later."""
        name = await self._ready_one()
        self._fleet.held.add(name)
        self._now("kill")
        self._fleet.signal(name, signal.SIGKILL)
        await asyncio.sleep(self._rng.choice((0.0, 0.5, SESSION_S + 1.0)))
        self._fleet.held.discard(name)

    async def point(self, point: str = "", when: str = "before") -> None:
        """SIGKILL, and the next life of that worker ends at a point of its takeover or of a commit."""
        point = point or self._rng.choice(list(POINTS))
        name = await self._ready_one()
        mark = self._fleet.directory / name / DIED_AT
        mark.unlink(missing_ok=True)
        # A takeover's points are met with the first partition; a commit's while it decides.
        countdown = 1 if point.startswith("takeover") else self._rng.randrange(20, 60)
        self._fleet.more[name] = {"die_at": [point, when, countdown]}
        self._fleet.signal(name, signal.SIGKILL)
        async with asyncio.timeout(DIES_S):
            while not mark.exists():  # noqa: ASYNC110 — another process
                await asyncio.sleep(0.02)
        self._now(f"point {point} {when}")

    async def zombie(self) -> None:
        """Stopped for longer than its session, then woken: it must end before it sends."""
        name = await self._ready_one()
        process = self._fleet.processes[name]
        self._now("zombie")
        self._fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(SESSION_S + 2)
        self._fleet.signal(name, signal.SIGCONT)
        assert await self._end_of(process) not in (None, 0), "a zombie went on"

    async def deaf(self) -> None:
        """It loses its seat unnoticed and goes on deciding what is others' now."""
        name = await self._ready_one()
        self._now("deaf")
        self._fleet.signal(name, signal.SIGUSR1)
        await asyncio.sleep(SESSION_S + 2)

    async def refused(self) -> None:
        """The broker takes everything but records of the ledger, for a moment."""
        audit = f"{self._prefix}.audit"
        self._now("refused")
        await self._broker.alter_topic_configs({audit: {"max.message.bytes": "100"}})
        await asyncio.sleep(1.0)
        await self._broker.alter_topic_configs({audit: {"max.message.bytes": "2097152"}})

    async def disk(self) -> None:
        """No file of one worker may grow any more: its tables cannot be written, and it must end by itself."""
        name = await self._ready_one()
        process = self._fleet.processes[name]
        log = self._fleet.directory / f"{name}.log"
        room = log.stat().st_size + 16_384  # So that it can still say why.
        self._now("disk")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, room))
        assert await self._end_of(process) not in (None, 0), "a worker without a disk went on"

    async def broker(self) -> None:
        """SIGKILL of the broker, and started again on what it has left."""
        assert self._stack is not None, "only a broker of our own is killed"
        pid = self._stack.status().pid
        assert pid is not None
        self._now("broker")
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(self._stack.start)

    async def stop(self) -> None:
        """A planned stop, and started again: partitions move away and back."""
        name = await self._ready_one()
        self._now("stop")
        self._fleet.signal(name, signal.SIGTERM)

    async def scale(self) -> None:
        """Down to one worker, up to four, down to two, and back to as many as there were."""
        self._now("scale")
        for count in (1, 4, 2, WORKERS):
            await self._scale_to(count)
            await asyncio.sleep(2.0)

    async def _scale_to(self, count: int) -> None:
        names = [f"w{number}" for number in range(max(count, 4))]
        for name in names[count:]:
            if name in self._fleet.processes and name not in self._fleet.held:
                self._fleet.held.add(name)
                self._fleet.signal(name, signal.SIGTERM)
        for name in names[:count]:
            process = self._fleet.processes.get(name)
            if process is not None and name in self._fleet.held:
                await asyncio.to_thread(process.wait, 30)
            self._fleet.held.discard(name)
            if process is None:
                self._fleet.start(name)

    async def _end_of(self, process: subprocess.Popen[bytes]) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, DIES_S)
        return process.poll()

    async def _ready_one(self) -> str:
        """One that owns partitions and decides: only such a one has work in flight."""
        async with asyncio.timeout(90):
            while True:
                ready = [n for n in self._fleet.running() if self._ready_file(n).exists()]
                if ready:
                    return self._rng.choice(ready)
                await asyncio.sleep(0.1)

    def _ready_file(self, name: str) -> Path:
        return self._fleet.ready_file(name)


def all_points() -> list[str]:
    """Every point, before and after, as faults."""
    return [f"point:{point}:{when}" for point in POINTS for when in ("before", "after")]


MIX: tuple[Any, ...] = (
    "kill", "zombie", "point", "broker", "point", "disk", "kill", "deaf", "point", "refused",
    "scale", "stop", "point",
)  # fmt: skip
"""One round of ``make chaos``; the points take turns."""
