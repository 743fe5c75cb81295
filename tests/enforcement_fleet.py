"""Worker processes of a test: started, signalled, started again, and none left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parent / "enforcement_worker.py"


@dataclass(slots=True)
class Fleet:
    """Worker processes, each started again when it ends, as a supervisor would."""

    options: dict[str, Any]
    directory: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    exits: list[tuple[str, int]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    """Those that are not to be started again yet."""
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options of the next start of each, and of that one alone."""

    def start(self, name: str) -> None:
        """Start the worker *name* on its own state directory."""
        own = {"name": name, "state_dir": str(self.directory / name)}
        options = {**self.options, **own, **self.more.pop(name, {})}
        self.ready_file(name).unlink(missing_ok=True)
        command = [sys.executable, str(WORKER), json.dumps(options)]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def ready_file(self, name: str) -> Path:
        """Where the process of *name* says that it decides."""
        return self.directory / name / "ready"

    async def keep(self) -> None:
        """Start what has ended; until cancelled."""
        while True:
            for name, process in list(self.processes.items()):
                code = process.poll()
                if code is not None and name not in self.held:
                    self.exits.append((name, code))
                    self.start(name)
            await asyncio.sleep(0.05)

    def running(self) -> list[str]:
        """Those whose process runs."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def restores_ms(self) -> list[int]:
        """How long each takeover took, as the workers' logs say."""
        found: list[int] = []
        for log in sorted(self.directory.glob("*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if '"agent_ready"' in line:
                    with contextlib.suppress(ValueError, KeyError):
                        found.append(int(json.loads(line)["took_ms"]))
        return found

    async def until_ready(self, *names: str) -> None:
        """Return when all of these own partitions and decide them."""
        async with asyncio.timeout(60):
            while not all(self.ready_file(name).exists() for name in names):  # noqa: ASYNC110 — another process
                await asyncio.sleep(0.05)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process of *name*, if it runs."""
        with contextlib.suppress(ProcessLookupError):
            self.processes[name].send_signal(number)

    async def end(self) -> list[int]:
        """Stop those that run by SIGTERM; the codes with which they ended."""
        running = [self.processes[name] for name in self.running()]
        for process in running:
            process.send_signal(signal.SIGTERM)
        codes = []
        for process in running:
            try:
                codes.append(await asyncio.to_thread(process.wait, 30))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(await asyncio.to_thread(process.wait))
        return codes

    def kill(self) -> None:
        """Whatever happened, leave nothing behind."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
