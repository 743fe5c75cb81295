"""What is read of requests before their turn: the small ones at the head of a queue together, large ones elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Record
    from enforcer.engine.ahead import Ahead, Foresight, LongRequest
    from enforcer.policy import TenantProgram
    from enforcer.stream.inputs import Inputs
    from enforcer.stream.poison import Care
    from enforcer.stream.text_readers import TextReaders

REQUESTS_MAX: Final = 64
"""Requests that are read and scanned together: 2 to 3 ms of them, where a slice takes 5."""
LARGE_BYTES_MIN: Final = 16 * 1024
"""A larger one is not read together with others, which would hold the loop up: at its turn, or elsewhere."""
READ_ELSEWHERE_MAX: Final = 4
"""Large requests of a partition that are read elsewhere at once. Those behind them wait anyway."""


class LookAhead:
    """What was foreseen of the next requests of one partition, until their turn comes."""

    __slots__ = ("_elsewhere", "_foresight", "_found", "_program_of")

    def __init__(
        self,
        foresight: Foresight,
        program_of: Callable[[str], TenantProgram],
        elsewhere: ReadElsewhere,
    ) -> None:
        self._elsewhere = elsewhere
        self._foresight = foresight
        self._program_of = program_of
        self._found: dict[int, Ahead | None] = {}

    def of(self, record: Record, inputs: Inputs, care: Care, *, now_us: int) -> Ahead | None:
        """
        What was foreseen of a request. If nothing was: of it now, and of those behind it.

        Args:
            record: The request whose turn it is.
            inputs: Where those behind it wait.
            care: Where a death is looked for, no record is touched before its turn.
            now_us: Event time.
        """
        offset, found = record.offset, self._found
        ahead = self._elsewhere.of(offset)
        if ahead is not None:
            return ahead
        if offset in found:
            return found.pop(offset)
        behind = inputs.requests.records
        if not behind or care.limit(REQUESTS_MAX) < REQUESTS_MAX:
            return None
        records = [record, *islice(behind, REQUESTS_MAX - 1)]
        values = [r.value if len(r.value or b"") <= LARGE_BYTES_MIN else None for r in records]
        aheads = self._foresight.look_ahead(self._program_of, values, now_us)
        self._found = {r.offset: ahead for r, ahead in zip(records, aheads, strict=True)}
        return self._found.pop(offset)


class ReadElsewhere:
    """
    Large requests of one partition, whose texts another process reads before their turn.

    Args:
        readers: The processes; None: nothing is read elsewhere.
        inputs: Told which may not be taken yet.
    """

    __slots__ = (
        "_ahead",
        "_foresight",
        "_held",
        "_inputs",
        "_program_of",
        "_readers",
        "_reading",
        "_waiting",
        "on_ready",
    )

    def __init__(
        self,
        readers: TextReaders | None,
        foresight: Foresight,
        program_of: Callable[[str], TenantProgram],
        inputs: Inputs,
    ) -> None:
        self._readers = readers
        self._foresight = foresight
        self._program_of = program_of
        self._ahead: dict[int, Ahead] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._waiting: deque[Record] = deque()
        self._inputs = inputs
        self._held = inputs.held
        self.on_ready: Callable[[], None] = lambda: None
        """Called when a request may be taken that might not."""

    def fed(self, records: list[Record], care: Care, *, now_us: int) -> None:
        """
        Requests have come.

        Args:
            records: In order, each of them for the first time.
            care: Where a death is looked for, no record is touched before its turn.
            now_us: Event time.
        """
        if self._readers is None or care.limit(REQUESTS_MAX) < REQUESTS_MAX:
            return
        large = [r for r in records if len(r.value or b"") > LARGE_BYTES_MIN]
        if large:
            self._waiting.extend(large)
            self._begin(now_us)

    def _begin(self, now_us: int) -> None:
        # What waits is behind what is being read: only in the tail can it have had its turn.
        while self._waiting and len(self._reading) < READ_ELSEWHERE_MAX:
            record = self._waiting.popleft()
            if record.offset < self._inputs.request_offset:
                continue  # Its verdict was told: it was redone unread.
            long = self._foresight.read_long(self._program_of, record.value or b"", now_us)
            if long is None:
                continue
            self._ahead[record.offset] = long.ahead
            self._held.add(record.offset)
            task = asyncio.get_running_loop().create_task(self._read(record.offset, long, now_us))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, offset: int, long: LongRequest, now_us: int) -> None:
        assert self._readers is not None
        found = await self._readers.read(long.texts, long.wanted)
        long.found.update(zip([each.text for each in long.texts], found, strict=True))
        self._held.discard(offset)
        self._reading.discard(asyncio.current_task())
        self._begin(now_us)
        self.on_ready()

    def of(self, offset: int) -> Ahead | None:
        """What was read of the request whose turn it is."""
        return self._ahead.pop(offset, None) if self._ahead else None

    def close(self) -> None:
        """Nobody waits any more."""
        for task in self._reading:
            task.cancel()
