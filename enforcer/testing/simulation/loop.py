"""
An event loop on which time is a number: the same seed, the same run.

Theory of operation
-------------------
Several *processes* share one loop. What a task does belongs to the process in whose context it was started, and each
process has a queue of its own: within one process callbacks run in the order of asyncio's promise, between processes
the seed draws who is next, for processes know no order. When nobody is ready, time jumps to the next timer, so that
waiting costs nothing.

A process can be *killed*: nothing of it ever runs again, not even a ``finally``. It can be *stopped* and go on later:
its timers come due meanwhile and wait in its queue, as after SIGSTOP and SIGCONT. What it has sent is under way in
nobody's context, and arrives all the same.

Tasks and futures are numbered and hash by their number, for sets of them must be walked in the same order each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import itertools
import time
from collections import deque
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

EPOCH_S: Final = 1_794_830_400.0
"""Wall-clock time at which every simulation begins: noon, UTC."""
STEP_S: Final = 2e-6
"""What one callback costs."""
LOOK_S_MAX: Final = 40e-6
"""What one look at the clock costs at most: so that slices end by time, too."""
BURIAL_STEPS_MAX: Final = 200_000


class Died(BaseException):
    """The process is gone. No handler of the code under test may catch it."""


class StuckError(Exception):
    """Nothing can happen any more, or too much happened: the simulated program will not end."""


class Process:
    """One process of the simulated machines: its name, whether it runs, and its own wall clock."""

    __slots__ = ("clock_step_s", "is_stopped", "name", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "running"
        """running, dead, or buried: dead, and its handlers may run since nobody looks any more."""
        self.is_stopped = False
        """SIGSTOP; set it back for SIGCONT."""
        self.clock_step_s = 0.0
        """How far its wall clock is off."""

    def kill(self) -> None:
        """SIGKILL: nothing of it runs again, on a simulated loop; on another, nothing of it has any effect."""
        self.state = "dead"

    @property
    def is_alive(self) -> bool:
        """Whether it may do anything that others see."""
        return self.state == "running"

    def check(self) -> None:
        """Raise ``Died`` in a process that is gone."""
        if self.state != "running":
            raise Died(self.name)


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""Whose code runs; None: the world's."""


def nobodys_context() -> Context:
    """A context of no process: for what goes on when its sender is dead."""
    context = copy_context()
    context.run(PROCESS.set, None)
    return context


_numbers = itertools.count()


class _Future(asyncio.Future[Any]):
    """A future with a number for a hash."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.number = next(_numbers)

    def __hash__(self) -> int:
        return self.number


class _Task(asyncio.Task[Any]):
    """A task with a number for a hash."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **named: Any) -> None:
        self.number = next(_numbers)
        self.process = (named.get("context") or copy_context()).get(PROCESS)
        super().__init__(coro, **named)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.AbstractEventLoop):
    """
    Runs callbacks one by one, in an order and at times that come from *rng* alone.

    Args:
        rng: Draws which process is next.
        steps_max: Callbacks after which a run counts as stuck.
    """

    def __init__(self, rng: random.Random, *, steps_max: int = 5_000_000) -> None:
        self._rng = rng
        self._now_s = 0.0
        self._queues: dict[Process | None, deque[asyncio.Handle]] = {None: deque()}
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process | None]] = []
        self._tasks: list[_Task] = []
        self._timer_numbers = itertools.count()
        self._steps_left = steps_max
        self._is_closed = False
        self._is_running = False
        self.cluster_step_s = 0.0
        """How far the wall clock of the world (the broker's) is off."""
        self.complaints: list[dict[str, Any]] = []
        """What went to the loop's exception handler."""

    # -- processes -----------------------------------------------------------------------------------------

    def spawn(self, process: Process, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run *main* as *process*."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(main, context=context)

    def bury(self) -> None:
        """End every task that is left, of dead processes too, once nobody looks any more."""
        for task in self._tasks:
            if task.process is not None:
                task.process.state = "buried"
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        self._steps_left = BURIAL_STEPS_MAX
        with contextlib.suppress(StuckError):
            self._run(lambda: all(task.done() for task in left))
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 — as asyncio's own runner
            if task.done() and not task.cancelled():
                task.exception()
        self._tasks.clear()

    # -- time ------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now_s

    def monotonic(self) -> float:
        """``time.monotonic``: a look at the clock takes a moment itself."""
        self._now_s += self._rng.random() * LOOK_S_MAX
        return self._now_s

    def wall(self) -> float:
        """``time.time`` of the process that asks."""
        process = PROCESS.get()
        step_s = process.clock_step_s if process is not None else self.cluster_step_s
        return EPOCH_S + self._now_s + step_s

    # -- scheduling --------------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override] # asyncio's own signature, less its type variables
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(context.get(PROCESS), handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment] # There is one thread.

    def call_later(  # type: ignore[override] # as above
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override] # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        entry = (when, next(self._timer_numbers), handle, context.get(PROCESS))
        heapq.heappush(self._timers, entry)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """See asyncio: a cancelled timer is passed over when it comes due."""

    def _enqueue(self, process: Process | None, handle: asyncio.Handle) -> None:
        queue = self._queues.get(process)
        if queue is None:
            queue = self._queues[process] = deque()
        queue.append(handle)

    def _run(self, is_over: Callable[[], bool]) -> None:
        """Run callbacks until *is_over*."""
        asyncio._set_running_loop(self)  # noqa: SLF001 — exported for those who write loops
        self._is_running = True
        try:
            while not is_over():
                self._steps_left -= 1
                if self._steps_left < 0:
                    raise StuckError("too many steps")
                self._step()
        finally:
            self._is_running = False
            asyncio._set_running_loop(None)  # noqa: SLF001 — as above

    def _step(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now_s:
            _, _, timer, process = heapq.heappop(timers)
            if not timer.cancelled():
                self._enqueue(process, timer)
        ready = [
            queue
            for process, queue in self._queues.items()
            if queue and (process is None or not (process.is_stopped or process.state == "dead"))
        ]
        if not ready:
            if not timers:
                raise StuckError("nobody waits for anything that can come")
            self._now_s = max(self._now_s, timers[0][0])
            return
        queue = ready[0] if len(ready) == 1 else ready[int(self._rng.random() * len(ready))]
        handle = queue.popleft()
        if not handle.cancelled():
            self._now_s += STEP_S
            handle._run()  # noqa: SLF001 — what a loop does with a handle

    def run_until_complete(self, future: Any) -> Any:
        """See asyncio."""
        task = asyncio.ensure_future(future, loop=self)
        self._run(task.done)
        return task.result()

    # -- the rest of a loop ----------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return _Future(loop=self)

    def create_task(  # type: ignore[override] # as above
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """See asyncio."""
        # Python 3.13 gives the name here; before, it is set afterwards.
        task = _Task(coro, loop=self, name=name, context=context)
        # Held: a task of a dead process must not be collected, for that would run its handlers.
        self._tasks.append(task)
        if len(self._tasks) > 4_096:
            self._tasks = [each for each in self._tasks if not each.done()]
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override] # as above
        """In this thread, at once."""
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 — as an executor does
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody looked at."""
        self.complaints.append(context)

    def get_debug(self) -> bool:
        """See asyncio."""
        return False

    def is_running(self) -> bool:
        """See asyncio."""
        return self._is_running

    def is_closed(self) -> bool:
        """See asyncio."""
        return self._is_closed

    def close(self) -> None:
        """See asyncio."""
        self._is_closed = True
        self._queues.clear()
        self._timers.clear()


@contextlib.contextmanager
def simulated_clock(loop: SimulatedLoop) -> Iterator[None]:
    """
    Let ``time.monotonic`` and ``time.time`` be *loop*'s for everybody, and nobody collect garbage by hand.

    The code under test asks the clock where it needs it; a seam for each would be one more thing to forget.
    """
    monotonic, wall, collect = time.monotonic, time.time, gc.collect
    time.monotonic = loop.monotonic
    time.time = loop.wall
    gc.collect = lambda *_: 0
    try:
        yield
    finally:
        time.monotonic, time.time, gc.collect = monotonic, wall, collect
