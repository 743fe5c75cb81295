"""Topics read by verbs: from the beginning or from now, to the end or for ever."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from enforcer.broker import Broker, Record
    from enforcer.cli.broker_options import BrokerTarget

_POLL_MS: Final = 500


@asynccontextmanager
async def connected(target: BrokerTarget) -> AsyncIterator[Broker]:
    """A started broker, stopped at the end. What is logged meanwhile goes to stderr."""
    from enforcer.broker import KafkaBroker, load  # noqa: PLC0415 — the help of verbs stays quick
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging("warning")
    broker = KafkaBroker(
        load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)
    )
    try:
        await broker.start()
        yield broker
    finally:
        await broker.stop()


async def records(
    broker: Broker, topic: str, *, from_beginning: bool, follow: bool
) -> AsyncGenerator[Record]:
    """
    The committed records of *topic*, each partition in its order.

    Args:
        broker: Started.
        topic: Its full name.
        from_beginning: Else from where the topic ends now.
        follow: Go on for ever; else stop where the topic ends now.

    Raises: NotFoundError, UnavailableError, AuthError.
    """
    places = [(topic, number) for number in range(await broker.partitions(topic))]
    reader = await broker.open_reader(read_committed=True)
    try:
        ends = await reader.offsets_end(places)
        starts = await reader.offsets_begin(places) if from_beginning else ends
        left = {place for place in places if starts[place] < ends[place]}
        reader.assign(places)
        for place, offset in starts.items():
            reader.seek(*place, offset)
        while follow or left:
            for place, polled in (await reader.poll(_POLL_MS)).items():
                for record in polled:
                    if follow or record.offset < ends[place]:
                        yield record
            # The position passes control records too, with which a committed topic ends.
            left = {place for place in left if (reader.position(*place) or 0) < ends[place]}
    finally:
        await reader.close()
