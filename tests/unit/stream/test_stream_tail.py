"""The tail of decisions: what was told, and is not in the ledger."""

import pytest
from stream_desk import Rec

from enforcer import events
from enforcer.stream.tail import read_tail


def verdict(offset, *, partition=0, usage_offset=0, verdict="allow"):
    """A decision in few words."""
    return events.Decision(
        f"d{offset}", f"r{offset}", 1, "acme", "acme", verdict, 200, [],
        policy_digest="", data_digest="", engine="",
        source=events.Source("enforcer.requests", partition, offset, usage_offset, 3, 0),
        time_us=0,
    )  # fmt: skip


def records(*values, partition=0):
    """Records of ``decisions``."""
    return [
        Rec("enforcer.decisions", partition, at, value=value) for at, value in enumerate(values)
    ]


@pytest.mark.parametrize("encode", [events.encode_decision, events.to_json_bytes])
def test_both_encodings_are_read(encode):
    """Avro and JSON decisions give the same, with their exact bytes."""
    value = encode(verdict(5, usage_offset=2))
    told = read_tail(records(value), request_offset=5)
    assert list(told) == [5]
    assert (told[5].offset, told[5].usage_offset, told[5].value) == (5, 2, value)
    assert told[5].decision.request_id == "r5"


def test_the_first_verdict_of_an_input_wins():
    """A zombie's later verdict on the same input changes nothing."""
    first, second = (events.encode_decision(verdict(5, verdict=v)) for v in ("allow", "deny"))
    told = read_tail(records(first, second), request_offset=0)
    assert told[5].value == first


def test_what_is_in_the_ledger_is_left_out():
    """Verdicts on inputs below the position are done with."""
    values = [events.encode_decision(verdict(n)) for n in (3, 4, 5)]
    assert list(read_tail(records(*values), request_offset=4)) == [4, 5]


def test_claims_and_what_nobody_can_read_are_passed_over():
    """A claim is no verdict; an empty record, garbage and half a decision are nobody's."""
    whole = events.encode_decision(verdict(5))
    values = [
        events.encode_claim(events.Claim(0, 1, "w", 0)), None, b"garbage", b"\xc3\x01xx",
        whole[:-3], whole,
    ]  # fmt: skip
    told = read_tail(records(*values), request_offset=0)
    assert [t.value for t in told.values()] == [whole]


def test_verdicts_of_other_partitions_are_ignored():
    """A verdict whose source is another partition was written here by mistake: no input here has it."""
    value = events.encode_decision(verdict(5, partition=3))
    assert read_tail(records(value), request_offset=0) == {}
    assert list(read_tail(records(value, partition=3), request_offset=0)) == [5]
