"""The measured processes, seen from the parent: start, wait until ready, stop, read what they measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

READY_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 60.0
_LINE_BYTES_MAX: Final = 16 << 20
_LOG_TAIL_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True)
class Rate:
    """What one process did in one window."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds (user and system, all threads) an event."""
        return self.cpu_s / self.events * 1e6 if self.events else 0.0


class Measured:
    """A process under measurement."""

    def __init__(self, process: asyncio.subprocess.Process, module: str, log: Path) -> None:
        """Take over a started process; ``started`` makes them."""
        self._process = process
        self._module = module
        self._log = log
        self.ready: dict[str, Any] = {}
        """What it said when it was ready."""
        self.report: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def said(self, timeout_s: float) -> dict[str, Any]:
        """Its next line. Raises UnavailableError with the end of its log if there is none."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            line = b""
        if not line:
            raise UnavailableError(
                f"{self._module} said nothing: {self._log.read_text()[-_LOG_TAIL_CHARACTERS:]}",
                code="measured_process",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> dict[str, Any]:
        """Tell it to stop, and return its report."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.report = await self.said(STOP_TIMEOUT_S)
        await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        return self.report

    async def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def started(
    module: str, task: dict[str, Any], directory: Path, *, python: Path | None = None
) -> AsyncIterator[Measured]:
    """
    Start ``enforcer.bench.<module>`` on *task* and wait until it is ready; it is gone afterwards.

    *python* runs it instead of our own.

    Raises: UnavailableError when it does not get ready.
    """
    log = directory / f"{module}.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            str(python or sys.executable),
            "-m",
            f"enforcer.bench.{module}",
            json.dumps(task),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LINE_BYTES_MAX,
            # Ctrl-C is for the parent, which ends its children in order.
            start_new_session=True,
        )
    measured = Measured(process, module, log)
    try:
        measured.ready = await measured.said(READY_TIMEOUT_S)
        yield measured
    finally:
        await measured.end()


def window(
    samples: Sequence[Sequence[float]],
    *,
    skip_s: float,
    events_max: float = float("inf"),
) -> Rate | None:
    """
    The rate between the first sample after *skip_s* and the last one below *events_max* events.

    Args:
        samples: Time, CPU seconds and count, as ``Sampler`` takes them.
        skip_s: Warm-up, from the first sample on.
        events_max: Where the input was about to end: what follows is no measurement.

    Returns: None where there are no two such samples.
    """
    if not samples:
        return None
    begin_s = samples[0][0] + skip_s
    usable = [s for s in samples if s[0] >= begin_s and s[2] < events_max]
    if len(usable) < 2:
        return None
    first, last = usable[0], usable[-1]
    return Rate(int(last[2] - first[2]), last[0] - first[0], last[1] - first[1])
