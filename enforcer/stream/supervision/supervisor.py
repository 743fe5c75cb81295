"""
The parent of N workers.

Theory of operation
-------------------
The parent has imported and warmed all that a worker needs and has one thread. A child is a fork of it: no interpreter starts,
nothing is imported, no vocabulary is read, and its pages are the parent's until it writes them. Forks happen between two
runs of the parent's event loop, never inside of one, so that no child inherits a loop that runs.

An ended child starts again under the same number, that is the same state directory and the same identity in the group: within
its session nothing moves, and its tables are warm. One that ends again and again waits longer each time, up to 10 s, and the
parent says so, in its log and in ``/ready``.

A child that ends by itself before any has ever been ready tells of a mistake in the installation: then the parent ends with
its exit code, as a single worker would. SIGTERM and SIGINT drain all children. Should the parent die, its children read the
end of their channel and drain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from enforcer.stream.supervision.channel import ChildEnd, ParentEnd
from enforcer.stream.supervision.restarts import Restarts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ASK_S: Final = 0.25
"""The parent asks each child so often whether it is ready."""
ANSWER_TIMEOUT_S: Final = 2.0
KILL_TIMEOUT_S: Final = 5.0
KILL_POLL_S: Final = 0.005
EXIT_BUG: Final = 1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)

_log = structlog.get_logger("enforcer.supervisor")


@dataclass(slots=True)
class Child:
    """One numbered place, and the process that fills it now; *pid* is 0 while there is none."""

    number: int
    pid: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    """When it is to start, on the monotonic clock; only while it has no process."""
    restarts: Restarts = field(default_factory=Restarts)
    channel: ParentEnd = field(default_factory=ParentEnd)
    own_socket: socket.socket | None = None
    is_ready: bool = False
    is_silent: bool = False
    """It gave no answer the last time it was asked."""
    status: dict[str, Any] = field(default_factory=dict)
    """Its newest answer: ``Worker.describe``."""
    last_end: str = ""

    @property
    def state(self) -> str:
        """In a word."""
        if not self.pid:
            return "backing_off" if self.restarts.is_loop else "starting"
        if self.is_silent:
            return "silent"
        return "ready" if self.is_ready else "starting"


class Supervisor:
    """*run_child* is what a child does, given its number and its end of the channel; it returns the exit code."""

    def __init__(
        self,
        run_child: Callable[[int, ChildEnd], int],
        *,
        processes: int,
        stop_timeout_s: float,
    ) -> None:
        self.children = [Child(number) for number in range(processes)]
        self._run_child = run_child
        self._stop_timeout_s = stop_timeout_s
        self._kill_at_s: float | None = None
        self._is_stopping = False
        self._has_been_ready = False
        self._exit_code = 0
        self._changed: asyncio.Event
        self._asking: asyncio.Task[None] | None = None
        """Goes on beside all else: one that is stopped keeps no other from being started."""

    # -- life ---------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        opened: Callable[[], Awaitable[None]] | None = None,
        closed: Callable[[], Awaitable[None]] | None = None,
    ) -> int:
        """
        Run the children until a signal, and return the exit code.

        Args:
            opened: Awaited in the parent's loop before the first child starts: its server begins to listen.
            closed: Awaited after the last has ended.
        """
        with asyncio.Runner() as runner:
            runner.run(self._begin(opened))
            try:
                while (due := runner.run(self._until_due())) is not None:
                    for child in due:
                        self._fork(child)
            finally:
                self._kill()
                if closed is not None:
                    runner.run(_awaited(closed))
        return self._exit_code

    async def _begin(self, opened: Callable[[], Awaitable[None]] | None) -> None:
        self._changed = asyncio.Event()
        if opened is not None:
            await opened()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGCHLD, self._changed.set)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on)

    def _pass_on(self) -> None:
        """SIGHUP: what is read from files is to be read again."""
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGHUP)

    def stop(self) -> None:
        """Drain all children; ``run`` returns when they have ended."""
        self._is_stopping = True
        if self._kill_at_s is None:
            self._kill_at_s = time.monotonic() + self._stop_timeout_s
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        self._changed.set()

    def _kill(self) -> None:
        """Whatever happened, leave nothing behind."""
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
        until_s = time.monotonic() + KILL_TIMEOUT_S
        for child in self.children:
            while child.pid and not os.waitpid(child.pid, os.WNOHANG)[0]:
                if time.monotonic() > until_s:
                    # Its kernel holds it, on a disk that does not answer perhaps: it ends when that lets go.
                    _log.error("worker_process_unkillable", process=child.number, pid=child.pid)
                    break
                time.sleep(KILL_POLL_S)
            child.pid = 0

    async def _until_due(self) -> list[Child] | None:
        """Reap, ask, wait; the children to start now, or None when all is over."""
        while True:
            self._changed.clear()
            await self._open_channels()
            await self._reap()
            now_s = time.monotonic()
            if self._is_stopping:
                if not any(child.pid for child in self.children):
                    return None
                if self._kill_at_s is not None and now_s >= self._kill_at_s:
                    _log.error("worker_process_drain_late")
                    self._exit_code = self._exit_code or EXIT_BUG
                    return None
            else:
                due = [c for c in self.children if not c.pid and c.due_s <= now_s]
                if due:
                    return due
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_all())
            await self._wait(now_s + ASK_S)

    async def _wait(self, until_s: float) -> None:
        waiting = [c.due_s for c in self.children if not c.pid and not self._is_stopping]
        seconds = min([until_s, *waiting]) - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return

    # -- children --------------------------------------------------------------------------------------------

    def _fork(self, child: Child) -> None:
        """Start the process of *child*. Outside of the loop's runs."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would be written into the parent's loop.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_child(child, theirs, blocked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        child.pid, child.started_s = pid, time.monotonic()
        child.own_socket, child.channel = ours, ParentEnd()
        child.is_ready = child.is_silent = False
        child.status = {}
        _log.info(
            "worker_process_started", process=child.number, pid=pid, count=child.restarts.count
        )

    def _be_child(
        self, child: Child, theirs: socket.socket, mask: set[int | signal.Signals]
    ) -> None:
        """Never returns."""
        code = EXIT_BUG
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # Until the child knows what to read again, there is nothing to.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            # The parent's loop, server and channels: held open here, no sibling would ever read the end of its own.
            os.closerange(3, theirs.fileno())
            os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._run_child(child.number, ChildEnd(theirs))
        except BaseException:  # noqa: BLE001 — nothing may climb into the parent's frames
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # Whoever read them may be gone.
                os._exit(code)

    async def _open_channels(self) -> None:
        for child in self.children:
            if child.own_socket is not None:
                await child.channel.open(child.own_socket)
                child.own_socket = None

    async def _reap(self) -> None:
        for child in self.children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)  # noqa: ASYNC222 — it does not wait
            if pid:
                await child.channel.close()
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        """*code* is that of the process, or a signal's number, negative."""
        lived_s = time.monotonic() - child.started_s
        pid, child.pid, child.is_ready = child.pid, 0, False
        child.last_end = f"signal {-code}" if code < 0 else f"exit {code}"
        if self._is_stopping:
            # SIGTERM before it had a handler for it: it had nothing to drain.
            is_well = code in (0, -signal.SIGTERM)
            self._exit_code = self._exit_code or (0 if is_well else max(code, EXIT_BUG))
            return
        if code > 0 and not self._has_been_ready:
            self._exit_code = code
            _log.error(
                "worker_process_refused", process=child.number, pid=pid, reason=child.last_end
            )
            self.stop()
            return
        wait_s = child.restarts.wait_s(lived_s)
        child.due_s = time.monotonic() + wait_s
        event = "worker_process_crash_loop" if child.restarts.is_loop else "worker_process_ended"
        _log.error(
            event,
            process=child.number,
            pid=pid,
            reason=child.last_end,
            attempt=child.restarts.in_a_row,
            seconds=round(lived_s, 3),
            ms=round(wait_s * 1000),
        )

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask(child) for child in self.children if child.pid))

    async def _ask(self, child: Child) -> None:
        channel = child.channel
        # A child that has just been forked answers as soon as its loop runs.
        answer = await channel.ask(
            "ready", timeout_s=ASK_S if not child.status else ANSWER_TIMEOUT_S
        )
        if channel is not child.channel:
            return
        child.is_silent = answer is None and bool(child.status)
        if answer is None:
            child.is_ready = False
            return
        child.status = orjson.loads(answer)
        child.is_ready = bool(child.status.get("ready"))
        self._has_been_ready = self._has_been_ready or child.is_ready


async def _awaited(step: Callable[[], Awaitable[None]]) -> None:
    await step()
