"""What is looked at beside the traffic: the ledger as it grows, the worker's pulse, the inputs' ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from enforcer.broker import Broker
    from enforcer.cli.demo_figures import Figures
    from enforcer.cli.demo_view import Ledger
    from enforcer.cli.demo_worker import DemoWorker

_PULSE_S: Final = 0.5
_SETTLE_S: Final = 15.0
_SETTLE_POLL_S: Final = 0.1


@contextlib.asynccontextmanager
async def meanwhile(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """
    Run *works*, which end by being cancelled, beside the block.

    What goes wrong with the broker is for the block to tell; anything else is a bug and raised at the end.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, EnforcerError):
            raise error


async def count_audit(broker: Broker, topic: str, partitions: int, figures: Figures) -> None:
    """Count audit records as they are committed."""
    places = [(topic, number) for number in range(partitions)]
    reader = await broker.open_reader(read_committed=True)
    try:
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        while True:
            polled = await reader.poll(int(_PULSE_S * 1000))
            figures.audit_records += sum(map(len, polled.values()))
    finally:
        await reader.close()


async def feel_pulse(worker: DemoWorker, ledger: Ledger) -> None:
    """Commit time and lag, from the worker's metrics."""
    commits = commit_s = 0.0
    while True:
        pulse = await worker.pulse()
        if pulse is not None:
            ledger.lag_records, ledger.lag_s = pulse.lag_records, pulse.lag_s
            if pulse.commits > commits:
                took_s = (pulse.commit_s - commit_s) / (pulse.commits - commits)
                ledger.commit_ms = took_s * 1000
                commits, commit_s = pulse.commits, pulse.commit_s
        await asyncio.sleep(_PULSE_S)


async def settled(broker: Broker, prefix: str, partitions: int) -> None:
    """
    Wait until the worker's group *prefix* has committed past every record that was sent, or 15 s.

    What is not settled by then the next worker would settle; the reckoning says what is missing.
    """
    inputs = [(f"{prefix}.{name}", n) for name in ("requests", "usage") for n in range(partitions)]
    reader = await broker.open_reader()
    try:
        ends = await reader.offsets_end(inputs)
    finally:
        await reader.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_S):
            while True:
                done = await broker.group_offsets(prefix)
                if all(done.get(place, 0) >= end for place, end in ends.items()):
                    return
                await asyncio.sleep(_SETTLE_POLL_S)
