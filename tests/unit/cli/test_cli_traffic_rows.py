"""Rows of ``tail``: one record a line, for people."""

from __future__ import annotations

import pytest

from enforcer.cli import traffic_rows


@pytest.mark.parametrize(
    ("time_us", "shown"), [(0, "-" + 11 * " "), (1_750_000_000_123_456, "15:06:40.123")]
)
def test_the_time_is_event_time_or_a_dash(time_us: int, shown: str) -> None:
    """Before its first event a partition has no time, and midnight would be a lie; columns stay where they are."""
    entry = {"kind": "policy_change", "sequence": 0, "account": "acme", "time_us": time_us}

    said = traffic_rows.line(entry | {"partition": 1, "offset": 0})

    assert said == f"{shown} {'1/0':<10} policy_change 0       acme"
