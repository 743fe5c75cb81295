"""`enforcer cel`, and values in JSON."""

from __future__ import annotations

import json
import re

import pytest
from cel_trees import ANY_TREE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cel_values import DATA

from enforcer.cel import EvaluationError, read_type, show
from enforcer.cel.exchange import from_typed, to_plain, to_typed, type_from_json, type_to_json
from enforcer.cel.operators import equal
from enforcer.cli.cel import answer_line, answer_plain, answer_typed
from enforcer.cli.main import run


def test_an_expression_on_the_command_line(capsys):
    """The value goes to stdout, alone."""
    assert run(["cel", "size(roles) > 1", "--vars", '{"roles": ["dev", "ops"]}']) == 0
    assert capsys.readouterr().out == "true\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["1 +"], 3),
        (["1 / 0"], 1),
        ([], 2),
        (["1", "--vars", "[]"], 2),
        (["1", "--vars", "{"], 2),
        (["1", "--input", "rows.jsonl"], 2),
        (["--input", "no-such-file.jsonl"], 5),
        (["--typed", "1 + 1.0"], 3),
    ],
)
def test_exit_codes(arguments, exit_code, capsys):
    """3 for what is no valid expression, 1 for one without a value, 2 for wrong usage; stdout is empty."""
    assert run(["cel", *arguments]) == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.match(r"(error\[[a-z_]+\]|warning): ", printed.err)


def test_a_file_of_rows_is_answered_in_order(tmp_path, capsys):
    """A line an answer, whatever stands in the line."""
    rows = ['{"expr": "x + 1", "vars": {"x": 1}}', "no json", '{"expr": 5}', '{"expr": "1 / 0"}',
            '{"expr": "b\'a\'"}', '{"expr": "x", "vars": {"x": 1e400}}']  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n")
    assert run(["cel", "--input", str(path), "--output", "jsonl"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers[0] == {"value": 2, "type": "int"}
    assert [set(answer) >= {"error"} for answer in answers[1:4]] == [True] * 3
    assert answers[4] == {"value": "YQ==", "type": "bytes"}
    assert answers[5]["value"] == "Infinity"
    for form in ("json", "table"):
        assert run(["cel", "--input", str(path), "--output", form]) == 0


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.0 / 0.0", "NaN"),
        ("-1.0 / 0.0", "-Infinity"),
        ("b'hello'", "aGVsbG8="),
        ("timestamp('2026-11-23T12:00:00.5+01:00')", "2026-11-23T11:00:00.5Z"),
        ("duration('1500ms')", "1.5s"),
        ("duration('-90m')", "-5400s"),
        ("type(1)", "int"),
        ("18446744073709551615u", 2**64 - 1),
        ("{1: true, true: null, 'a': [1.5]}", {"1": True, "true": None, "a": [1.5]}),
        ("optional.of(1)", 1),
        ("optional.none()", None),
        ("ip('10.0.0.1')", "10.0.0.1"),
    ],
)
def test_values_in_plain_json(expression, value):
    """Every value has a plain form."""
    assert answer_plain({"expr": expression})["value"] == value


def test_plain_rows_are_not_held_to_types():
    """JSON has no types: what does not check is evaluated, and says what did not fit."""
    assert answer_plain({"expr": "1 == 1.0"}) == {
        "value": True,
        "issues": ["1:1: found no matching overload for '==' applied to '(int, double)'"],
    }


def test_typed_rows_are_the_suites():
    """Bindings, declarations and answers are those of the conformance suite."""
    row = {
        "expr": "x + 1u",
        "bindings": {"x": {"value": {"uint64_value": "2"}}},
        "type_env": [{"name": "x", "ident": {"type": {"primitive": "UINT64"}}}],
    }
    answer = answer_typed(row)
    assert answer["value"] == {"uint64_value": "3"}
    assert answer["type"] == {"primitive": "UINT64"}
    assert answer["typed_result"] == {
        "result": {"uint64_value": "3"},
        "deduced_type": {"primitive": "UINT64"},
    }
    assert answer_typed({"expr": "[1]", "check_only": True}) == {
        "type": {"list_type": {"elem_type": {"primitive": "INT64"}}},
        "typed_result": {"deduced_type": {"list_type": {"elem_type": {"primitive": "INT64"}}}},
    }
    failed = answer_typed({"expr": "1 / 0"})
    assert failed["error"] == "division by zero"
    assert failed["eval_error"] == {"errors": [{"message": "division by zero"}]}
    assert "error" in answer_typed({"expr": "1 == 1.0"})
    assert answer_typed({"expr": "1 == 1.0", "disable_check": True})["value"] == {
        "bool_value": True
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["expr", "vars", "bindings", "type_env", "value", "name", "ident", "type", "int64_value",
             "map_value", "list_value", "object_value", "bytes_value", "double_value", "function",
             "overloads", "container", "primitive", "x"]
        ),
        below,
        max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=200)
@given(row=JSON, typed=st.booleans(), tree=ANY_TREE)
def test_every_line_has_an_answer(row, typed, tree):
    """Whatever the JSON, there is an answer, and it can be written."""
    if isinstance(row, dict):
        row["expr"] = show(tree)
    answer = answer_line(json.dumps(row).encode(), typed=typed)
    json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()


@given(value=DATA)
def test_typed_json_reads_back(value):
    """The protobuf JSON of a value is the value."""
    written = to_typed(value)
    read = from_typed(json.loads(json.dumps(written)))
    assert equal(read, value)
    assert to_typed(read) == written
    json.dumps(to_plain(value), allow_nan=False)


@pytest.mark.parametrize(
    "text",
    ["int", "uint", "dyn", "null", "list(string)", "map(int, list(dyn))", "optional(bool)",
     "timestamp", "duration", "type(int)", "net.IP", "bytes", "double"],
)  # fmt: skip
def test_types_read_back(text):
    """The protobuf JSON of a type is the type."""
    assert type_from_json(type_to_json(read_type(text))) == read_type(text)


@pytest.mark.parametrize(
    "json_value",
    [None, {}, {"int64_value": "x"}, {"int64_value": str(2**63)}, {"uint64_value": "-1"},
     {"bool_value": 1}, {"string_value": "\ud800"}, {"bytes_value": "*"}, {"double_value": True},
     {"map_value": {"entries": [{"key": {"null_value": None}, "value": {"null_value": None}}]}},
     {"object_value": {"@type": "type.googleapis.com/x"}}, {"a": 1, "b": 2}],
)  # fmt: skip
def test_what_is_no_value_in_typed_json(json_value):
    """Anything else is an evaluation error."""
    with pytest.raises(EvaluationError):
        from_typed(json_value)
