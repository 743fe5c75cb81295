"""The test that counts, in its short form, and a record that kills whoever takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from enforcement_world import KILLS, RAISES
from kill_run import Run, figures, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_nothing_is_lost_doubled_or_contradicted_under_kills_and_zombies(
    bootstrap: str, tmp_path: Path
) -> None:
    """
    20,000 requests over 6 partitions and 2 workers: 3 SIGKILL, a zombie, a refusing broker, a deaf owner.

    Policies change all the while, and verdicts depend on their owner, so that a second decision would show.
    """
    faults = ("kill", "deaf", "kill", "refused", "zombie", "kill")
    found, fleet = await run(Run(bootstrap, 20_000, faults, per_second=1_000), tmp_path)
    assert found.problems == {}, (found.examples, fleet.exits)
    line = figures(found)
    assert line.pop("longest_gap_ms") < 60_000
    assert (line["lost"], line["doubled"], line["contradicted"]) == (0, 0, 0)
    assert line["overspent_usd_nano"] == 0
    assert found.internal_errors == 0
    assert line["requests"] > line["decided"] >= 20_000
    assert found.codes["owner"] > 100
    # Three kills, the zombie and the deaf one at least.
    assert len(fleet.exits) >= 5


async def test_poison_costs_one_internal_error_each(bootstrap: str, tmp_path: Path) -> None:
    """A request that raises and one that kills the process: each is denied once, and the company goes on."""
    options = Run(bootstrap, 1_500, (), per_second=1_000, poison=(RAISES, KILLS), finish_s=180)
    found, fleet = await run(options, tmp_path)
    assert found.problems == {}, (found.examples, fleet.exits)
    assert found.internal_errors == 2
    assert all(code == -9 for _, code in fleet.exits)
    assert 4 <= len(fleet.exits) <= 14
