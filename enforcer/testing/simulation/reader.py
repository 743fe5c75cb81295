"""The simulated reader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from enforcer.errors import AgentCorruptedError
from enforcer.testing.simulation.loop import nobodys_context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from enforcer.broker.ports import Partition, Record
    from enforcer.testing.simulation.log import Log
    from enforcer.testing.simulation.wire import Wire


class SimulatedReader:
    """``ports.Reader``: what it knows of an end is what the newest fetch told."""

    def __init__(self, wire: Wire, *, read_committed: bool) -> None:
        self._wire = wire
        self._read_committed = read_committed
        self._positions: dict[Partition, int | None] = {}
        self._ends: dict[Partition, int | None] = {}
        self._paused: set[Partition] = set()
        self._name = "committed" if read_committed else "all"

    def assign(self, partitions: Sequence[Partition]) -> None:
        """See ``ports.Reader``."""
        places = [(topic, partition) for topic, partition in partitions]
        self._positions = {place: self._positions.get(place) for place in places}
        self._ends = {place: self._ends.get(place) for place in places}
        self._paused &= set(places)

    def assignment(self) -> frozenset[Partition]:
        """See ``ports.Reader``."""
        return frozenset(self._positions)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See ``ports.Reader``."""
        assert (topic, partition) in self._positions, f"{topic}-{partition} is not assigned"
        self._positions[topic, partition] = offset
        self._ends[topic, partition] = None

    async def seek_to_beginning(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for place, offset in (
            await self.offsets_begin(partitions or sorted(self._positions))
        ).items():
            self.seek(*place, offset)

    async def seek_to_end(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for place, offset in (
            await self.offsets_end(partitions or sorted(self._positions))
        ).items():
            self.seek(*place, offset)

    async def poll(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        """See ``ports.Reader``."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_ms / 1000
        asked = {
            place: position
            for place, position in self._positions.items()
            if position is not None and place not in self._paused
        }
        if not asked:
            await asyncio.sleep(timeout_ms / 1000)
            self._wire.process.check()
            return {}
        while True:
            polled = await self._fetch(asked)
            left_s = until_s - loop.time()
            if polled or left_s <= 0:
                return polled
            asked = {
                place: position
                for place in asked
                if (position := self._positions.get(place)) is not None
                and place not in self._paused
            }
            await self._more(asked, left_s)

    async def _fetch(self, asked: Mapping[Partition, int]) -> dict[Partition, list[Record]]:
        cluster = self._wire.cluster

        def act() -> dict[Partition, tuple[list[Record], int, int]]:
            found: dict[Partition, tuple[list[Record], int, int]] = {}
            for place, position in asked.items():
                log = cluster.log(*place)
                if position < log.begin or position > log.end:
                    found[place] = ([], -1, -1)
                    continue
                records, following, end = log.read(
                    position,
                    read_committed=self._read_committed,
                    records_max=cluster.weather.fetched_max(),
                )
                found[place] = ([*records], following, end)
            return found

        answer = await self._wire.call(f"reader.fetch {self._name}", act)
        polled: dict[Partition, list[Record]] = {}
        for place, (records, following, end) in answer.items():
            if self._positions.get(place) != asked[place] or place in self._paused:
                continue  # Sought, taken away or paused meanwhile: what was fetched is thrown away.
            if following < 0:
                raise AgentCorruptedError(
                    f"{place[0]}-{place[1]} has no offset {asked[place]}",
                    code="offset_out_of_range",
                )
            self._positions[place], self._ends[place] = following, end
            if records:
                polled[place] = records
        return polled

    async def _more(self, asked: Mapping[Partition, int], seconds: float) -> None:
        """Wait until there may be something, or *seconds*."""
        loop = asyncio.get_running_loop()
        logs: list[Log] = [self._wire.cluster.log(*place) for place in asked]
        if any(self._has_more(log, asked[log.place]) for log in logs):
            return
        woken: asyncio.Future[None] = loop.create_future()
        for log in logs:
            log.wake_later(woken)
        timer = loop.call_later(seconds, _wake, woken, context=nobodys_context())
        try:
            await woken
        finally:
            timer.cancel()

    def _has_more(self, log: Log, position: int) -> bool:
        return position < (log.stable if self._read_committed else log.end)

    def pause(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        self._paused |= {(topic, partition) for topic, partition in partitions}

    def resume(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        self._paused -= {(topic, partition) for topic, partition in partitions}

    def position(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        return self._positions.get((topic, partition))

    def end(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        return self._ends.get((topic, partition))

    async def offsets_begin(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        cluster = self._wire.cluster
        return await self._wire.call(
            "reader.offsets_begin",
            lambda: {(t, p): cluster.log(t, p).begin for t, p in partitions},
        )

    async def offsets_end(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        cluster = self._wire.cluster

        def act() -> dict[Partition, int]:
            logs = [cluster.log(*place) for place in partitions]
            return {log.place: log.stable if self._read_committed else log.end for log in logs}

        return await self._wire.call("reader.offsets_end", act)

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int]
    ) -> dict[Partition, int | None]:
        """See ``ports.Reader``."""
        cluster = self._wire.cluster

        def act() -> dict[Partition, int | None]:
            return {
                place: next(
                    (e.offset for e in cluster.log(*place).entries if e.timestamp >= at_ms), None
                )
                for place, at_ms in times_ms.items()
            }

        return await self._wire.call("reader.offsets_for_times", act)

    async def close(self) -> None:
        """See ``ports.Reader``."""
        self._positions = {}


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
