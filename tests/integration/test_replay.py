"""Replay on the real broker: a ledger with kills, changes of policies and two versions of the detectors, to the byte."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from enforcement_fleet import Fleet
from enforcement_world import Traffic, apply_policies, make_topics, read, send_all, until_committed

from enforcer import policy
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.cli.main import run
from enforcer.control.replay.answer import answer_of
from enforcer.control.replay.running import Job, candidate_of, replay

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 4
REQUESTS = 4_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NOBODY = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: nobody}\n"
    "spec: {rules: [{id: a, then: deny, code: NO-1}]}\n"
)


async def recorded(bootstrap: str, prefix: str, directory: Path) -> Fleet:
    """Traffic under three sets of policies, decided by a worker that is killed twice and comes back as another version."""
    options: dict[str, Any] = {"bootstrap": bootstrap, "prefix": prefix, "plain": True}
    fleet = Fleet(options, directory)
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        await apply_policies(broker, prefix, 1)
        fleet.start("w1")
        try:
            await fleet.until_ready("w1")
            sending = asyncio.create_task(
                send_all(broker, prefix, Traffic(REQUESTS), partitions=PARTITIONS, per_second=800)
            )
            for version in (2, 3):
                await asyncio.sleep(2)
                fleet.signal("w1", signal.SIGKILL)
                await asyncio.to_thread(fleet.processes["w1"].wait)
                fleet.options["data_digest"] = "another" if version == 2 else ""
                await apply_policies(broker, prefix, version)
                fleet.start("w1")
                await fleet.until_ready("w1")
            await sending
            await until_committed(broker, prefix, timeout_s=90)
            assert await fleet.end() == [0]
        finally:
            fleet.kill()
    return fleet


async def ends(bootstrap: str, prefix: str) -> dict[Any, int]:
    names = ("requests", "usage", "decisions", "audit", "state", "calls")
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        reader = await broker.open_reader()
        places = [(f"{prefix}.{name}", p) for name in names for p in range(PARTITIONS)]
        found = await reader.offsets_end(places)
        await reader.close()
        return found


async def decisions(bootstrap: str, prefix: str) -> int:
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        return sum(len(found) for found in (await read(broker, prefix, "audit")).values())


def test_a_ledger_is_reproduced_to_the_byte_and_a_candidate_is_not(
    bootstrap: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kills, takeovers, policies and versions in it; from a moment in the middle too; and live topics are as they were."""
    asyncio.run(recorded(bootstrap, prefix, tmp_path))
    before = asyncio.run(ends(bootstrap, prefix))
    job = Job(BrokerConfig(bootstrap=bootstrap, prefix=prefix), prefix)

    done = replay(job, processes=2)
    answer = answer_of(done)
    assert answer["identical"], json.dumps(answer, indent=1)
    assert answer["entries"] == asyncio.run(decisions(bootstrap, prefix))
    assert answer["differs"] == {}
    assert set(answer["facts"]["digests"]) == {answer["facts"]["data_digest"], "another"}
    assert 0 < answer["facts"]["recorded"] < answer["decisions"]

    middle = (done.total.begin_us + done.total.end_us) // 2
    half = replay(Job(job.broker, prefix, since_us=middle), processes=1).total
    assert 0.2 < half.decisions / answer["decisions"] < 0.8
    assert (half.identical, half.unlike_entries) == (half.decisions, 0)

    loaded = policy.load([("n.yaml", NOBODY)])
    none = answer_of(
        replay(Job(job.broker, prefix, candidate=candidate_of(loaded.documents)), processes=2)
    )
    # What is left was reported of calls that were denied as well, and went ahead.
    assert set(none["differs"]) <= {"allow->deny", "modify->deny"}
    assert none["spend"]["replayed_usd"] <= none["spend"]["recorded_usd"] / 5

    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    file = tmp_path / "recording.jsonl"
    assert run(["replay", "--export", str(file), *target]) == 0
    assert run(["replay", "--input", str(file), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["identical"]
    request = none["examples"][0]["request_id"]
    assert run(["replay", "--request", request, "--output", "json", *target]) == 0
    assert json.loads(capsys.readouterr().out)[0]["reproduced"]
    assert asyncio.run(ends(bootstrap, prefix)) == before
