"""The JSON forms: strictness, places of errors, amounts, and back again."""

import json
from decimal import Decimal

import orjson
import pytest
from events_strategies import RECORDS, instances
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer import events
from enforcer.errors import RequestError
from enforcer.events.generation.json_text import json_name
from enforcer.events.json_values import dump, parse, read_usd, write_usd

ANY = st.one_of(*map(instances, RECORDS))
LEAST = {"id": "r", "tenant": "t", "llm": {"provider": "p", "model": "m"}}


def changed(place, value):
    """The least request as bytes, with one value put in at a place."""
    document = json.loads(json.dumps(LEAST))
    *way, last = place.split("/")[1:]
    inner = document
    for name in way:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return orjson.dumps(document)


@given(record=ANY)
@settings(max_examples=150, deadline=None)
def test_json_and_back_is_the_same_record(record):
    """Every record is what its JSON says, from bytes and from the parsed form."""
    assert events.from_json(type(record), events.to_json_bytes(record)) == record
    assert events.from_json(type(record), events.to_json(record)) == record


@given(record=ANY)
@settings(max_examples=50, deadline=None)
def test_json_can_be_read_by_anybody(record):
    """The bytes are JSON to the standard library too, with the same names."""
    document = json.loads(events.to_json_bytes(record))

    assert document.keys() == events.to_json(record).keys()


@given(nano=st.integers(-(1 << 63), (1 << 63) - 1))
@example(nano=(1 << 53) - 1)
@example(nano=(1 << 52) - 1)
@example(nano=8_388_608_000_000_001)
@example(nano=10**18 + 1)
def test_amounts_are_exact_to_the_nano(nano):
    """Any int64 of nano-USD is decimal USD in JSON and comes back as it was."""
    row = events.BudgetRow(nano, 0, 0)

    assert read_usd(write_usd(nano)) == nano
    assert events.from_json(events.BudgetRow, events.to_json_bytes(row)) == row
    written = json.loads(events.to_json_bytes(row), parse_float=Decimal)["spent_usd"]
    assert abs(Decimal(written) - Decimal(nano).scaleb(-9)) < Decimal("5e-10")


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0.1", 100_000_000),
        ("1e-9", 1),
        ("1E3", 1_000_000_000_000),
        ("-0.000000001", -1),
        ("0.0000000004", 0),
        ("4194304.000000001", 4_194_304_000_000_001),
        ("9223372036.854775807", (1 << 63) - 1),
        ("7", 7_000_000_000),
        ("1e-999999", 0),
    ],
)
def test_amounts_as_people_write_them(text, nano):
    """Decimals, integers and exponents are amounts; below a nano they are rounded."""
    value = b'{"request_id":"r","tenant":"t","cost_usd":' + text.encode() + b"}"

    assert events.usage_from_json(value).cost_usd_nano == nano


@pytest.mark.parametrize("text", ["1e999", "9223372036.854775808", "-1e11", "1e30", '"1"', "true"])
def test_amounts_that_are_none(text):
    """Amounts beyond 64 bits of nano-USD and values that are no numbers are invalid."""
    value = b'{"request_id":"r","tenant":"t","cost_usd":' + text.encode() + b"}"
    with pytest.raises(RequestError) as caught:
        events.usage_from_json(value)
    assert caught.value.code == "invalid_request"


def test_the_request_of_the_paper_reads():
    """The example of the wire's description reads, with its defaults, and keeps the whole."""
    value = b"""{"id":"r1","tenant":"acme","attempt":1,"phase":"request","deadline_ms":2000,
     "user":{"id":"u1","roles":["dev"],"permissions":[],"email":null,"region":"eu"},
     "team":{"id":"t1","name":null,"tier":"gold"},
     "project":{"id":"p1","name":null,"environment":"production"},"conversation_id":"c1",
     "caller":{"kind":"service","ip":null},
     "llm":{"provider":"openai","model":"gpt-4o","operation":"chat","max_tokens":512,
      "temperature":0.7,"n":1,"stream":false,"messages":[{"role":"user","content":"Hello"}],
      "tools":[],"tool_choice":null,"response_format":null,"reasoning_effort":null,
      "service_tier":null},
     "attributes":{"cost_center":"x","retries":2}, "costCenter": "y"}"""
    request = events.request_from_json(value)

    assert request == events.Request(
        "r1",
        "acme",
        deadline_ms=2000,
        user=events.User("u1", ["dev"], [], None, "eu"),
        team=events.Team("t1", None, "gold"),
        project=events.Project("p1", None, "production"),
        conversation_id="c1",
        caller=events.Caller("service"),
        llm=events.Llm(
            "openai",
            "gpt-4o",
            max_tokens=512,
            temperature=0.7,
            messages=[events.Message("user", "Hello")],
        ),
        attributes={"cost_center": "x", "retries": 2},
    )
    assert request.raw == json.loads(value)


def test_least_request_has_the_defaults():
    """Only id, tenant, provider and model are required; null is absent, or the default."""
    least = events.request_from_json(orjson.dumps(LEAST))
    nulls = dict.fromkeys(
        ["attempt", "phase", "deadline_ms", "user", "team", "caller", "attributes"]
    )
    llm = dict.fromkeys(["operation", "n", "stream", "messages", "tools", "tool_choice"])
    with_nulls = {**LEAST, **nulls, "llm": {**LEAST["llm"], **llm}}

    assert least == events.Request("r", "t", llm=events.Llm("p", "m"))
    assert events.request_from_json(orjson.dumps(with_nulls)) == least


def test_contents_and_tools_in_all_their_forms():
    """Content is a string or parts, null is empty; tools are any JSON, kept as text."""
    messages = [
        {"role": "system"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "bytes": 9}]},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"é": [1, None]}}}]
    llm = {**LEAST["llm"], "messages": messages, "tools": tools, "tool_choice": "auto"}
    request = events.request_from_json(orjson.dumps({**LEAST, "llm": llm}))

    assert request.llm.messages == [
        events.Message("system"),
        events.Message("assistant", tool_calls=[events.ToolCall(name="f")]),
        events.Message("user", [events.Part("text", "a"), events.Part("image", bytes=9)]),
    ]
    assert [json.loads(tool) for tool in request.llm.tools] == tools
    assert request.llm.tool_choice == '"auto"'
    assert request.llm.response_format is None
    back = events.to_json(request)["llm"]
    assert back["tools"] == tools
    assert back["messages"][2] == messages[2]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("/id", None, "expected a string, found nothing"),
        ("/id", "", "expected a string that is not empty, found an empty one"),
        ("/id", 7, "expected a string, found an integer"),
        ("/tenant", ["t"], "expected a string, found a list"),
        ("/llm", None, "expected an object, found nothing"),
        ("/llm", "gpt", "expected an object, found a string"),
        ("/llm/model", None, "expected a string, found nothing"),
        ("/llm/provider", "", "expected a string that is not empty, found an empty one"),
        ("/llm/n", True, "expected an integer, found a boolean"),
        ("/llm/n", 1.0, "expected an integer, found a number"),
        ("/llm/max_tokens", 1 << 63, "expected an integer of 64 bits, found a larger one"),
        ("/llm/max_tokens", "1", "expected an integer, found a string"),
        ("/llm/temperature", True, "expected a number, found a boolean"),
        ("/llm/stream", 1, "expected a boolean, found an integer"),
        ("/llm/messages", {}, "expected a list, found an object"),
        ("/llm/tools", "t", "expected a list, found a string"),
        ("/user", [], "expected an object, found a list"),
        ("/user/roles", "dev", "expected a list, found a string"),
        ("/attempt", 1.5, "expected an integer, found a number"),
        ("/final", "no", "expected a boolean, found a string"),
        ("/attributes", [], "expected an object, found a list"),
        ("/attributes/x", 1 << 63, "expected an integer of 64 bits, found a larger one"),
    ],
)
def test_wrong_values_name_place_and_types(place, value, message):
    """A wrong value is refused with its place, the type it should have and the one it has."""
    with pytest.raises(RequestError) as caught:
        events.request_from_json(changed(place, value))
    assert (caught.value.code, caught.value.place) == ("invalid_request", place)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (changed("/user/roles", ["a", 1]), "/user/roles/1"),
        (changed("/llm/messages", [{"role": "user"}, 3]), "/llm/messages/1"),
        (changed("/llm/messages", [{"content": "x"}]), "/llm/messages/0/role"),
        (changed("/llm/messages", [{"role": "u", "content": 4}]), "/llm/messages/0/content"),
        (
            changed("/llm/messages", [{"role": "u", "content": [{"type": "t"}, {"text": "x"}]}]),
            "/llm/messages/0/content/1/type",
        ),
        (
            changed("/llm/messages", [{"role": "u", "tool_calls": [{"name": "f", "id": 1}]}]),
            "/llm/messages/0/tool_calls/0/id",
        ),
        (changed("/attributes/a", {"b": 1}), "/attributes/a"),
        (changed("/attributes/a", ["x", None]), "/attributes/a/1"),
        (orjson.dumps({**LEAST, "attributes": {"a/b~": {}}}), "/attributes/a~1b~0"),
        (changed("/phase", "later"), "/phase"),
    ],
)
def test_places_inside_lists_and_maps(value, place):
    """The place of an error inside lists and maps is an RFC 6901 pointer."""
    with pytest.raises(RequestError) as caught:
        events.request_from_json(value)
    assert caught.value.place == place


def test_symbols_are_checked():
    """Phase, outcome and acted are one of their words; the error lists them."""
    usage = {"request_id": "r", "tenant": "t"}
    for name, word in [("outcome", "fine"), ("acted", "ignored"), ("acted", ["allow"])]:
        with pytest.raises(RequestError, match="expected one of") as caught:
            events.usage_from_json(orjson.dumps({**usage, name: word}))
        assert caught.value.place == f"/{name}"
    assert events.usage_from_json(orjson.dumps(usage)).outcome == "completed"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half"),
        pytest.param(b'{"id":NaN}', id="NaN"),
        pytest.param(b'{"id":-Infinity}', id="infinity"),
        pytest.param(b'{"x":1e999}', id="infinite number"),
        pytest.param(b'{"id":"\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"id":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"x":' * 300 + b"1" + b"}" * 300, id="300 levels"),
        pytest.param(b'{"x":' * 5000 + b"1" + b"}" * 5000, id="5000 levels"),
        pytest.param(b"[" * 100_000, id="100,000 lists"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"id"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"id":"r"} {}', id="two values"),
    ],
)
def test_what_is_no_request_is_invalid(value):
    """What is no JSON object, or nested too deep, is invalid, whatever else it is."""
    with pytest.raises(RequestError) as caught:
        events.request_from_json(value)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (b'{"id":"a","id":"b"}', "/id"),
        (b'{"id":"a:b","x":{"t":1,"t" : 1}}', "/t"),
        (b'{"id":"a","i\\u0064":"b"}', "/id"),
        (b'{"x":"\\u003a","id":"a","id":"b"}', "/id"),
        (b'{"x":"\\u003A","y":"::","id":"a","id":"b"}', "/id"),
    ],
)
def test_duplicate_names_are_refused(value, place):
    """A name that stands twice in one object is invalid: two readers could see two requests."""
    with pytest.raises(RequestError, match="twice") as caught:
        events.request_from_json(value)
    assert caught.value.place == place


@given(
    document=st.recursive(
        st.one_of(st.none(), st.integers(-9, 9), st.floats(-9, 9), st.text(alphabet='a:"\\{é')),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.text(alphabet='a:"\\', max_size=3), inner, max_size=3),
        ),
    ),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
@settings(max_examples=150, deadline=None)
def test_documents_without_duplicates_parse(document, ascii_only, indent):
    """Colons in names and strings, however written, are not taken for duplicates."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)

    assert parse(text.encode()) == document


@given(extra=st.dictionaries(st.text(alphabet="ab:\\", min_size=1, max_size=3), st.integers()))
@settings(max_examples=50, deadline=None)
def test_any_duplicate_is_found(extra):
    """Whatever else a document holds, a name written twice is found."""
    members = [f"{json.dumps(name)}:{value}" for name, value in extra.items()]
    text = "{" + ",".join([*members, '"twice":1', '"twice":2']) + "}"
    with pytest.raises(RequestError, match="twice"):
        parse(text.encode())


def test_decisions_have_the_names_of_the_wire():
    """A decision's JSON has exactly the names that others build on."""
    decision = events.Decision(
        "d" * 32,
        "r",
        1,
        "t",
        "t",
        "deny",
        403,
        [events.Reason("p", "r", "deny", "pii", "m")],
        edits=[
            events.Edit("replace", "/llm/n", "null"),
            events.Edit("remove", "/llm/tools"),
            events.Edit("splice", "/llm/prompt", start=0, end=2, text="x", sha256="00"),
        ],
        budgets=[events.BudgetView("p", "b", "k", 10**11, 1, 0)],
        reservation=events.Reservation(1_500_000_000, 7),
        policy_digest="",
        data_digest="",
        engine="0",
        source=events.Source("requests", 0, 1, 2, 3, 4),
        time_us=5,
    )
    document = events.to_json(decision)
    names = (
        "id request_id attempt tenant account verdict http_status reasons reasons_count edits "
        "warnings retry_after_ms facts budgets reservation errors shadow policy_digest policy_sets "
        "data_digest engine source time_us subject effects"
    )

    assert list(document) == names.split()
    assert document["edits"] == [
        {"op": "replace", "path": "/llm/n", "value": None},
        {"op": "remove", "path": "/llm/tools"},
        {"op": "splice", "path": "/llm/prompt", "start": 0, "end": 2, "text": "x", "sha256": "00"},
    ]
    assert list(document["facts"]) == [
        "input_tokens",
        "estimated_cost_usd",
        "pii",
        "secrets",
        "injection",
    ]
    assert document["budgets"][0]["limit_usd"] == 100
    assert document["budgets"][0]["spent_usd"] == 1e-9
    assert document["reservation"] == {"usd": 1.5, "expires_us": 7}
    assert events.from_json(events.Decision, events.to_json_bytes(decision)) == decision


@pytest.mark.parametrize(
    ("cls", "document", "place"),
    [
        (events.Subject, {"key_id": "k", "data": "?"}, "/data"),
        (events.Subject, {"key_id": "k", "data": 1}, "/data"),
        (events.PositionRow, {"request_offset": 0, "usage_offset": 0, "chain_head": "00"}, None),
        (events.BudgetRow, {"spent_usd": float("nan")}, "/spent_usd"),
        (events.BudgetRow, {"spent_usd": Decimal("Infinity")}, "/spent_usd"),
        (events.Llm, {"provider": "p", "model": "m", "temperature": float("inf")}, "/temperature"),
        (events.Llm, {"provider": "p", "model": "m", "temperature": 10**400}, "/temperature"),
        (events.Llm, {"provider": "p", "model": "m", "tools": [{1, 2}]}, "/tools/0"),
        (events.Edit, {"op": "replace", "path": 3}, "/path"),
    ],
)
def test_parsed_documents_are_checked_too(cls, document, place):
    """What only a parsed document can hold, and bytes that are no base64 or hex, are invalid."""
    with pytest.raises(RequestError) as caught:
        events.from_json(cls, document)
    assert place is None or caught.value.place == place
    assert caught.value.code == "invalid_request"


def test_messages_never_hold_the_value():
    """No error repeats what stands in the request."""
    for place in ("/llm/n", "/phase", "/user/roles", "/llm/messages", "/attributes", "/attempt"):
        with pytest.raises(RequestError) as caught:
            events.request_from_json(changed(place, "my own words"))
        assert "my own" not in str(caught.value)
        assert "my own" not in caught.value.place


def test_raw_is_no_part_of_equality_or_bytes():
    """What a JSON request says beyond the schema is kept beside it and leaves no trace in Avro."""
    request = events.request_from_json(orjson.dumps({**LEAST, "extra": [1]}))
    plain = events.Request("r", "t", llm=events.Llm("p", "m"))

    assert request == plain
    assert request.raw is not None
    assert request.raw["extra"] == [1]
    assert events.encode(request) == events.encode(plain)
    assert events.decode(events.encode(request)).raw is None
    assert "extra" not in repr(request)


FIELDS = [(record, field) for record in RECORDS for field in record.fields]


@pytest.mark.parametrize(
    ("record", "field"), FIELDS, ids=lambda value: getattr(value, "name", None)
)
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_each_field_is_checked(record, field, data):
    """Whatever the field, a value of no JSON type is refused at its place; null as the schema says."""
    document = events.to_json(data.draw(instances(record)))
    cls = getattr(events, record.name)
    name = json_name(field)
    with pytest.raises(RequestError) as caught:
        events.from_json(cls, {**document, name: {1, 2}})
    assert caught.value.place == f"/{name}"
    null = {**document, name: None}
    nullable = field.default is not None
    if nullable:
        expected = "null" if (record.name, field.name) == ("Edit", "value") else None
        found = getattr(events.from_json(cls, null), field.name)
        assert found == expected or field.default not in ("null", None)
    else:
        with pytest.raises(RequestError):
            events.from_json(cls, null)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_each_record_is_an_object(record):
    """A record's JSON is an object and nothing else."""
    with pytest.raises(RequestError, match="expected an object, found a list"):
        events.from_json(getattr(events, record.name), b"[]")


def test_only_decimals_are_dumped_beyond_json():
    """A value that JSON has no form for cannot be written by mistake."""
    with pytest.raises(TypeError):
        dump({"a": object()})
