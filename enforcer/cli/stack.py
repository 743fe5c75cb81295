"""``up``, ``down`` and ``status``: the local stack alone."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.output import OutputFormat, OutputOption, console, emit, is_animated, note
from enforcer.config import Settings
from enforcer.errors import UnavailableError
from enforcer.local import Progress, Stack, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXTS = {
    "download": "downloading Kafka",
    "format": "preparing its directory",
    "start": "starting Kafka",
    "stop": "stopping Kafka",
    "train": "making the next starts faster (once, Ctrl-C skips it)",
}


def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Listen here; otherwise on the last or a free port."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Start the local Kafka and return when it takes records; if it runs already, say where.

    The first time it downloads 45 MB of jars, verifies them and keeps them. Everything listens on
    127.0.0.1 only. The data stays between starts.
    """
    begun_s = time.monotonic()
    stack = Stack.from_settings(Settings.load(), port=port)
    with progress_shown() as progress:
        running = stack.start(progress=progress)
    if output is not OutputFormat.TABLE:
        emit(running, output)
        return
    took = f"ready in {time.monotonic() - begun_s:.1f} s" if running.started else "ran already"
    emit({"bootstrap": running.bootstrap, "pid": running.pid}, output)
    note(f"Kafka {took}; verbs find it by themselves, `enforcer down` stops it")


def down(output: OutputOption = OutputFormat.TABLE) -> None:
    """
    Stop the local Kafka. It leaves no process behind; its data stays for the next `enforcer up`.

    After the very first run this takes some seconds more, for it prepares faster starts.
    """
    stack = Stack.from_settings(Settings.load())
    with progress_shown() as progress:
        stopped = stack.stop(progress=progress)
    if output is not OutputFormat.TABLE:
        emit({"stopped": stopped}, output)
        return
    note("Kafka is stopped" if stopped else "Kafka did not run")


def status(output: OutputOption = OutputFormat.TABLE) -> int:
    """Say whether the local Kafka runs, and where. Exit code 0 if it runs, 8 if not."""
    found = Stack.from_settings(Settings.load()).status()
    emit(found, output)
    if output is OutputFormat.TABLE and not found.running:
        note("help: enforcer up")
    return 0 if found.running else UnavailableError.exit_code


@contextlib.contextmanager
def progress_shown() -> Iterator[Progress]:
    """
    Show the steps of a start or stop on stderr: bars on a terminal, a line a step elsewhere.

    The demo uses it too.
    """
    if not is_animated():
        yield _lines()
        return
    from rich.progress import (  # noqa: PLC0415 — only a terminal pays for it
        BarColumn,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415 — as above

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: Step) -> None:
            total = step.total or None
            if step.name not in tasks:
                tasks[step.name] = bars.add_task(_TEXTS[step.name], total=total, amount="")
            bars.update(tasks[step.name], completed=step.done, total=total, amount=_amount(step))

        yield show


def _amount(step: Step) -> str:
    if step.unit != "bytes":
        return ""
    return f"{step.done / 1e6:.1f} of {step.total / 1e6:.1f} MB"


def _lines() -> Progress:
    told: set[str] = set()

    def show(step: Step) -> None:
        if step.name not in told:
            told.add(step.name)
            note(f"{_TEXTS[step.name]} …")

    return show
