"""
The longest gaps of an event loop, and what ran in them.

A thread asks the loop for a sign every few milliseconds, and while none comes looks at what the loop's thread does.
If the thread itself came late, the machine or the interpreter gave it no time: that is told apart, for then the
stack says little. Collections of the garbage collector name themselves.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

EVERY_S: Final = 0.002
GAP_S: Final = 0.006
"""What is shorter is work."""
KEPT: Final = 10
_SWITCH_INTERVAL_S: Final = 0.0005
_DEPTH: Final = 3
_OURS: Final = "enforcer/"


class Stalls(threading.Thread):
    """Watches the running loop from ``start`` to ``end``."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="stalls")
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._ended = threading.Event()
        self._begun_s = self._seen_s = time.monotonic()
        self._collecting_s = 0.0
        self._is_quiet = True
        self._found: list[tuple[float, int, dict[str, Any]]] = []
        self._count = 0
        self._interval_s = sys.getswitchinterval()

    def start(self) -> None:
        """Begin to watch."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        gc.callbacks.append(self._collected)
        super().start()

    def end(self) -> list[dict[str, Any]]:
        """
        Stop watching.

        Returns: The longest, first the longest: ``ms``, ``at_s`` from ``start`` on, ``late_ms`` of the watching thread,
        and ``doing``, from the innermost call outwards.
        """
        self._ended.set()
        self.join(1.0)
        gc.callbacks.remove(self._collected)
        sys.setswitchinterval(self._interval_s)
        return [found for _, _, found in sorted(self._found, reverse=True)]

    def run(self) -> None:
        """Watch."""
        while not self._ended.is_set():
            asked_s = time.monotonic()
            self._is_quiet = False
            try:
                self._loop.call_soon_threadsafe(self._sign)
            except RuntimeError:
                return  # The loop is closed.
            doing: list[str] = []
            late_s = 0.0
            while not self._is_quiet and not self._ended.is_set():
                before_s = time.monotonic()
                time.sleep(EVERY_S)
                now_s = time.monotonic()
                late_s = max(late_s, now_s - before_s - EVERY_S)
                if not self._is_quiet and (now_s - asked_s > GAP_S or not doing):
                    doing = stack(sys._current_frames().get(self._watched)) or doing  # noqa: SLF001 — the only way to see another thread's
            gap_s = self._seen_s - asked_s
            if gap_s > GAP_S:
                self._note(gap_s, asked_s, late_s, doing)
            time.sleep(EVERY_S)

    def _sign(self) -> None:
        self._seen_s = time.monotonic()
        self._is_quiet = True

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.monotonic()
            return
        took_s = time.monotonic() - self._collecting_s
        if took_s > GAP_S:
            doing = [f"collection of generation {info['generation']}"]
            self._note(took_s, self._collecting_s, 0.0, doing)

    def _note(self, gap_s: float, at_s: float, late_s: float, doing: list[str]) -> None:
        self._count += 1
        found = {
            "ms": round(gap_s * 1000, 1),
            "at_s": round(at_s - self._begun_s, 3),
            "late_ms": round(late_s * 1000, 1),
            "doing": doing,
        }
        heapq.heappush(self._found, (gap_s, self._count, found))
        if len(self._found) > KEPT:
            heapq.heappop(self._found)


def stack(frame: FrameType | None) -> list[str]:
    """The innermost calls, then the innermost of ours: `function (file:line)`."""
    calls: list[str] = []
    ours: list[str] = []
    while frame is not None:
        code = frame.f_code
        place = code.co_filename.rpartition("/site-packages/")[2]
        said = f"{code.co_qualname} ({place.rpartition('/')[2]}:{frame.f_lineno})"
        if len(calls) < _DEPTH:
            calls.append(said)
        elif _OURS in code.co_filename and len(ours) < _DEPTH:
            ours.append(said)
        frame = frame.f_back
    return calls + ours
