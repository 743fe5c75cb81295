"""The merge of edits: one law for all orders."""

import json
from copy import deepcopy
from itertools import pairwise, permutations

import pytest
from engine_desk import CARD, MAIL, Desk, asked, codes, decide, edits, rule, rules, spec, tenant
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import detect, events
from enforcer.engine import Engine, EngineConfig
from enforcer.engine.edits import ABSENT, EditFailedError, merge, segments, value_at
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits, apply_edits_to_json
from enforcer.policy.model import EditSpec, Match

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": f"Write to {MAIL}"},
    {"role": "assistant", "content": "I did."},
]


def modify(*written):
    return "{verdict: modify, edits: [" + ", ".join(written) + "]}"


def made(request, *texts):
    decision = decide(request, *texts)
    return decision, apply_edits_to_json(request, decision.edits)["llm"]


def one_rule_each(*written, priorities=()):
    """A policy for each edit, p0, p1 and so on."""
    given = priorities or [0] * len(written)
    return [
        spec(rules(rule("r", modify(edit)), priority=priority), name=f"p{at}")
        for at, (edit, priority) in enumerate(zip(written, given, strict=True))
    ]


MERGES = [
    pytest.param(["{cap: llm.max_tokens, value: 8}", "{cap: llm.max_tokens, value: 5}"], (),
                 [("replace", "/llm/max_tokens", 5)], ["p1"], id="the smallest cap"),
    pytest.param(["{cap: llm.max_tokens, value: 10}"], (), [], [], id="a cap at the value"),
    pytest.param(["{set: llm.max_tokens, value: 10}"], (), [], [], id="a set to the value"),
    pytest.param(["{set: llm.temperature, value: 1}"], (), [], [], id="a set of an equal number"),
    pytest.param(["{remove: llm.tools}"], (), [], [], id="a remove of nothing"),
    pytest.param(["{remove: llm.service_tier}"], (), [], [], id="a remove of what is absent"),
    pytest.param(["{set: llm.model, value: a}", "{set: llm.model, value: b}"], (0, 1),
                 [("replace", "/llm/model", "b")], ["p1"], id="the set of higher priority"),
    pytest.param(["{set: llm.model, value: b}", "{set: llm.model, value: a}"], (),
                 [("replace", "/llm/model", "b")], ["p0"], id="then by policy id"),
    pytest.param(["{set: llm.max_tokens, value: 99}", "{cap: llm.max_tokens, value: 20}"], (),
                 [("replace", "/llm/max_tokens", 20)], ["p0", "p1"], id="a cap of what is set"),
    pytest.param(["{set: llm.max_tokens, value: 99}", "{cap: llm.max_tokens, value: 10}"], (),
                 [], [], id="a cap that undoes a set"),
    pytest.param(["{remove: llm.max_tokens}", "{cap: llm.max_tokens, value: 20}"], (),
                 [("replace", "/llm/max_tokens", 20)], ["p0", "p1"], id="a cap of what is removed"),
    pytest.param(["{remove: llm.max_tokens}", "{set: llm.max_tokens, value: 7}"], (),
                 [("replace", "/llm/max_tokens", 7)], ["p1"], id="a set of what is removed"),
    pytest.param(["{remove: llm.max_tokens}", "{remove: llm.max_tokens}"], (),
                 [("remove", "/llm/max_tokens", None)], ["p0", "p1"], id="one remove for all"),
    pytest.param(["{append: llm.tools, value: {a: 1}}", "{append: llm.tools, value: {b: 1}}"], (0, 1),
                 [("add", "/llm/tools", [{"b": 1}]), ("add", "/llm/tools/-", {"a": 1})], ["p0", "p1"],
                 id="appends by priority, the first into an absent list"),
    pytest.param(["{set: llm.response_format, value: {type: json}}", "{set: llm.response_format.type, value: x}"],
                 (0, 9), [("add", "/llm/response_format", {"type": "json"})], ["p0"],
                 id="a parent beats its children"),
    pytest.param(["{remove: llm.max_tokens}", "{set: llm.temperature, value: 0.5}"], (),
                 [("remove", "/llm/max_tokens", None), ("replace", "/llm/temperature", 0.5)], ["p0", "p1"],
                 id="removes before sets"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "priorities", "expected", "kept"), MERGES)
def test_edits_merge_by_kind_and_precedence(written, priorities, expected, kept):
    """Each row: the operations told, and which rules count as matched; no edit left is no match."""
    request = asked(llm={"temperature": 1.0})
    decision = decide(request, *one_rule_each(*written, priorities=priorities))
    assert edits(decision) == expected
    assert sorted(reason.policy for reason in decision.reasons) == kept
    assert decision.verdict == ("modify" if kept else "allow")


def test_removes_name_places_of_the_request_as_it_came():
    """Two removes of list elements take out the two that were named, whichever comes first."""
    for first, second in permutations(
        ("{remove: 'llm.messages[0]'}", "{remove: 'llm.messages[1]'}")
    ):
        _, llm = made(asked(llm={"messages": TALK}), *one_rule_each(first, second))
        assert [message["content"] for message in llm["messages"]] == ["I did."]


def test_a_remove_within_what_is_removed_is_no_second_remove():
    """The name of a message that goes is not taken from the message that moves into its place."""
    talk = [{**message, "name": f"n{at}"} for at, message in enumerate(TALK)]
    decision, llm = made(
        asked(llm={"messages": talk}),
        *one_rule_each("{remove: 'llm.messages[0]'}", "{remove: 'llm.messages[0].name'}"),
    )
    assert [e.path for e in decision.edits] == ["/llm/messages/0"]
    assert [message.get("name") for message in llm["messages"]] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("written", "verdict"),
    [
        ("{set: 'llm.messages[7].content', value: x}", "deny"),
        ("{set: llm.response_format.type, value: x}", "deny"),
        ("{cap: attributes.level, value: 3}", "deny"),
        ("{remove: 'llm.messages[7]'}", "allow"),
    ],
)
def test_an_edit_that_cannot_be_applied_denies(written, verdict):
    """`edit_failed`, with the failing rule as reason and no edits; removing what is not there is none."""
    other = spec(
        rules(rule("fine", modify("{set: llm.model, value: gpt-4o-mini}"))), name="a-first"
    )
    request = asked(llm={"messages": TALK}, attributes={"level": "high"})
    failing = spec(rules(rule("bad", modify(written))), name="z-last")
    decision = decide(request, failing)
    assert decision.verdict == verdict
    if verdict == "deny":
        both = decide(request, failing, other)
        assert [(r.policy, r.rule, r.code) for r in both.reasons] == [
            ("z-last", "bad", "edit_failed")
        ]
        assert both.edits == []
        assert "high" not in both.reasons[0].message


def test_redaction_unites_kinds_and_takes_the_strictest_style():
    """Per text all kinds that any rule asks for; per kind remove before label; over the result of other edits."""
    request = asked(llm={"messages": [{"role": "user", "content": f"{MAIL} and {CARD}"}]})
    decision, llm = made(
        request,
        *one_rule_each(
            "{redact: llm.messages, types: [email], style: label}",
            "{redact: llm.messages, types: [email], style: remove}",
            "{redact: llm.prompt, types: [credit_card]}",
            "{redact: llm.messages, types: [phone]}",
        ),
    )
    assert llm["messages"][0]["content"] == " and [CREDIT_CARD_REDACTED]"
    # Who asked for phones alone found none: no match.
    assert [reason.policy for reason in decision.reasons] == ["p0", "p1", "p2"]


KEY = b"a redaction key of many bytes"
ORDER = ["remove", "label", "hash", "pseudonym", "mask"]


@pytest.mark.parametrize(("stricter", "other"), list(pairwise(ORDER)))
def test_the_stricter_style_stands(stricter, other):
    """remove > label > hash > pseudonym > mask, whichever rule comes first."""
    one = f"{{redact: llm.prompt, types: [email], style: {stricter}}}"
    two = f"{{redact: llm.prompt, types: [email], style: {other}}}"
    found = {
        made_with_key(asked(MAIL), *one_rule_each(first, second))
        for first, second in permutations((one, two))
    }
    assert found == {made_with_key(asked(MAIL), *one_rule_each(one))}
    assert found != {made_with_key(asked(MAIL), *one_rule_each(two))}


def made_with_key(request, *texts, key=KEY):
    desk = Desk.of(*texts, tenant())
    desk.engine = Engine(EngineConfig(redaction_key=key))
    decision = desk.decide(request)
    if decision.verdict == "deny":
        return codes(decision)[0]
    return apply_edits_to_json(request, decision.edits)["llm"]["prompt"]


@pytest.mark.parametrize("style", ["hash", "pseudonym"])
def test_a_style_without_its_key_denies(style):
    """A worker that was given no key sends nothing that it should have replaced."""
    texts = one_rule_each(f"{{redact: llm.prompt, style: {style}}}")
    assert made_with_key(asked(MAIL), *texts, key=None) == "evaluation_error"
    assert made_with_key(asked("nothing here"), *texts, key=None) == "nothing here"


def test_a_pseudonym_is_the_same_within_its_conversation():
    """Same value and conversation, same pseudonym, whatever the request; another one elsewhere; the key undoes it."""
    texts = one_rule_each("{redact: llm.prompt, types: [email, github_token], style: pseudonym}")
    token = "ghp_" + "a1B2c3D4" * 4 + "abcd"

    def of(request_id, conversation_id, text=f"{MAIL}, {token}, {MAIL}"):
        return made_with_key(asked(text, id=request_id, conversation_id=conversation_id), *texts)

    first = of("r1", "c1")
    assert MAIL not in first
    assert token not in first
    mail, _, again = first.split(", ")
    assert mail == again
    assert of("r2", "c1") == first
    assert of("r1", "c2") != first
    assert of("r1", None) != of("r2", None)
    keys = detect.RedactionKeys.derived(KEY, detect.conversation_name("acme", "c1", "r1"))
    assert keys.pseudonyms.restored(f"so {first}") == f"so {MAIL}, {token}, {MAIL}"


def test_secrets_are_redacted_as_personal_data_is():
    """Kinds of secrets stand beside kinds of personal data, and the rule that finds one is the match."""
    key = "AKIA" + "Z7QTR2LM4XW6PVCB"
    decision, llm = made(
        asked(f"use {key} and write to {MAIL}"),
        *one_rule_each(
            "{redact: llm.prompt, types: [secrets]}",
            "{redact: llm.prompt, types: [private_key]}",
            "{redact: llm.prompt, types: [email], style: mask}",
        ),
    )
    assert key not in llm["prompt"]
    assert llm["prompt"].endswith(" and write to ********")
    assert [reason.policy for reason in decision.reasons] == ["p0", "p2"]


def test_redaction_reads_the_result_of_the_other_edits():
    """An appended message is redacted as well, and a removed one is not."""
    appended = '{append: llm.messages, value: {role: system, content: "ask jane.roe@company.com"}}'
    _, llm = made(
        asked(llm={"messages": TALK}),
        *one_rule_each(
            appended, "{remove: 'llm.messages[1]'}", "{redact: llm.messages, types: [email]}"
        ),
    )
    texts = [message["content"] for message in llm["messages"]]
    assert texts == ["Be brief.", "I did.", "ask [EMAIL_REDACTED]"]


def test_redaction_covers_parts_and_tool_arguments():
    """Every text a model reads: parts of a message, arguments of a call, the prompt."""
    call = {"id": "c", "name": "mail", "arguments": json.dumps({"to": MAIL})}
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": MAIL}, {"type": "image", "bytes": 9}],
        },
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": MAIL, "tool_call_id": "c"},
    ]
    decision, llm = made(
        asked(llm={"messages": messages}), *one_rule_each("{redact: llm.messages, types: [email]}")
    )
    assert MAIL not in json.dumps(llm)
    assert [e.path for e in decision.edits] == [
        "/llm/messages/0/content/0/text",
        "/llm/messages/1/tool_calls/0/arguments",
        "/llm/messages/2/content",
    ]


def test_no_finding_is_no_match():
    """A redaction that finds nothing leaves no modify, and then the tenant's default verdict stands."""
    guard = spec(rules(rule("mail", modify("{redact: llm.prompt, types: [email]}"))))
    assert decide(asked("clean"), guard).verdict == "allow"
    denied = decide(asked("clean"), guard, tenant("{default_verdict: deny}"))
    assert codes(denied) == ["default_deny"]
    assert decide(asked(MAIL), guard, tenant("{default_verdict: deny}")).verdict == "modify"


def test_a_text_too_large_to_redact_denies():
    """What cannot be read cannot be redacted: the rule counts as a deny."""
    decision = decide(
        asked("x " * 600_000), spec(rules(rule("mail", modify("{redact: llm.prompt}"))))
    )
    assert codes(decision) == ["evaluation_error"]
    assert decision.reasons[0].rule == "mail"


def test_a_default_is_edited_as_what_the_gateway_holds():
    """A cap above the tenant's default is told: the gateway's request lacks the default, and has no limit."""
    settings_ = tenant("{defaults: {llm.max_tokens: 50, llm.temperature: 0.2}}")
    request = asked(llm={"max_tokens": None})
    decision = decide(
        request,
        settings_,
        *one_rule_each("{cap: llm.max_tokens, value: 200}", "{set: llm.temperature, value: 0.2}"),
    )
    assert edits(decision) == [("add", "/llm/temperature", 0.2), ("add", "/llm/max_tokens", 50)]


def spec_of(op, path, value=None, **extra):
    return EditSpec(op, path, value, **extra)


def match(at, *specs):
    return Match(f"p{at}", "r", "modify", "C", "why", 0, tuple(specs))


def test_texts_are_appended_to_without_telling_them():
    """What is appended to a text is told as a splice: the decision holds the author's text only."""
    request = events.request_from_json(
        json.dumps(asked(attributes={"note": "SECRET", "list": ["a"]})).encode()
    )
    merged = merge(
        request,
        [
            match(0, spec_of("append", "attributes.note", "one")),
            match(1, spec_of("append", "attributes.note", "two")),
            match(2, spec_of("append", "attributes.list", "b")),
            match(3, spec_of("append", "attributes.new", "c")),
        ],
    )
    assert merged.edited.attributes == {"note": "SECRETonetwo", "list": ["a", "b"], "new": "c"}
    assert "SECRET" not in repr(merged.operations)
    assert apply_edits(request, merged.operations) == merged.edited
    for value, attribute in ((1, "note"), ("x", "level")):
        leveled = deepcopy(request)
        leveled.attributes["level"] = 3
        refused = [match(0, spec_of("append", f"attributes.{attribute}", value))]
        with pytest.raises(EditFailedError):
            merge(leveled, refused)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("llm.messages[0].content", "Be brief."),
        ("llm.messages[9].content", ABSENT),
        ("llm.tools[0].name", "t"),
        ("llm.tools[0]", {"name": "t"}),
        ("llm.response_format.type", "json"),
        ("llm.model.name", ABSENT),
        ("user.email", ABSENT),
        ('attributes["a.b"]', None),
        ("attributes.other", ABSENT),
    ],
)
def test_values_are_found_by_path(path, found):
    """Plain values; what is absent, or a declared field that is null, is ABSENT; a null attribute is null."""
    request = asked(
        llm={"messages": TALK, "tools": [{"name": "t"}], "response_format": {"type": "json"}},
        attributes={"a.b": None},
    )
    read = events.request_from_json(json.dumps(request).encode())
    assert value_at(read, segments(path)) == found


FIELDS = {
    "llm.max_tokens": st.integers(1, 9),
    "llm.temperature": st.sampled_from([0, 0.0, 0.5, 1]),
    "attributes.x": st.one_of(st.integers(0, 3), st.booleans(), st.text(max_size=2)),
    "llm.service_tier": st.sampled_from(["a", "b"]),
}


@st.composite
def edit_specs(draw):
    op = draw(st.sampled_from(["set", "remove", "cap", "append", "redact"]))
    if op == "append":
        return spec_of("append", "llm.tools", draw(st.integers(0, 2)))
    if op == "redact":
        kinds = draw(st.sampled_from([("email",), ("credit_card",), ("email", "phone"), None]))
        style = draw(st.sampled_from(["label", "remove", "mask"]))
        return spec_of("redact", "llm.prompt", kinds=kinds, style=style)
    if op == "remove":
        path = draw(st.sampled_from([*FIELDS, "llm.tools", "llm.tools[0]", "llm.tools[1]"]))
        return spec_of("remove", path)
    if op == "cap":
        return spec_of("cap", "llm.max_tokens", draw(st.integers(1, 9)))
    path = draw(st.sampled_from(list(FIELDS)))
    return spec_of("set", path, draw(FIELDS[path]))


REQUESTS = st.fixed_dictionaries(
    {
        "llm": st.fixed_dictionaries(
            {"max_tokens": st.none() | st.integers(1, 9)},
            optional={
                "temperature": st.sampled_from([0, 0.5, 1.0]),
                "tools": st.lists(st.integers(0, 2), max_size=2),
                "prompt": st.sampled_from(["clean", MAIL, f"{CARD} {MAIL}"]),
            },
        )
    },
    optional={"attributes": st.fixed_dictionaries({}, optional={"x": FIELDS["attributes.x"]})},
)


def outcome_of(request, matches):
    try:
        merged = merge(request, matches)
    except RequestError as error:
        return error.code
    return merged, {matches[index].policy for index in merged.rules}


@settings(max_examples=150)
@given(REQUESTS, st.lists(edit_specs(), min_size=1, max_size=5), st.randoms())
def test_merging_is_one_function_of_the_matches(fields, specs, random):
    """
    The operations make the edited request, of records and of JSON alike; they are empty just where nothing
    changes; and edits that exclude nothing merge alike in every order of the matches.
    """
    as_json = asked(**fields)
    request = events.request_from_json(json.dumps(as_json).encode())
    matches = [match(at, each) for at, each in enumerate(specs)]
    found = outcome_of(request, matches)
    if isinstance(found, str):
        assert found == "edit_failed"
        return
    merged, kept = found
    assert apply_edits(request, merged.operations) == merged.edited
    by_json = apply_edits_to_json(as_json, merged.operations)
    assert events.encode(events.request_from_json(json.dumps(by_json).encode())) == events.encode(
        merged.edited
    )
    assert bool(merged.operations) == (events.encode(merged.edited) != events.encode(request))
    assert bool(kept) == bool(merged.operations)

    ordered = {"set", "append"}  # The law gives these an order; all others are the same in any.
    free = [each for each in matches if each.edits[0].op not in ordered]
    fixed = [each for each in matches if each.edits[0].op in ordered]
    random.shuffle(free)
    again, kept_again = outcome_of(request, [*free, *fixed])
    assert events.encode(again.edited) == events.encode(merged.edited)
    caps = {each.policy for each in matches if each.edits[0].op == "cap"}
    assert kept_again - caps == kept - caps
