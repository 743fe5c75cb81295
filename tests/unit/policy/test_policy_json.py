"""JSON sources: places of what is wrong, and agreement with the standard decoder."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import policy
from enforcer.policy.findings import Findings
from enforcer.policy.source import Limits, plain, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e200, 1e200).filter(lambda x: x == 0 or abs(x) > 1e-200) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=12,
)  # fmt: skip


def first(text, **limits):
    """The first document of a JSON text, and the findings."""
    findings = Findings()
    texts = read("x.json", text, findings, limits=Limits(**limits))
    return (texts[0] if texts else None), findings.sorted()


def as_floats(value):
    """Decimals as the standard decoder reads them."""
    if isinstance(value, list):
        return [as_floats(each) for each in value]
    if isinstance(value, dict):
        return {key: as_floats(each) for key, each in value.items()}
    return float(value) if isinstance(value, Decimal) else value


@given(data=JSON, indent=st.sampled_from([None, 0, 3]))
def test_json_reads_as_the_standard_decoder_reads_it(data, indent):
    """
    Any data, in any layout.
    """
    text, findings = first(json.dumps(data, indent=indent))
    assert findings == ()
    assert as_floats(plain(text.node)) == data


@given(text=st.text(st.sampled_from('{}[],:"0123-.eE tfn\n\\u'), max_size=20))
def test_what_is_no_json_is_refused(text):
    """
    Exactly what the standard decoder refuses, but for a stream of values and what the language limits.
    """
    found, findings = first(text)
    try:
        json.loads(text)
    except ValueError:
        return
    assert found is not None or findings


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ('{"a": 1,\n "a": 2}', "ENF0108", 2, 2),
        ('{"a": 1\n "b": 2}', "ENF0101", 2, 2),
        ('{"a" 1}', "ENF0101", 1, 6),
        ("{1: 2}", "ENF0101", 1, 2),
        ('{"a": "x', "ENF0101", 1, 7),
        ('{"a": nul}', "ENF0101", 1, 7),
        ('{"a": NaN}', "ENF0101", 1, 7),
        ('{"a": 1e999}', "ENF0112", 1, 7),
        ('{"a":\n  99999999999999999999}', "ENF0112", 2, 3),
        ("[[[[[1]]]]]", "ENF0103", 1, 5),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]", "ENF0104", 1, 26),
        ('["' + "x" * 200 + '"]', "ENF0102", 1, 1),
    ],
)
def test_faults_of_json_are_told_at_their_place(text, code, line, column):
    """
    Line and column of each fault, also behind newlines.
    """
    _, findings = first(text, depth_max=4, nodes_max=9, document_bytes_max=150)
    assert [(each.code, each.span.line, each.span.column) for each in findings] == [
        (code, line, column)
    ]


def test_json_that_is_yaml_is_read_as_yaml():
    """
    A flow mapping without quotes is no JSON, and loads unless the file's name says JSON.
    """
    text = "{apiVersion: enforcer/v1, kind: Values, metadata: {id: v}, spec: {a: [x]}}"
    assert policy.load([("v.yaml", text)]).documents
    assert not policy.load([("v.json", text)]).documents


def test_a_source_of_any_size_is_bounded(monkeypatch):
    """
    A whole source has a limit too.
    """
    monkeypatch.setattr("enforcer.policy.source.reader.STREAM_BYTES_MAX", 100)
    (finding,) = policy.load([("v.yaml", "#" * 101)]).findings
    assert finding.code == "ENF0102"
