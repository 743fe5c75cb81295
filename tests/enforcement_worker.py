"""
A worker as the command line makes it, but for its engine, which is wired for tests; in this process or its own.

The engine's verdicts depend on their owner: one call in eight is allowed by some processes and denied by others, and
every decision names its process in a warning. A call that is decided twice by two owners is thus a contradiction
that can be seen. Some texts raise in it, some kill the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enforcement_world import KILLS, RAISES

from enforcer import detect, events
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.detect.tokens import TokenCount
from enforcer.engine import Engine, EngineConfig
from enforcer.engine.denials import deny
from enforcer.stream.config import WorkerConfig
from enforcer.stream.identity import Identity
from enforcer.stream.tables import open_table
from enforcer.stream.worker import Worker
from enforcer.telemetry import Metrics, setup_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWNED_ONE_IN = 8


class OwnedEngine(Engine):
    """Decides as its process likes."""

    __slots__ = ()

    def _ruling(self, case: Any, *rest: Any) -> Any:
        text = case.request.llm.prompt or ""
        if text == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        program = case.program
        if text == RAISES:
            case.program = None  # Whatever is evaluated raises now.
        ruling = super()._ruling(case, *rest)
        case.program = program
        drawn = zlib.crc32(f"{os.getpid()} {case.request.id}".encode())
        owned = zlib.crc32(case.request.id.encode()) % OWNED_ONE_IN == 0
        if owned and drawn % 2 and ruling.verdict != "deny":
            ruling = deny("owner", "this process says no")
        ruling.warnings.append(events.Reason("", "", "warn", "owner", str(os.getpid())))
        return ruling


def make_worker(broker: KafkaBroker, config: WorkerConfig, engine: Engine) -> Worker:
    """A worker over RocksDB tables."""
    return Worker(
        config,
        broker=broker,
        engine=engine,
        metrics=Metrics(),
        open_table=lambda partition: open_table(config.state_dir, partition),
    )


@contextlib.asynccontextmanager
async def running(
    broker: KafkaBroker, prefix: str, state_dir: Path, name: str, **settings: Any
) -> AsyncIterator[Worker]:
    """A worker in this process; stopped and drained at the end."""
    config = WorkerConfig(
        prefix=prefix, group_id=prefix, instance_id=name, state_dir=state_dir, **settings
    )
    worker = make_worker(broker, config, Engine())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task


async def until_ready(worker: Worker, *, partitions: int | None = None) -> None:
    """Return when every partition (or so many) of *worker* decides."""
    async with asyncio.timeout(30):
        while not worker.is_ready or (  # noqa: ASYNC110 — asked from outside, as /ready is
            partitions is not None and len(worker.describe()["partitions"]) != partitions  # type: ignore[arg-type]
        ):
            await asyncio.sleep(0.02)


async def serve(options: dict[str, Any]) -> None:
    """This process's worker, until SIGTERM."""
    identity = Identity.hold(Path(options["state_dir"]), options["name"])
    config = WorkerConfig(
        prefix=options["prefix"],
        group_id=options["prefix"],
        instance_id=identity.instance_id,
        state_dir=identity.state_dir,
        # Longer than a session: a process that does not notice its end goes on telling after it.
        uncommitted_ms_max=20_000,
    )
    detect.warm()
    if options.get("data_digest"):
        be_another_version(options["data_digest"])
    broker_config = BrokerConfig(bootstrap=options["bootstrap"], prefix=options["prefix"])
    async with KafkaBroker(broker_config) as broker:
        engine = Engine() if options.get("plain") else OwnedEngine(EngineConfig())
        worker = make_worker(broker, config, engine)
        if options.get("deaf_on_usr1"):
            from enforcement_sabotage import go_deaf

            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: go_deaf(worker))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        telling = asyncio.create_task(_tell_ready(worker, identity.state_dir / "ready"))
        try:
            await worker.run()
        finally:
            telling.cancel()


def be_another_version(data_digest: str) -> None:
    """Detectors of another version: they count a token more, and say so."""
    count = detect.RequestFacts._count_tokens

    def one_more(facts: detect.RequestFacts) -> TokenCount:
        return TokenCount(count(facts).tokens + 1)

    detect.RequestFacts._count_tokens = one_more  # type: ignore[method-assign]
    detect.DATA_DIGEST = data_digest  # type: ignore[misc]


async def _tell_ready(worker: Worker, file: Path) -> None:
    """Make *file* when the worker owns something and decides all of it."""
    while not worker.is_ready or not worker.describe()["partitions"]:  # noqa: ASYNC110 — as above
        await asyncio.sleep(0.05)
    file.touch()  # noqa: ASYNC240 — once


def main() -> None:
    """Run with one JSON argument."""
    import uvloop

    options = json.loads(sys.argv[1])
    setup_logging(options.get("log_level", "warning"))
    if options.get("die_at"):
        from enforcement_points import die_at

        point, when, countdown = options["die_at"]
        die_at(point, when, countdown, Path(options["state_dir"]))
    if options.get("without"):
        from enforcement_sabotage import sabotage

        sabotage(options["without"])
    uvloop.run(serve(options))


if __name__ == "__main__":
    main()
