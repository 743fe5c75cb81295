"""
Two inputs, one order: requests and usage of one partition merged by record time.

The record with the smaller time goes first, a request before usage of the same time. One goes alone only
when the other is at its known end, or after it has waited: a silent usage topic must not hold requests up.

After a takeover the tail of told verdicts is redone in exactly the order in which it was told: every told
verdict names the usage position it was decided at, so usage is taken up to that position and not beyond.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.broker.ports import Record
    from enforcer.stream.tail import Told

USAGE_IS_AT_END = "usage"
REQUESTS_ARE_AT_END = "requests"


class Inputs:
    """The queues of one agent. ``request_offset`` and ``usage_offset`` are the next to be taken."""

    __slots__ = (
        "_at_end",
        "_lone_since_s",
        "_told",
        "_wait_s",
        "bytes_queued",
        "request_offset",
        "requests",
        "usage",
        "usage_offset",
    )

    def __init__(
        self,
        request_offset: int,
        usage_offset: int,
        *,
        told: Iterable[Told] = (),
        lone_wait_s: float,
        at_end: Callable[[str], bool],
    ) -> None:
        self.request_offset = request_offset
        self.usage_offset = usage_offset
        self.requests: deque[Record] = deque()
        self.usage: deque[Record] = deque()
        self.bytes_queued = 0
        self._told = deque(sorted(told, key=lambda t: t.offset))
        self._wait_s = lone_wait_s
        self._lone_since_s: float | None = None
        self._at_end = at_end

    def __len__(self) -> int:
        return len(self.requests) + len(self.usage)

    @property
    def redoing(self) -> bool:
        """Whether verdicts of the tail are still to be redone."""
        return bool(self._told)

    def feed_requests(self, records: list[Record]) -> None:
        """Append fetched requests."""
        self.requests.extend(records)
        self.bytes_queued += sum(len(r.value or b"") for r in records)

    def feed_usage(self, records: list[Record]) -> None:
        """Append fetched usage."""
        self.usage.extend(records)
        self.bytes_queued += sum(len(r.value or b"") for r in records)

    def take(self, now_s: float) -> tuple[Record, Told | None, bool] | None:
        """
        The next record in the one order, with its told verdict if it has one, and whether it is a request.

        Args:
            now_s: The loop's clock, for the wait of a lone input.

        Returns: None when nothing may go yet.
        """
        if self._told:
            return self._redo()
        requests, usage = self.requests, self.usage
        if requests:
            if usage:
                if usage[0].timestamp < requests[0].timestamp:
                    return self._take_usage()
                return self._take_request(None)
            if self._may_go_alone(USAGE_IS_AT_END, now_s):
                return self._take_request(None)
        elif usage and self._may_go_alone(REQUESTS_ARE_AT_END, now_s):
            return self._take_usage()
        return None

    def _may_go_alone(self, other: str, now_s: float) -> bool:
        if self._at_end(other):
            return True
        if self._lone_since_s is None:
            self._lone_since_s = now_s
        return now_s - self._lone_since_s >= self._wait_s

    def _redo(self) -> tuple[Record, Told | None, bool] | None:
        if not self.requests:
            return None
        head = self.requests[0]
        while self._told and self._told[0].offset < head.offset:
            self._told.popleft()  # Its request is gone from the log: retention outran us.
        if not self._told:
            return self.take(0.0)
        first = self._told[0]
        usage_behind = self.usage_offset < first.usage_offset
        if head.offset < first.offset:
            # Not told: a repeat, or input without an id. Its order against usage decided nothing that was told.
            if usage_behind and self.usage and self.usage[0].timestamp < head.timestamp:
                return self._take_usage()
            return self._take_request(None)
        if usage_behind:
            if self.usage and self.usage[0].offset < first.usage_offset:
                return self._take_usage()
            if not self.usage and not self._at_end(USAGE_IS_AT_END):
                return None
        self._told.popleft()
        return self._take_request(first)

    def _take_request(self, told: Told | None) -> tuple[Record, Told | None, bool]:
        record = self.requests.popleft()
        self.request_offset = record.offset + 1
        self._taken(record)
        return record, told, True

    def _take_usage(self) -> tuple[Record, None, bool]:
        record = self.usage.popleft()
        self.usage_offset = record.offset + 1
        self._taken(record)
        return record, None, False

    def _taken(self, record: Record) -> None:
        self._lone_since_s = None
        self.bytes_queued -= len(record.value or b"")
