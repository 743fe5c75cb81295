"""Documents: canonical form and digests, amounts, tenants, limits, records, the forms of sources."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_sources import Facts, documents, load, program, request, spec, tenant

from enforcer import policy
from enforcer.errors import PolicyError
from enforcer.policy.amounts import AmountError, duration_us, usd_nano
from enforcer.policy.canonical import canonical_json, policy_digest

RULE = "rules: [{id: r, then: deny}]"
LIMITS = """
budgets:
  - {id: team, key: [team.id, attributes.x], per: month, limit_usd: {by: team.tier, gold: 500, default: 0.1}}
rate_limits:
  - {id: calls, key: user.id, per: minute, limit_requests: 60, burst: {by: team.tier, gold: 5, default: 2}}
  - {id: words, per: day, limit_tokens: 1000, on_exceeded: warn, on_missing_key: shared}
"""


def test_layout_key_order_and_notation_do_not_change_a_digest():
    """
    YAML in any layout and JSON of the same data are one document; other data is another.
    """
    block = spec("priority: 1\nrules:\n  - id: r\n    then: deny  # really\n")
    data = {
        "spec": {"rules": [{"then": "deny", "id": "r"}], "priority": 1},
        "metadata": {"tenant": "acme", "id": "p"},
        "kind": "Policy",
        "apiVersion": "enforcer/v1",
    }
    (one,) = documents(block)
    (other,) = policy.load([("p.json", json.dumps(data, indent=3))]).documents
    assert one == other
    assert one.digest == other.digest
    (third,) = documents(spec("priority: 2\n" + RULE))
    assert third.digest != one.digest


def test_canonical_form_of_numbers_is_exact_and_one():
    """
    5e2 and 500.0 are one text, 500 is another; no digit is lost to a double.
    """
    assert canonical_json([Decimal("5e2"), Decimal("500.0"), 500]) == "[500.0,500.0,500]"
    assert canonical_json(Decimal("123456789.123456789")) == "123456789.123456789"
    assert canonical_json(Decimal("1e-9")) == "0.000000001"
    assert canonical_json({"b": None, "a": [True, "é\n"]}) == '{"a":[true,"é\\n"],"b":null}'


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.decimals(-(10**9), 10**9, places=9, allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4), children, max_size=3
        )
    ),
    max_leaves=10,
)


@given(
    data=st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.lists(PLAIN), max_size=4)
)
def test_a_record_gives_its_document_back(data):
    """
    Whatever values a document holds, its record loads as the same document with the same digest.
    """
    head = {"apiVersion": "enforcer/v1", "kind": "Values", "metadata": {"id": "v"}}
    loaded = policy.load([("v.json", canonical_json({**head, "spec": data}))])
    assert not loaded.findings
    (document,) = loaded.documents
    again = policy.Document.from_record(document.to_record())
    assert again == document
    assert again.canonical == document.canonical


def test_every_kind_travels_as_a_record():
    """
    Policy, Tenant and Values, and a policy of the existing engine, come back as they were.
    """
    existing = json.dumps(
        {"metadata": {"id": "e"}, "rules": [{"id": "r", "action": {"decision": "deny"}}]}
    )
    values = "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: v}\nspec: {a: [1]}\n"
    for document in documents(spec(RULE + LIMITS), tenant("{}"), values, existing):
        record = document.to_record()
        assert record.digest == document.digest
        assert policy.Document.from_record(record) == document


@pytest.mark.parametrize("field", ["kind", "id", "scope", "digest", "canonical"])
def test_a_record_that_is_not_what_it_says_is_refused(field):
    """
    A record whose kind, id, scope, digest or content was changed raises PolicyError.
    """
    (document,) = documents(spec(RULE))
    record = document.to_record()
    changed = getattr(record, field).replace("deny", "warn") if field == "canonical" else "other"
    setattr(record, field, changed)
    with pytest.raises(PolicyError):
        policy.Document.from_record(record)


def test_set_digests_mean_the_set():
    """
    Order and repetition do not change a set's digest; members do. Decisions name one over both scopes.
    """
    assert policy.set_digest(["a", "b"]) == policy.set_digest(["b", "a", "a"])
    assert policy.set_digest(["a"]) != policy.set_digest(["b"])
    found = program(spec(RULE), spec(RULE, tenant="'*'", name="g"))
    assert set(found.policy_sets) == {"*", "acme"}
    assert found.policy_digest == policy_digest(found.policy_sets)
    alone = program(spec(RULE))
    assert alone.policy_digest == alone.policy_sets["acme"]
    neither = policy.compile_tenant(None, None, "acme")
    assert neither.policy_digest == policy.set_digest([])


def test_a_document_says_whose_it_is_or_is_the_defaults():
    """
    Without metadata.tenant it is everybody's, unless load is told whose.
    """
    text = spec(RULE).replace(", tenant: acme", "")
    assert policy.load([("p.yaml", text)]).documents[0].scope == "*"
    assert policy.load([("p.yaml", text)], default_tenant="acme").documents[0].scope == "acme"
    assert (
        documents(spec(RULE))[0]
        == policy.load([("p.yaml", text)], default_tenant="acme").documents[0]
    )
    assert documents(tenant("{}", name="t1"))[0].scope == "t1"


def test_sources_hold_one_document_many_or_json():
    """
    A YAML stream, a JSON list, JSON lines and the existing engine's {policies: [...]} all load.
    """
    one = {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "spec": {"rules": [{"id": "r", "then": "deny"}]},
    }
    data = [{**one, "metadata": {"id": name}} for name in "ab"]
    existing = [
        {"metadata": {"id": name}, "rules": [{"id": "r", "action": {"decision": "deny"}}]}
        for name in "ab"
    ]
    yaml_stream = spec(RULE, name="a") + "---\n" + spec(RULE, name="b") + "---\n# the end\n"
    for name, text in [
        ("p.yaml", yaml_stream),
        ("p.json", json.dumps(data)),
        ("p.jsonl", "\n".join(map(json.dumps, data))),
        ("p.json", json.dumps({"policies": existing})),
        ("p.yaml", json.dumps(data)),
        ("<stdin>", "\N{ZERO WIDTH NO-BREAK SPACE}" + yaml_stream),
    ]:
        loaded = policy.load([(name, text)])
        assert [each.id for each in loaded.documents] == ["a", "b"], loaded.findings


def test_yaml_is_version_1_2():
    """
    no, on and 010 are what they look like: two texts and ten.
    """
    values = "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: v}\nspec: {a: [no, on, 010, 0x1F, 1e1, ~, 'true']}\n"
    assert documents(values)[0].canonical.endswith('{"a":["no","on",10,31,10.0,null,"true"]}}')


@pytest.mark.parametrize(
    ("written", "nano"),
    [(0, 0), (1, 10**9), (Decimal("0.000000001"), 1), (Decimal("0.1"), 10**8), (10**9, 10**18)],
)
def test_amounts_are_exact(written, nano):
    """
    USD as written, to the billionth, are integers of nano-USD.
    """
    assert usd_nano(written) == nano


@pytest.mark.parametrize(
    "written",
    [-1, Decimal("-0.1"), Decimal("1e-10"), 10**9 + 1, True, "1", None, 0.1, Decimal("1e300")],
)
def test_amounts_that_cannot_be_used(written):
    """
    Negative, finer than nano, absurd, or no exact number: refused.
    """
    with pytest.raises(AmountError):
        usd_nano(written)


@given(nano=st.integers(0, 10**18))
def test_any_amount_of_nano_usd_can_be_written(nano):
    """
    The decimal USD of any amount of nano-USD reads back as that amount.
    """
    assert usd_nano(Decimal(nano).scaleb(-9)) == nano


@pytest.mark.parametrize(
    ("text", "length_us"),
    [
        ("15 min", 900_000_000),
        ("90s", 90_000_000),
        ("1 h", 3_600_000_000),
        ("500ms", 500_000),
        ("2d", 172_800_000_000),
    ],
)
def test_durations(text, length_us):
    """
    A number and a unit.
    """
    assert duration_us(text) == length_us


@pytest.mark.parametrize("text", ["", "15", "0 min", "1 week", "-1 s", "32 d", 15, "1.5 h", "1 s "])
def test_durations_that_cannot_be_used(text):
    """
    Without a unit, zero, too long, or in another notation: refused.
    """
    with pytest.raises(AmountError):
        duration_us(text)


def test_a_tenants_settings():
    """
    Paths are canonical, money and times integers; what is not said has the language's default.
    """
    body = (
        "{default_verdict: deny, account: [tenant, team.id], time_zone: Europe/Berlin, "
        "required: [user.id, attributes.x], defaults: {llm.maxTokens: 100, team.tier: free}, "
        "models: {fast: openai/gpt-4o-mini}, unknown_model: {ceiling_usd_per_mtok: 75.5}, "
        "assumed_output_tokens: 10, reservation_ttl: 1 h, on_expiry: release, dedup_window: 30s, "
        "on_timeout: allow, principals: ['User:gateway']}"
    )
    found = program(tenant(body))
    assert found.settings == policy.TenantSettings(
        tenant="acme",
        default_verdict="deny",
        account_by=("tenant", "team.id"),
        time_zone="Europe/Berlin",
        required=("user.id", "attributes.x"),
        defaults={"llm.max_tokens": 100, "team.tier": "free"},
        models={"fast": "openai/gpt-4o-mini"},
        unknown_model_ceiling_usd_per_mtok_nano=75_500_000_000,
        assumed_output_tokens=10,
        reservation_ttl_us=3_600_000_000,
        on_expiry="release",
        dedup_window_us=30_000_000,
        on_timeout="allow",
        principals=("User:gateway",),
    )
    assert found.principals == ("User:gateway",)
    assert program(tenant()).settings == policy.TenantSettings("acme")
    assert program(spec(RULE)).settings == policy.TenantSettings("acme")


def test_limits_read_keys_and_tables():
    """
    Amounts by a field's value, keys by path, the burst beside its limit.
    """
    found = program(spec(LIMITS))
    gold = request(team={"id": "t", "tier": "gold"}, user={"id": "u"}, attributes={"x": 1})
    free = request(team={"tier": "free"})
    (budget,) = found.budgets
    assert (budget.policy, budget.id, budget.per, budget.paths) == (
        "p",
        "team",
        "month",
        ("team.id", "attributes.x"),
    )
    assert budget.limit_usd_nano(gold) == 500 * 10**9
    assert budget.limit_usd_nano(free) == budget.limit_usd_nano(request()) == 10**8
    assert policy.key_values(gold, budget.paths) == ["t", "1"]
    assert policy.key_values(free, budget.paths) == [None, None]
    calls, words = found.rate_limits
    assert (calls.unit, calls.period_us, calls.limit(gold), calls.burst(gold), calls.burst(free)) == (
        "requests", 60_000_000, 60, 5, 2,
    )  # fmt: skip
    assert (words.unit, words.limit(gold), words.burst(gold), words.paths) == (
        "tokens",
        1000,
        1000,
        (),
    )
    assert (words.on_exceeded, words.on_missing_key, calls.on_missing_key) == (
        "warn",
        "shared",
        "deny",
    )


def test_limits_apply_under_their_policys_guard():
    """
    match and not unless; an error denies, or with on_error: skip the limit does not apply.
    """
    guards = (
        "match: {operator: gt, field: attributes.x, value: 1}\n"
        "unless: {operator: eq, field: user.id, value: root}\n"
    )
    (budget,) = program(spec(guards + LIMITS)).budgets
    assert budget.guard(request(attributes={"x": 2}), Facts())
    assert not budget.guard(request(attributes={"x": 1}), Facts())
    assert not budget.guard(request(attributes={"x": 2}, user={"id": "root"}), Facts())
    assert not budget.guard(request(attributes={"x": "a"}, user={"id": "root"}), Facts())
    with pytest.raises(policy.EvaluationError):
        budget.guard(request(attributes={"x": "a"}), Facts())
    (budget,) = program(spec("on_error: skip\n" + guards + LIMITS)).budgets
    assert not budget.guard(request(attributes={"x": "a"}), Facts())


def test_an_unless_that_errs_does_not_exempt_from_limits():
    """
    A budget whose unless errs applies.
    """
    text = "unless: {operator: gt, field: attributes.x, value: 1}\n" + LIMITS
    (budget,) = program(spec(text)).budgets
    assert budget.guard(request(attributes={"x": "a"}), Facts())


def test_limits_stand_in_canonical_order():
    """
    By priority, policy id and id, whatever the files' order.
    """
    low = spec(LIMITS, name="a")
    high = spec("priority: 1\n" + LIMITS, name="b", tenant="'*'")
    for texts in ((low, high), (high, low)):
        found = program(*texts)
        assert [each.policy for each in found.budgets] == ["b", "a"]
        assert [each.id for each in found.rate_limits] == ["calls", "words"] * 2


def test_scopes_that_do_not_check_do_not_compile():
    """
    Documents that came one by one and do not fit together raise PolicyError: no half set is in force.
    """
    text = "rules: [{id: a, then: deny, condition: {operator: in, field: user.id, value: {values: v}}}]"
    values = (
        "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: x, tenant: acme}\nspec: {v: [a]}\n"
    )
    both = documents(spec(text), values)
    assert policy.compile_scope(both, "acme").policies
    with pytest.raises(PolicyError) as caught:
        policy.compile_scope(both[:1], "acme")
    assert caught.value.code == "ENF0409"


def test_half_a_surrogate_pair_is_refused():
    """
    A text that no encoding can carry has a finding; it does not reach a digest.
    """
    (finding,) = policy.load(
        [
            (
                "p.json",
                '{"apiVersion": "enforcer/v1", "kind": "Values", "metadata": {"id": "v"}, "spec": {"a": ["\\ud800"]}}',
            )
        ]
    ).findings
    assert finding.code == "ENF0101"


@given(text=st.text(max_size=60))
def test_any_text_loads_or_is_refused_with_findings(text):
    """
    Loading never raises, whatever the text: it gives documents or findings.
    """
    for name in ("p.yaml", "p.json"):
        loaded = load(text) if name == "p.yaml" else policy.load([(name, text)])
        assert not loaded.documents
        assert loaded.findings


FRAGMENTS = ["apiVersion: enforcer/v1", "kind: Policy", "metadata: {id: a}", "spec:", "  rules:", "  - id: r",
             "    then: deny", "  - {", "}", "[", "]", "---", "...", "&a", "*a", "!!str", "<<: 1", "'", '"', "\t", "|", "? ", ": ", "- "]  # fmt: skip


@given(lines=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_torn_yaml_is_refused_with_findings(lines):
    """
    Pieces of YAML in any order never raise.
    """
    policy.load([("p.yaml", "\n".join(lines)), ("q.yaml", " ".join(lines))])
