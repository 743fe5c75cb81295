"""One partition of the simulated broker: offsets, transactions, sequences of producers, compaction."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from enforcer.errors import AgentFencedError, EnforcerError, UnavailableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from enforcer.broker.ports import Headers, Outgoing

BATCHES_REMEMBERED: Final = 5
"""Of each producer: a repeat of one of these is known as such."""

Status = Literal["plain", "open", "committed", "aborted", "control"]


@dataclass(slots=True)
class Entry:
    """One offset of a log, and a ``ports.Record``. *status* control: the marker that ends a transaction here."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    producer_id: int = -1
    epoch: int = -1
    status: Status = "plain"


class DuplicateBatchError(EnforcerError):
    """The batch is in the log already; *offset* is where."""

    def __init__(self, offset: int) -> None:
        super().__init__("the batch is in the log already", code="duplicate")
        self.offset = offset


@dataclass(slots=True)
class _Producer:
    """What a partition knows of a producer id."""

    epoch: int
    sequence: int = 0
    """Of the next record."""
    batches: deque[tuple[int, int, int]] = field(
        default_factory=lambda: deque(maxlen=BATCHES_REMEMBERED)
    )
    """First sequence, records and first offset of the newest batches."""


class Log:
    """A partition. ``config`` holds the settings of its topic, shared with the other partitions."""

    def __init__(self, topic: str, partition: int, config: Mapping[str, str]) -> None:
        self.topic, self.partition, self.config = topic, partition, config
        self.entries: list[Entry] = []
        self.begin = 0
        self.end = 0
        self.compacted: list[Entry] = []
        """What compaction took out, for checkers: nobody reads it."""
        self._open: dict[int, int] = {}
        """First offset of each open transaction, by producer id."""
        self._producers: dict[int, _Producer] = {}
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min(self._open.values(), default=self.end)

    # -- writing -------------------------------------------------------------------------------------------

    def append(
        self,
        records: Sequence[Outgoing],
        *,
        now_ms: int,
        producer: tuple[int, int] = (-1, -1),
        sequence: int = -1,
        is_transactional: bool = False,
    ) -> int:
        """
        Append a batch; the offset of its first record.

        Args:
            records: What to append.
            now_ms: The broker's clock.
            producer: Its id and epoch; -1: one that is not idempotent.
            sequence: Of the first record, among the producer's in this partition.
            is_transactional: Whether it waits for its transaction's end.

        Raises: AgentFencedError, DuplicateBatchError, UnavailableError (code ``refused``).
        """
        producer_id, epoch = producer
        if producer_id >= 0:
            self._check(producer_id, epoch, sequence, len(records))
        limit = int(self.config.get("max.message.bytes", "1048588"))
        if sum(len(key or b"") + len(value or b"") for key, value, _, _ in records) > limit:
            raise UnavailableError(f"{self.topic} takes no batch so large", code="refused")
        first = self.end
        status: Status = "open" if is_transactional else "plain"
        is_append_time = self.config.get("message.timestamp.type") == "LogAppendTime"
        for key, value, headers, at_ms in records:
            time_ms = now_ms if is_append_time or at_ms is None else at_ms
            kind = 1 if is_append_time else 0
            self.put(
                Entry(
                    *self.place, 0, time_ms, kind, key, value, headers, producer_id, epoch, status
                )
            )
        if producer_id >= 0:
            state = self._producers[producer_id]
            state.batches.append((sequence, len(records), first))
            state.sequence = sequence + len(records)
        if is_transactional:
            self._open.setdefault(producer_id, first)
        self.wake()
        return first

    def put(self, entry: Entry) -> int:
        """Append one entry as it is; its offset."""
        entry.offset = self.end
        self.entries.append(entry)
        self.end += 1
        return entry.offset

    def _check(self, producer_id: int, epoch: int, sequence: int, count: int) -> None:
        state = self._producers.get(producer_id)
        if state is None or epoch > state.epoch:
            self._producers[producer_id] = _Producer(epoch, sequence)
            return
        if epoch < state.epoch:
            raise AgentFencedError(f"a newer owner has written to {self.topic}-{self.partition}")
        for first, records, offset in state.batches:
            if (first, records) == (sequence, count):
                raise DuplicateBatchError(offset)
        if sequence != state.sequence:
            raise UnavailableError(
                f"{self.topic}-{self.partition}: sequence {sequence}, expected {state.sequence}",
                code="out_of_order",
            )

    def end_transaction(self, producer: tuple[int, int], *, now_ms: int, commits: bool) -> None:
        """Write the marker of a transaction's end."""
        producer_id, epoch = producer
        status: Status = "committed" if commits else "aborted"
        first = self._open.pop(producer_id, self.end)
        for entry in self.entries[bisect_left(self.entries, first, key=_offset) :]:
            if entry.producer_id == producer_id and entry.status == "open":
                entry.status = status
        state = self._producers.get(producer_id)
        if state is None or epoch > state.epoch:
            self._producers[producer_id] = _Producer(epoch)
        marker = Entry(*self.place, 0, now_ms, 1, None, None, (), producer_id, epoch, "control")
        self.put(marker)
        self.wake()

    # -- reading -------------------------------------------------------------------------------------------

    def read(
        self, start: int, *, read_committed: bool, records_max: int = 1_000_000
    ) -> tuple[list[Entry], int, int]:
        """Records from *start* on, the position behind them, and the end for such a reader."""
        end = self.stable if read_committed else self.end
        found: list[Entry] = []
        position = start
        for entry in self.entries[bisect_left(self.entries, start, key=_offset) :]:
            if entry.offset >= end:
                break
            if len(found) == records_max:
                return found, position, end
            position = entry.offset + 1
            if entry.status != "control" and not (read_committed and entry.status == "aborted"):
                found.append(entry)
        # What compaction has taken is passed over, too.
        return found, max(position, end), end

    def wake(self) -> None:
        """Tell those who wait for records that there are some."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def wake_later(self, future: asyncio.Future[None]) -> None:
        """Set *future* when something comes."""
        if len(self._waiting) > 64:
            self._waiting = [each for each in self._waiting if not each.done()]
        self._waiting.append(future)

    # -- deleting ------------------------------------------------------------------------------------------

    def delete_before(self, offset: int) -> None:
        """Retention, or DeleteRecords."""
        self.entries = [entry for entry in self.entries if entry.offset >= offset]
        self.begin = max(self.begin, offset)

    def compact(self, *, below: int, tombstones_before_ms: int) -> int:
        """
        Keep of each key the newest committed value, in what lies below *below* and the last stable offset.

        Args:
            below: The active segment begins here.
            tombstones_before_ms: Tombstones older than that go, too.

        Returns: How many entries went.
        """
        below = min(below, self.stable)
        newest: dict[bytes | None, int] = {}
        for entry in self.entries:
            if entry.status in ("plain", "committed") and entry.offset < self.stable:
                newest[entry.key] = entry.offset
        kept: list[Entry] = []
        for entry in self.entries:
            goes = entry.offset < below and (
                entry.status in ("aborted", "control")
                or newest.get(entry.key) != entry.offset
                or (entry.value is None and entry.timestamp < tombstones_before_ms)
            )
            (self.compacted if goes else kept).append(entry)
        gone = len(self.entries) - len(kept)
        self.entries = kept
        return gone


def _offset(entry: Entry) -> int:
    return entry.offset
