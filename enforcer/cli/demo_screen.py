"""Where a demo shows itself: a terminal, drawn in place, or stderr, line by line."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from enforcer.cli.demo_view import Page, line
from enforcer.cli.output import note

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from enforcer.cli.demo_figures import Figures
    from enforcer.cli.demo_view import Ledger

REFRESH_S: Final = 0.25
LINE_S: Final = 2.0


class Screen(Protocol):
    """What a session tells the user."""

    def step(self, text: str, done: int = 0, total: int = 0) -> None:
        """A step before or after the traffic; *total* 0: nobody knows how long it is."""

    def state(self, text: str) -> None:
        """A word on the live view."""

    async def show(self, figures: Figures, ledger: Ledger, seconds: float | None) -> None:
        """Show the figures until cancelled."""

    def close(self) -> None:
        """Give the terminal back."""


class Lines:
    """A line a step, and a line every two seconds."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def step(self, text: str, done: int = 0, total: int = 0) -> None:  # noqa: ARG002 — the port's; a log has no bars
        """See ``Screen``."""
        if text not in self._told:
            self._told.add(text)
            note(f"{text} …")

    def state(self, text: str) -> None:
        """See ``Screen``."""
        self.step(text)

    async def show(self, figures: Figures, ledger: Ledger, seconds: float | None) -> None:  # noqa: ARG002 — the port's
        """See ``Screen``."""
        while True:
            await asyncio.sleep(LINE_S)
            note(line(figures, ledger))

    def close(self) -> None:
        """See ``Screen``."""


class Drawn:
    """Spinners and bars for steps, a page on the alternate screen for traffic."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._page: Page | None = None
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""

    def step(self, text: str, done: int = 0, total: int = 0) -> None:
        """See ``Screen``."""
        from rich.progress import (  # noqa: PLC0415 — as elsewhere: only a terminal pays for it
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        if self._bars is None:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24))
            self._bars = Progress(
                *(*columns, TextColumn("{task.fields[count]}"), TimeElapsedColumn()),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        if self._task is None or text != self._text:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._text = text
            self._task = self._bars.add_task(text, total=total or None, count="")
        count = f"{done:,}/{total:,}" if total else f"{done:,}" if done else ""
        self._bars.update(self._task, completed=done, total=total or None, count=count)

    def state(self, text: str) -> None:
        """See ``Screen``."""
        if self._page is not None:
            self._page.state = text

    async def show(self, figures: Figures, ledger: Ledger, seconds: float | None) -> None:
        """See ``Screen``."""
        from rich.live import Live  # noqa: PLC0415 — as above

        self.close()
        self._page = Page(figures, ledger, self._title, seconds)
        # The alternate screen: nothing scrolls, a resize leaves nothing behind, and what stood there returns.
        with (
            contextlib.suppress(asyncio.CancelledError),
            Live(self._page, console=self._console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                live.refresh()
                await asyncio.sleep(REFRESH_S)
        self._page = None

    def close(self) -> None:
        """See ``Screen``."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._task = None, None
