"""The state file."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.local import record
from enforcer.local.record import Record

RECORD = Record(
    pid=7, start_mark=12.0, started_s=1.5, port=9, controller_port=10, jit="c1", kafka="4.4.0"
)
# A file of one test is written again for every example: that is what is tested.
SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@SAME_FILE
@given(
    pid=st.integers(1, 2**31),
    mark=st.floats(0, 1e12),
    ready=st.booleans(),
    jit=st.sampled_from(["c1", "c2"]),
)
def test_what_is_written_is_read(tmp_path, pid, mark, ready, jit) -> None:
    """Writing and reading are inverse."""
    written = Record(pid, mark, 1.0, 2, 3, jit, "4.4.0", ready=ready)

    written.write(tmp_path / "state.json")

    assert record.read(tmp_path / "state.json") == written


@SAME_FILE
@given(content=st.binary(max_size=200))
def test_a_damaged_file_is_no_record(tmp_path, content: bytes) -> None:
    """Whatever bytes the file holds, reading gives a record or nothing, never an error."""
    (tmp_path / "state.json").write_bytes(content)

    assert record.read(tmp_path / "state.json") is None


@pytest.mark.parametrize(
    "change",
    [{"pid": 0}, {"pid": "7"}, {"pid": -1}, {"port": None}, {"unknown": 1}, {"start_mark": "x"}],
)
def test_wrong_fields_are_no_record(tmp_path, change) -> None:
    """A file of another version, or one that somebody edited, is not believed."""
    path = tmp_path / "state.json"
    RECORD.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    assert record.read(path) is None


def test_no_file_is_no_record(tmp_path) -> None:
    """Nothing was ever started here."""
    assert record.read(tmp_path / "state.json") is None
