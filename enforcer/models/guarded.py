"""
A slow function of a text that may fail, made fit for the path of a verdict.

It runs in a pool of few threads with few places to wait, each call has a deadline, and a breaker stops calling what
failed several times in a row. Whatever keeps an answer away is an error of the fact, so that a deny rule that reads it
denies. The breaker counts calls and reads no clock: after so many refused calls one is let through to try.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from typing import TYPE_CHECKING, Generic, TypeVar

from enforcer.detect import DetectError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")


class Guarded(Generic[T]):
    """
    A callable with a deadline, a bounded pool and a breaker.

    Args:
        name: For messages: ``classifier``, ``ner``.
        work: What is called, in a thread of the pool.
        deadline_ms: How long a call may take, waiting for a thread included.
        threads: How many calls run at once.
        waiting_max: How many more may wait; one above is refused.
        failures_max: After so many failures in a row the breaker opens.
        refused_max: So many calls are refused while it is open; the next one tries.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[str], T],
        *,
        deadline_ms: int = 200,
        threads: int = 2,
        waiting_max: int = 8,
        failures_max: int = 5,
        refused_max: int = 100,
    ) -> None:
        assert min(deadline_ms, threads, failures_max, refused_max) > 0
        self._name = name
        self._work = work
        self._deadline_s = deadline_ms / 1000
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + waiting_max)
        self._failures_max = failures_max
        self._refused_max = refused_max
        self._failures = 0
        self._refused = 0

    @property
    def is_open(self) -> bool:
        """Whether the breaker refuses calls."""
        return self._failures >= self._failures_max

    def __call__(self, text: str) -> T:
        """
        The answer for a text.

        Raises: DetectError, with code ``model_open``, ``model_busy``, ``model_late`` or ``model_failed``.
        """
        if self.is_open and self._refused < self._refused_max:
            self._refused += 1
            raise self._error("open", "failed too often and is not called for a while")
        self._refused = 0
        if not self._places.acquire(blocking=False):
            raise self._error("busy", "has no free place")
        try:
            future: Future[T] = self._pool.submit(self._work, text)
        except RuntimeError as error:
            self._places.release()
            raise self._error("failed", "is closed") from error
        # A call that is given up goes on in its thread: it keeps its place until it ends.
        future.add_done_callback(lambda _: self._places.release())
        try:
            answer = future.result(self._deadline_s)
        except LateError as error:
            future.cancel()
            self._failures += 1
            raise self._error("late", "gave no answer in time") from error
        except Exception as error:  # noqa: BLE001 — whatever a model of others raises
            self._failures += 1
            # The error's own text may quote the input, so it is not told.
            raise self._error("failed", f"failed: {type(error).__name__}") from None
        self._failures = 0
        return answer

    def close(self) -> None:
        """Take no more calls; what runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _error(self, what: str, why: str) -> DetectError:
        return DetectError(f"the {self._name} {why}", code=f"model_{what}")
