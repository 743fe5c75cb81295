"""
Three inputs, one order: requests and usage of one partition merged by record time, and the words of other agents.

The record with the smaller time goes first, a request before usage of the same time. One goes alone only
when the other is at its known end, or after it has been waited for: a silent usage topic must not hold requests
up.

A word about a lease goes first, as soon as it is there: a grant that waited behind a backlog would come when the requests
that it is for are denied. It moves no clock, for it came to a partition whose own time may be behind.

After a takeover the tail of told verdicts is redone in exactly the order in which it was told: every told
verdict names the positions in the other two inputs it was decided at, so they are taken up to those and not beyond.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.errors import ConfigError
from enforcer.events import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer import events
    from enforcer.broker.ports import Record
    from enforcer.stream.tail import Told

REQUESTS: Final = "requests"
USAGE: Final = "usage"
LEASES: Final = "leases"
LOG_APPEND_TIME: Final = 1
RECORD_OVERHEAD_BYTES: Final = 200
"""Of a queued record, beside key and value: so that millions of empty ones are bounded too."""


class Taken(NamedTuple):
    """The next record in the one order. *told* is its verdict, if one was told."""

    record: Record
    told: Told | None
    is_request: bool
    is_word: bool = False
    """Whether it is a record of ``leases``."""


class _Queue:
    """Fetched records of one input, not yet taken."""

    __slots__ = ("bytes", "fetched", "offset", "records")

    def __init__(self, offset: int) -> None:
        self.records: deque[Record] = deque()
        self.bytes = 0
        self.offset = offset
        """Of the next record to be taken."""
        self.fetched = offset
        """Of the next record to be fetched."""

    def feed(self, records: list[Record]) -> list[Record]:
        if records and records[0].offset < self.fetched:
            # From before a seek: they are in the queue, or taken, already.
            records = [record for record in records if record.offset >= self.fetched]
        for record in records:
            if record.timestamp_type != LOG_APPEND_TIME:
                raise ConfigError(
                    f"{record.topic} carries the producer's time, not the broker's",
                    help="run `enforcer topics apply`: message.timestamp.type must be LogAppendTime",
                    code="append_time",
                )
            self.bytes += len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD_BYTES
        if records:
            self.fetched = records[-1].offset + 1
            self.records.extend(records)
        return records

    def pop(self) -> Record:
        record = self.records.popleft()
        self.offset = record.offset + 1
        self.bytes -= len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD_BYTES
        return record


class Inputs:
    """The queues of one agent, and which record is the next."""

    __slots__ = (
        "_at_end",
        "_is_at_end",
        "_queues",
        "_told",
        "_wait_s",
        "_waiting_for",
        "_waiting_since_s",
        "ahead",
        "held",
        "leases",
        "requests",
        "usage",
    )

    def __init__(
        self,
        request_offset: int,
        usage_offset: int,
        lease_offset: int = 0,
        *,
        told: Iterable[Told] = (),
        lone_wait_s: float,
        at_end: Callable[[str], bool],
    ) -> None:
        self.requests = _Queue(request_offset)
        self.usage = _Queue(usage_offset)
        self.leases = _Queue(lease_offset)
        self._queues = {REQUESTS: self.requests, USAGE: self.usage, LEASES: self.leases}
        self.ahead: Record | None = None
        """The record that nobody may take yet, for its time is in the future."""
        self._told = deque(sorted(told, key=lambda t: t.offset))
        self._wait_s = lone_wait_s
        self._waiting_for = ""
        self._waiting_since_s = 0.0
        self._is_at_end = at_end
        self._at_end: dict[str, bool] = {}
        self.held: set[int] = set()
        """Requests that may not be taken yet, for their texts are being read. One whose verdict was told may."""

    def __len__(self) -> int:
        return len(self.requests.records) + len(self.usage.records) + len(self.leases.records)

    @property
    def request_offset(self) -> int:
        """Of the next request to be taken."""
        return self.requests.offset

    @property
    def usage_offset(self) -> int:
        """Of the next usage record to be taken."""
        return self.usage.offset

    @property
    def lease_offset(self) -> int:
        """Of the next record of leases to be taken."""
        return self.leases.offset

    def have_moved(self, position: events.PositionRow) -> bool:
        """Whether a request or a report was taken since that position; a word of another agent is no input that kills."""
        return (self.request_offset, self.usage_offset) != (
            position.request_offset,
            position.usage_offset,
        )

    def offset_of(self, name: str) -> int:
        """Of the next record to be taken of the input *name*."""
        return self._queues[name].offset

    @property
    def redoing(self) -> bool:
        """Whether verdicts of the tail are still to be redone."""
        return bool(self._told)

    def feed(self, name: str, records: list[Record]) -> list[Record]:
        """
        Append fetched records of the input *name*. Those that were fed before are passed over.

        Returns: Those that were not.
        Raises: ConfigError for a record whose time is not the broker's: there is no order by such times.
        """
        return self._queues[name].feed(records)

    def size(self, name: str) -> tuple[int, int]:
        """Records and bytes in the queue of the input *name*."""
        queue = self._queues[name]
        return len(queue.records), queue.bytes

    def look(self) -> None:
        """Begin a slice: what is known of the inputs' ends is asked anew, once."""
        self._at_end.clear()

    def peek(self, now_s: float, latest_ms: int) -> tuple[str, int] | None:
        """Input and offset of the record that ``take`` would give."""
        queue = self._next(now_s, latest_ms)
        if queue is None:
            return None
        name = next(name for name, each in self._queues.items() if each is queue)
        return name, queue.records[0].offset

    def source_at(self, place: tuple[str, int, int], policy_offset: int, late_ms: int) -> Source:
        """A *place* (topic, partition, offset) of one input, as of now in the others and in the policies."""
        return Source(*place, self.usage.offset, policy_offset, late_ms, self.leases.offset)

    def plain_until_ms(self, latest_ms: int) -> int:
        """
        Up to which time ``take`` would give one request after the other, as long as nothing is fed; -1: ask it.

        Args:
            latest_ms: As for ``take``.
        """
        if self._told or self.held or self.leases.records or not self.requests.records:
            return -1
        usage = self.usage.records
        if not usage and not self._ends(USAGE):
            return -1
        self.ahead = None
        self._waiting_for = ""
        return min(latest_ms, usage[0].timestamp) if usage else latest_ms

    def take(self, now_s: float, latest_ms: int) -> Taken | None:
        """
        The next record in the one order.

        Args:
            now_s: The loop's clock, for the wait of a lone input.
            latest_ms: A record of a later time is not taken; it is left in ``ahead``.

        Returns: None when nothing may go yet.
        """
        queue = self._next(now_s, latest_ms)
        if queue is None:
            return None
        record = queue.pop()
        if queue is not self.requests:
            return Taken(record, None, is_request=False, is_word=queue is self.leases)
        told = self._told
        if told and told[0].offset == record.offset:
            return Taken(record, told.popleft(), is_request=True)
        return Taken(record, None, is_request=True)

    def _next(self, now_s: float, latest_ms: int) -> _Queue | None:
        queue = self._next_told(now_s) if self._told else self._next_live(now_s)
        self.ahead = None
        if queue is None or queue is self.leases:
            return queue
        head = queue.records[0]
        if head.timestamp > latest_ms:
            self.ahead = head
            return None
        if self.held and queue is self.requests and not self._told and head.offset in self.held:
            return None
        return queue

    def _next_live(self, now_s: float) -> _Queue | None:
        return self.leases if self.leases.records else self._next_by_time(now_s)

    def _next_by_time(self, now_s: float) -> _Queue | None:
        requests, usage = self.requests.records, self.usage.records
        if requests and usage:
            self._waiting_for = ""
            return self.usage if usage[0].timestamp < requests[0].timestamp else self.requests
        if requests:
            return self.requests if self._may_go_alone(USAGE, now_s) else None
        if usage:
            return self.usage if self._may_go_alone(REQUESTS, now_s) else None
        self._waiting_for = ""
        return None

    def _may_go_alone(self, other: str, now_s: float) -> bool:
        """Whether *other* need not, or need no longer, be waited for. Waited out once, it holds nobody up."""
        if self._ends(other):
            self._waiting_for = ""
            return True
        if self._waiting_for != other:
            self._waiting_for, self._waiting_since_s = other, now_s
        return now_s - self._waiting_since_s >= self._wait_s

    def _ends(self, name: str) -> bool:
        known = self._at_end.get(name)
        if known is None:
            known = self._at_end[name] = self._is_at_end(name)
        return known

    def _next_told(self, now_s: float) -> _Queue | None:
        requests, told = self.requests, self._told
        if not requests.records:
            return None
        head = requests.records[0]
        while told and told[0].offset < head.offset:
            told.popleft()  # Its request is gone from the log: retention outran us.
        if not told:
            return self._next_live(now_s)
        first = told[0]
        if self.leases.offset < first.lease_offset and not (
            self.leases.records or self._ends(LEASES)
        ):
            return None
        if self.leases.offset < first.lease_offset and self.leases.records:
            return self.leases
        return self._next_before(first, head)

    def _next_before(self, first: Told, head: Record) -> _Queue | None:
        """Requests, or usage that was taken before the verdict *first*; None while that is to come."""
        usage = self.usage
        is_usage_due = usage.offset < first.usage_offset
        if head.offset < first.offset:
            # Not told: a repeat, or input without an id. Its order against usage decided nothing that was told.
            if is_usage_due and usage.records and usage.records[0].timestamp < head.timestamp:
                return usage
            return self.requests
        if is_usage_due:
            if usage.records and usage.records[0].offset < first.usage_offset:
                return usage
            if not usage.records and not self._ends(USAGE):
                return None
        return self.requests
