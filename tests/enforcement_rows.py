"""The rows of an installation, all partitions together, and what must be true of them wherever they stand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from enforcement_world import read

from enforcer import events

if TYPE_CHECKING:
    from enforcer.broker import KafkaBroker


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


def check_places(rows: dict[tuple[int, str], Any], partitions: int) -> None:
    """Whatever is an account's stands where its key belongs now."""
    leased = {(p, "b/" + key[2:]) for p, key in rows if key.startswith("l/")}
    for partition, key in rows:
        if key[0] == "l" or (partition, key) in leased:
            continue
        account = key.split("/")[1].replace("%2F", "/")
        assert events.partition_of(account.encode(), partitions) == partition, key


def check_slices(rows: dict[tuple[int, str], Any], company_usd: int) -> None:
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
        assert total <= company_usd * 10**9 + overrun + 10**10


async def check_decided_once(broker: KafkaBroker, prefix: str, sent: list[Any]) -> None:
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
