"""The demo's worker: a real process, asked over HTTP how it is, ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enforcer.config import environment_without
from enforcer.errors import UnavailableError
from enforcer.local import files, ports, processes

if TYPE_CHECKING:
    from pathlib import Path

READY_S: Final = 60.0
STOP_GRACE_S: Final = 20.0
"""A drain may take 10 s and what is closed after it some more."""
_POLL_S: Final = 0.05
_HTTP_S: Final = 2.0
_TAIL_BYTES: Final = 8_192
_TELLING: Final = range(2, 11)
"""Exit codes of ours that say more than 8, unavailable, does."""
# They would lead the worker to another broker than the demo's.
_VARIABLES: Final = ("ENFORCER_BOOTSTRAP", "ENFORCER_PREFIX", "ENFORCER_KAFKA_CONFIG")


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the worker decides, and how many of its partitions do by now."""

    is_ready: bool = False
    deciding: int = 0
    partitions: int = 0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the worker's metrics say; *commit_s* is the sum over all commits."""

    commits: float
    commit_s: float
    lag_records: float
    lag_s: float


class DemoWorker:
    """
    One worker process with its own state directory, its log in a file beside it.

    It has a session of its own: Ctrl-C on the terminal reaches the demo alone, which then drains it.
    """

    def __init__(self, directory: Path, *, bootstrap: str, prefix: str) -> None:
        self.log = directory / "worker.log"
        self._directory = directory
        self._state_dir = directory / "worker"
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start the process; end one that a killed demo left behind.

        Raises: UnavailableError.
        """
        for pid in processes.find(str(self._state_dir)):
            processes.stop(pid, marker=str(self._state_dir), grace_s=STOP_GRACE_S)
        (self._port,) = ports.choose(1)
        with files.explained(self._directory):
            # Tables of an earlier run belong to topics that are gone.
            shutil.rmtree(self._state_dir, ignore_errors=True)
            self._directory.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 — our own interpreter and arguments
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._directory,
                    env=environment_without(*_VARIABLES),
                    start_new_session=True,
                )

    def _command(self) -> list[str]:
        # -P: a module in the working directory must not stand in for one of ours.
        return [
            *(sys.executable, "-P", "-m", "enforcer.cli", "worker"),
            *("--bootstrap", self._bootstrap, "--prefix", self._prefix),
            *("--state-dir", str(self._state_dir), "--metrics-port", str(self._port)),
        ]

    async def readiness(self) -> Readiness:
        """How far it has come."""
        status, body = await self._get("/ready")
        if status == 200:
            return Readiness(is_ready=True)
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            states = json.loads(body)["partitions"].values()
            return Readiness(False, sum(state == "deciding" for state in states), len(states))
        return Readiness()

    async def pulse(self) -> Pulse | None:
        """Its metrics; None if it does not answer."""
        status, body = await self._get("/metrics")
        return read_pulse(body) if status == 200 else None

    async def ended(self) -> UnavailableError:
        """Wait until the process has ended, and tell why as an error."""
        assert self._process is not None, "start first"
        return self._death(await _status_of(self._process))

    async def stop(self) -> None:
        """
        Drain it: SIGTERM, and SIGKILL where that takes too long. Safe to call twice.

        Raises: UnavailableError, if it did not end by itself or not well.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_GRACE_S):
                await _status_of(process)
        except TimeoutError:
            raise UnavailableError(
                f"the worker did not drain within {STOP_GRACE_S:.0f} s and was killed",
                help=f"its log: {self.log}",
                code="worker_stuck",
            ) from None
        finally:
            self.kill()
        if process.returncode:
            raise self._death(process.returncode)

    def kill(self) -> None:
        """End it now, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _death(self, status: int) -> UnavailableError:
        how = f"signal {-status}" if status < 0 else f"code {status}"
        error = UnavailableError(
            f"the worker ended with {how}: {last_line(self.log)}",
            help=f"its log: {self.log}",
            code="worker_ended",
        )
        if status in _TELLING:
            error.exit_code = status
        return error

    async def _get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 if nobody answers."""
        with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
            async with asyncio.timeout(_HTTP_S):
                reader, writer = await asyncio.open_connection(ports.HOST, self._port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {ports.HOST}\r\n\r\n".encode())
                    answer = (await reader.read()).decode()
                finally:
                    writer.close()
            head, _, body = answer.partition("\r\n\r\n")
            return int(head.split(" ", 2)[1]), body
        return 0, ""


def read_pulse(exposition: str) -> Pulse:
    """The figures of *exposition*, in Prometheus's text form; 0 for one that is not there."""
    found = dict.fromkeys(("enforcer_commits_total", "enforcer_commit_seconds_sum"), 0.0)
    lag_records = lag_s = 0.0
    for line in exposition.splitlines():
        name, _, number = line.rpartition(" ")
        if name in found:
            found[name] = float(number)
        elif name.startswith("enforcer_lag_records{"):
            lag_records += float(number)
        elif name.startswith("enforcer_lag_seconds{"):
            lag_s = max(lag_s, float(number))
    commits, commit_s = found.values()
    return Pulse(commits, commit_s, lag_records, lag_s)


def last_line(log: Path) -> str:
    """The last line of *log* that says something, cut to 300 characters."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        # An error is told as one line and a help line; the first says what happened.
        told = [line for line in lines if line.startswith("error[")]
        if lines:
            return _readable((told or lines)[-1].strip())[:300]
    return "it has logged nothing"


def _readable(line: str) -> str:
    """A JSON log line as its event's name; any other as it is."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return f"it last logged `{json.loads(line)['event']}`"
    return line


async def _status_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for its end without asyncio's child watcher: the process outlives the event loop's end."""
    while (status := process.poll()) is None:  # noqa: ASYNC110 — a process sets no event
        await asyncio.sleep(_POLL_S)
    return status
