"""What the benchmarks send, and what rules over it."""

from collections import Counter
from datetime import date

from enforcer import detect, events
from enforcer.bench import evaluation, workload
from enforcer.bench.latency import Plan, schedule
from enforcer.bench.programs import programs
from enforcer.bench.prose import Prose


def test_the_rules_are_as_announced():
    """20 rules in 5 policies, a budget, a rate limit, and a document for each tenant."""
    documents = workload.documents()
    policies = [d.model.spec for d in documents if d.kind == "Policy"]
    assert len(policies) == 5
    assert sum(len(spec.rules) for spec in policies) == 20
    assert sum(len(spec.budgets) for spec in policies) == 1
    assert sum(len(spec.rate_limits) for spec in policies) == 1
    assert {d.id for d in documents if d.kind == "Tenant"} == {t for t, _ in workload.tenants()}


def test_prompts_never_repeat_and_are_prose():
    """About 600 characters each, at four to six characters a token, as English has."""
    prose = Prose(1)
    texts = [prose.text(600) for _ in range(500)]
    assert len(set(texts)) == 500
    assert 560 < sum(map(len, texts)) / 500 < 640
    tokens = sum(detect.tokens.count_text(text, "gpt-4o", "openai").tokens for text in texts)
    assert 4 < sum(map(len, texts)) / tokens < 6


def test_requests_are_new_and_spread_evenly():
    """Each id once; each partition as many; 5,000 users; keyed and partitioned as a gateway does it."""
    found = list(workload.Workload(1, tag="t").records(4_000))
    assert Counter(partition for partition, _ in found) == dict.fromkeys(range(4), 1_000)
    requests = [events.decode_request(record[1]) for _, record in found]
    assert len({request.id for request in requests}) == 4_000
    for (partition, record), request in zip(found, requests, strict=True):
        assert record[0] == request.tenant.encode()
        assert events.partition_of(record[0], 4) == partition
        assert dict(record[2]).keys() == {"gateway", "traceparent"}


def test_a_seed_gives_the_same_requests():
    """Two runs measure the same work."""
    first, second = (list(workload.Workload(5, tag="t").records(50)) for _ in range(2))
    assert first == second


def test_the_interpreter_agrees_with_the_compiled_rules():
    """The baseline of `bench eval` does the same work: what matches there, matches here."""
    documents = workload.documents()
    program_of = programs(documents)
    rules = evaluation._rules(documents)
    source = workload.Workload(9, tag="i")
    matched = 0
    for _ in range(400):
        request, _ = source.request()
        facts = detect.RequestFacts(request, day=date(2026, 1, 1))
        matches = program_of(request.tenant).evaluate(request, facts).matches
        named = {(match.policy, match.rule) for match in matches}
        assert named <= set(evaluation.interpret(rules, request, facts))
        matched += bool(named)
    assert 5 < matched < 100


def test_an_even_schedule():
    """As many calls a second as asked for, the warm-up's included."""
    due, sizes = schedule(Plan(rounds=1, seconds=1.0, rate=100.0), 0)
    assert len(due) == 300
    assert due[1] - due[0] == 0.01
    assert set(sizes) == {workload.PROMPT_CHARACTERS}


def test_a_trace_is_replayed_round_by_round():
    """At its speed, from the beginning again at its end, sizes within bounds."""
    arrivals = [(float(n), 10 * n) for n in range(100)]
    plan = Plan(rounds=3, seconds=8.0, arrivals=arrivals, speed=10.0)
    first, sizes = schedule(plan, 0)
    assert 100 <= len(first) <= 101
    assert first[10] == 1.0
    assert sizes[10] == 500
    assert min(sizes) == 20
    second, _ = schedule(plan, 1)
    assert second == sorted(second)
    assert 0 <= second[0] < second[-1] < 10
    assert 99 <= len(second) <= 101
