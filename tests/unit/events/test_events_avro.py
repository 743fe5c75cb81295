"""The generated Avro codecs against fastavro, which shares no code with them."""

import contextlib
import io
import json
import struct

import fastavro
import pytest
from events_strategies import ALL, instances, plain
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events
from enforcer.events import CodecError, generated
from enforcer.events.binary import decode_count, decode_long, encode_long
from enforcer.events.generate import SCHEMAS
from enforcer.events.generation.schemas import canonical_form, fingerprint

RECORDS = st.one_of(*(instances(schema.record) for schema in ALL))
FILES = {schema.record.name: schema.file for schema in ALL}
PARSED = {
    schema.record.name: fastavro.parse_schema(
        json.loads((SCHEMAS / f"{schema.file}.avsc").read_text())
    )
    for schema in ALL
}
MINIMAL = events.Request("r", "t", llm=events.Llm("p", "m"))


def oracle_bytes(record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED[type(record).__name__], plain(record))
    return out.getvalue()


@given(record=RECORDS)
@settings(max_examples=100, deadline=None)
def test_bytes_are_those_of_fastavro(record):
    """Any record's body is what fastavro writes, and both read it back to equal values."""
    value = events.encode(record)

    assert value[10:] == oracle_bytes(record)
    assert events.decode(value) == record
    schema = PARSED[type(record).__name__]
    assert fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None) == plain(record)


@given(record=RECORDS, junk=st.binary(min_size=1, max_size=4))
@settings(max_examples=12, deadline=None)
def test_every_truncation_and_every_tail_is_an_error(record, junk):
    """No prefix of a record's bytes is a record, nor are the bytes with anything behind them."""
    value = events.encode(record)

    for end in range(len(value)):
        with pytest.raises(CodecError):
            events.decode(value[:end])
    with pytest.raises(CodecError):
        events.decode(value + junk)


@given(record=RECORDS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_decode_or_are_a_codec_error(record, data):
    """Bytes with flipped bits decode to something or raise CodecError; nothing else happens."""
    value = bytearray(events.encode(record))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(10, len(value) - 1))
        value[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = events.decode(bytes(value))
    except CodecError:
        return
    assert type(found) is type(record)


@given(body=st.binary(max_size=60), head=st.sampled_from(sorted(events.FINGERPRINTS)))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bodies_decode_or_are_a_codec_error(body, head):
    """Any bytes behind a known fingerprint decode or raise CodecError."""
    with contextlib.suppress(CodecError):
        assert type(events.decode(b"\xc3\x01" + head + body)) is events.FINGERPRINTS[head]


@given(record=RECORDS)
@settings(max_examples=40, deadline=None)
def test_typed_and_generic_codecs_agree(record):
    """`encode_<name>` and `decode_<name>` do what `encode` and `decode` do."""
    name = FILES[type(record).__name__]
    value = getattr(generated, f"encode_{name}")(record)

    assert value == events.encode(record)
    assert getattr(generated, f"decode_{name}")(value) == record


def test_equal_records_have_equal_bytes():
    """Maps are written sorted, so the order in which they were filled leaves no trace."""
    one = events.Request("r", "t", llm=events.Llm("p", "m"), attributes={"a": 1, "b": None})
    two = events.Request("r", "t", llm=events.Llm("p", "m"), attributes={"b": None, "a": 1})

    assert events.encode(one) == events.encode(two)


@pytest.mark.parametrize("schema", ALL, ids=lambda schema: schema.file)
def test_fingerprints_are_those_of_fastavro(schema):
    """Canonical form and CRC-64-AVRO agree with fastavro for every schema."""
    source = json.loads((SCHEMAS / f"{schema.file}.avsc").read_text())
    theirs = fastavro.schema.to_parsing_canonical_form(source)

    assert canonical_form(source) == theirs
    expected = fastavro.schema.fingerprint(theirs, "CRC-64-AVRO")
    assert fingerprint(theirs).hex() == expected
    assert events.FINGERPRINTS[bytes.fromhex(expected)].__name__ == schema.record.name


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "no known schema"),
        (b"\xc3\x01", "no known schema"),
        (b"\xc3\x01" + bytes(8), "no known schema"),
        (b"\x00\x00\x00\x00\x01", "no known schema"),
    ],
)
def test_unknown_schema_is_an_error(value, reason):
    """A value that carries no fingerprint ever released is a CodecError that says so."""
    with pytest.raises(CodecError, match=reason) as caught:
        events.decode(value)
    assert caught.value.code == "undecodable"


def test_typed_decoder_refuses_another_record():
    """`decode_usage` of a request's bytes is an error, as is anything that is not Avro."""
    with pytest.raises(CodecError, match="another schema"):
        events.decode_usage(events.encode(MINIMAL))
    with pytest.raises(CodecError, match="no Avro single object"):
        events.decode_usage(b"{}")


HEAD = events.encode(MINIMAL)[:10]
# id r, tenant t, attempt 1, phase request, five absent up to final; then the user.
START = HEAD + b"\x02r\x02t\x02\x00\x00\x00\x00\x00"
ENDLESS = b"\xff" * 8 + b"\x7f"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(HEAD + b"\x01r", id="negative length"),
        pytest.param(HEAD + b"\x80", id="half a varint"),
        pytest.param(HEAD + b"\xff" * 10 + b"\x01", id="varint of eleven bytes"),
        pytest.param(HEAD + b"\xff" * 9 + b"\x7f", id="varint of seventy bits"),
        pytest.param(HEAD + b"\xfe" + b"\xff" * 8 + b"\x01r", id="length of 2^63"),
        pytest.param(HEAD + b"\x02\xff", id="no UTF-8"),
        pytest.param(HEAD + b"\x06\xed\xa0\x80", id="a surrogate"),
        pytest.param(HEAD + b"\x02r\x02t\x02\x08", id="unknown symbol"),
        pytest.param(HEAD + b"\x02r\x02t\x02\x00\x04", id="unknown tag"),
        pytest.param(HEAD + b"\x02r\x02t\x02\x00\x01", id="negative tag"),
        pytest.param(HEAD + b"\x02r\x02t\x02\x00\x00\x00\x00\x02\x02", id="neither true nor false"),
        pytest.param(START + b"\x00" + ENDLESS, id="endless list"),
        pytest.param(START + b"\x00\x03\x05\x02a\x02b\x00", id="negative size of a block"),
        pytest.param(START + b"\x00\x80\x00", id="long end of a list"),
    ],
)
def test_malformed_bytes_are_codec_errors(value):
    """Each kind of damage is a CodecError, at once and without a large allocation."""
    with pytest.raises(CodecError) as caught:
        events.decode_request(value)
    assert caught.value.code == "undecodable"


def test_blocks_with_sizes_are_read():
    """A list in several blocks, with a negative count and a size, reads as one list."""
    value = events.encode(
        events.Request("r", "t", user=events.User(roles=["a", "b", "c"]), llm=events.Llm("p", "m"))
    )
    whole = b"\x06\x02a\x02b\x02c\x00"
    assert value.count(whole) == 1

    split = value.replace(whole, b"\x03\x08\x02a\x02b\x02\x02c\x00")

    assert events.decode(split) == events.decode(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(number):
    """NaN and infinities are invalid in a request, whether written or read."""
    with pytest.raises(CodecError) as caught:
        events.encode(events.Request("r", "t", llm=events.Llm("p", "m", temperature=number)))
    assert caught.value.code == "invalid_request"
    good = events.encode(events.Request("r", "t", llm=events.Llm("p", "m", temperature=0.5)))
    bad = good.replace(struct.pack("<d", 0.5), struct.pack("<d", number))
    with pytest.raises(CodecError) as caught:
        events.decode(bad)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    "record",
    [
        events.Request("r", "t", attempt=1 << 63, llm=events.Llm("p", "m")),
        events.Request("r", "t", attempt=-(1 << 63) - 1, llm=events.Llm("p", "m")),
        events.Request("\ud800", "t", llm=events.Llm("p", "m")),
        events.Request("r", "t", phase="later", llm=events.Llm("p", "m")),
        events.PositionRow(1, 2, b"short", 3, 4, 5, 6, 7, 8),
    ],
    ids=["too large", "too small", "surrogate", "symbol", "digest of five bytes"],
)
def test_what_has_no_bytes_is_a_codec_error(record):
    """Numbers beyond 64 bits, lone surrogates, unknown symbols and short digests do not encode."""
    with pytest.raises(CodecError):
        events.encode(record)


@given(number=st.integers(-(1 << 63), (1 << 63) - 1), offset=st.integers(0, 3))
def test_varints_round_trip(number, offset):
    """Any int64 is read back from where it was written, remembered or not."""
    data = encode_long(number)
    for _ in range(2):
        assert decode_long(b"x" * offset + data, offset) == (number, offset + len(data))
    assert encode_long(number) == data


def test_remembered_numbers_are_bounded():
    """More times than are remembered still encode and decode right."""
    for number in range(1_700_000_000_000_000, 1_700_000_000_010_000):
        assert decode_long(encode_long(number), 0)[0] == number


def test_counts_of_blocks():
    """A positive count stands alone, a negative one is followed by the size of its block."""
    assert decode_count(b"\x80\x02", 0) == (128, 2)
    assert decode_count(b"\x03\x10", 0) == (2, 2)


def test_a_claim_on_memory_is_not_believed():
    """A length of petabytes in a short value fails at once."""
    value = HEAD + encode_long(1 << 50) + b"r"
    with pytest.raises(CodecError, match="ends too early"):
        events.decode(value)


def test_errors_hold_no_text():
    """No message of a CodecError repeats what the value says."""
    value = events.encode(events.Request("my-own-id", "my-tenant", llm=events.Llm("p", "m")))
    for end in range(len(value)):
        with pytest.raises(CodecError) as caught:
            events.decode(value[:end])
        assert "my-" not in str(caught.value)
