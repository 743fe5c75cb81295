"""A budget of a whole tenant on the real broker: two workers, all partitions, and what is spent, lent and stranded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from enforcement_check import Topics, check, read_topics
from enforcement_worker import running, until_ready
from enforcement_world import (
    TENANT,
    Send,
    apply_policies,
    make_topics,
    send_all,
    until_committed,
)

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS, TEAMS = 4, 80
CALLS, PER_SECOND = 1_600, 300
LATE_CALLS, LATE_WAVES_MAX = 80, 20
"""Calls sent once the ledger has caught up, until some are turned for good: by then the owner has said that it is short."""
COMPANY_USD = 12
STRANDED_MAX = 0.05
"""Of the limit, when calls are turned for good."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def calls(first: int, count: int) -> list[Send]:
    """Calls of many teams in turn, no two of one call."""
    sends = []
    for number in range(first, first + count):
        team = f"t{number % TEAMS}"
        account = events.account_of(TENANT, team, ("tenant", "team.id")).encode()
        llm = events.Llm("nobody", "unpriced", max_tokens=9, prompt=f"number {number}")
        asked = events.Request(
            f"c{number}",
            TENANT,
            team=events.Team(team),
            project=events.Project(f"p{number % 5}"),
            llm=llm,
        )
        sends.append(Send("requests", account, events.encode_request(asked)))
    return sends


def is_turned_for_good(topics: Topics) -> bool:
    """Whether a call was denied for the limit, and not for a slice on its way."""
    records = (record for log in topics.audit.values() for record in log)
    return any(b"budget_exceeded" in (record.value or b"") for record in records)


async def test_a_tenant_spends_its_budget_to_the_end_over_all_partitions(
    bootstrap: str, prefix: str, tmp_path: Path, record_property: Any
) -> None:
    """Never past the limit; next to nothing stranded in slices; few calls turned while a slice was on its way."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        digest = await apply_policies(broker, prefix, 1, company_usd=COMPANY_USD)
        async with (
            running(broker, prefix, tmp_path / "1", "w1") as first,
            running(broker, prefix, tmp_path / "2", "w2") as second,
        ):
            await until_ready(first)
            await until_ready(second)
            sent = 0
            for count in (CALLS, *[LATE_CALLS] * LATE_WAVES_MAX):
                wave = calls(sent, count)
                await send_all(broker, prefix, wave, partitions=PARTITIONS, per_second=PER_SECOND)
                await until_committed(broker, prefix, timeout_s=40)
                sent += count
                topics = await read_topics(broker, prefix)
                if sent > CALLS and is_turned_for_good(topics):
                    break
    found = check(topics, {digest: 1}, company_usd=COMPANY_USD)
    assert found.problems == {}, found.examples
    used, words = 0, Counter[str]()
    for records in topics.audit.values():
        for record in records:
            entry = events.decode_audit(record.value or b"")
            if entry.kind == "decision":
                told = events.read_decision(entry.payload)
                assert isinstance(told, events.Decision)
                used += told.reservation.usd_nano if told.reservation is not None else 0
    for records in topics.leases.values():
        words.update(events.decode_lease(record.value or b"").kind for record in records)
    figures = {
        "used_usd": used / 1e9,
        "stranded_share": 1 - used / (COMPANY_USD * 10**9),
        "pending_share": found.codes["lease_pending"] / sent,
        "lease_records_a_call": sum(words.values()) / sent,
    }
    for name, figure in figures.items():
        record_property(name, figure)
    assert found.overspent_usd_nano == 0
    assert used <= COMPANY_USD * 10**9
    assert found.codes["budget_exceeded"] > 0, figures
    assert figures["stranded_share"] <= STRANDED_MAX, figures
    assert words["recall"] > 0, words
