"""
The conformance suite of the CEL specification, run through the compiled code.

Every case that needs no protobuf message counts. What is not passed stands in ``MISSES`` with its reason; a
case that is listed and passes is as wrong as one that fails and is not.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from enforcer.cli.cel import answer_typed

CASES_MIN = 1_700
SHARE_MIN = 0.95

_BACKSLASH = (
    "the suite's own text writes the question mark as \\?, which its reader takes for ? in the expression, "
    "but the expected bytes keep the backslash that the expression no longer has"
)
MISSES: dict[tuple[str, str, str], str] = {
    ("parse", "bytes_literals", "triple_single_quoted_unescaped_punctuation"): _BACKSLASH,
    ("parse", "bytes_literals", "triple_double_quoted_unescaped_punctuation"): _BACKSLASH,
}


@pytest.fixture(scope="module")
def cases(shared_data):
    """The cases that need no protobuf message."""
    text = (shared_data / "cel-spec" / "cel_simple.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [row for row in rows if not row["needs_proto"]]


def key(row):
    return row["file"], row["section"], row["name"]


def comparable(value):
    """A value in which the order of a map's entries does not count, but the sign of zero does."""
    if "map_value" in value:
        entries = value["map_value"].get("entries", [])
        pairs = ((comparable(each["key"]), comparable(each["value"])) for each in entries)
        return "map", sorted(pairs, key=repr)
    if "list_value" in value:
        return "list", [comparable(each) for each in value["list_value"].get("values", [])]
    if "double_value" in value:
        return "double", repr(value["double_value"])
    return json.dumps(value, sort_keys=True)


def is_passed(row, answer):
    if "eval_error" in row:
        return "eval_error" in answer
    wanted = dict(row.get("typed_result", {}))
    if "value" in row or not wanted:
        # A case that says nothing of its result wants true, by the suite's own rule.
        wanted["result"] = row.get("value", {"bool_value": True})
    if "error" in answer:
        return False
    if "deduced_type" in wanted and answer.get("type") != wanted["deduced_type"]:
        return False
    return "result" not in wanted or comparable(answer["value"]) == comparable(wanted["result"])


def test_each_case_is_passed_or_listed_with_its_reason(cases):
    """The misses are exactly those of the table."""
    missed = {key(row) for row in cases if not is_passed(row, answer_typed(row))}
    assert missed == set(MISSES)
    assert len(cases) - len(missed) >= CASES_MIN


def test_no_file_falls_behind(cases):
    """Of each file nearly all cases are passed."""
    total = Counter(row["file"] for row in cases)
    passed = Counter(row["file"] for row in cases if is_passed(row, answer_typed(row)))
    assert {
        file: passed[file] / total[file] for file in total if passed[file] < SHARE_MIN * total[file]
    } == {}


def test_code_without_types_gives_the_same_values(cases):
    """What checks has the same value where nothing is known of types."""
    wrong = []
    for row in cases:
        if "value" in row and key(row) not in MISSES:
            answer = answer_typed({**row, "disable_check": True})
            if not is_passed(row, answer):
                wrong.append(key(row))
    assert wrong == []
