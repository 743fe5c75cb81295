"""``topics repartition`` on the real broker: nothing is lost or doubled, wherever it is killed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from enforcement_rows import (
    calls,
    check_decided_once,
    check_places,
    check_slices,
    money,
    rows_of,
)
from enforcement_worker import running, until_ready
from enforcement_world import (
    Traffic,
    apply_policies,
    make_topics,
    send_all,
    until_committed,
)

from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.broker.producer import KafkaLedger
from enforcer.cli.main import run
from enforcer.control.repartition import house, repartition
from enforcer.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, AFTER = 2, 5
COMPANY_USD = 40
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


async def test_killed_at_a_commit_it_goes_on_and_nothing_is_lost_or_doubled(
    bootstrap: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Two partitions become five, with a budget of the whole tenant lent in slices, and inputs that wait.

    The run is broken off before and after transactions; another goes on. Then a worker decides what waited and settles
    what was open; the chains of all partitions hold.
    """
    monkeypatch.setattr(house, "ROWS_MAX", 300)
    commit = KafkaLedger.commit
    fate = {"left": 0, "when": "before"}

    async def breaking(ledger: KafkaLedger) -> None:
        fate["left"] -= 1
        if fate["left"] < 0 and fate["when"] == "before":
            raise UnavailableError("killed before")
        await commit(ledger)
        if fate["left"] < 0:
            raise UnavailableError("killed after")

    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, BEFORE)
        await apply_policies(broker, prefix, 1, company_usd=COMPANY_USD)
        async with running(broker, prefix, tmp_path / "w", "w1") as worker:
            await until_ready(worker, partitions=BEFORE)
            traffic = Traffic(300, seed=3, teams=40)
            sent = list(traffic)
            half = len(sent) * 3 // 4
            await send_all(broker, prefix, sent[:half], partitions=BEFORE, per_second=400)
            await until_committed(broker, prefix, timeout_s=40)
            with pytest.raises(ConflictError) as refused:
                await repartition(broker, prefix, AFTER, group=prefix, tell=lambda _: None)
            assert refused.value.code == "workers_run"
        # A part of it comes while nobody decides.
        await send_all(broker, prefix, sent[half : half + 60], partitions=BEFORE, per_second=900)
        before = await rows_of(broker, prefix)
        monkeypatch.setattr(KafkaLedger, "commit", breaking)
        broken = 0
        said: list[str] = []
        while True:
            fate.update(left=broken % 2, when="before" if broken % 4 < 2 else "after")
            if broken == 4:
                fate["left"] = 1_000
            try:
                moved = await repartition(broker, prefix, AFTER, group=prefix, tell=said.append)
                break
            except UnavailableError:
                broken += 1
        monkeypatch.setattr(KafkaLedger, "commit", commit)
        assert 3 <= broken <= 4
        after = await rows_of(broker, prefix)
        assert money(after) == money(before)
        assert calls(after) == calls(before)
        assert moved.partitions == AFTER
        check_places(after, AFTER)
        check_slices(after, COMPANY_USD)
        # Again: there is nothing to do.
        again = await repartition(broker, prefix, AFTER, group=prefix, tell=said.append)
        assert (again.rows, again.inputs) == (0, 0)
        async with running(broker, prefix, tmp_path / "w", "w1") as worker:
            await until_ready(worker, partitions=AFTER)
            await send_all(broker, prefix, sent[half + 60 :], partitions=AFTER, per_second=400)
            await until_committed(broker, prefix, timeout_s=60)
        await check_decided_once(broker, prefix, sent)
        check_slices(await rows_of(broker, prefix), COMPANY_USD)
    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    assert await asyncio.to_thread(run, ["audit", "verify", *target]) == 0
    # Each partition's ledger says how many there were: what came before is decided again as it was.
    capsys.readouterr()
    assert await asyncio.to_thread(run, ["replay", "--output", "json", *target]) == 0
    assert json.loads(capsys.readouterr().out)["identical"]
    assert await asyncio.to_thread(run, ["topics", "diff", *target]) == 0


def test_fewer_partitions_are_refused_and_nothing_is_changed(
    bootstrap: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kafka takes none away: exit 6, and what to do."""
    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    assert run(["topics", "repartition", "--partitions", "4", *target]) == 6
    assert "topics apply" in capsys.readouterr().err
    assert run(["topics", "apply", "--partitions", "3", *target]) == 0
    assert run(["topics", "repartition", "--partitions", "2", *target]) == 6
    assert "3 partitions" in capsys.readouterr().err
    assert run(["topics", "repartition", "--partitions", "4", "--output", "json", *target]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["before"], said["partitions"], said["rows"]) == (3, 4, 0)
    assert run(["topics", "diff", "--partitions", "4", *target]) == 0
