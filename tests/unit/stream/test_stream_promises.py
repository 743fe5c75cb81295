"""docs/exactly-once.md names a test for each of its claims; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_claim_of_the_argument_has_its_test() -> None:
    """A test that is renamed or dropped takes its claim with it, and somebody has to look."""
    text = (ROOT / "docs" / "exactly-once.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    found = set(re.findall(r"def (test_\w+)\(", sources))
    assert len(named) > 40
    assert named <= found, named - found
