"""Audit records in files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.audit.files import Stored, read_lines, to_line
from enforcer.errors import IntegrityError

STORED = st.builds(
    Stored,
    partition=st.integers(0, 100),
    offset=st.none() | st.integers(0, 2**60),
    value=st.none() | st.binary(max_size=100),
)


@given(records=st.lists(STORED, max_size=5))
def test_what_is_written_is_read(records):
    """Lines give back the records, in order, over empty lines."""
    lines = [to_line(record) for record in records]
    assert list(read_lines([b"\n", *lines, b"  \n"], name="ledger.jsonl")) == records


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"not json",
        b'{"partition": 0, "value": "***"}',
        b'{"partition": "0", "value": ""}',
        b'{"partition": 0, "offset": 1.5, "value": ""}',
        b'{"partition": true, "value": ""}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_record_is_named(line):
    """A damaged file is an integrity error with its name and the number of the line."""
    with pytest.raises(IntegrityError, match=r"^ledger\.jsonl:2: "):
        list(read_lines([b'{"partition": 0, "value": ""}', line], name="ledger.jsonl"))
