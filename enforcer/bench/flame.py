"""
Where a process spends its time: its stacks, read from outside by py-spy (extra ``flame``) some hundred times a second.

The figures of a benchmark do not suffer from it: a graph is of a round of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from enforcer.bench.flame_graph import as_lines, folded, svg
from enforcer.errors import ConfigError, UnavailableError

RATE_HZ: Final = 250
_STOP_S: Final = 30.0


def check(file: Path) -> None:
    """
    Whether a graph can be made and written to *file*.

    Raises: ConfigError when the extra is not installed, or *file* cannot be.
    """
    if _py_spy() is None:
        raise ConfigError(
            "a flame graph needs py-spy", help="pip install 'llm-enforcer[flame]'", code="no_py_spy"
        )
    if file.suffix not in {".svg", ".folded"}:
        raise ConfigError(
            f"no such kind of flame graph: {file.name}",
            help="name a .svg (a picture) or a .folded (stacks and samples, for other tools)",
        )
    if not file.resolve().parent.is_dir():
        raise ConfigError(f"there is no directory {file.parent}", help="make it first")


def _py_spy() -> str | None:
    """Beside our Python, else on the path."""
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


async def record(pid: int, file: Path, *, seconds: float, title: str) -> None:
    """
    Look at the process *pid* for so long, and write its flame graph.

    Raises: UnavailableError when it may not be looked at.
    """
    command = _py_spy()
    assert command is not None, "checked before the benchmark began"
    with tempfile.TemporaryDirectory(prefix="enforcer-flame-") as directory:
        raw = Path(directory) / "raw"
        process = await asyncio.create_subprocess_exec(
            *(command, "record", "--pid", str(pid), "--format", "raw", "--output", str(raw)),
            *("--rate", str(RATE_HZ), "--duration", str(max(1, round(seconds)))),
            *("--nolineno", "--nonblocking"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C is for the parent.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds + _STOP_S):
                _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode or not raw.exists():
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise UnavailableError(
                f"py-spy could not look into the worker: {''.join(last)}",
                help="it needs the right to trace: root, or kernel.yama.ptrace_scope=0",
                code="py_spy",
            )
        stacks = folded(raw.read_text(encoding="utf-8", errors="replace"))
    text = svg(stacks, title) if file.suffix == ".svg" else as_lines(stacks)
    await asyncio.to_thread(file.write_text, text, encoding="utf-8")
