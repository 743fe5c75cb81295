"""Calls made as gateways make them: decide, act on the verdict, report what was used."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Final

from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from enforcer.cli.demo_figures import Figures
    from enforcer.client import Gateway
    from enforcer.testing.traffic import Call, Report

DEADLINE_MS: Final = 2_000
_IN_FLIGHT_MAX: Final = 1_000
"""Above it arrivals wait: a machine that cannot keep up gets less traffic, not more memory."""
_PAUSE_S: Final = 0.005


class Drive:
    """Makes *calls* at their times through *gateway*, and counts in *figures*."""

    def __init__(self, gateway: Gateway, calls: Iterator[Call], figures: Figures) -> None:
        self._gateway = gateway
        self._calls = calls
        self._figures = figures
        self._over = asyncio.Event()
        self._deciding: set[asyncio.Task[None]] = set()
        self._reporting: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None

    async def run(self, stop: asyncio.Event, seconds: float | None) -> None:
        """Make calls until *stop* is set or *seconds* have passed; those in flight stay so."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        ends_s = begun_s + seconds if seconds is not None else math.inf
        for call in self._calls:
            self._check()
            due_s = min(begun_s + call.at_s, ends_s)
            if await _unless(stop, due_s - loop.time()) or loop.time() >= ends_s:
                return
            while self._gateway.in_flight >= _IN_FLIGHT_MAX and not stop.is_set():
                # Time that was lost is not made up for in a flood.
                begun_s += _PAUSE_S
                await asyncio.sleep(_PAUSE_S)
            self._keep(self._deciding, self._decide(call))

    async def finish(self) -> None:
        """Wait for the verdicts in flight, and report now what would be reported later."""
        while self._deciding:
            await asyncio.wait(self._deciding)
        self._over.set()
        while self._reporting:
            await asyncio.wait(self._reporting)
        self._check()

    async def abandon(self) -> None:
        """Make an end of everything at once."""
        tasks = self._deciding | self._reporting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, tasks: set[asyncio.Task[None]], work: Coroutine[object, object, None]) -> None:
        """Run *work*; the loop itself holds tasks but weakly."""
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bug = self._bug or error

    def _check(self) -> None:
        if self._bug is not None:
            raise self._bug

    async def _decide(self, call: Call) -> None:
        self._figures.asked(call.request)
        try:
            outcome = await self._gateway.decide(call.request, DEADLINE_MS)
        except EnforcerError as error:
            self._figures.failed(error.code)
            return
        self._figures.answered(call.request, outcome)
        if outcome.allowed and call.reports:
            self._keep(self._reporting, self._report(call.reports))

    async def _report(self, reports: tuple[Report, ...]) -> None:
        """Each report when its call would have come so far; at once when the run is over."""
        waited_s = 0.0
        for after_s, usage in reports:
            await _unless(self._over, after_s - waited_s)
            waited_s = after_s
            with contextlib.suppress(EnforcerError):
                await self._gateway.report(usage)
                self._figures.reports += 1


async def _unless(event: asyncio.Event, seconds: float) -> bool:
    """Sleep, but not past *event*; says whether it is set."""
    if seconds > 0 and not event.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
    elif not event.is_set():
        # Late arrivals must not keep the loop to themselves.
        await asyncio.sleep(0)
    return event.is_set()
