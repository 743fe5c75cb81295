"""
``topics repartition`` under SIGKILL: at every step, on the real broker, and gone on by the same command.

For each point one more partition is asked for in a process of its own, which kills itself there. What it leaves is looked at, the
command is given again, and the rows are what they were, each where it belongs. At the end a worker decides what waited all
the time. As a program (``make chaos``): all points, on a broker of its own, and one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
for _path in (HERE, HERE.parent):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

from enforcement_points import DIED_AT, REPARTITION, die_at  # noqa: E402 — the path comes first
from enforcement_rows import (  # noqa: E402 — as above
    calls,
    check_decided_once,
    check_places,
    check_slices,
    money,
    rows_of,
)
from enforcement_worker import running, until_ready  # noqa: E402 — as above
from enforcement_world import (  # noqa: E402 — as above
    Send,
    Traffic,
    apply_policies,
    make_topics,
    send_all,
    until_committed,
)

from enforcer.broker import BrokerConfig, KafkaBroker  # noqa: E402 — as above
from enforcer.control.repartition import house, repartition  # noqa: E402 — as above
from enforcer.telemetry import setup_logging  # noqa: E402 — as above

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST, TEAMS, CALLS, COMPANY_USD = 2, 40, 200, 40
ROWS_MAX = 100
"""Of one transaction here: so that there are many."""
TIMEOUT_S = 60.0


def all_points() -> list[tuple[str, str, int]]:
    """Every point, before and after; those of a transaction at its first and at a later time."""
    later = {"begin", "send", "offsets", "commit"}
    return [
        (point, when, at)
        for point in REPARTITION
        for when in ("before", "after")
        for at in ((1, 3) if point in later - {"offsets"} else (1,))
    ]


async def run(
    bootstrap: str, directory: Path, points: Sequence[tuple[str, str, int]]
) -> dict[str, Any]:
    """Kill it at each of *points*. Returns how often it was met. Raises AssertionError where something is lost."""
    prefix = f"r{uuid.uuid4().hex[:10]}"
    sent = list(Traffic(CALLS, seed=5, teams=TEAMS))
    half, met, partitions = len(sent) * 3 // 4, 0, FIRST
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, FIRST)
        await apply_policies(broker, prefix, 1, company_usd=COMPANY_USD)
        async with running(broker, prefix, directory / "w", "w1") as worker:
            await until_ready(worker, partitions=FIRST)
            await send_all(broker, prefix, sent[:half], partitions=FIRST, per_second=900)
            await until_committed(broker, prefix, timeout_s=40)
        await send_all(broker, prefix, sent[half:], partitions=FIRST, per_second=900)
        before = await rows_of(broker, prefix)
        for point in points:
            partitions += 1
            met += await _killed(bootstrap, prefix, directory, partitions, point)
            _check_same(before, await rows_of(broker, prefix), point)
            await repartition(broker, prefix, partitions, group=prefix, tell=lambda _: None)
            after = await rows_of(broker, prefix)
            _check_same(before, after, point)
            check_places(after, partitions)
            check_slices(after, COMPANY_USD)
        async with running(broker, prefix, directory / "w", "w1") as worker:
            await until_ready(worker, partitions=partitions)
            await _until_decided(broker, prefix, sent)
        await check_decided_once(broker, prefix, sent)
        check_slices(await rows_of(broker, prefix), COMPANY_USD)
    return {"prefix": prefix, "points": len(points), "met": met, "partitions": partitions}


async def _until_decided(broker: KafkaBroker, prefix: str, sent: Sequence[Send]) -> None:
    """By the ledger: the inputs end with markers of transactions, which no offset of a group goes past."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            with contextlib.suppress(AssertionError):
                await check_decided_once(broker, prefix, sent)
                return
            await asyncio.sleep(0.5)


def _check_same(before: dict[Any, Any], after: dict[Any, Any], point: tuple[str, str, int]) -> None:
    assert money(after) == money(before), point
    assert calls(after) == calls(before), point


async def _killed(
    bootstrap: str, prefix: str, directory: Path, partitions: int, point: tuple[str, str, int]
) -> bool:
    """Run the command in a process that dies at *point*; whether it came by there."""
    said = directory / DIED_AT
    said.unlink(missing_ok=True)
    task = {
        "bootstrap": bootstrap,
        "prefix": prefix,
        "partitions": partitions,
        "die_at": [*point, str(directory)],
    }
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, json.dumps(task))
    code = await asyncio.wait_for(process.wait(), TIMEOUT_S)
    assert code in (-signal.SIGKILL, 0), (point, code)
    assert said.exists() == (code != 0), point
    return code != 0


async def _victim(task: dict[str, Any]) -> None:
    point, when, countdown, directory = task["die_at"]
    die_at(point, when, countdown, Path(directory))
    house.ROWS_MAX = ROWS_MAX  # type: ignore[misc]
    config = BrokerConfig(bootstrap=task["bootstrap"], prefix=task["prefix"])
    async with KafkaBroker(config) as broker:
        await repartition(
            broker, task["prefix"], task["partitions"], group=task["prefix"], tell=lambda _: None
        )


def main() -> int:
    """``make chaos``: all points. With a task as its argument: the process that is killed."""
    if len(sys.argv) > 1:
        asyncio.run(_victim(json.loads(sys.argv[1])))
        return 0
    from chaos_run import own_stack

    setup_logging("error")

    with tempfile.TemporaryDirectory() as kafka, tempfile.TemporaryDirectory() as directory:
        stack = own_stack(Path(kafka))
        try:
            line = asyncio.run(run(stack.start().bootstrap, Path(directory), all_points()))
        finally:
            stack.stop()
    sys.stdout.write(json.dumps(line) + "\n")
    return 0 if line["met"] == line["points"] else 1


if __name__ == "__main__":
    sys.exit(main())
