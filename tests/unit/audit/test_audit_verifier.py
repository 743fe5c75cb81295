"""The verifier against chains that the test builds itself, with fastavro: no code of the writer."""

import json
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from hypothesis import assume, given
from hypothesis import strategies as st

from enforcer.audit.verifier import START, Anchor, Verifier, verify

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/avro/audit.avsc").read_text())
PARSED = fastavro.parse_schema(dict(SCHEMA))
HEADER = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))
SOURCE = {
    "topic": "requests",
    "partition": 0,
    "offset": 0,
    "usage_offset": 0,
    "policy_offset": 0,
    "late_ms": 0,
}


def link(sequence, previous, payload=b"x", kind="decision"):
    """One stored record."""
    out = BytesIO()
    record = {
        "sequence": sequence,
        "previous": previous,
        "kind": kind,
        "account": "acme",
        "time_us": 1_700_000_000_000_000 + sequence,
        "source": {**SOURCE, "offset": sequence},
        "payload": payload,
        "notes": [],
        "effects": [],
        "digest": bytes(32),
    }
    fastavro.schemaless_writer(out, PARSED, record)
    body = (HEADER + out.getvalue())[:-32]
    return body + sha256(previous + body).digest()


def build(count, sequence=0, previous=bytes(32), payload=b"x"):
    """A whole chain."""
    chain = []
    for number in range(sequence, sequence + count):
        chain.append(link(number, previous, payload + bytes([number % 251])))
        previous = chain[-1][-32:]
    return chain


def head_of(chain, sequence=0):
    return Anchor(sequence + len(chain) - 1, chain[-1][-32:])


def check(values, head=None, from_=START):
    """The only finding, as (kind, sequence, position), of a chain held at both ends."""
    report = verify(
        ((0, value) for value in values),
        [SCHEMA],
        from_={0: from_} if from_ else None,
        head={0: head} if head else None,
    )
    assert report.whole == (not report.findings)
    if not report.findings:
        return None
    (finding,) = report.findings
    assert finding.partition == 0
    return finding.kind, finding.sequence, finding.position


COUNT = st.integers(2, 12)


@given(count=st.integers(1, 12))
def test_a_whole_chain_is_whole(count):
    """Every chain as written passes, anchored at both ends or at none."""
    chain = build(count)
    assert check(chain, head_of(chain)) is None
    assert check(chain, from_=None) is None


@given(count=COUNT, data=st.data())
def test_any_flipped_bit_is_modified(count, data):
    """Whichever bit of whichever record is flipped, that record is named, as modified."""
    chain = build(count)
    at = data.draw(st.integers(0, count - 1))
    bit = data.draw(st.integers(0, len(chain[at]) * 8 - 1))
    bad = bytearray(chain[at])
    bad[bit // 8] ^= 1 << bit % 8
    head = head_of(chain)
    chain[at] = bytes(bad)
    assert check(chain, head) == ("modified", at, at)
    assert check(chain, from_=None)[0::2] == ("modified", at)


@given(count=COUNT, data=st.data())
def test_a_cut_or_padded_record_is_modified(count, data):
    """A record that lost its end, or got one, or became nothing, is named."""
    chain = build(count)
    head = head_of(chain)
    at = data.draw(st.integers(0, count - 1))
    size = data.draw(st.integers(0, len(chain[at]) - 1))
    for bad in (chain[at][:size], chain[at] + b"\0", None):
        assert check([*chain[:at], bad, *chain[at + 1 :]], head) == ("modified", at, at)


@given(count=COUNT, data=st.data())
def test_a_removed_run_is_missing_or_truncated(count, data):
    """A hole is missing, named by its first number and place; an end cut off is truncated."""
    chain = build(count)
    head = head_of(chain)
    at = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(at + 1, count))
    found = check(chain[:at] + chain[stop:], head)
    assert found == ("truncated" if stop == count else "missing", at, at)


@given(count=COUNT, data=st.data())
def test_a_moved_record_is_reordered(count, data):
    """A record moved to another place is reordered, named where the order first breaks."""
    chain = build(count)
    head = head_of(chain)
    at, to = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    assume(at != to)
    moved = chain[:at] + chain[at + 1 :]
    moved.insert(to, chain[at])
    # Moved forward, the next record stands in its place; moved back, it stands in another's.
    assert check(moved, head) == ("reordered", at + 1 if at < to else at, min(at, to))


@given(count=COUNT, data=st.data())
def test_a_repeated_record_is_duplicated(count, data):
    """A second copy of a record, anywhere, is named: where the first of them is out of place."""
    chain = build(count)
    head = head_of(chain)
    at, to = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count))
    repeated = [*chain[:to], chain[at], *chain[to:]]
    position = at + 1 if to == at else to
    assert check(repeated, head) == ("duplicated", at, position)


@given(count=COUNT, data=st.data())
def test_a_second_record_for_one_place_is_forked(count, data):
    """A record with its own right digest in another's place is a fork, before or after the real one."""
    chain = build(count)
    head = head_of(chain)
    at = data.draw(st.integers(0, count - 1))
    previous = chain[at - 1][-32:] if at else bytes(32)
    other = link(at, previous, b"other")
    assert check([*chain[: at + 1], other, *chain[at + 1 :]], head) == ("forked", at, at + 1)
    # Before the real one it has the right predecessor, so the second is named; but a head tells.
    position = at if at == count - 1 else at + 1
    assert check([*chain[:at], other, *chain[at:]], head) == ("forked", at, position)


@given(count=COUNT, data=st.data())
def test_a_rewritten_record_is_forked_at_the_next(count, data):
    """A record replaced by one with a right digest is contradicted by the next, or by the head."""
    chain = build(count)
    head = head_of(chain)
    at = data.draw(st.integers(0, count - 1))
    previous = chain[at - 1][-32:] if at else bytes(32)
    chain[at] = link(at, previous, b"other")
    place = at if at == count - 1 else at + 1
    assert check(chain, head) == ("forked", place, place)


@given(count=COUNT, data=st.data())
def test_a_rewritten_suffix_needs_the_anchor(count, data):
    """Whoever rewrites everything after a record is found only by a head known from elsewhere."""
    chain = build(count)
    head = head_of(chain)
    at = data.draw(st.integers(0, count - 1))
    kept = chain[:at]
    forged = kept + build(count - at, at, kept[-1][-32:] if kept else bytes(32), b"forged")
    assert check(forged, head) == ("forked", count - 1, count - 1)
    assert check(forged) is None


@given(count=COUNT, data=st.data())
def test_a_chain_continues_from_an_anchor(count, data):
    """A later part passes from the digest of the record before it, and from no other."""
    chain = build(count)
    at = data.draw(st.integers(1, count - 1))
    before = Anchor(at - 1, chain[at - 1][-32:])
    assert check(chain[at:], head_of(chain), from_=before) is None
    wrong = Anchor(at - 1, sha256(b"wrong").digest())
    assert check(chain[at:], from_=wrong) == ("forked", at, 0)
    assert check(chain, from_=wrong) == ("forked", at - 1, at - 1)
    assert check(chain[at:], from_=None) is None


def test_ends_without_anchors_are_called_unanchored():
    """A report says for each end whether something from outside held it."""
    chain = build(5)
    report = verify(((0, value) for value in chain), [SCHEMA])
    assert (report.partitions[0].start, report.partitions[0].end) == ("genesis", "unanchored")
    assert not report.anchored
    report = verify(((0, value) for value in chain[2:]), [SCHEMA])
    assert report.partitions[0].start == "unanchored"
    report = verify(((0, value) for value in chain), [SCHEMA], head={0: head_of(chain)})
    assert report.partitions[0].end == "anchored"
    assert report.anchored


def test_partitions_are_checked_apart():
    """Chains mixed in one stream do not disturb each other; each bad one has its own finding."""
    chains = {number: build(6, payload=bytes([number])) for number in range(3)}
    del chains[1][2]
    verifier = Verifier([SCHEMA])
    for position in range(6):
        for number, chain in chains.items():
            if position < len(chain):
                verifier.add(number, chain[position], offset=100 + position)
    report = verifier.report()
    (finding,) = report.findings
    assert (finding.partition, finding.kind, finding.sequence) == (1, "missing", 2)
    assert finding.offset == 102
    assert report.records == 17
    assert [part.records for part in report.partitions] == [6, 5, 6]


def test_a_record_of_another_partition_is_forked():
    """A whole record that belongs to another chain does not continue this one."""
    ours, theirs = build(4), build(4, payload=b"theirs")
    ours[2] = theirs[2]
    assert check(ours) == ("forked", 2, 2)


def test_the_report_counts_and_gives_the_next_anchor():
    """Counts by kind, first and last number and the head: what a later verification starts from."""
    chain = [link(0, bytes(32))]
    chain.append(link(1, chain[0][-32:], kind="settlement"))
    chain.append(link(2, chain[1][-32:]))
    (part,) = verify(((4, value) for value in chain), [SCHEMA]).partitions
    assert part.kinds == {"decision": 2, "settlement": 1}
    assert (part.partition, part.first_sequence, part.last_sequence) == (4, 0, 2)
    assert part.head == chain[2][-32:]


def test_an_empty_partition_with_a_known_head_is_truncated():
    """Nothing where an anchor knows of something is a loss; nothing after the known end is none."""
    chain = build(3)
    assert check([], head_of(chain)) == ("truncated", 0, 0)
    assert check([], head_of(chain), from_=head_of(chain)) is None
    assert check(chain[:2], from_=head_of(chain)) == ("truncated", 2, 2)


def test_a_repeat_from_far_back_is_duplicated():
    """Beyond the ring of known digests a repeat is still found."""
    chain = build(4200)
    assert check([*chain, chain[3]]) == ("duplicated", 3, 4200)
    assert check([*chain, link(4150, chain[4149][-32:], b"other")]) == ("forked", 4150, 4200)


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xc3\x01" + bytes(8), HEADER, HEADER + bytes(40)])
def test_junk_is_modified_and_raises_nothing(junk):
    """Whatever lies in the topic is reported, never thrown."""
    assert check([*build(2), junk]) == ("modified", 2, 2)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_verifier_raise(junk):
    """Any bytes after the right header are a finding."""
    assert check([HEADER + junk]) == ("modified", 0, 0)


def test_a_record_from_before_the_start_is_reordered():
    """Where a chain begins in its middle, an older record after its first stands out of order."""
    chain = build(8)
    assert check([*chain[5:], chain[3]], from_=None) == ("reordered", 3, 3)


def test_an_early_copy_of_another_content_is_forked():
    """A record far too early, and another of its number in its place: two for one place."""
    chain = build(6)
    other = link(4, chain[3][-32:], b"other")
    assert check([*chain[:2], other, *chain[2:]]) == ("forked", 4, 2)
    assert check([*chain[:2], other, *chain[3:]]) == ("forked", 4, 2)


def test_what_follows_a_hole_is_not_judged_before_it():
    """A damaged record behind a hole does not hide the hole: the first bad record is named."""
    chain = build(6)
    bad = bytearray(chain[4])
    bad[-1] ^= 1
    assert check([*chain[:2], chain[3], bytes(bad), chain[5]]) == ("missing", 2, 2)
