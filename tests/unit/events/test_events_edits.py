"""Edits on records and on plain JSON."""

import copy
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import events
from enforcer.errors import RequestError
from enforcer.events import Edit
from enforcer.events.edits import apply_edits, apply_edits_to_json

DOCUMENT = {
    "id": "r1",
    "tenant": "acme",
    "user": {"id": "u1", "roles": ["dev", "ops"], "email": "a@example.com"},
    "team": {"tier": "gold"},
    "llm": {
        "provider": "openai",
        "model": "gpt-4o",
        "max_tokens": 512,
        "temperature": 0.5,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "héllo 🙂 wörld"},
                    {"type": "image", "bytes": 9},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "name": "f", "arguments": '{"a":1}'}],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
        "response_format": {"type": "json_object"},
    },
    "attributes": {"cost.center": "x", "retries": 2, "tags": ["a", "b"]},
}


def request():
    return events.request_from_json(json.dumps(DOCUMENT).encode())


def op(name, path, value=None):
    return Edit(op=name, path=path, value=None if name == "remove" else json.dumps(value))


def splice(path, start, end, text, whole):
    digest = sha256(whole.encode()).hexdigest()
    return Edit(op="splice", path=path, start=start, end=end, text=text, sha256=digest)


def both(*edits):
    """The edited record's JSON and the edited JSON; neither input may have changed."""
    record, document = request(), copy.deepcopy(DOCUMENT)
    edited, edited_json = apply_edits(record, edits), apply_edits_to_json(document, edits)
    assert record == request()
    assert document == DOCUMENT
    # Read once more, so that defaults left out compare as defaults.
    assert events.request_from_json(json.dumps(edited_json).encode()) == edited
    return edited


def at(record, *path):
    for step in path:
        record = record[step] if isinstance(step, int) else getattr(record, step)
    return record


@pytest.mark.parametrize(
    ("edit", "where", "expected"),
    [
        (op("replace", "/llm/model", "gpt-4o-mini"), ("llm", "model"), "gpt-4o-mini"),
        (op("replace", "/llm/max_tokens", 64), ("llm", "max_tokens"), 64),
        (op("add", "/llm/max_tokens", None), ("llm", "max_tokens"), None),
        (op("remove", "/llm/temperature"), ("llm", "temperature"), None),
        (op("remove", "/llm/reasoning_effort"), ("llm", "reasoning_effort"), None),
        (op("replace", "/llm/temperature", 1), ("llm", "temperature"), 1.0),
        (op("remove", "/user/email"), ("user", "email"), None),
        (op("remove", "/user"), ("user",), events.User()),
        (op("add", "/user/roles/-", "admin"), ("user", "roles"), ["dev", "ops", "admin"]),
        (op("add", "/user/roles/0", "admin"), ("user", "roles"), ["admin", "dev", "ops"]),
        (op("replace", "/user/roles/1", "qa"), ("user", "roles"), ["dev", "qa"]),
        (op("remove", "/user/roles/0"), ("user", "roles"), ["ops"]),
        (op("add", "/project/id", "p"), ("project", "id"), "p"),
        (
            op("remove", "/attributes/retries"),
            ("attributes",),
            {"cost.center": "x", "tags": ["a", "b"]},
        ),
        (op("replace", "/llm/messages/0/content", "B"), ("llm", "messages", 0, "content"), "B"),
        (
            op("add", "/llm/messages/-", {"role": "user", "content": "Go"}),
            ("llm", "messages", 3),
            events.Message("user", content="Go"),
        ),
        (
            op("add", "/llm/messages/1/content/0", {"type": "text", "text": "T"}),
            ("llm", "messages", 1, "content", 0),
            events.Part("text", text="T"),
        ),
        (
            op("replace", "/llm/messages/2/tool_calls/0/arguments", "{}"),
            ("llm", "messages", 2, "tool_calls", 0, "arguments"),
            "{}",
        ),
        (op("remove", "/llm/tools"), ("llm", "tools"), []),
        (op("remove", "/llm/tools/0"), ("llm", "tools"), []),
    ],
)
def test_an_operation_changes_its_place(edit, where, expected):
    """Each operation does what RFC 6902 says, alike on a record and on its JSON form."""
    assert at(both(edit), *where) == expected


def test_json_inside_a_record_is_edited_as_json():
    """Tools and formats are text in a record; a path leads into them all the same."""
    edited = both(
        op("remove", "/llm/tools/0/function/strict"),
        op("replace", "/llm/response_format/type", "text"),
        op("add", "/llm/tools/-", {"type": "custom"}),
        op("replace", "/attributes/tags/1", "c"),
        op("add", "/attributes/cost~1unit~0", 1.5),
    )
    assert json.loads(edited.llm.tools[0]) == {"type": "function", "function": {"name": "f"}}
    assert json.loads(edited.llm.tools[1]) == {"type": "custom"}
    assert json.loads(edited.llm.response_format) == {"type": "text"}
    assert edited.attributes["tags"] == ["a", "c"]
    assert edited.attributes["cost/unit~"] == 1.5


def test_operations_apply_in_their_order():
    """A later operation sees what an earlier one made."""
    edited = both(
        op("remove", "/llm/messages/0"),
        op("replace", "/llm/messages/1/tool_calls/0/name", "g"),
        op("add", "/llm/messages/0", {"role": "system", "content": "S"}),
        op("replace", "/llm/messages/0/content", "S2"),
    )
    assert [message.role for message in edited.llm.messages] == ["system", "user", "assistant"]
    assert edited.llm.messages[0].content == "S2"
    assert edited.llm.messages[2].tool_calls[0].name == "g"


def test_splices_count_code_points_of_the_original():
    """Several splices of one string all count in the string as it was, whatever they insert."""
    text = "héllo 🙂 wörld"
    path = "/llm/messages/1/content/0/text"
    edited = both(
        splice(path, 0, 5, "[NAME_REDACTED]", text),
        splice(path, 6, 7, "", text),
        splice(path, 8, 13, "world", text),
    )
    assert edited.llm.messages[1].content[0].text == "[NAME_REDACTED]  world"


BAD = [
    op("replace", "llm/model", "x"),
    op("replace", "/llm/nothing", "x"),
    op("replace", "/raw", {}),
    op("replace", "/llm/model", 7),
    op("replace", "/llm/model", None),
    op("remove", "/llm/model"),
    op("remove", "/tenant"),
    op("replace", "/llm/max_tokens", "many"),
    op("replace", "/llm/messages/9/content", "x"),
    op("replace", "/llm/messages/00/content", "x"),
    op("replace", "/llm/messages/-1/content", "x"),
    op("remove", "/llm/messages/-"),
    op("add", "/llm/messages/4", {"role": "user"}),
    op("add", "/llm/messages/-", {"content": "no role"}),
    op("replace", "/llm/messages/0/content/0/text", "content is a string"),
    op("replace", "/llm/model/x", "x"),
    op("replace", "/attributes/nothing/x", 1),
    Edit(op="replace", path="/llm/model", value="no json"),
    splice("/llm/messages/0/content", 0, 1, "", "another text"),
    splice("/llm/messages/0/content", 0, 99, "", "Be brief."),
    splice("/llm/messages/0/content", 3, 2, "", "Be brief."),
    splice("/llm/max_tokens", 0, 1, "", "5"),
    splice("/llm/response_format", 0, 1, "", '{"type":"json_object"}'),
    Edit(op="splice", path="/llm/messages/0/content", sha256=sha256(b"Be brief.").hexdigest()),
]


@pytest.mark.parametrize("edit", BAD)
def test_an_edit_that_does_not_fit_fails_closed(edit):
    """A wrong path, type, index, text or digest is ``edit_failed`` with the path as place."""
    with pytest.raises(RequestError) as caught:
        apply_edits(request(), [edit])
    assert (caught.value.code, caught.value.place) == ("edit_failed", edit.path)
    assert "brief" not in str(caught.value)


def test_overlapping_or_scattered_splices_fail():
    """Splices of one string are disjoint, sorted and stand together."""
    text, path = "Be brief.", "/llm/messages/0/content"
    one, two = splice(path, 0, 4, "x", text), splice(path, 3, 5, "y", text)
    later = splice(path, 5, 6, "z", text)
    between = op("replace", "/llm/model", "m")
    for edits in ([one, two], [later, one], [one, between, later]):
        with pytest.raises(RequestError):
            apply_edits(request(), edits)


@given(
    text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    insert=st.text(max_size=3),
)
def test_splices_equal_replacing_from_the_end(text, cuts, insert):
    """Any disjoint splices give what slicing from the end gives."""
    places = sorted({min(cut, len(text)) for cut in cuts})
    ranges = list(zip(places[::2], places[1::2], strict=False))
    record = events.Request("r", "t", llm=events.Llm("p", "m", prompt=text))
    expected = text
    for start, end in reversed(ranges):
        expected = expected[:start] + insert + expected[end:]
    edits = [splice("/llm/prompt", start, end, insert, text) for start, end in ranges]
    assert apply_edits(record, edits).llm.prompt == expected
    assert record.llm.prompt == text


def test_nothing_but_the_way_to_an_edit_is_copied():
    """What no edit touches is shared with the request as it came, and no edits change nothing."""
    record = request()
    edited = apply_edits(record, [op("replace", "/llm/messages/0/content", "x")])
    assert edited.llm.messages[1] is record.llm.messages[1]
    assert edited.user is record.user
    assert apply_edits(record, []) is record
