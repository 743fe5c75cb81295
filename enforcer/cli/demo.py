"""``demo``: everything on this machine, live traffic, and a reckoning at the end."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli import demo_runs
from enforcer.cli.demo_signals import Signals
from enforcer.cli.output import OutputFormat, OutputOption, console, emit, note, write
from enforcer.cli.stack import progress_shown
from enforcer.config import Settings
from enforcer.errors import IntegrityError
from enforcer.local import Running, Stack

if TYPE_CHECKING:
    from rich.console import Console

    from enforcer.cli.demo_session import Plan, Result
    from enforcer.policy import Document

SECONDS_WITHOUT_TERMINAL = 20.0


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Send traffic for so long. Default: until Ctrl-C on a terminal, else 20.",
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=1, max=5_000, help="Calls a second, on average.")
    ] = 150,
    seed: Annotated[int, typer.Option(help="The same seed makes the same calls.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the local Kafka running afterwards.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Start a Kafka here, put policies in force, start a worker, send it live traffic, and show it.

    Afterwards a reader of its own counts what stands in the topics and compares it with what was sent:
    every call decided exactly once, every verdict as told, the chain of the ledger whole. Exit code 9 if
    anything differs. Ctrl-C ends the traffic and prints the summary.
    """
    settings = Settings.load()
    drawing = console()
    drawn = drawing.is_terminal and not drawing.is_dumb_terminal
    if seconds is None and not drawn:
        seconds = SECONDS_WITHOUT_TERMINAL
    with Signals() as signals, demo_runs.alone(settings.home):
        stack = Stack.from_settings(settings)
        running, documents = _started(stack)
        try:
            from enforcer.cli.demo_session import Plan  # noqa: PLC0415 — loaded while Kafka started

            plan = Plan(
                home=settings.home,
                bootstrap=running.bootstrap,
                prefix=demo_runs.new_prefix(),
                seconds=seconds,
                rate_per_s=rate,
                seed=seed,
                documents=documents,
            )
            result = _run(plan, stack, signals, drawing if drawn else None)
            _tell(result, output, runs=keep or not running.started)
        finally:
            if running.started and not keep:
                with progress_shown() as progress:
                    stack.stop(progress=progress)
    problems = result.reconciliation.problems
    if problems:
        raise IntegrityError(
            "; ".join(problems),
            help=f"enforcer up, then enforcer audit verify --prefix {plan.prefix}",
            code="reconciliation",
        )


def _started(stack: Stack) -> tuple[Running, tuple[Document, ...]]:
    """Start the stack, and meanwhile load all that the run needs and check the policies."""
    running: Running | None = None
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_loaded)
        try:
            with progress_shown() as progress:
                running = stack.start(progress=progress)
            return running, loading.result()
        except BaseException:
            if running is not None and running.started:
                stack.stop()
            raise


def _loaded() -> tuple[Document, ...]:
    from enforcer.cli.demo_session import packaged_policies  # noqa: PLC0415 — in its thread: it takes a second

    return packaged_policies()


def _run(plan: Plan, stack: Stack, signals: Signals, drawing: Console | None) -> Result:
    from enforcer.cli.demo_screen import Drawn, Lines, Screen  # noqa: PLC0415 — loaded while Kafka started
    from enforcer.cli.demo_session import Session  # noqa: PLC0415 — as above

    title = f"{plan.prefix} on {plan.bootstrap}"
    screen: Screen = Lines() if drawing is None else Drawn(drawing, title)

    async def run() -> Result:
        return await Session(plan, stack, screen, signals).run()

    try:
        return asyncio.run(run())
    finally:
        screen.close()


def _tell(result: Result, output: OutputFormat, *, runs: bool) -> None:
    from enforcer.cli import demo_summary  # noqa: PLC0415 — as above

    if output is not OutputFormat.TABLE:
        emit(demo_summary.as_json(result), output)
        return
    for line in demo_summary.as_table(result):
        write(line)
    note("")
    for line in demo_summary.next_steps(result, runs=runs):
        note(line)
