"""``topics repartition`` killed where it matters most; all its points are `make chaos`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from repartition_run import run

from enforcer.cli.main import run as command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

POINTS = (("grow", "after", 1), ("commit", "before", 2), ("commit", "after", 2))


async def test_killed_by_sigkill_the_same_command_goes_on_and_nothing_is_lost(
    bootstrap: str, tmp_path: Path
) -> None:
    """With the topics grown and no row moved, with a transaction open, and with one of several committed."""
    line = await run(bootstrap, tmp_path, POINTS)
    assert line["met"] == len(POINTS)
    target = ["--bootstrap", bootstrap, "--prefix", line["prefix"]]
    assert await asyncio.to_thread(command, ["audit", "verify", *target]) == 0
    assert await asyncio.to_thread(command, ["replay", "--output", "json", *target]) == 0
