"""The data plane under faults from a seed: what must hold holds, each bug is found, and each run can be repeated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "simulate.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


def simulate(*arguments: str) -> tuple[dict[str, Any], str]:
    """The line that the program prints, and what it says beside."""
    command = [sys.executable, str(PROGRAM), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=270, check=False)
    assert done.stdout, done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_no_seed_loses_doubles_contradicts_or_overspends_and_every_fault_strikes() -> None:
    """Fifty seeds: nothing is wrong in any, and each fault and each place of death has been met."""
    line, said = simulate("--seeds", "50", "--first", "1")
    assert line["failed"] == 0, said[-3_000:]
    assert line["never"] == []
    assert line["lost"] == line["doubled"] == line["contradicted"] == 0
    assert line["overspent_usd_nano"] == 0
    assert line["seeds"] == 50
    assert line["audit_records"] > line["decided"] > 5_000


def test_a_seed_is_the_same_run_each_time() -> None:
    """To the last record, time and line of its trace."""
    first, _ = simulate("--seeds", "1", "--first", "17", "--digest")
    again, _ = simulate("--seeds", "1", "--first", "17", "--digest")
    other, _ = simulate("--seeds", "1", "--first", "18", "--digest")
    assert first["digest"] == again["digest"] != other["digest"]


def test_a_failing_seed_says_how_to_repeat_it() -> None:
    """With what is wrong, the command, and the end of its trace."""
    line, said = simulate("--seeds", "5", "--without", "tail", "--failures", "1")
    assert line["failed"] == 1
    assert "told twice, otherwise" in said
    assert "repeat it: make simulate SEEDS=1 FIRST=1 MORE='--without tail --trace'" in said


def test_every_bug_put_in_is_found() -> None:
    """Each promise that is taken out of the running code is missed, by name, in a few seeds."""
    found, said = simulate("--bugs")
    assert len(found) >= 12
    assert {name for name, seed in found.items() if seed is None} == set(), said
