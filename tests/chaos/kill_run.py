"""
The test that counts: workers killed, stopped, cut off and refused under traffic, and everything checked afterwards.

As a program it runs for long (``make kill``) and prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from enforcement_check import Findings, check, read_topics  # noqa: E402 — the path comes first
from enforcement_fleet import Fleet  # noqa: E402 — as above
from enforcement_world import (  # noqa: E402 — as above
    Traffic,
    apply_policies,
    make_topics,
    send_all,
    until_committed,
    until_owned,
)

from enforcer.broker import BrokerConfig, KafkaBroker  # noqa: E402 — as above

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS = 6
WORKERS = 2
SESSION_S = 6
FIGURES = (
    "requests",
    "decided",
    "audit_records",
    "lost",
    "doubled",
    "contradicted",
    "overspent_usd_nano",
    "longest_gap_ms",
)


class Faults:
    """What is done to a fleet, one after the other."""

    def __init__(self, fleet: Fleet, broker: KafkaBroker, prefix: str, rng: random.Random) -> None:
        self._fleet = fleet
        self._broker = broker
        self._prefix = prefix
        self._rng = rng

    async def kill(self) -> None:
        """SIGKILL, and started again, now or a little later."""
        name = self._one()
        self._fleet.held.add(name)
        self._fleet.signal(name, signal.SIGKILL)
        await asyncio.sleep(self._rng.choice((0.0, 0.5, SESSION_S + 1.0)))
        self._fleet.held.discard(name)

    async def zombie(self) -> None:
        """Stopped for longer than its session, then woken: it must end before it sends."""
        name = await self._ready_one()
        process = self._fleet.processes[name]
        self._fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(SESSION_S + 2)
        self._fleet.signal(name, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, 20)
        assert process.poll() not in (None, 0), "a zombie went on"

    async def deaf(self) -> None:
        """It loses its seat unnoticed and goes on deciding what is others' now."""
        self._fleet.signal(await self._ready_one(), signal.SIGUSR1)
        await asyncio.sleep(SESSION_S + 2)

    async def refused(self) -> None:
        """The broker takes everything but records of the ledger, for a moment."""
        audit = f"{self._prefix}.audit"
        await self._broker.alter_topic_configs({audit: {"max.message.bytes": "100"}})
        await asyncio.sleep(1.0)
        await self._broker.alter_topic_configs({audit: {"max.message.bytes": "2097152"}})

    async def stop(self) -> None:
        """A planned stop, and started again."""
        self._fleet.signal(self._one(), signal.SIGTERM)

    async def _ready_one(self) -> str:
        """One that owns partitions and decides: only such a one has a seat to lose."""
        async with asyncio.timeout(60):
            while True:
                names = [n for n in self._fleet.processes if self._fleet.ready_file(n).exists()]
                ready = [n for n in names if self._fleet.processes[n].poll() is None]
                if ready:
                    return self._rng.choice(ready)
                await asyncio.sleep(0.1)

    def _one(self) -> str:
        running = [n for n, p in self._fleet.processes.items() if p.poll() is None]
        return self._rng.choice(running or list(self._fleet.processes))


@dataclass(frozen=True, slots=True)
class Run:
    """What one run does."""

    bootstrap: str
    requests: int
    faults: Sequence[str]
    per_second: float
    pause_s: tuple[float, float] = (1.0, 4.0)
    without: str = ""
    poison: tuple[str, ...] = ()
    seed: int = 7
    finish_s: float = 90.0
    log_level: str = "warning"


async def run(options: Run, directory: Path) -> tuple[Findings, Fleet]:
    """One run, from topics to findings."""
    prefix = f"k{uuid.uuid4().hex[:10]}"
    broker_config = BrokerConfig(bootstrap=options.bootstrap, prefix=prefix)
    worker = {
        "bootstrap": options.bootstrap,
        "prefix": prefix,
        "without": options.without,
        "deaf_on_usr1": True,
        "log_level": options.log_level,
    }
    fleet = Fleet(worker, directory)
    async with KafkaBroker(broker_config) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        versions = {await apply_policies(broker, prefix, 1): 1}
        for number in range(WORKERS):
            fleet.start(f"w{number}")
        try:
            finished, codes = await _under_faults(options, fleet, broker, prefix, versions)
        finally:
            fleet.kill()
        found = check(await read_topics(broker, prefix), versions, poison=len(options.poison))
    if not finished:
        found.problem("unfinished", f"not all input was in the ledger after {options.finish_s} s")
    elif any(codes):
        found.problem("a planned stop failed", codes)
    return found, fleet


async def _under_faults(
    options: Run, fleet: Fleet, broker: KafkaBroker, prefix: str, versions: dict[str, int]
) -> tuple[bool, list[int]]:
    rng = random.Random(options.seed)
    traffic = Traffic(options.requests, seed=options.seed, poison=options.poison)
    background = [
        asyncio.create_task(fleet.keep()),
        asyncio.create_task(_change_policies(broker, prefix, versions)),
    ]
    try:
        await until_owned(broker, prefix, timeout_s=60)
        sending = asyncio.create_task(
            send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=options.per_second)
        )
        faults = Faults(fleet, broker, prefix, rng)
        for name in options.faults:
            await asyncio.sleep(rng.uniform(*options.pause_s))
            await getattr(faults, name)()
        await sending
        try:
            await until_committed(broker, prefix, timeout_s=options.finish_s)
        except TimeoutError:
            return False, []
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await fleet.until_ready(*fleet.processes)  # Before that SIGTERM finds nobody to listen.
    return True, await fleet.end()


async def _change_policies(broker: KafkaBroker, prefix: str, versions: dict[str, int]) -> None:
    """Another revision every two seconds, until cancelled."""
    version = 1
    while True:
        await asyncio.sleep(2)
        version += 1
        # A change that is cut off may be in force all the same.
        digest = await asyncio.shield(apply_policies(broker, prefix, version))
        versions[digest] = version


def figures(found: Findings) -> dict[str, Any]:
    """The line that is printed."""
    return {name: getattr(found, name) for name in FIGURES}


def main() -> int:
    """``make kill``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=150_000)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--per-second", type=float, default=1_500)
    parser.add_argument("--without", default="", help="tail, claim, sends or position")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kinds", default="", help="faults by name, with commas, instead of a mix")
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--directory", default="")
    given = parser.parse_args()
    cycle = ("kill", "kill", "zombie", "kill", "refused", "kill", "deaf", "kill", "stop", "kill")
    faults = (
        given.kinds.split(",")
        if given.kinds
        else [cycle[i % len(cycle)] for i in range(given.faults)]
    )
    begun_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = given.directory or stack.enter_context(tempfile.TemporaryDirectory())
        bootstrap = given.bootstrap or _local_broker(stack)
        options = Run(
            bootstrap,
            given.requests,
            faults,
            given.per_second,
            without=given.without,
            seed=given.seed,
            finish_s=180,
            log_level=given.log_level,
        )
        found, fleet = asyncio.run(run(options, Path(directory)))
    line = figures(found)
    line["faults"] = len(faults)
    line["internal_errors"] = found.internal_errors
    line["told_again"] = found.told_again
    line["exits"] = len(fleet.exits)
    line["seconds"] = round(time.monotonic() - begun_s)
    line["problems"] = dict(found.problems)
    sys.stdout.write(json.dumps(line) + "\n")
    for what, example in found.examples.items():
        sys.stderr.write(f"{what}: {example}\n")
    return 1 if found.problems else 0


def _local_broker(stack: contextlib.ExitStack) -> str:
    """A stack of our own, gone afterwards."""
    from enforcer.config import Settings
    from enforcer.local import Stack

    known = Settings.load()
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    broker = Stack(
        home,
        cache=known.cache,
        maven_url=known.maven_url,
        maven_repository=known.maven_repository,
    )
    stack.callback(broker.stop)
    return broker.start().bootstrap


if __name__ == "__main__":
    sys.exit(main())
