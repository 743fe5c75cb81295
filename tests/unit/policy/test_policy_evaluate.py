"""Step 1 of a decision: order, verdicts, guards, errors, shadow, phases, and the recheck of step 3."""

from __future__ import annotations

import pytest
from policy_sources import Facts, documents, program, request, rules_of, spec, tenant

from enforcer import policy
from enforcer.errors import RequestError

ERRING = "{operator: gt, field: attributes.x, value: 1}"
MODEL = "{operator: eq, field: llm.model, value: gpt-4o}"
SMALL = "{verdict: modify, edits: [{set: llm.model, value: small}]}"
TEXT_IN_X = {"x": "text"}


def evaluate(found, facts=None, **fields):
    """The evaluation of a request with *fields*."""
    return found.evaluate(request(**fields), facts or Facts())


def test_rules_match_in_canonical_order():
    """
    Priority first, the higher before the lower, then policy id, then rule id; files mean nothing.
    """
    low = spec("rules: [{id: b, then: warn}, {id: a, then: warn}]", name="p1")
    high = spec("priority: 5\nrules: [{id: z, then: allow}]", name="p9")
    same = spec("rules: [{id: c, then: warn}]", name="p0", tenant="'*'")
    expected = ["p9/z:allow", "p0/c:warn", "p1/a:warn", "p1/b:warn"]
    for texts in ([low, high, same], [same, high, low], [high, low, same]):
        assert rules_of(evaluate(program(*texts)).matches) == expected


def test_after_a_deny_only_denies_go_on():
    """
    Rules before the first deny are told, after it other denies alone.
    """
    rules = "rules: [{id: a, then: warn}, {id: b, then: deny}, {id: c, then: warn}, {id: d, then: deny}]"
    later = spec("priority: -1\nrules: [{id: a, then: warn}, {id: b, then: deny}]", name="later")
    found = evaluate(program(spec(rules), later)).matches
    assert rules_of(found) == ["p/a:warn", "p/b:deny", "p/d:deny", "later/b:deny"]


def test_after_a_deny_cheap_policies_go_before_costly_ones_and_are_told_in_order():
    """
    The order of work after a deny is cheap before costly; what is told stands in canonical order.
    """
    first = spec("priority: 9\nrules: [{id: a, then: deny}]", name="first")
    costly = spec(
        "priority: 5\nrules: [{id: a, then: deny, condition: "
        "{operator: gt, field: llm.input_tokens, value: 0}}]",
        name="costly",
    )
    cheap = spec(f"priority: 1\nrules: [{{id: a, then: deny, condition: {MODEL}}}]", name="cheap")
    found = evaluate(program(first, costly, cheap), Facts(tokens=1)).matches
    assert rules_of(found) == ["first/a:deny", "costly/a:deny", "cheap/a:deny"]


def test_facts_are_computed_only_when_a_rule_needs_them():
    """
    A term that decides keeps the costly one beside it from being computed, whatever their order.
    """
    costly_first = (
        "{operator: and, conditions: [{operator: gt, field: pii.count, value: 0}, "
        "{operator: eq, field: llm.model, value: other}]}"
    )
    facts = Facts()
    assert not evaluate(
        program(spec(f"rules: [{{id: a, then: deny, condition: {costly_first}}}]")), facts
    ).matches
    assert facts.read == []
    warns = "rules: [{id: a, then: deny}, {id: b, then: warn, condition: {operator: gt, field: pii.count, value: 0}}]"
    evaluate(program(spec(warns)), facts)
    assert facts.read == []


@pytest.mark.parametrize("verdict", ["deny", SMALL])
def test_an_erring_deny_or_modify_is_a_deny(verdict):
    """
    It counts as a deny with code evaluation_error, and is listed; with on_error: skip only listed.
    """
    text = f"rules: [{{id: a, code: C-1, then: {verdict}, condition: {ERRING}}}]"
    found = evaluate(program(spec(text)), attributes=TEXT_IN_X)
    assert [(each.verdict, each.code, each.edits) for each in found.matches] == [
        ("deny", "evaluation_error", ())
    ]
    (error,) = found.errors
    assert (error.policy, error.rule, error.code) == ("p", "a", "evaluation_error")
    assert "attributes.x" in error.message
    assert "text" not in error.message
    skipped = evaluate(program(spec("on_error: skip\n" + text)), attributes=TEXT_IN_X)
    assert not skipped.matches
    assert len(skipped.errors) == 1


@pytest.mark.parametrize("verdict", ["warn", "allow"])
def test_an_erring_warn_or_allow_is_skipped(verdict):
    """
    It does not match, and is listed.
    """
    found = evaluate(
        program(spec(f"rules: [{{id: a, then: {verdict}, condition: {ERRING}}}]")),
        attributes=TEXT_IN_X,
    )
    assert not found.matches
    assert [each.rule for each in found.errors] == ["a"]


def test_an_erring_match_fails_each_rule_of_its_policy():
    """
    Deny and modify rules count as denies though their own conditions are false; warns are skipped.
    """
    text = (
        f"match: {ERRING}\n"
        "rules:\n"
        "  - {id: a, then: warn}\n"
        "  - {id: b, then: deny, condition: {operator: eq, field: llm.model, value: other}}\n"
        f"  - {{id: c, then: {SMALL}}}\n"
        "  - {id: d, then: deny, phases: [response]}\n"
        "  - {id: e, then: deny}\n"
    )
    found = evaluate(program(spec(text)), attributes=TEXT_IN_X)
    assert rules_of(found.matches) == ["p/b:deny", "p/e:deny"]
    assert [each.rule for each in found.errors] == ["a", "b", "e"]
    only = evaluate(
        program(spec(f"match: {ERRING}\nrules: [{{id: c, then: {SMALL}}}]")), attributes=TEXT_IN_X
    )
    assert [each.code for each in only.matches] == ["evaluation_error"]


def test_an_erring_unless_does_not_exempt_and_is_listed():
    """
    True exempts, false and an error do not; the error is listed though no rule of the policy matched.
    """
    text = f"unless: {ERRING}\nrules: [{{id: a, then: deny, condition: {MODEL}}}]"
    found = program(spec(text))
    assert rules_of(evaluate(found, attributes={"x": 5}).matches) == []
    assert rules_of(evaluate(found, attributes={"x": 0}).matches) == ["p/a:deny"]
    erred = evaluate(found, attributes=TEXT_IN_X)
    assert rules_of(erred.matches) == ["p/a:deny"]
    assert [(each.rule, each.message.split(":")[0]) for each in erred.errors] == [("", "unless")]
    other = evaluate(found, attributes=TEXT_IN_X, llm={"model": "other"})
    assert not other.matches
    assert len(other.errors) == 1


def test_shadow_policies_are_told_apart():
    """
    What a policy in shadow mode would do is told, and changes nothing.
    """
    shadow = spec("mode: shadow\npriority: 9\nrules: [{id: a, then: deny}]", name="s")
    found = evaluate(program(shadow, spec("rules: [{id: a, then: warn}]")))
    assert rules_of(found.matches) == ["p/a:warn"]
    assert rules_of(found.shadow) == ["s/a:deny"]


def test_rules_run_in_their_phases():
    """
    On requests alone, unless the policy or the rule says otherwise.
    """
    text = "phases: [response]\nrules: [{id: a, then: deny}, {id: b, then: warn, phases: [request, response]}]"
    found = program(spec(text))
    assert rules_of(evaluate(found).matches) == ["p/b:warn"]
    assert rules_of(evaluate(found, phase="response").matches) == ["p/a:deny"]
    assert (
        rules_of(evaluate(program(spec("rules: [{id: a, then: deny}]")), phase="response").matches)
        == []
    )


def test_disabled_rules_and_policies_do_nothing():
    """
    enabled: false takes a rule, or a policy with its limits, out of force.
    """
    assert not evaluate(program(spec("rules: [{id: a, then: deny, enabled: false}]"))).matches
    off = program(
        spec(
            "enabled: false\nrules: [{id: a, then: deny}]\nbudgets: [{id: b, per: day, limit_usd: 1}]"
        )
    )
    assert not evaluate(off).matches
    assert not off.budgets


def test_matches_carry_what_their_authors_wrote():
    """
    Code and reason as written, else a code by verdict and a reason that names the rule.
    """
    found = evaluate(
        program(
            spec(
                "priority: 3\nrules: [{id: a, then: warn, code: C-1, reason: Because}, {id: b, then: warn}]"
            )
        )
    ).matches
    assert [(each.code, each.reason, each.priority) for each in found] == [
        ("C-1", "Because", 3),
        ("policy_warn", "rule b of policy p", 3),
    ]


def test_edits_carry_canonical_paths():
    """
    Aliases become the fields' names; kinds are sorted; numbers are those of JSON.
    """
    edits = (
        "{set: llm.maxTokens, value: 10}, {remove: attributes.secret}, {cap: llm.temperature, value: 0.5}, "
        "{append: llm.messages, value: {role: system, content: Be brief}}, "
        "{redact: llm.prompt, types: [phone, email], style: remove}, {redact: llm.messages}"
    )
    (match,) = evaluate(
        program(spec(f"rules: [{{id: a, then: {{verdict: modify, edits: [{edits}]}}}}]"))
    ).matches
    assert match.edits == (
        policy.EditSpec("set", "llm.max_tokens", 10),
        policy.EditSpec("remove", "attributes.secret"),
        policy.EditSpec("cap", "llm.temperature", 0.5),
        policy.EditSpec("append", "llm.messages", {"role": "system", "content": "Be brief"}),
        policy.EditSpec("redact", "llm.prompt", kinds=("email", "phone"), style="remove"),
        policy.EditSpec("redact", "llm.messages"),
    )


def test_policies_of_both_scopes_decide_together():
    """
    Those of * and those of the tenant; a tenant is known by a document of its own alone.
    """
    everyone = spec("rules: [{id: a, then: warn}]", name="g", tenant="'*'")
    mine = spec("rules: [{id: a, then: deny}]")
    assert rules_of(evaluate(program(everyone, mine)).matches) == ["g/a:warn", "p/a:deny"]
    assert program(everyone, mine).known
    assert program(everyone, tenant()).known
    assert not program(everyone).known
    assert not program(everyone, mine, name="other").known


def test_values_are_read_by_name():
    """
    in asks for an element of a list or a key of a map, eq compares with the whole.
    """
    values = (
        "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: v, tenant: acme}\n"
        "spec: {models: [gpt-4o, b], prices: {gpt-4o: 1}}\n"
    )
    for name in ("models", "prices"):
        text = f"rules: [{{id: a, then: deny, condition: {{operator: in, field: llm.model, value: {{values: {name}}}}}}}]"
        found = program(spec(text), values)
        assert evaluate(found).matches
        assert not evaluate(found, llm={"model": "c"}).matches


def test_now_is_event_time():
    """
    A condition on now compares with a moment; without a time it errs, and fails closed.
    """
    condition = "{operator: gte, field: now, value: '2026-11-23T00:00:00+01:00'}"
    found = program(spec(f"rules: [{{id: a, then: deny, condition: {condition}}}]"))
    moment_us = 1_795_388_400_000_000
    for now_us, verdicts in (
        (moment_us, ["policy_deny"]),
        (moment_us - 1, []),
        (None, ["evaluation_error"]),
    ):
        evaluation = found.evaluate(request(), Facts(), now_us=now_us)
        assert [each.code for each in evaluation.matches] == verdicts


def test_the_index_never_hides_a_policy():
    """
    Of many policies guarded by equality, those that apply are found, among them the unguarded.
    """
    texts = [
        spec(
            f"match: {{operator: eq, field: team.id, value: t{at}}}\nrules: [{{id: a, then: warn}}]",
            name=f"p{at:03}",
        )
        for at in range(100)
    ]
    anyone = spec("rules: [{id: a, then: warn}]", name="z")
    two = spec(
        "match: {operator: in, field: team.id, value: [t1, t2]}\n"
        "rules: [{id: a, then: warn, condition: {operator: eq, field: user.id, value: u}}]",
        name="y",
    )
    found = program(*texts, anyone, two)
    assert rules_of(evaluate(found, team={"id": "t7"}).matches) == ["p007/a:warn", "z/a:warn"]
    matches = evaluate(found, team={"id": "t1"}, user={"id": "u"}).matches
    assert rules_of(matches) == ["p001/a:warn", "y/a:warn", "z/a:warn"]
    assert rules_of(evaluate(found).matches) == ["z/a:warn"]


RECHECKED = (
    "rules:\n"
    "  - {id: a, then: deny, condition: {operator: eq, field: llm.model, value: small}}\n"
    "  - {id: b, then: deny, condition: {operator: gt, field: pii.count, value: 0}}\n"
    "  - {id: c, then: deny, condition: {operator: contains, field: llm.prompt, value: card}}\n"
    "  - {id: d, then: deny, condition: {operator: gt, field: llm.input_tokens, value: 0}}\n"
    "  - {id: e, then: deny, condition: {operator: exists, field: 'llm.messages[0].name'}}\n"
    "  - {id: f, then: deny, condition: {operator: eq, field: user.id, value: u}}\n"
    "  - {id: g, then: warn, condition: {operator: eq, field: llm.model, value: small}}\n"
    "  - {id: h, then: deny, condition: {operator: gt, field: attributes.x, value: 1}}\n"
)


@pytest.mark.parametrize(
    ("edited", "rules"),
    [
        (["llm.model"], "ad"),
        (["/llm/model"], "ad"),
        (["llm.messages"], "bcde"),
        (["/llm/messages/0/content"], "bcd"),
        (["llm.prompt"], "bcd"),
        (["llm"], "abcde"),
        (["attributes.x"], "h"),
        (["/attributes/x"], "h"),
        (["user"], "f"),
        ([], ""),
    ],
)
def test_recheck_evaluates_the_denies_that_read_an_edited_path(edited, rules):
    """
    A path touches what is below and above it, and the facts that are derived from it; errors deny.
    """
    found = program(spec(RECHECKED))
    edited_request = request(
        llm={"model": "small", "messages": [{"role": "user", "content": "card", "name": "n"}]},
        user={"id": "u"},
        attributes=TEXT_IN_X,
    )
    matches = found.recheck(edited_request, Facts("card", 1, counts={"email": 1}), edited)
    assert "".join(each.rule for each in matches) == rules
    assert {each.verdict for each in matches} <= {"deny"}


def test_recheck_sees_guards():
    """
    A policy whose match reads an edited path is evaluated again, though its rules do not.
    """
    text = "match: {operator: eq, field: llm.model, value: small}\nrules: [{id: a, then: deny}]"
    found = program(spec(text))
    assert not found.evaluate(request(), Facts()).matches
    assert rules_of(found.recheck(request(llm={"model": "small"}), Facts(), ["llm.model"])) == [
        "p/a:deny"
    ]


def test_programs_are_composed_and_taken_over():
    """
    A scope compiled after a change keeps the code of policies that did not change.
    """
    before = policy.compile_scope(documents(spec("rules: [{id: a, then: deny}]")), "acme")
    changed = documents(
        spec("rules: [{id: a, then: deny}]"), spec("rules: [{id: a, then: warn}]", name="q")
    )
    after = policy.compile_scope(changed, "acme", previous=before)
    assert before.policies[0] in after.policies
    assert len(after.policies) == 2
    assert after.digest != before.digest


def _marked(steps, marks):
    """The same steps, each of them counted."""
    while True:
        try:
            yield next(steps)
        except StopIteration as done:
            return done.value
        marks.append(len(marks))


def test_compiled_by_steps_and_at_once_the_program_is_the_same():
    """
    Every policy is checked and compiled in steps of its own, and each function is byte for byte that of one go.
    """
    found = documents(
        spec("rules: [{id: a, when: 'llm.n > 2', then: deny}]\nunless: \"has(user.id)\""),
        spec(f"match: {MODEL}\nrules: [{{id: a, then: warn}}]", name="q"),
        spec("budgets: [{id: b, per: day, limit_usd: 1}]", name="r"),
    )
    marks = []
    by_steps = policy.finish(_marked(policy.compile_scope_steps(found, "acme"), marks))
    assert len(marks) >= 2 * len(found)
    at_once = policy.compile_scope(found, "acme")
    assert (by_steps.digest, by_steps.documents) == (at_once.digest, at_once.documents)
    assert [b.id for b in by_steps.budgets] == [b.id for b in at_once.budgets] == ["b"]
    for one, other in zip(by_steps.policies, at_once.policies, strict=True):
        assert (one.id, one.digest, one.requirements) == (
            other.id,
            other.digest,
            other.requirements,
        )
        assert one.run.__code__ == other.run.__code__
        assert one.guard.__code__ == other.guard.__code__


class Unknown(Facts):
    """Facts of a text that is too large to read."""

    @property
    def pii_types(self):
        raise RequestError("the text is larger than a scan may read", code="detect_failed")

    pii_count = pii_counts = input_tokens = pii_types


DETECTED = "{operator: contains, field: pii.types, value: email}"


@pytest.mark.parametrize(
    "condition",
    [
        DETECTED,
        "{operator: not_contains, field: pii.types, value: email}",
        "{operator: gt, field: pii.count, value: 0}",
        f"{{operator: not, conditions: [{DETECTED}]}}",
        f"{{operator: and, conditions: [{DETECTED}, {MODEL}]}}",
        f"{{operator: or, conditions: [{DETECTED}, {{operator: gt, field: llm.input_tokens, value: 0}}]}}",
    ],
)
def test_a_fact_that_cannot_be_known_fails_closed(condition):
    """
    A detector that cannot tell is an error of the rules that ask it, and of no other.
    """
    text = f"rules: [{{id: a, then: deny, condition: {condition}}}, {{id: b, then: deny}}]"
    found = evaluate(program(spec(text)), Unknown())
    assert [each.code for each in found.matches] == ["evaluation_error", "policy_deny"]
    assert "larger than a scan may read" in found.errors[0].message
    guarded = spec(f"match: {condition}\nbudgets: [{{id: b, per: day, limit_usd: 1}}]")
    with pytest.raises(policy.EvaluationError):
        program(guarded).budgets[0].guard(request(), Unknown())


def test_a_decisive_term_absorbs_a_fact_that_cannot_be_known():
    """
    false and error is false, true or error is true, also where the error is a detector's.
    """
    for name, model, matched in (("and", "other", False), ("or", "gpt-4o", True)):
        condition = f"{{operator: {name}, conditions: [{DETECTED}, {{operator: eq, field: llm.model, value: {model}}}]}}"
        found = evaluate(
            program(spec(f"rules: [{{id: a, then: deny, condition: {condition}}}]")), Unknown()
        )
        assert bool(found.matches) is matched
        assert not found.errors


@pytest.mark.parametrize(
    ("condition", "matched"),
    [
        ("{operator: contains, field: secrets.types, value: aws_access_key}", True),
        ("{operator: contains, field: secrets.types, value: jwt}", False),
        ("{operator: gt, field: secrets.count, value: 1}", False),
        ("{operator: gte, field: injection.score, value: 0.5}", True),
        ("{operator: gt, field: injection.score, value: 1}", False),
        ("{operator: contains, field: injection.signals, value: persona}", True),
        ("{operator: contains, field: injection.signals, value: encoded}", False),
        ("{operator: contains, field: pii.types, value: name}", False),
        ("{operator: contains, field: pii.at(0.3).types, value: name}", True),
        ("{operator: contains, field: 'pii.at( .4 ).types', value: name}", True),
        ("{operator: contains, field: pii.at(0.7).types, value: name}", False),
        ("{operator: eq, field: pii.at(0.3).count, value: 3}", True),
        ("{operator: eq, field: pii.at(0.3).counts.name, value: 2}", True),
        ("{operator: eq, field: pii.at(0.3).counts.phone, value: 0}", True),
    ],
)
def test_what_the_detectors_find_is_a_fact(condition, matched):
    """
    Secrets, injection, and personal data from another confidence on are read as any other field.
    """
    facts = Facts(
        counts={"email": 1},
        unsure={"name": 2},
        secrets=["aws_access_key"],
        score=0.8,
        signals=["persona"],
    )
    found = evaluate(
        program(spec(f"rules: [{{id: a, then: deny, condition: {condition}}}]")), facts
    )
    assert bool(found.matches) is matched
    assert not found.errors


def test_another_confidence_asks_for_itself_alone():
    """
    `pii.at` sees every kind; what the plain facts look for stays as it was.
    """
    text = "rules: [{id: a, then: deny, condition: {operator: gt, field: pii.at(0.3).counts.name, value: 0}}]"
    assert program(spec(text)).pii_kinds == program(spec("rules: []")).pii_kinds


def test_a_tenant_asks_for_kinds_that_are_off():
    """
    Kinds of its own document are looked for, and redacted where an edit names none.
    """
    found = program(tenant("{pii_kinds: [name, url]}"), spec("rules: []"))
    assert found.default_kinds == program(spec("rules: []")).default_kinds | {"name", "url"}
    assert found.pii_kinds >= {"name", "url"}


def test_what_is_edited_changes_what_detectors_say():
    """
    After an edit of the texts, deny rules on secrets and injection are asked again.
    """
    text = (
        "rules: [{id: a, then: deny, condition: {operator: gt, field: secrets.count, value: 0}}, "
        "{id: b, then: deny, condition: {operator: gt, field: injection.score, value: 0.5}}]"
    )
    facts = Facts(secrets=["jwt"], score=0.9)
    found = program(spec(text)).recheck(request(), facts, ["/llm/messages/0/content"])
    assert rules_of(found) == ["p/a:deny", "p/b:deny"]
    assert not program(spec(text)).recheck(request(), facts, ["llm.model"])


def test_a_program_names_the_kinds_of_personal_data_it_asks_for():
    """
    The default kinds, and those that its conditions name: facts must look for them.
    """
    text = (
        "match: {operator: gt, field: pii.counts.address, value: 0}\n"
        "rules: [{id: a, then: deny, condition: {operator: contains, field: pii.types, value: name}}]"
    )
    default = program(spec("rules: []")).pii_kinds
    assert program(spec(text)).pii_kinds == default | {"name", "address"}
    assert not {"name", "address"} & default
