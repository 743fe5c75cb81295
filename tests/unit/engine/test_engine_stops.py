"""The kill switch and stale policies: what is denied whatever the policies say."""

import pytest
from engine_desk import Desk, asked, codes, rule, rules, spec, tenant

from enforcer import policy

ALLOW = spec(rules(rule("a", "allow")))


def stop(body, name="s"):
    return f"apiVersion: enforcer/v1\nkind: Stop\nmetadata: {{id: {name}}}\nspec: {body}\n"


def desk(*stops, policies=(ALLOW,), settings="{}"):
    loaded = policy.load(
        [(f"d{at}.yaml", t) for at, t in enumerate([*stops, *policies, tenant(settings)])]
    )
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    own, stopped = (policy.compile_scope(loaded.documents, s) for s in ("acme", policy.STOPS))
    return Desk({"acme": policy.compile_tenant(None, own, "acme", stops=stopped)})


@pytest.mark.parametrize(
    ("body", "denied"),
    [
        ("{tenant: acme}", True),
        ("{tenant: beta}", False),
        ("{model: gpt-4o}", True),
        ("{model: openai/gpt-4o}", True),
        ("{model: gpt-4o-mini}", False),
        ("{model: azure/gpt-4o}", False),
        ("{provider: openai}", True),
        ("{provider: azure}", False),
        ("{provider: openai, model: gpt-4o}", True),
        ("{provider: azure, model: gpt-4o}", False),
        ("{tenant: beta, model: gpt-4o}", False),
        ("{tenant: acme, model: gpt-4o}", True),
    ],
)
def test_a_stop_denies_what_it_names(body, denied):
    """By tenant, model or provider; names given together must all hold."""
    decision = desk(stop(body)).decide()
    assert codes(decision) == (["stopped"] if denied else ["policy_allow"])
    assert decision.http_status == (403 if denied else 200)
    assert set(decision.policy_sets) == {"acme", policy.STOPS}


def test_a_stop_is_told_with_its_reason():
    """The caller learns what is stopped, and why."""
    decision = desk(stop("{model: gpt-4o, reason: a leaked key}")).decide()
    assert decision.reasons[0].message == "model gpt-4o is stopped: a leaked key"


def test_a_stop_of_a_model_stops_its_aliases():
    """Whatever name a tenant has given it; and an alias can be stopped by its own name."""
    settings = "{models: {best: openai/gpt-4o}}"
    for name in ("gpt-4o", "openai/gpt-4o", "best"):
        found = desk(stop(f"{{model: {name}}}"), settings=settings).decide(
            asked(llm={"model": "best"})
        )
        assert codes(found) == ["stopped"]


def test_no_edit_leads_to_what_is_stopped():
    """A rule that sends the call to a stopped model, or provider, denies it."""
    edits = "{verdict: modify, edits: [{set: llm.model, value: gpt-4o-mini}]}"
    found = desk(stop("{model: gpt-4o-mini}"), policies=[spec(rules(rule("m", edits)))]).decide()
    assert (found.verdict, codes(found)) == ("deny", ["stopped"])
    assert found.edits == []


def test_a_stopped_request_consumes_nothing():
    """As any denial: the budget is as it was."""
    budget = spec("budgets: [{id: b, per: day, limit_usd: 1}]")
    found = desk(stop("{provider: openai}"), policies=[budget])
    found.decide()
    assert found.money() == {}


def test_a_stop_of_everything_is_refused():
    """A stop that names nothing is an author's mistake, and so is an unknown field."""
    for body in ("{}", "{reason: all}", "{user: u1}"):
        loaded = policy.load([("s.yaml", stop(body))])
        assert loaded.has_errors, body
        assert loaded.documents == ()


def test_no_document_can_claim_the_scope_of_stops():
    """Only stops stand there: no tenant and no policy can be of `!`."""
    for text in (spec("rules: [{id: a, then: warn}]", tenant="!"), tenant(name='"!"')):
        assert policy.load([("x.yaml", text)]).has_errors


@pytest.mark.parametrize(
    ("settings", "verdict"), [("{}", "deny"), ("{on_stale_policies: allow}", "allow")]
)
def test_stale_policies_do_what_the_tenant_says(settings, verdict):
    """Past the bound a tenant is denied, unless its document says that it would rather go on."""
    found = desk(settings=settings)
    arrival = found.arrival(asked())._replace(is_stale=True)
    decision = found.engine.request(found.program_of, arrival, found.rows, found.queue).decision
    assert decision.verdict == verdict
    if verdict == "deny":
        assert codes(decision) == ["policy_stale"]
