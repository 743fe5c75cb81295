"""Identities of calls, and the partitions of keys against aiokafka's partitioner."""

import copy

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as oracle
from events_strategies import RECORDS, instances
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events
from enforcer.events import CodecError

REQUEST = instances(next(record for record in RECORDS if record.name == "Request"))


@given(key=st.binary(max_size=70), partitions=st.integers(1, 64))
def test_partitions_are_those_of_kafka(key, partitions):
    """Hash and partition agree with aiokafka's for any key."""
    everywhere = list(range(partitions))

    assert events.murmur2(key) == oracle(key) & 0xFFFFFFFF
    assert events.partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


@pytest.mark.parametrize(
    ("key", "number"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_of_kafka_itself(key, number):
    """The values of Apache Kafka's own test, UtilsTest.testMurmur2."""
    assert events.murmur2(key) == number & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("tenant", "team", "by", "account"),
    [
        ("acme", None, ("tenant",), "acme"),
        ("acme", "team-1", ("tenant",), "acme"),
        ("acme", "team-1", ("tenant", "team.id"), "acme/team-1"),
        ("acme", None, ("tenant", "team.id"), "acme"),
        ("acme", "", ("tenant", "team.id"), "acme"),
        ("a/b", "c%d", ("tenant", "team.id"), "a%2Fb/c%25d"),
        ("#a", None, ("tenant",), "%23a"),
    ],
)
def test_accounts(tenant, team, by, account):
    """An account is the tenant, or tenant and team where the tenant counts by team."""
    assert events.account_of(tenant, team, by) == account


CALLS = st.tuples(
    st.text(alphabet="a/%#é2F", max_size=5),
    st.text(alphabet="a/%#é2F", max_size=5),
    st.integers(1, 12),
)


@given(one=CALLS, two=CALLS)
def test_calls_are_told_apart(one, two):
    """Two calls have the same key, and the same decision id, only if they are the same call."""
    assert (events.call_key(*one) == events.call_key(*two)) == (one == two)
    assert (events.decision_id(*one) == events.decision_id(*two)) == (one == two)
    assert events.call_key(*one).count("/") == 2


def test_long_parts_are_digests():
    """A part above 256 bytes is its SHA-256, so that keys stay short; at 256 it stands."""
    assert events.key_part("é" * 128) == "é" * 128
    assert events.key_part("é" * 128 + "a").startswith("#")
    assert len(events.key_part("a" * 10_000)) == 65
    assert events.key_part("a" * 300) != events.key_part("a" * 301)
    assert events.key_part(events.key_part("a" * 300)) != events.key_part("a" * 300)


def test_decision_ids_are_stable():
    """The id of a call's decision is the same for ever: it is on record."""
    assert events.decision_id("acme", "r1", 1) == "c29dab6a0f29ab88d990ccdafe5e1d40"
    assert events.call_key("acme/team-1", "r/1", 2) == "acme%2Fteam-1/r%2F1/2"


@given(request_=REQUEST, attempt=st.integers(1, 9), deadline_ms=st.none() | st.integers(0, 9000))
@settings(max_examples=60, deadline=None)
def test_content_is_the_same_for_a_repeat(request_, attempt, deadline_ms):
    """Attempt and deadline do not count, nor does the form; the request stays as it was."""
    before = copy.deepcopy(request_)
    digest = events.content_digest(request_)
    repeat = events.from_json(events.Request, events.to_json_bytes(request_))
    repeat.attempt, repeat.deadline_ms = attempt, deadline_ms

    assert request_ == before
    assert len(digest) == 32
    assert events.content_digest(repeat) == digest
    value = events.encode(repeat)
    assert events.content_digest(events.decode(value)) == digest
    assert events.content_digest(events.decode(value), value) == digest
    in_json = events.to_json_bytes(repeat)
    assert events.content_digest(repeat, in_json) == digest


def test_content_does_not_depend_on_how_a_number_is_written():
    """An attempt in more bytes than it needs is the same attempt: no writer is told apart by it."""
    plain = events.encode(events.Request("r1", "acme", llm=events.Llm("p", "m")))
    at = plain.index(b"acme") + 4
    long = plain[:at] + b"\x82\x00" + plain[at + 1 :]

    assert plain[at] == 2
    assert events.decode(long) == events.decode(plain)
    assert events.content_digest(events.decode(long), long) == events.content_digest(
        events.decode(plain), plain
    )


def test_content_tells_requests_apart():
    """Whatever else differs, the content differs; what the schema has not does not count."""
    least = {"id": "r", "tenant": "t", "llm": {"provider": "p", "model": "m"}}
    variants = [
        least,
        {**least, "id": "s"},
        {**least, "tenant": "u"},
        {**least, "phase": "response"},
        {**least, "part": 1},
        {**least, "attributes": {"a": 1}},
        {**least, "llm": {"provider": "p", "model": "m", "prompt": "x"}},
    ]
    digests = [
        events.content_digest(events.request_from_json(orjson.dumps(variant)))
        for variant in variants
    ]

    assert len(set(digests)) == len(variants)
    more = events.request_from_json(orjson.dumps({**least, "unknown": 1}))
    assert events.content_digest(more) == digests[0]


def test_content_of_what_has_no_avro_form():
    """A request that cannot be encoded has no content digest."""
    with pytest.raises(CodecError):
        events.content_digest(events.Request("\ud800", "t", llm=events.Llm("p", "m")))
