"""The test that counts, in its short form, and a record that kills whoever takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos_run import Run, own_stack, run
from enforcement_world import KILLS, RAISES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAULTS = (
    "point:takeover.tail:after", "deaf", "point:commit.commit:after", "broker", "disk", "zombie",
)  # fmt: skip


async def test_nothing_is_lost_doubled_or_contradicted_under_kills_and_zombies(
    tmp_path: Path,
) -> None:
    """
    Twelve partitions, three workers, 300 requests a second: killed, also at points inside of takeover and commit.

    A budget of the whole tenant is lent to all partitions in slices. A zombie, a deaf owner, a full disk, and the broker killed, too. Policies change all the while, and
    verdicts depend on their owner, so that a second decision would show.
    """
    stack = own_stack(tmp_path / "kafka")
    (tmp_path / "fleet").mkdir()
    options = Run(FAULTS, stack)
    try:
        line = await run(options, tmp_path / "fleet")
    finally:
        stack.stop()
    assert line["problems"] == {}, (line, options.exits)
    assert (line["lost"], line["doubled"], line["contradicted"]) == (0, 0, 0)
    assert line["overspent_usd_nano"] == line["internal_errors"] == 0
    assert line["faults"] == len(FAULTS)
    assert line["requests"] > line["decided"] >= 5_000
    assert line["longest_gap_ms"] < 60_000
    assert line["by_owner"] > 50
    # The budget of the whole tenant was lent, and never more than there is: overspent counts it, too.
    assert line["slices"] > 100
    assert len(line["restore_ms"]) > 20
    # Killed twice for each point; the zombie, the deaf owner and the one without a disk end by themselves.
    assert len(options.exits) >= 7


async def test_poison_costs_one_internal_error_each(bootstrap: str, tmp_path: Path) -> None:
    """A request that raises and one that kills the process: each is denied once, and the company goes on."""
    options = Run(
        (),
        bootstrap=bootstrap,
        requests=1_500,
        per_second=1_500,
        poison=(RAISES, KILLS),
        finish_s=180,
        partitions=6,
        workers=2,
    )
    line = await run(options, tmp_path)
    assert line["problems"] == {}, (line, options.exits)
    assert line["internal_errors"] == 2
    assert all(code == -9 for _, code in options.exits)
    assert 4 <= len(options.exits) <= 14
