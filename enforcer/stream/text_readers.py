"""
The processes that read long texts, seen from the worker.

Theory of operation
-------------------
A text of 400 KB keeps a core busy for some 40 ms, and all agents of a process share one. So its facts are made in
another process: the agent whose turn it is waits for them, the others go on. Facts are pure, so it does not matter
where they are made.

Each process has one job at a time. One that dies or takes too long on a job is started anew, and the job is
tried once more; after that its texts' facts are errors (``detect.LostFacts``): rules that read them fail closed, and
the text that ends processes has ended two readers and no worker. Jobs that wait are bounded by whoever hands
them in: a few for each partition.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from typing import TYPE_CHECKING, Final, Self

import structlog

from enforcer import detect
from enforcer.stream.text_reader import LENGTH, framed

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S: Final = 10.0
"""For one job: the largest request there can be takes under a second."""
TRIES_MAX: Final = 2
START_WAIT_S: Final = 0.5
"""After a process that could not be started or died at once."""
_COMMAND: Final = (sys.executable, "-m", "enforcer.stream.text_reader")

_log = structlog.get_logger("enforcer.text_readers")


class _Job:
    """Texts to read, and who waits for it."""

    __slots__ = ("frame", "future", "texts", "tries")

    def __init__(self, texts: Sequence[detect.LongText], wanted: detect.Wanted) -> None:
        self.frame = framed((list(texts), wanted))
        self.texts = len(texts)
        self.tries = 0
        self.future: asyncio.Future[list[detect.CachedFacts]] = (
            asyncio.get_running_loop().create_future()
        )


class TextReaders:
    """So many processes. An async context manager; belongs to one event loop."""

    def __init__(self, processes: int = 1, *, command: Sequence[str] = _COMMAND) -> None:
        assert processes > 0, processes
        self._command = tuple(command)
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._count = processes
        self._tasks: list[asyncio.Task[None]] = []
        self.deaths = 0
        """Processes that ended with a job in hand."""

    async def __aenter__(self) -> Self:
        """Start, in the background: the first job waits for it, nothing else does."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"text reader {n}") for n in range(self._count)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the processes. Jobs not done are lost to whoever still waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._jobs.empty():
            self._jobs.get_nowait().future.cancel()

    async def read(
        self, texts: Sequence[detect.LongText], wanted: detect.Wanted
    ) -> list[detect.CachedFacts]:
        """The facts of *texts*, in order. Never raises for what is in them."""
        job = _Job(texts, wanted)
        self._jobs.put_nowait(job)
        return await job.future

    async def _work(self) -> None:
        """One process after the other, each for as long as it lives."""
        while True:
            try:
                process = await self._start()
            except (OSError, RuntimeError) as error:
                # RuntimeError: no thread more, which waits for a process.
                _log.error("text_reader_not_started", error=str(error))
                await self._fail_one()
                await asyncio.sleep(START_WAIT_S)
                continue
            try:
                await self._serve(process)
            finally:
                await _end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await _end(await starting)  # Half started it would be nobody's.
            raise

    async def _serve(self, process: asyncio.subprocess.Process) -> None:
        """Give *process* jobs until one of them ends it."""
        while True:
            job = await self._jobs.get()
            if job.future.done():
                continue  # Nobody waits any more.
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    found = await _asked(process, job)
            except Exception as error:  # noqa: BLE001 — an answer that is none ends its process, and no other job
                self.deaths += 1
                _log.error("text_reader_ended", error=type(error).__name__, tries=job.tries + 1)
                self._again(job)
                return
            except BaseException:
                job.future.cancel()
                raise
            if not job.future.done():
                job.future.set_result(found)

    def _again(self, job: _Job) -> None:
        job.tries += 1
        if job.tries < TRIES_MAX:
            self._jobs.put_nowait(job)
        elif not job.future.done():
            job.future.set_result([detect.LostFacts() for _ in range(job.texts)])

    async def _fail_one(self) -> None:
        """There is no process: whoever waits longest fails closed, instead of for ever."""
        if not self._jobs.empty():
            self._again(self._jobs.get_nowait())


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill *process* and see its end, also where this task is cancelled meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    ended = asyncio.ensure_future(process.wait())
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _asked(process: asyncio.subprocess.Process, job: _Job) -> list[detect.CachedFacts]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(job.frame)
    await process.stdin.drain()
    head = await process.stdout.readexactly(LENGTH.size)
    body = await process.stdout.readexactly(*LENGTH.unpack(head))
    # From a process of our own, over a pipe that nobody else has.
    found: list[detect.CachedFacts] = pickle.loads(body)  # noqa: S301 — as above
    assert len(found) == job.texts, "an answer for each text"
    return found
