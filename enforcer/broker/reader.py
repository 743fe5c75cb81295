"""
A reader of assigned partitions: what the port promises, and what waits for a poll. ``Fetching`` gets it.

Theory of operation
-------------------
Each partition has two positions: up to where it was delivered, and up to where it was fetched. Between the two lies
what is *parked*: batches as the broker sent them, decoded when they are polled. A poll takes all that is parked, and
the next fetch leaves before it is decoded.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import TopicPartition

from enforcer.broker import batches, offsets
from enforcer.broker.client import closed_client, translated, within
from enforcer.broker.fetch import READ_COMMITTED, READ_UNCOMMITTED
from enforcer.broker.fetching import Fetching

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.fetch import Fetched
    from enforcer.broker.ports import Partition, Record


class _Parked(NamedTuple):
    """Batches of one answer, and the offset after them."""

    records: bytes
    aborted: tuple[tuple[int, int], ...]
    end: int


class Place:
    """One assigned partition."""

    __slots__ = (
        "end",
        "error",
        "fetched",
        "is_paused",
        "is_placed",
        "parked",
        "parked_bytes",
        "position",
        "rests_until_s",
        "seeks",
        "tp",
    )

    def __init__(self, tp: Partition) -> None:
        self.tp = TopicPartition(*tp)
        self.position = self.fetched = 0
        self.end: int | None = None
        """As the newest answer since the last seek told it."""
        self.seeks = 0
        """An answer to what was asked before the newest one is not looked at."""
        self.is_placed = False
        self.is_paused = False
        self.parked: list[_Parked] = []
        self.parked_bytes = 0
        self.error: BaseException | None = None
        """For the next poll; nothing is fetched before it was told."""
        self.rests_until_s = 0.0
        """The broker would not serve it a moment ago."""

    def put(self, at: int) -> None:
        """Deliver from *at* on."""
        self.position = self.fetched = at
        self.end = None
        self.seeks += 1
        self.is_placed = True
        self.clear()
        self.error = None

    def leave(self) -> None:
        """It is assigned no more: what is under way for it is nobody's."""
        self.seeks += 1
        self.clear()

    def park(self, found: Fetched) -> None:
        """Keep what was fetched."""
        end = batches.end_of(found.records)
        if end is None:
            return  # A batch that did not fit into what others had left: it comes first another time.
        self.parked.append(_Parked(found.records, found.aborted, end))
        self.parked_bytes += len(found.records)
        self.fetched = end

    def clear(self) -> None:
        """Forget what is parked."""
        self.parked.clear()
        self.parked_bytes = 0


class KafkaReader:
    """``ports.Reader``."""

    @classmethod
    async def start(cls, config: BrokerConfig, *, read_committed: bool) -> KafkaReader:
        """Connect, with nothing assigned. Raises as ``within``."""
        client = AIOKafkaClient(
            request_timeout_ms=config.request_timeout_ms,
            retry_backoff_ms=config.retry_backoff_ms,
            **config.connection(),
        )
        try:
            await within(config.start_timeout_s, client.bootstrap(), "start reader")
        except BaseException:
            await closed_client(client, seconds=config.close_timeout_s)
            raise
        return cls(client, config, read_committed=read_committed)

    def __init__(self, client: Any, config: BrokerConfig, *, read_committed: bool) -> None:
        """
        Begin with nothing assigned; nothing is sent yet.

        Args:
            client: aiokafka's, bootstrapped; ours from now on.
            config: Limits.
            read_committed: Whether records of open and aborted transactions are left out.
        """
        self._client = client
        self._config = config
        self._read_committed = read_committed
        self._places: dict[Partition, Place] = {}
        self._ready: dict[Place, None] = {}
        """Where something is parked, or is to be raised."""
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False
        self._fetching = Fetching(client, config, self, read_committed=read_committed)

    # -- what is read -----------------------------------------------------------------------------------------

    def assign(self, partitions: Sequence[Partition]) -> None:
        """See ``ports.Reader``."""
        wanted = set(partitions)
        if wanted == self._places.keys():
            return
        for tp in self._places.keys() - wanted:
            gone = self._places.pop(tp)
            gone.leave()
            self._ready.pop(gone, None)
        for tp in partitions:
            if tp not in self._places:
                self._places[tp] = Place(tp)
        self._fetching.look_soon()

    def assignment(self) -> frozenset[Partition]:
        """See ``ports.Reader``."""
        return frozenset(self._places)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See ``ports.Reader``."""
        place = self._place((topic, partition))
        place.put(offset)
        self._ready.pop(place, None)
        self._fetching.moved(place)

    async def seek_to_beginning(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for (topic, partition), offset in (
            await self.offsets_begin(self._named(partitions))
        ).items():
            self.seek(topic, partition, offset)

    async def seek_to_end(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for (topic, partition), offset in (await self.offsets_end(self._named(partitions))).items():
            self.seek(topic, partition, offset)

    def pause(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for tp in partitions:
            self._place(tp).is_paused = True

    def resume(self, *partitions: Partition) -> None:
        """See ``ports.Reader``."""
        for tp in partitions:
            place = self._place(tp)
            place.is_paused = False
            if place in self._ready:
                self._wake()
        self._fetching.look_soon()

    def position(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        place = self._places.get((topic, partition))
        return place.position if place is not None and place.is_placed else None

    def end(self, topic: str, partition: int) -> int | None:
        """See ``ports.Reader``."""
        place = self._places.get((topic, partition))
        return place.end if place is not None and place.is_placed else None

    # -- what comes -------------------------------------------------------------------------------------------

    async def poll(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        """See ``ports.Reader``."""
        deadline_s = time.monotonic() + timeout_ms / 1000
        while True:
            if self._is_closed:
                raise translated(kafka_errors.ConsumerStoppedError(), "poll")
            polled = self._taken()
            wait_s = deadline_s - time.monotonic()
            if polled or wait_s <= 0:
                return polled
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = loop.call_later(wait_s, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None

    def _taken(self) -> dict[Partition, list[Record]]:
        """All that is parked. An error waits for the poll after the records that came before it."""
        taken: list[tuple[Place, list[_Parked]]] = []
        for place in [*self._ready]:
            if place.is_paused:
                continue
            if place.parked:
                taken.append((place, place.parked))
                place.parked, place.parked_bytes = [], 0
            if place.error is None:
                del self._ready[place]
        if taken:
            # Before anything is decoded: the broker works meanwhile.
            self._fetching.look()
        polled: dict[Partition, list[Record]] = {}
        for place, parked in taken:
            records = self._decoded(place, parked)
            if records:
                polled[place.tp] = records
        if self._ready and not polled:
            self._raise()
        return polled

    def _raise(self) -> None:
        """Raise what a place failed by, once: from then on it is fetched again."""
        for place in self._ready:
            error, place.error = place.error, None
            if error is not None:
                del self._ready[place]
                self._fetching.look_soon()
                raise translated(error, "poll") from error

    def _decoded(self, place: Place, parked: list[_Parked]) -> list[Record]:
        records: list[Record] = []
        for each in parked:
            aborted = each.aborted if self._read_committed else None
            try:
                records += batches.read(
                    place.tp, each.records, begin=place.position, aborted=aborted
                )
            except kafka_errors.KafkaError as error:
                # What came before it is delivered; then it is said, and fetched again.
                place.put(place.position)
                self._fetching.moved(place)
                self.failed(place, error)
                break
            place.position = each.end
        return records

    def came(self, place: Place, found: Fetched) -> None:
        """An answer told of *place*."""
        place.end = found.stable_end if self._read_committed else found.end
        if found.records:
            place.park(found)
            if place.parked:
                self._ready[place] = None
                if not place.is_paused:
                    self._wake()

    def failed(self, place: Place, error: BaseException) -> None:
        """*place* cannot be read: the next poll says so."""
        place.error = error
        self._ready[place] = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            _wake(self._waiter)

    @property
    def places(self) -> Iterable[Place]:
        """All that is assigned."""
        return self._places.values()

    # -- what is asked ----------------------------------------------------------------------------------------

    async def offsets_begin(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        return _there(await self._look_up(dict.fromkeys(partitions, offsets.EARLIEST)))

    async def offsets_end(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """See ``ports.Reader``."""
        return _there(await self._look_up(dict.fromkeys(partitions, offsets.LATEST)))

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int]
    ) -> dict[Partition, int | None]:
        """See ``ports.Reader``."""
        return await self._look_up(times_ms)

    async def _look_up(self, times_ms: Mapping[Partition, int]) -> dict[Partition, int | None]:
        isolation = READ_COMMITTED if self._read_committed else READ_UNCOMMITTED
        return await offsets.look_up(self._client, self._config, times_ms, isolation=isolation)

    async def close(self) -> None:
        """See ``ports.Reader``."""
        self._is_closed = True
        self._places.clear()
        self._ready.clear()
        self._wake()
        await self._fetching.close()
        await closed_client(self._client, seconds=self._config.close_timeout_s)

    def _named(self, partitions: Sequence[Partition]) -> Sequence[Partition]:
        return partitions or sorted(self.assignment())

    def _place(self, tp: Partition) -> Place:
        place = self._places.get(tp)
        assert place is not None, f"{tp[0]}-{tp[1]} is not assigned"
        return place


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _there(found: Mapping[Partition, int | None]) -> dict[Partition, int]:
    """Begin and end are always there."""
    return {place: at for place, at in found.items() if at is not None}
