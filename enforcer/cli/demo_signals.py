"""
Ctrl-C and SIGTERM over the whole of a run, of which only a part has an event loop.

An event loop's own signal handlers end with it, and what comes after, such as stopping a server, would
die of the next signal. So the handlers here stay for the whole run; inside a loop they tell a listener,
outside they raise.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Catches SIGINT, SIGTERM and SIGHUP between entry and exit. Belongs to the main thread."""

    def __init__(self) -> None:
        self._listener: Callable[[int], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put back what was there."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # as signal.signal returned it

    @contextlib.contextmanager
    def told_to(self, listener: Callable[[int], None]) -> Iterator[None]:
        """Tell *listener* each signal's number, in the running event loop, instead of raising."""
        self._loop, self._listener = asyncio.get_running_loop(), listener
        try:
            yield
        finally:
            self._loop, self._listener = None, None

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._loop is not None and self._listener is not None:
            self._loop.call_soon_threadsafe(self._listener, number)
        else:
            raise ended_by(number)


def ended_by(number: int) -> BaseException:
    """What ends a process that was told to by signal *number*: code 130 for Ctrl-C, 143 for SIGTERM."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
