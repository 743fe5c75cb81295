"""
The test that counts: worker processes and the broker killed, stopped, cut off and refused under load, then verified.

As a program it runs for minutes (``make chaos``) on a broker of its own, and prints one JSON line: the verifier's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
for _path in (HERE, HERE.parent):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

from enforcement_fleet import Fleet  # noqa: E402 — the path comes first
from enforcement_world import (  # noqa: E402 — as above
    Traffic,
    apply_policies,
    make_topics,
    send_all,
    until_committed,
    until_owned,
)
from faults import MIX, WORKERS, Faults, all_points  # noqa: E402 — as above

from enforcer.broker import BrokerConfig, KafkaBroker  # noqa: E402 — as above
from enforcer.config import Settings  # noqa: E402 — as above
from enforcer.errors import UnavailableError  # noqa: E402 — as above
from enforcer.local import Stack  # noqa: E402 — as above

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

PARTITIONS = 12
REQUESTS_MAX = 1_000_000
COMPANY_USD = 150


@dataclass(slots=True)
class Run:
    """What one run does. Without *requests* the load goes on until the last fault is done."""

    faults: Sequence[str]
    stack: Stack | None = None
    """A broker of our own, which may be killed."""
    bootstrap: str = ""
    requests: int = REQUESTS_MAX
    per_second: float = 480.0
    """Records of both inputs: about three requests in five."""
    pause_s: tuple[float, float] = (1.0, 3.0)
    without: str = ""
    poison: tuple[str, ...] = ()
    seed: int = 7
    finish_s: float = 120.0
    partitions: int = PARTITIONS
    workers: int = WORKERS
    replayed: bool = False
    """Verdicts by the policies alone, not by their owners, and the ledger decided again afterwards."""
    company_usd: int = COMPANY_USD
    """Of the whole tenant, lent to all partitions in slices: so much that the load uses it up before its end. 0: none."""
    exits: list[tuple[str, int]] = field(default_factory=list)
    """Filled by the run: which processes ended before their time, and how."""


async def run(options: Run, directory: Path) -> dict[str, Any]:
    """One run, from topics to the verifier's line."""
    bootstrap = options.bootstrap or (options.stack.start().bootstrap if options.stack else "")
    prefix = f"k{uuid.uuid4().hex[:10]}"
    worker = {
        "bootstrap": bootstrap,
        "prefix": prefix,
        "without": options.without,
        "deaf_on_usr1": True,
        "log_level": "info",
        "plain": options.replayed,
    }
    fleet = Fleet(worker, directory)
    told: dict[str, Any] = {"bootstrap": bootstrap, "prefix": prefix}
    problems: list[str] = []
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, options.partitions)
        company_usd = told["company_usd"] = options.company_usd
        first = await apply_policies(broker, prefix, 1, company_usd=company_usd)
        versions = told["versions"] = {first: 1}
        faults = Faults(fleet, broker, prefix, stack=options.stack, rng=random.Random(options.seed))
        for number in range(options.workers):
            fleet.start(f"w{number}")
        try:
            problems += await _under_faults(options, fleet, faults, broker, prefix, versions)
        finally:
            fleet.kill()
    options.exits = fleet.exits
    told |= {
        "poison": len(options.poison),
        "faults": faults.struck,
        "restore_ms": fleet.restores_ms(),
    }
    line = await asyncio.to_thread(_verified, told, directory, problems)
    if options.replayed:
        line["replay"] = await asyncio.to_thread(_replayed, bootstrap, prefix)
        if not line["replay"]["identical"]:
            line["problems"]["a replay differs"] = 1
    return line


def _replayed(bootstrap: str, prefix: str) -> dict[str, Any]:
    """What ``enforcer replay`` says of the ledger under the policies that were in force."""
    command = [
        str(Path(sys.executable).parent / "enforcer"), "replay", "--output", "json",
        "--bootstrap", bootstrap, "--prefix", prefix,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if not done.stdout:
        return {"identical": False, "said": done.stderr[-1_000:]}
    answer = json.loads(done.stdout)
    return {name: answer[name] for name in ("identical", "entries", "decisions", "differs")}


def _verified(told: dict[str, Any], directory: Path, problems: list[str]) -> dict[str, Any]:
    """What the verifier, another process, finds; and what this one saw itself."""
    file = directory / "run.json"
    file.write_text(json.dumps(told))
    command = [sys.executable, str(HERE / "verify.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    sys.stderr.write(done.stderr)
    assert done.stdout, "the verifier said nothing"
    line: dict[str, Any] = json.loads(done.stdout)
    for problem in problems:
        line["problems"][problem] = 1
    return line


async def _under_faults(
    options: Run,
    fleet: Fleet,
    faults: Faults,
    broker: KafkaBroker,
    prefix: str,
    versions: dict[str, int],
) -> list[str]:
    """Load, faults, and the calm after them; what went wrong on the way."""
    over = asyncio.Event()
    background = [asyncio.create_task(fleet.keep())]
    try:
        await until_owned(broker, prefix, timeout_s=60)
        apply = partial(apply_policies, broker, prefix, company_usd=options.company_usd)
        changing = asyncio.create_task(_change_policies(apply, versions, over))
        traffic = Traffic(options.requests, seed=options.seed, poison=options.poison)
        load = iter(traffic)
        if options.requests == REQUESTS_MAX:
            load = takewhile(lambda _: not over.is_set(), load)
        sending = asyncio.create_task(
            send_all(
                broker, prefix, load, partitions=options.partitions, per_second=options.per_second
            )
        )
        rng = random.Random(options.seed)
        for fault in options.faults:
            await asyncio.sleep(rng.uniform(*options.pause_s))
            await faults.strike(fault)
        await asyncio.sleep(1.0)
        if options.requests < REQUESTS_MAX:
            await sending
        over.set()
        await asyncio.gather(sending, changing)
        try:
            await until_committed(broker, prefix, timeout_s=options.finish_s)
        except TimeoutError:
            return [f"not all input was in the ledger after {options.finish_s} s"]
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        # Before that SIGTERM finds nobody to listen.
        await fleet.until_ready(*fleet.running())
    codes = await fleet.end()
    return ["a planned stop failed"] if any(codes) else []


async def _change_policies(
    apply: Callable[[int], Awaitable[str]], versions: dict[str, int], over: asyncio.Event
) -> None:
    """Another revision every two seconds, until all is over."""
    version = 1
    while not over.is_set():
        await asyncio.sleep(2)
        version += 1
        # A change whose answer is lost may be in force all the same: what it names is known before.
        try:
            versions[await apply(version)] = version
        except UnavailableError:
            versions[await _again(apply, version)] = version


async def _again(apply: Callable[[int], Awaitable[str]], version: int) -> str:
    """Put a revision in force, however often it takes; a change that was made already is none."""
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(UnavailableError):
                return await apply(version)


def own_stack(home: Path) -> Stack:
    """A broker that nobody else uses. Whoever gets it, stops it."""
    known = Settings.load()
    return Stack(
        home,
        cache=known.cache,
        maven_url=known.maven_url,
        maven_repository=known.maven_repository,
    )


def mixed(count: int) -> list[str]:
    """So many faults, in rounds; the points in turn."""
    points: Iterator[str] = cycle(all_points())
    named = (next(points) if fault == "point" else fault for fault in cycle(MIX))
    return list(islice(named, count))


def main() -> int:
    """``make chaos``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=26, help="how many, of a mix")
    parser.add_argument("--kinds", default="", help="faults by name, with commas, instead of a mix")
    parser.add_argument("--per-second", type=float, default=480, help="records of both inputs")
    parser.add_argument("--without", default="", help="tail, claim, sends or position")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--replay", action="store_true",
        help="verdicts by the policies alone, and the ledger decided again at the end",
    )  # fmt: skip
    parser.add_argument("--directory", default="", help="for the workers' state and logs; kept")
    given = parser.parse_args()
    faults = given.kinds.split(",") if given.kinds else mixed(given.faults)
    begun_s = time.monotonic()
    with contextlib.ExitStack() as opened:
        directory = given.directory or opened.enter_context(tempfile.TemporaryDirectory())
        Path(directory).mkdir(parents=True, exist_ok=True)
        stack = own_stack(Path(opened.enter_context(tempfile.TemporaryDirectory())))
        opened.callback(stack.stop)
        options = Run(
            faults,
            stack,
            per_second=given.per_second,
            without=given.without,
            seed=given.seed,
            replayed=given.replay,
        )
        line = asyncio.run(run(options, Path(directory)))
    line["exits"] = len(options.exits)
    line["seconds"] = round(time.monotonic() - begun_s)
    sys.stdout.write(json.dumps(line) + "\n")
    return 1 if line["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
