"""
Open loop: calls leave when the schedule says, whether or not those before have come back.

Latency counts from the *intended* time, so a system that stalls pays for every call it kept waiting, and not for one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SWITCH_INTERVAL_S: Final = 0.0005
"""Of the interpreter while a schedule is followed: else its thread waits 5 ms for a busy loop."""

_LEAD_S: Final = 0.05


class Metronome(threading.Thread):
    """
    Wakes an event loop at each time of a schedule.

    A thread, for a loop's own timers are exact to a millisecond only, which is as much as is to be measured.
    """

    def __init__(self, schedule_s: Sequence[float], fire: Callable[[int, int], None]) -> None:
        """
        Begin at ``start``.

        Args:
            schedule_s: Seconds from the start, ascending.
            fire: Called in the event loop with the range of the calls that are due.
        """
        super().__init__(daemon=True, name="metronome")
        self._schedule_s = schedule_s
        self._fire = fire
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self.begun_s = 0.0
        """On the clock of ``time.perf_counter``: what the schedule counts from."""

    def run(self) -> None:
        """Follow the schedule to its end, or until ``end``."""
        self.begun_s = begun_s = time.perf_counter() + _LEAD_S
        schedule_s, at, length = self._schedule_s, 0, len(self._schedule_s)
        while at < length and not self._ended.is_set():
            wait_s = begun_s + schedule_s[at] - time.perf_counter()
            if wait_s > 0:
                time.sleep(min(wait_s, 0.2))
                continue
            now_s = time.perf_counter() - begun_s
            due = at + 1
            while due < length and schedule_s[due] <= now_s:
                due += 1
            self._loop.call_soon_threadsafe(self._fire, at, due)
            at = due

    def end(self) -> None:
        """Stop; returns when it has."""
        self._ended.set()
        if self.is_alive():
            self.join()


class Course:
    """One run over a schedule: when each call was due, and when its answer came."""

    def __init__(self, schedule_s: Sequence[float]) -> None:
        """*schedule_s* in seconds from the start, ascending, not empty."""
        self.schedule_s = schedule_s
        self.answered_s = [0.0] * len(schedule_s)
        """On ``time.perf_counter``; 0 is not yet."""
        self.missing = len(schedule_s)
        self.ended_s = 0.0
        self._done = asyncio.Event()

    def answered(self, number: int) -> None:
        """The answer of call *number* is here; only the first counts."""
        if not self.answered_s[number]:
            self.answered_s[number] = time.perf_counter()
            self.missing -= 1
            if not self.missing:
                self._done.set()

    async def run(self, fire: Callable[[int, int], None], *, grace_s: float) -> float:
        """
        Follow the schedule and wait for the answers, at most *grace_s* after its end.

        Returns: The start on ``time.perf_counter``.
        """
        before_s = sys.getswitchinterval()
        # The metronome must not wait 5 ms for the interpreter while the loop is busy.
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        metronome = Metronome(self.schedule_s, fire)
        metronome.start()
        try:
            async with asyncio.timeout(_LEAD_S + self.schedule_s[-1] + grace_s):
                await self._done.wait()
        except TimeoutError:
            pass
        finally:
            self.ended_s = time.perf_counter()
            metronome.end()
            sys.setswitchinterval(before_s)
        return metronome.begun_s

    def latencies_ms(
        self,
        begun_s: float,
        *,
        skip_s: float,
        measured: Callable[[int], bool] = lambda _number: True,
    ) -> list[float]:
        """
        Ascending; of all calls due after *skip_s* that are *measured*, by their number.

        What was never answered counts as if its answer had come at the end: left out, it would flatter.
        """
        return sorted(
            ((answered_s or self.ended_s) - begun_s - due_s) * 1000
            for number, (due_s, answered_s) in enumerate(
                zip(self.schedule_s, self.answered_s, strict=True)
            )
            if due_s >= skip_s and measured(number)
        )
