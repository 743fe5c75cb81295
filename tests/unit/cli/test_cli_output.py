"""How verbs print."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.cli import output
from enforcer.cli.output import OutputFormat

ROWS = [
    {"name": "a", "spent_usd": 1.5, "ok": True},
    {"name": "long name", "spent_usd": None, "ok": False},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    path: Path
    parts: tuple[int, ...]
    digest: bytes


@given(value=JSON)
def test_json_is_what_was_given(value: object) -> None:
    """Whatever JSON can hold comes out of the plain form unchanged."""
    assert json.loads(json.dumps(output._plain(value))) == json.loads(json.dumps(value))


def test_a_dataclass_is_an_object(capsys) -> None:
    """Paths are strings, tuples lists, bytes hexadecimal."""
    output.emit(Answer(Path("/a"), (1, 2), b"\x01\xff"), OutputFormat.JSON)

    assert json.loads(capsys.readouterr().out) == {"path": "/a", "parts": [1, 2], "digest": "01ff"}


def test_jsonl_is_a_document_a_line(capsys) -> None:
    """A list gives a line for each, anything else one line."""
    output.emit(ROWS, OutputFormat.JSONL)
    output.emit({"a": "ü\n"}, OutputFormat.JSONL)

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [*ROWS, {"a": "ü\n"}]
    assert lines[2] == '{"a":"ü\\n"}'


def test_a_list_is_a_table_for_people(capsys) -> None:
    """Columns are as wide as they need; nothing is `-`, truth yes or no."""
    output.emit(ROWS, OutputFormat.TABLE)

    assert capsys.readouterr().out.splitlines() == [
        "name       spent usd  ok",
        "a          1.5        yes",
        "long name  -          no",
    ]


def test_a_mapping_is_a_name_and_a_value_a_line(capsys) -> None:
    """One answer stands upright."""
    output.emit({"a": 1, "long_name": [1]}, OutputFormat.TABLE)

    assert capsys.readouterr().out.splitlines() == ["a          1", "long name  [1]"]


@pytest.mark.parametrize("form", list(OutputFormat))
def test_an_empty_list_is_no_error(capsys, form) -> None:
    """Nothing found is an empty answer in every form."""
    output.emit([], form)

    assert capsys.readouterr().out.strip() in {"", "[]"}


def test_notes_go_to_stderr(capsys) -> None:
    """What nobody parses does not stand in the data."""
    output.note("x")

    assert capsys.readouterr() == ("", "x\n")


def test_no_color_and_no_terminal(monkeypatch) -> None:
    """NO_COLOR takes the colour away; without a terminal nothing is drawn in place."""
    monkeypatch.setenv("NO_COLOR", "1")

    assert output.console().no_color
    assert not output.is_animated()
