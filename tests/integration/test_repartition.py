"""``topics repartition`` on the real broker: nothing is lost or doubled, wherever it is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from enforcement_worker import running, until_ready
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
from enforcer.broker.producer import KafkaLedger
from enforcer.cli.main import run
from enforcer.control.repartition import house, repartition
from enforcer.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

BEFORE, AFTER = 2, 5
COMPANY_USD = 40
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


async def rows_of(broker: KafkaBroker, prefix: str) -> dict[tuple[int, str], Any]:
    """Every row there is, by partition and key."""
    found: dict[tuple[int, str], Any] = {}
    for name in ("state", "calls"):
        for partition, records in (await read(broker, prefix, name)).items():
            for record in records:
                found[partition, (record.key or b"").decode()] = record.value
    return {
        place: events.decode(value)
        for place, value in found.items()
        if value is not None and place[1] != "p"
    }


def money(rows: dict[tuple[int, str], Any]) -> Counter[tuple[str, str]]:
    """Spent and reserved of every budget, all partitions together."""
    found: Counter[tuple[str, str]] = Counter()
    for (_, key), row in rows.items():
        if key.startswith("b/"):
            found[key, "spent"] += row.spent_usd_nano
            found[key, "reserved"] += row.reserved_usd_nano
    return +found


def calls(rows: dict[tuple[int, str], Any]) -> dict[str, Any]:
    """Every call and waiting report; each stands on one partition alone."""
    found: dict[str, Any] = {}
    for (_, key), row in rows.items():
        if key[0] in "cur":
            assert key not in found, key
            found[key] = row
    return found


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
        _check_places(after)
        _check_slices(after)
        # Again: there is nothing to do.
        again = await repartition(broker, prefix, AFTER, group=prefix, tell=said.append)
        assert (again.rows, again.inputs) == (0, 0)
        async with running(broker, prefix, tmp_path / "w", "w1") as worker:
            await until_ready(worker, partitions=AFTER)
            await send_all(broker, prefix, sent[half + 60 :], partitions=AFTER, per_second=400)
            await until_committed(broker, prefix, timeout_s=60)
        await _check_decided_once(broker, prefix, sent)
        _check_slices(await rows_of(broker, prefix))
    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    assert await asyncio.to_thread(run, ["audit", "verify", *target]) == 0
    # Each partition's ledger says how many there were: what came before is decided again as it was.
    capsys.readouterr()
    assert await asyncio.to_thread(run, ["replay", "--output", "json", *target]) == 0
    assert json.loads(capsys.readouterr().out)["identical"]
    assert await asyncio.to_thread(run, ["topics", "diff", *target]) == 0


def _check_places(rows: dict[tuple[int, str], Any]) -> None:
    """Whatever is an account's stands where its key belongs now."""
    leased = {(p, "b/" + key[2:]) for p, key in rows if key.startswith("l/")}
    for partition, key in rows:
        if key[0] == "l" or (partition, key) in leased:
            continue
        account = key.split("/")[1].replace("%2F", "/")
        assert events.partition_of(account.encode(), AFTER) == partition, key


def _check_slices(rows: dict[tuple[int, str], Any]) -> None:
    """The owner has lent what the holders hold, or less has been heard of what they repaid; all within the limit."""
    for (_, key), lent in rows.items():
        if not key.startswith("g/"):
            continue
        held = {p: row for (p, k), row in rows.items() if k == "l/" + key[2:]}
        for holding in lent.holdings:
            row = held.get(holding.holder)
            if row is not None:
                assert row.granted_usd_nano <= holding.granted_usd_nano
                assert row.repaid_usd_nano >= holding.repaid_usd_nano
        total = sum(h.granted_usd_nano - h.repaid_usd_nano for h in lent.holdings)
        overrun = 0
        for (partition, k), row in rows.items():
            if k == "b/" + key[2:]:
                slice_ = held[partition].granted_usd_nano - held[partition].repaid_usd_nano
                overrun += max(row.spent_usd_nano + row.reserved_usd_nano - slice_, 0)
        assert total <= COMPANY_USD * 10**9 + overrun + 10**10


async def _check_decided_once(broker: KafkaBroker, prefix: str, sent: list[Any]) -> None:
    """Each call has one decision in the ledger, over both numbers of partitions."""
    asked = set()
    for send in sent:
        if send.topic == "requests" and send.partition is None:
            try:
                asked.add(events.read_request(send.value).id)
            except Exception:  # noqa: BLE001 — what cannot be read has no decision
                continue
    decided: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for records in (await read(broker, prefix, "audit")).values():
        for record in records:
            entry = events.decode_audit(record.value or b"")
            if entry.kind == "decision":
                told = events.read_decision(entry.payload)
                assert isinstance(told, events.Decision)
                codes.update(reason.code for reason in told.reasons)
                if "request_id_reused" not in [r.code for r in told.reasons]:
                    decided[told.request_id] += 1
    assert {name for name in asked if decided[name] != 1} == set()
    assert codes["misrouted"] <= len([s for s in sent if s.partition is not None])


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
