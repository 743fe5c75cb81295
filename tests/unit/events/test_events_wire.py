"""Values of the input topics: which form, what is refused, and whom to answer."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events
from enforcer.errors import RequestError
from enforcer.events import CodecError

REQUEST = events.Request("r-1", "acme", attempt=3, llm=events.Llm("p", "m"))
USAGE = events.Usage("r-1", "acme", 3)
DECISION = events.Decision(
    "d",
    "r-1",
    3,
    "acme",
    "acme",
    "allow",
    200,
    [],
    policy_digest="",
    data_digest="",
    engine="0",
    source=events.Source("requests", 0, 1, 2, 3, 4),
    time_us=5,
)


@pytest.mark.parametrize(
    ("read", "record"),
    [
        (events.read_request, REQUEST),
        (events.read_usage, USAGE),
        (events.read_decision, DECISION),
    ],
)
def test_both_forms_are_told_by_the_first_byte(read, record):
    """Avro and JSON, blanks before it included, read to equal records."""
    json_bytes = events.to_json_bytes(record)

    assert read(events.encode(record)) == record
    assert read(json_bytes) == record
    assert read(b" \r\n\t" + json_bytes) == record
    assert events.is_json(json_bytes)
    assert not events.is_json(events.encode(record))


def test_claims_stand_among_decisions():
    """A claim on the decisions topic reads as one."""
    claim = events.Claim(1, 2, "worker-1", 3)

    assert events.read_decision(events.encode(claim)) == claim


@pytest.mark.parametrize("read", [events.read_request, events.read_usage, events.read_decision])
@pytest.mark.parametrize("value", [b"", b"\x00\x00\x00\x00\x07", b"hello", b"\xc3\x01short", b"["])
def test_neither_form_is_undecodable(read, value):
    """What is neither Avro nor JSON is a CodecError."""
    with pytest.raises(CodecError) as caught:
        read(value)
    assert caught.value.code == "undecodable"


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (events.Request("", "t", llm=events.Llm("p", "m")), "/id"),
        (events.Request("r", "", llm=events.Llm("p", "m")), "/tenant"),
        (events.Request("r", "t", llm=events.Llm("", "m")), "/llm/provider"),
        (events.Request("r", "t", llm=events.Llm("p", "")), "/llm/model"),
        (events.Request("r", "t", llm=events.Llm("p", "m", tools=["1", "{"])), "/llm/tools/1"),
        (events.Request("r", "t", llm=events.Llm("p", "m", tool_choice="")), "/llm/tool_choice"),
        (
            events.Request("r", "t", llm=events.Llm("p", "m", response_format="[" * 400)),
            "/llm/response_format",
        ),
        (
            events.Request(
                "r", "t", llm=events.Llm("p", "m", response_format="[" * 300 + "]" * 300)
            ),
            "/llm/response_format",
        ),
    ],
)
def test_avro_requests_are_held_to_the_same(request_, place):
    """Empty names and text that is no JSON are invalid in Avro as in JSON."""
    with pytest.raises(RequestError) as caught:
        events.read_request(events.encode(request_))
    assert (caught.value.code, caught.value.place) == ("invalid_request", place)


def test_avro_usage_is_held_to_the_same():
    """A usage report must name its call and its tenant."""
    for usage, place in [
        (events.Usage("", "t"), "/request_id"),
        (events.Usage("r", ""), "/tenant"),
    ]:
        with pytest.raises(RequestError) as caught:
            events.read_usage(events.encode(usage))
        assert caught.value.place == place


def test_json_text_in_avro_requests_may_be_valid():
    """Valid JSON text passes."""
    llm = events.Llm("p", "m", tools=['{"a":1}'], tool_choice='"auto"', response_format="{}")
    request = events.Request("r", "t", llm=llm)

    assert events.read_request(events.encode(request)) == request


def test_null_as_json_text_is_absent():
    """A choice that is JSON null is none, in Avro as in JSON."""
    request = events.Request("r", "t", llm=events.Llm("p", "m", tool_choice="null"))

    assert events.read_request(events.encode(request)).llm.tool_choice is None


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        (b'{"id":"a","tenant":"t","attempt":2}', ("a", "t", 2)),
        (b'{"id":"a","tenant":"t","attempt":true,"llm":1}', ("a", "t", None)),
        (b'{"request_id":"a","tenant":"t"', ("a", "t", None)),
        (b'{"id":"a","tenant":"t","llm":{"model":', ("a", "t", None)),
        (b'{"id":"a" , "tenant" : "t", NaN', ("a", "t", None)),
        (b'{"id":"a","id":"b"}', ("a", None, None)),
        (b'{"id":7,"tenant":"","attempt":1e3}', (None, None, None)),
        (b'{"user":{"id":"u"},"id":"a"}', ("a", None, None)),
        (b'{"id":"\\ud800","tenant":"t"}', (None, "t", None)),
        (b'{"id":"a","x":' + b"[" * 100_000, ("a", None, None)),
        (b"{", (None, None, None)),
        (b"{}", (None, None, None)),
        (b"{1:2}", (None, None, None)),
        (b"", (None, None, None)),
        (b"\x00", (None, None, None)),
        (b"\xc3", (None, None, None)),
        (events.encode(REQUEST), ("r-1", "acme", 3)),
        (events.encode(USAGE), ("r-1", "acme", 3)),
        (events.encode(REQUEST)[:12], (None, None, None)),
        (events.encode(REQUEST)[:14], ("r-1", None, None)),
        (events.encode(REQUEST)[:19], ("r-1", "acme", None)),
        (events.encode(REQUEST)[:20], ("r-1", "acme", 3)),
        (events.encode(DECISION), (None, None, None)),
        (events.encode(REQUEST)[:10] + b"\x01", (None, None, None)),
        (events.encode(REQUEST)[:10] + b"\x02\xff\x02t", (None, None, None)),
    ],
)
def test_identity_is_read_where_it_can_be(value, identity):
    """Of a value that is broken or wrong, what names the call is read as far as it goes."""
    assert events.peek_identity(value) == identity


@given(value=st.binary(max_size=80), start=st.sampled_from([b"", b"{", b'{"id":', b"\xc3\x01"]))
@settings(max_examples=300)
def test_peeking_never_raises(value, start):
    """Any bytes have an identity or none."""
    events.peek_identity(start + value)


@given(cut=st.integers(0, 200), flips=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 7))))
@settings(max_examples=300)
def test_reading_raises_request_errors_only(cut, flips):
    """Damaged JSON is a RequestError or a request; nothing else happens."""
    value = bytearray(orjson.dumps(events.to_json(REQUEST))[:cut])
    for place, bit in flips:
        if place < len(value):
            value[place] ^= 1 << bit
    try:
        events.read_request(bytes(value))
    except RequestError:
        events.peek_identity(bytes(value))


def test_the_end_of_a_row_is_read_alone():
    """A sweep reads the end of a call's row, or of waiting usage, without the rest; damage is a CodecError."""
    row = events.WaitingUsageRow(1_795_457_029_211_305, "acme", [b"report"])
    value = events.encode_waiting_usage_row(row)

    assert events.end_of_row(value) == row.end_us
    with pytest.raises(events.CodecError):
        events.end_of_row(value[:12])


def test_when_an_open_call_expires_is_read_alone():
    """A takeover asks for nothing else of a call's row: None unless it is open; damage is a CodecError."""
    row = events.CallRow(
        1_795_457_029_211_305, "open", bytes(32), b"told" * 99, 7, 1_795_457_000_000_000, "p", "m"
    )
    value = events.encode_call_row(row)

    assert events.expiry_of_call(value) == row.expires_us
    row.status = "settled"
    assert events.expiry_of_call(events.encode_call_row(row)) is None
    with pytest.raises(events.CodecError):
        events.expiry_of_call(value[:100])
