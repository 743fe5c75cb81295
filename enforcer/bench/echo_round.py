"""
The baseline: a process that answers every record with one of a decision's size, and does nothing else.

The same broker port, client settings, event loop, partitions and headers as the worker's; record batches both ways.
Run as ``python -m enforcer.bench.echo_round TASK`` (see ``sampling``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import uvloop

from enforcer.bench.sampling import Sampler, rss_mb, say, stopped_by_parent, task
from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Awaitable

_POLL_MS: Final = 500
_QUEUED_BYTES_MAX: Final = 8 << 20


class Echo:
    """Reads *source* and answers to *target*, partition by partition."""

    def __init__(self, *, source: str, target: str, partitions: int, value_bytes: int) -> None:
        """*value_bytes* is the size of an answer."""
        self._source = source
        self._target = target
        self._places = [(source, number) for number in range(partitions)]
        self._answer = b"x" * value_bytes
        self.count = 0

    async def run(self, broker: KafkaBroker, *, loops: bool, ready: asyncio.Event) -> None:
        """Answer until cancelled; *loops* begins a partition again that has come to its end."""
        reader = await broker.open_reader(read_committed=True)
        producer = await broker.open_producer()
        sent: deque[Awaitable[int]] = deque()
        try:
            await producer.prepare([self._target])
            reader.assign(self._places)
            await (reader.seek_to_beginning() if loops else reader.seek_to_end())
            ready.set()
            answer = self._answer
            while True:
                for (_, partition), records in (await reader.poll(_POLL_MS)).items():
                    answers = [(r.key, answer, r.headers, None) for r in records]
                    sent.append(producer.send(self._target, partition, answers))
                    self.count += len(answers)
                    position = reader.position(self._source, partition) or 0
                    if loops and position >= (reader.end(self._source, partition) or 0):
                        reader.seek(self._source, partition, 0)
                while sent and producer.queued_bytes > _QUEUED_BYTES_MAX:
                    await sent.popleft()
                if len(sent) > 1_000:
                    sent = deque(list(sent)[-100:])
        finally:
            await reader.close()
            await producer.close()


async def main(given: dict[str, Any]) -> None:
    """One round, as *given*."""
    stopped = stopped_by_parent()
    echo = Echo(
        source=given["source"],
        target=given["target"],
        partitions=given["partitions"],
        value_bytes=given["value_bytes"],
    )
    sampler = Sampler(lambda: echo.count)
    ready = asyncio.Event()
    async with KafkaBroker(BrokerConfig(bootstrap=given["bootstrap"])) as broker:
        running = asyncio.create_task(echo.run(broker, loops=given["loops"], ready=ready))
        begun = asyncio.create_task(ready.wait())
        await asyncio.wait({running, begun}, return_when=asyncio.FIRST_COMPLETED)
        gc.collect()
        gc.freeze()
        say({"ready": not running.done()})
        sampling = asyncio.create_task(sampler.run())
        told = asyncio.create_task(stopped.wait())
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        sampling.cancel()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    say({"samples": sampler.samples, "count": echo.count, "rss_mb": rss_mb()})


if __name__ == "__main__":
    uvloop.run(main(task()))
