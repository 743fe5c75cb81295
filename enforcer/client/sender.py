"""
Sends parcels through one producer, and through the next one when that is lost.

What is handed in within one turn of the event loop goes out as one batch per partition. A parcel whose
batch failed is sent again as long as somebody still wants it: requests and final usage reports are
keyed by their call, so that a repeat is taken for what it is. A partial usage report adds, and is
not repeated when nobody knows whether the first one arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.errors import AuthError, ConfigError, EnforcerError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from enforcer.broker.ports import Broker, Outgoing, Partition, Producer
    from enforcer.client.calls import Key

_RETRY_S: Final = 0.01
_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_LAST_S: Final = 2.0

_log = structlog.get_logger("enforcer.client")

Refused = Callable[["Parcel", EnforcerError], None]
"""Told of every parcel that the broker will never take."""


class Parcel:
    """
    One record on its way.

    ``wanted`` is cleared by whoever no longer needs it sent; ``acknowledged`` is set by the sender.
    ``repeatable`` is whether it may be sent again when its fate is unknown. ``call`` names the call that
    waits for it; it is no reference, so that call and parcel make no cycle for the collector.
    """

    __slots__ = ("acknowledged", "call", "record", "repeatable", "wanted")

    def __init__(
        self, record: Outgoing, *, repeatable: bool = True, call: Key | None = None
    ) -> None:
        self.record = record
        self.repeatable = repeatable
        self.call = call
        self.wanted = True
        self.acknowledged = False


class Sender:
    """The way out of a gateway. Bounded by its callers: calls in flight, and reports not acknowledged."""

    def __init__(self, broker: Broker, topics: tuple[str, ...], refused: Refused) -> None:
        self._broker = broker
        self._refused = refused
        self._topics = topics
        self._producer: Producer | None = None
        self._outbox: dict[Partition, list[Parcel]] = {}
        self._flight: set[asyncio.Future[int]] = set()
        self._scheduled = False
        self._closed = False
        self._reconnecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._backoff_s = 0.0
        self.reconnects = 0

    async def start(self) -> None:
        """Connect. Raises what the broker raises."""
        self._producer = await self._opened()

    async def _opened(self) -> Producer:
        producer = await self._broker.open_producer()
        try:
            await producer.prepare(self._topics)
        except BaseException:
            await producer.close()
            raise
        return producer

    def put(self, topic: str, partition: int, parcel: Parcel) -> None:
        """Send *parcel* with all others of this turn of the event loop."""
        parcels = self._outbox.get((topic, partition))
        if parcels is None:
            self._outbox[topic, partition] = [parcel]
        else:
            parcels.append(parcel)
        if not self._scheduled and self._producer is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        producer = self._producer
        if producer is None or self._closed:
            return  # The reconnection flushes.
        outbox, self._outbox = self._outbox, {}
        for place, parcels in outbox.items():
            wanted = [parcel for parcel in parcels if parcel.wanted]
            if not wanted:
                continue
            try:
                sent = producer.send(place[0], place[1], [parcel.record for parcel in wanted])
            except EnforcerError as error:
                self._outbox[place] = wanted
                self._not_taken(producer, error)
                continue
            future = asyncio.ensure_future(sent)
            self._flight.add(future)
            future.add_done_callback(partial(self._done, producer, place, wanted))

    def _not_taken(self, producer: Producer, error: EnforcerError) -> None:
        if error.code != "backlog":
            self._lost(producer, error)
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_RETRY_S, self._flush)

    def _done(
        self, producer: Producer, place: Partition, parcels: list[Parcel], done: asyncio.Future[int]
    ) -> None:
        self._flight.discard(done)
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self._backoff_s = 0.0
            for parcel in parcels:
                parcel.acknowledged = True
            return
        if self._closed:
            return
        if isinstance(error, EnforcerError) and _is_refusal(error):
            for parcel in parcels:
                parcel.wanted = False
                self._refused(parcel, error)
            return
        again = [parcel for parcel in parcels if parcel.wanted and parcel.repeatable]
        self._outbox[place] = again + self._outbox.get(place, [])
        self._lost(producer, error)

    def _lost(self, producer: Producer, error: BaseException | None) -> None:
        if self._producer is not producer or self._closed:
            return
        self._producer = None
        code = error.code if isinstance(error, EnforcerError) else type(error).__name__
        _log.warning("producer_lost", code=code)
        self._reconnecting = self._loop.create_task(self._reconnect(producer))

    async def _reconnect(self, lost: Producer) -> None:
        await lost.close()
        while True:
            # None before the first try. The wait grows until a send is acknowledged, not only until a
            # producer starts: one that starts and then fails every send must not spin.
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_FIRST_S), _BACKOFF_LAST_S)
            try:
                self._producer = await self._opened()
            except EnforcerError as error:
                _log.warning("reconnect_failed", code=error.code)
                self._forget_unwanted()
            else:
                self.reconnects += 1
                self._flush()
                return

    def _forget_unwanted(self) -> None:
        """While the broker is away, calls end by their deadlines; what they wanted sent goes with them."""
        for place, parcels in list(self._outbox.items()):
            self._outbox[place] = [parcel for parcel in parcels if parcel.wanted]

    async def close(self, timeout_s: float) -> None:
        """Send what is waiting, for at most *timeout_s*, and disconnect. Never raises."""
        if self._producer is not None:
            self._flush()
            if self._flight:
                await asyncio.wait(set(self._flight), timeout=timeout_s)
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reconnecting
        if self._producer is not None:
            await self._producer.close()


def _is_refusal(error: EnforcerError) -> bool:
    """Whether sending it again would be answered the same."""
    if isinstance(error, UnavailableError):
        return error.code == "refused"
    return isinstance(error, AuthError | ConfigError | NotFoundError)
