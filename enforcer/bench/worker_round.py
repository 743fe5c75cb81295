"""
The product under measurement: one worker in one process, as ``enforcer worker`` runs it.

It goes on where the round before stopped: same group, same identity, warm tables. Run as
``python -m enforcer.bench.worker_round TASK`` (see ``sampling``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final

import uvloop

from enforcer import detect
from enforcer.bench.sampling import Sampler, rss_mb, say, stopped_by_parent, task
from enforcer.bench.stalls import Stalls
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.engine import Engine, EngineConfig
from enforcer.store import RocksTable
from enforcer.stream.config import WorkerConfig
from enforcer.stream.text_readers import TextReaders
from enforcer.stream.worker import Worker
from enforcer.telemetry import Metrics, setup_logging

_READY_POLL_S: Final = 0.02
_FACT_CACHE_KEY_BYTES: Final = 32


def counters(metrics: Metrics, name: str) -> dict[str, float]:
    """A counter's values by label, out of the exposition's families."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in metrics.collect()
        if family.name == f"enforcer_{name}"
        for sample in family.samples
    }


async def main(given: dict[str, Any]) -> None:
    """One round, as *given*."""
    setup_logging("warning")
    stopped = stopped_by_parent()
    state_dir = Path(given["state_dir"])
    config = WorkerConfig(
        prefix=given["prefix"],
        group_id=given["prefix"],
        instance_id=given.get("instance_id", "bench"),
        state_dir=state_dir,
        commit_interval_ms=given["commit_interval_ms"],
    )
    metrics = Metrics()
    cache = detect.FactCache(os.urandom(_FACT_CACHE_KEY_BYTES))
    engine = Engine(
        EngineConfig(pseudonym_key=config.pseudonym_key, fact_cache=cache, timed=metrics.detected)
    )
    detect.warm()
    broker_config = BrokerConfig(bootstrap=given["bootstrap"], prefix=given["prefix"])
    readers = given.get("text_readers", 1)
    async with (
        KafkaBroker(broker_config) as broker,
        TextReaders(readers) if readers else contextlib.nullcontext() as text_readers,
    ):
        worker = Worker(
            config,
            broker=broker,
            engine=engine,
            metrics=metrics,
            open_table=lambda partition: RocksTable(state_dir / f"p{partition}"),
            text_readers=text_readers,
        )
        sampler = Sampler(lambda: int(sum(counters(metrics, "decisions").values())))
        running = asyncio.create_task(worker.run())
        while not worker.is_ready and not running.done():  # noqa: ASYNC110 — the worker tells nobody
            await asyncio.sleep(_READY_POLL_S)
        if running.done():
            running.result()
        say({"ready": True})
        sampling = asyncio.create_task(sampler.run())
        stalls = Stalls() if given.get("stalls") else None
        if stalls is not None:
            stalls.start()
        told = asyncio.create_task(stopped.wait())
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        sampling.cancel()
        gaps = stalls.end() if stalls is not None else []
        worker.stop()
        await running
    say(
        {
            "samples": sampler.samples,
            "verdicts": counters(metrics, "decisions"),
            "commits": sum(counters(metrics, "commits").values()),
            "commit_failures": sum(counters(metrics, "commit_failures").values()),
            "dead_letters": sum(counters(metrics, "dead_letters").values()),
            "rss_mb": rss_mb(),
            "stalls": gaps,
        }
    )


if __name__ == "__main__":
    uvloop.run(main(task()))
