"""The writer's end of the chain."""

import json
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import events
from enforcer.audit.chain import GENESIS, Chain
from enforcer.audit.verifier import START, Anchor, verify

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/avro/audit.avsc").read_text())
SOURCE = events.Source(
    topic="requests", partition=1, offset=7, usage_offset=3, policy_offset=2, late_ms=5
)
KINDS = st.sampled_from(["decision", "settlement", "expiry", "policy_change", "exception_use"])
EFFECTS = st.builds(
    events.Effect,
    kind=st.sampled_from(["reserve", "open", "charge"]),
    row=st.text(max_size=20),
    amount=st.integers(-(2**63), 2**63 - 1),
)
EVENTS = st.lists(
    st.tuples(
        KINDS,
        st.text(max_size=10),
        st.integers(0, 2**53),
        st.binary(max_size=300),
        st.lists(st.text(max_size=8), max_size=2),
        st.lists(EFFECTS, max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@given(given_events=EVENTS)
def test_what_the_chain_writes_the_verifier_accepts(given_events):
    """Any events make a chain that code which shares nothing with the writer calls whole."""
    chain = Chain()
    values = [
        chain.append(kind, account, time_us, SOURCE, payload, notes, effects)
        for kind, account, time_us, payload, notes, effects in given_events
    ]
    head = {3: Anchor(chain.sequence - 1, chain.head)}
    report = verify(((3, value) for value in values), [SCHEMA], from_={3: START}, head=head)
    assert report.whole
    assert report.anchored
    assert report.records == len(given_events)


def test_the_digest_covers_the_exact_stored_bytes():
    """The digest is SHA-256 over the previous digest and all stored bytes before it, at the end."""
    chain = Chain()
    first = chain.append("decision", "acme", 1, SOURCE, b"payload")
    assert first[-32:] == sha256(GENESIS + first[:-32]).digest() == chain.head
    second = chain.append("expiry", "acme", 2, SOURCE, b"", ["overrun"])
    assert second[-32:] == sha256(first[-32:] + second[:-32]).digest() == chain.head
    assert chain.sequence == 2
    read = fastavro.schemaless_reader(BytesIO(second[10:]), SCHEMA, None)
    assert (read["sequence"], read["previous"], read["notes"]) == (1, first[-32:], ["overrun"])


def test_a_chain_goes_on_where_a_position_row_left_it():
    """Built anew from sequence and head, it writes the same bytes as the one that went on."""
    chain = Chain()
    chain.append("decision", "acme", 1, SOURCE, b"a")
    again = Chain(chain.sequence, chain.head)
    event = ("settlement", "acme", 2, SOURCE, b"b")
    assert again.append(*event) == chain.append(*event)


def test_an_event_that_cannot_be_encoded_moves_nothing():
    """A failed append leaves sequence and head as they were, so that no link is missing."""
    chain = Chain()
    chain.append("decision", "acme", 1, SOURCE, b"a")
    before = (chain.sequence, chain.head)
    with pytest.raises(events.CodecError):
        chain.append("decision", "acme", 2**70, SOURCE, b"b")
    with pytest.raises(events.CodecError):
        chain.append("no such kind", "acme", 2, SOURCE, b"b")
    assert (chain.sequence, chain.head) == before


def test_a_wrong_start_is_a_bug():
    """A chain that starts at 0 starts from zeros, and heads are 32 bytes."""
    for sequence, head in ((0, bytes([1]) * 32), (1, b"short"), (-1, GENESIS)):
        with pytest.raises(AssertionError):
            Chain(sequence, head)
