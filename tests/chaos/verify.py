"""
The verifier, as a program of its own: it reads all topics and computes everything anew from the input.

Its input is a JSON file: ``bootstrap``, ``prefix``, ``versions`` (policy set to revision), ``poison`` (requests that
are to be denied ``internal_error``), ``company_usd`` (of the whole tenant, in slices), ``faults`` (what, and when, ms), ``restore_ms``. Its output is one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from enforcement_check import check, in_flight, read_topics  # noqa: E402 — the path comes first

from enforcer.broker import BrokerConfig, KafkaBroker  # noqa: E402 — as above

FIGURES = (
    "requests", "decided", "audit_records", "lost", "doubled", "contradicted",
    "overspent_usd_nano", "longest_gap_ms",
)  # fmt: skip


async def verify(told: dict[str, Any]) -> dict[str, Any]:
    """The line, as a dict; ``problems`` is empty after a good run."""
    config = BrokerConfig(bootstrap=told["bootstrap"], prefix=told["prefix"])
    async with KafkaBroker(config) as broker:
        topics = await read_topics(broker, told["prefix"])
    found = check(topics, told["versions"], poison=told["poison"], company_usd=told["company_usd"])
    for name, at_ms in told["faults"]:
        if not in_flight(topics, at_ms):
            found.problem("no work was in flight", name)
    line = {name: getattr(found, name) for name in FIGURES}
    more = {
        "restore_ms": sorted(told["restore_ms"]),
        "faults": len(told["faults"]),
        "internal_errors": found.internal_errors,
        "told_again": found.told_again,
        "by_owner": found.codes["owner"],
        "slices": sum(len(records) for records in topics.leases.values()),
        "lease_pending": found.codes["lease_pending"],
        "problems": dict(found.problems),
    }
    for what, example in found.examples.items():
        sys.stderr.write(f"{what}: {example}\n")
    return line | more


def main() -> int:
    """Verify what the file says."""
    told = json.loads(Path(sys.argv[1]).read_text())
    line = asyncio.run(verify(told))
    sys.stdout.write(json.dumps(line) + "\n")
    return 1 if line["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
