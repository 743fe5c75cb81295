"""What a replay says, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer import detect
from enforcer.control.replay.differences import changes_sorted

if TYPE_CHECKING:
    from collections import Counter

    from enforcer.control.replay.differences import Findings
    from enforcer.control.replay.running import Replayed


def answer_of(replayed: Replayed) -> dict[str, Any]:
    """The whole answer as JSON has it; amounts in USD. ``differs`` is empty where nothing does."""
    total = replayed.total
    return {
        "identical": is_identical(total),
        "decisions": total.decisions,
        "times_live": round(replayed.times_live, 2),
        "differs": changes_sorted(dict(total.changes)),
        "candidate": total.is_candidate,
        "entries": total.entries,
        "seconds": round(replayed.seconds, 3),
        "live_seconds": round(replayed.live_seconds, 3),
        "spend": {
            "recorded_usd": total.live_usd_nano / 1e9,
            "replayed_usd": total.replayed_usd_nano / 1e9,
            "change_usd": (total.replayed_usd_nano - total.live_usd_nano) / 1e9,
        },
        "rules": _rows(total.rules, ("policy", "rule")),
        "tenants": _rows(total.tenants, ("tenant",)),
        "models": _rows(total.models, ("model",)),
        "examples": examples_of(total),
        "rows": total.rows,
        "facts": {
            "recorded": total.recorded_facts,
            "data_digest": detect.DATA_DIGEST,
            "digests": dict(total.digests),
        },
        "taken_as_recorded": total.taken,
        "without_input": total.without_input,
        "first_difference": total.first_difference,
        "partitions": [_partition(each) for each in replayed.partitions],
    }


def is_identical(total: Findings) -> bool:
    """Whether every decision and every entry is, to the byte, what the ledger has."""
    is_same = total.identical == total.decisions and not total.unlike_entries
    return is_same and not total.is_candidate and not total.without_input


def examples_of(total: Findings) -> list[dict[str, Any]]:
    """What opens first, as with the changes themselves."""
    order = list(changes_sorted(dict(total.changes)))
    found = [each for examples in total.examples.values() for each in examples]
    return sorted(found, key=lambda e: (order.index(e["change"]), e["policy"], e["time_us"]))


def _rows(counts: Counter[Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    order = list(changes_sorted({name[0]: 0 for name in counts}))
    rows = []
    for name in sorted(counts, key=lambda n: (order.index(n[0]), -counts[n], n)):
        before, _, after = name[0].partition("->")
        own = dict(zip(names, name[1:], strict=True))
        rows.append({**own, "from": before, "to": after, "count": counts[name]})
    return rows


def _partition(found: Findings) -> dict[str, Any]:
    return {
        "partition": found.partition,
        "first_sequence": found.first_sequence,
        "last_sequence": found.last_sequence,
        "decisions": found.decisions,
        "identical": found.identical,
        "first_difference": found.first_difference,
    }
