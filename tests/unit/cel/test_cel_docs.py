"""docs/cel.md: every example is what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from enforcer.cel.limits import (
    DEPTH_MAX,
    FORMAT_PRECISION_MAX,
    LIST_LENGTH_MAX,
    NODES_MAX,
    PARENTHESES_MAX,
    STEPS_MAX,
    TEXT_CHARACTERS_MAX,
    TEXT_LENGTH_MAX,
)
from enforcer.cli.cel import answer_plain

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "cel.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
LINES = [line for kind, body in BLOCKS if kind == "cel" for line in body.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_each_example_has_its_value(line):
    """The value behind an expression is its value."""
    expression, _, wanted = line.rpartition("//")
    answer = answer_plain({"expr": expression})
    if wanted.strip().startswith("error:"):
        assert answer["code"] == wanted.split(":")[1].strip()
    else:
        assert answer["value"] == json.loads(wanted)


def test_there_are_examples():
    """The blocks were found."""
    assert len(LINES) > 50


def test_the_python_example_runs():
    """The asserts of the example hold."""
    for kind, body in BLOCKS:
        if kind == "python":
            exec(body, {})


@pytest.mark.parametrize(
    "bound",
    [
        TEXT_CHARACTERS_MAX,
        PARENTHESES_MAX,
        DEPTH_MAX,
        NODES_MAX,
        LIST_LENGTH_MAX,
        FORMAT_PRECISION_MAX,
        STEPS_MAX,
    ],
)
def test_the_bounds_are_those_of_the_code(bound):
    """The section on bounds names them."""
    assert f"{bound:,}" in TEXT
    assert TEXT_LENGTH_MAX == 16 * 1024 * 1024
