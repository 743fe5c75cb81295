"""``worker --processes``: killed under load, started again in its place, drained, on the real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from enforcement_check import check, read_topics
from enforcement_world import (
    Traffic,
    apply_policies,
    make_topics,
    read,
    send_all,
    until_committed,
)

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.local import ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTITIONS = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


class Workers:
    """The command, and what it says over HTTP."""

    def __init__(self, bootstrap: str, prefix: str, directory: Path, processes: int) -> None:
        (self.port,) = ports.choose(1)
        self.log = directory / "worker.log"
        command = [
            *(sys.executable, "-P", "-m", "enforcer.cli", "worker", "--processes", str(processes)),
            *("--bootstrap", bootstrap, "--prefix", prefix, "--metrics-port", str(self.port)),
            *("--state-dir", str(directory / "state")),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def until(self, condition: Callable[[int, str], bool], timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition(*await asyncio.to_thread(self.get, "/ready")):
                assert self.process.poll() is None, self.log.read_text()[-2_000:]
                await asyncio.sleep(0.05)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == name]


async def test_a_killed_process_decides_again_in_its_place_and_a_stop_drains_all(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """SIGKILL of one of two under load: nothing moves, its partitions go on after a moment, and nothing is lost."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        versions = {await apply_policies(broker, prefix, 1): 1}
        workers = Workers(bootstrap, prefix, tmp_path, 2)
        try:
            await workers.until(lambda status, _: status == 200)
            sending = asyncio.create_task(
                send_all(broker, prefix, Traffic(1_500), partitions=PARTITIONS, per_second=400)
            )
            await asyncio.sleep(1.5)
            owned = {
                n: {
                    line["partition"]
                    for line in workers.events("agent_ready")
                    if line["process"] == n
                }
                for n in ("0", "1")
            }
            first = workers.events("worker_process_started")[0]["pid"]
            before = len(workers.events("agent_ready"))
            os.kill(first, signal.SIGKILL)
            await sending
            await until_committed(broker, prefix, timeout_s=60)
            again = workers.events("agent_ready")[before:]
            assert {line["process"] for line in again} <= {"0"}
            assert {line["partition"] for line in again} <= owned["0"]
            assert all(line["reason"] is None for line in again), "its tables are warm"
            status, metrics = workers.get("/metrics")
            assert status == 200
            assert 'enforcer_process_restarts_total{process="0"} 1.0' in metrics
            assert 'enforcer_decisions_total{process="1",verdict="allow"}' in metrics
            workers.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(workers.process.wait, 40) == 0
        finally:
            if workers.process.poll() is None:
                workers.process.kill()
                workers.process.wait()
        found = check(await read_topics(broker, prefix), versions)
        assert found.problems == {}, found.examples
        gaps_ms = await _gaps_ms(broker, prefix)
        assert max(gaps_ms.values()) > 100, "nothing was killed"


async def _gaps_ms(broker: KafkaBroker, prefix: str) -> dict[int, int]:
    """The longest time between two verdicts of each partition."""
    gaps: dict[int, int] = {}
    for partition, records in (
        await read(broker, prefix, "decisions", read_committed=False)
    ).items():
        decoded = [(r.timestamp, events.read_decision(r.value or b"")) for r in records]
        told = [at for at, each in decoded if isinstance(each, events.Decision)]
        gaps[partition] = max(after - before for before, after in pairwise(told))
    return gaps


def test_a_mistake_of_the_installation_ends_the_parent_with_its_code(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """No topics: exit 5 and what to do, as a single worker says it, and no process left."""
    workers = Workers(bootstrap, prefix, tmp_path, 2)
    assert workers.process.wait(90) == 5
    said = workers.log.read_text()
    assert "error[topics_missing]" in said
    assert "enforcer topics apply" in said
