"""What can be seen of a worker from outside: its processes' memory and files, its directories, its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]

from enforcer.errors import UnavailableError
from enforcer.local import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from enforcer.bench.site import Place

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_READY_TIMEOUT_S: Final = 120.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
_MIB: Final = 2**20


def memory_mb(pid: int) -> dict[str, float]:
    """Resident, proportional (what is shared, divided) and unique memory of one process, MiB; nothing of one that is gone."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(pid).memory_full_info()
        return {
            "rss": found.rss / _MIB,
            "pss": getattr(found, "pss", found.rss) / _MIB,
            "uss": found.uss / _MIB,
        }
    return {}


def resident_mb(pid: int) -> float:
    """Resident memory of one process, MiB, without looking at each of its pages; 0 of one that is gone."""
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).memory_info().rss / _MIB)
    return 0.0


def largest_mb(pid: int) -> float:
    """The most that was ever resident of one process, MiB; 0 where the system does not say, or it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def mapped_mb(pid: int) -> dict[str, float]:
    """Resident memory of one process by what is mapped, MiB: the C heap, other anonymous memory, and files (libraries)."""
    found = {"heap": 0.0, "anonymous": 0.0, "files": 0.0}
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).memory_maps(grouped=True):
            kind = {"[heap]": "heap", "[anon]": "anonymous"}.get(each.path, "files")
            found[kind] += each.rss / _MIB
    return found


def open_files(pid: int) -> int:
    """Descriptors of one process; 0 of one that is gone."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).num_fds())
    return 0


def disk_mb(directory: Path, *, prefix: str = "") -> float:
    """MiB that the files under *directory* take, of its entries that begin with *prefix*. Files may go meanwhile."""
    return sum(_sizes(directory, prefix)) / _MIB


def _sizes(directory: Path, prefix: str) -> Iterator[int]:
    for entry in directory.glob(f"{prefix}*"):
        if entry.is_file():
            with contextlib.suppress(OSError):
                yield entry.stat().st_blocks * 512
        for place, _, names in os.walk(entry):
            for name in names:
                with contextlib.suppress(OSError):
                    yield os.stat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH116, PTH118 — a walk of thousands


class Command:
    """``enforcer worker`` as a user runs it, in a session of its own, with its metrics."""

    def __init__(self, where: Place, name: str, *options: str) -> None:
        (self._port,) = ports.choose(1)
        self.state_dir = where.directory / name
        self._where, self._options = where, options
        self._log = where.directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process; it must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Its living child processes: the readers of long texts."""
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    @property
    def exit_code(self) -> int | None:
        """None as long as it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start it, and return when every partition decides. Raises UnavailableError with the end of its log."""
        where = self._where
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "enforcer.cli", "worker"),
                *("--bootstrap", where.bootstrap, "--prefix", where.prefix),
                *("--state-dir", str(self.state_dir), "--metrics-port", str(self._port)),
                *self._options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                while self._process.returncode is None and not await self._is_ready():  # noqa: ASYNC110 — another process
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        else:
            if self._process.returncode is None:
                return
        raise UnavailableError(
            f"the worker did not get ready: {self.last_lines()}", code="measured_process"
        )

    async def _is_ready(self) -> bool:
        return (await self._get("/ready")).startswith("HTTP/1.1 200")

    async def metrics(self) -> dict[str, dict[str, float]]:
        """Values by name, and by labels as they are written; nothing when it does not answer."""
        found: dict[str, dict[str, float]] = {}
        for name, labels, value in _SAMPLE.findall(await self._get("/metrics")):
            found.setdefault(name, {})[labels] = float(value)
        return found

    async def _get(self, path: str) -> str:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                body = await reader.read()
                writer.close()
                return body.decode()
        return ""

    async def stop(self) -> None:
        """Let it drain and end; a worker that does not is killed, and the others of its session with it."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def last_lines(self) -> str:
        """The end of its log."""
        return self._log.read_text()[-600:] if self._log.exists() else ""


@contextlib.asynccontextmanager
async def running(where: Place, name: str, *options: str) -> AsyncIterator[Command]:
    """A worker that is ready; gone afterwards."""
    command = Command(where, name, *options)
    try:
        await command.start()
        yield command
    finally:
        await command.stop()
