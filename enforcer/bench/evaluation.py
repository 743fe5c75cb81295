"""
The engine alone: CPU microseconds a request, step by step, and the compiled rules beside an interpreter.

The steps are the engine's own, each run over all requests of a round, so that no clock is read between two of them.
The interpreter walks the conditions as they are written, for every rule, with the facts given to both.
"""

from __future__ import annotations

import gc
import operator
import re
import time
from collections import defaultdict
from datetime import date
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import orjson

from enforcer import detect, events, policy, state
from enforcer.bench import arrival, machine, scale, tenures, workload
from enforcer.bench.figures import is_noisy, rounded, spread
from enforcer.bench.programs import programs
from enforcer.engine import Arrival, Engine, EngineConfig, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NOW_US: Final = 1_767_225_600_000_000
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def measure(rounds: int, count: int) -> dict[str, Any]:
    """Run the rounds and return the answer of ``bench eval``: *count* requests in each."""
    detect.warm()
    documents = workload.documents()
    program_of, in_shadow = programs(documents), programs([*documents, *_in_shadow(documents)])
    rules = _rules(documents)
    in_cel = programs(scale.in_expressions(documents))
    many = scale.Scale()
    source = workload.Workload(3, tag="e")
    taken: dict[str, list[float]] = defaultdict(list)
    begun, own_s = machine.read(None), time.process_time()
    # One more round than is counted: the first pays for what is made on first use.
    for number in range(rounds + 1):
        records = [record for _, record in source.records(count)]
        times = _round(program_of, rules, records, in_cel=in_cel) | many.round(count, _us)
        times["request_in_shadow"] = _us(_decider(in_shadow, records), count)
        for name, us in times.items() if number else ():
            taken[name].append(us)
    load = machine.load(begun, machine.read(None), time.process_time() - own_s)
    shadow = [s / r for s, r in zip(taken["request_in_shadow"], taken["request"], strict=True)]
    multiples = [i / c for i, c in zip(taken["interpreter"], taken["rules_20"], strict=True)]
    answer = {
        "figures": {
            f"{name}_us": median(values) for name, values in taken.items() if name != "interpreter"
        }
        | {
            "shadow_multiple": median(shadow),
            "policies_multiple": _multiple(taken["policies_1000"], taken["policies_10"]),
            "allocated_bytes": _allocated(program_of, records),
        }
        | arrival.measure()
        | tenures.measure(program_of, rounds=rounds, count=count),
        "baseline": {"rules_20_us": median(taken["interpreter"])},
        "multiple": median(multiples),
        "multiple_spread": spread(multiples),
        "cpu_us_per_event": median(taken["request"]),
        "machine": {**machine.describe(()), **load, "rounds": rounds, "requests": count},
        "noisy": is_noisy(taken["interpreter"]),
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done


def _round(
    program_of: Callable[[str], policy.TenantProgram],
    rules: Sequence[dict[str, Any]],
    records: Sequence[tuple[Any, ...]],
    *,
    in_cel: Callable[[str], policy.TenantProgram],
) -> dict[str, float]:
    """CPU microseconds a request, of each step."""
    values = [record[1] for record in records]
    requests = [events.read_request(value) for value in values]
    facts = [detect.RequestFacts(request, day=date(2026, 1, 1)) for request in requests]
    times = {"decode": _us(lambda: [events.read_request(value) for value in values], len(values))}
    times["facts"] = _us(
        lambda: [(f.input_tokens, f.estimated_cost_usd, f.pii_types) for f in facts], len(facts)
    )
    pairs = list(zip(requests, facts, strict=True))
    found = [program_of(r.tenant).evaluate(r, f).matches for r, f in pairs]
    times["rules_20"] = _us(
        lambda: [program_of(r.tenant).evaluate(r, f) for r, f in pairs], len(pairs)
    )
    said = [in_cel(r.tenant).evaluate(r, f).matches for r, f in pairs]
    assert [[m.rule for m in a] for a in said] == [[m.rule for m in b] for b in found]
    times["rules_20_cel"] = _us(
        lambda: [in_cel(r.tenant).evaluate(r, f) for r, f in pairs], len(pairs)
    )
    times["interpreter"] = _us(lambda: [interpret(rules, r, f) for r, f in pairs], len(pairs))
    for (request, fact), matches in zip(pairs, found, strict=True):
        named = {(match.policy, match.rule) for match in matches}
        assert named <= set(interpret(rules, request, fact)), request.id
    outcomes: list[Outcome] = []
    times["request"] = _us(_decider(program_of, records, outcomes), len(records))
    decisions = [outcome.decision for outcome in outcomes if outcome.decision is not None]
    times["encode"] = _us(lambda: [events.encode_decision(d) for d in decisions], len(decisions))
    return times


def _decider(
    program_of: Callable[[str], policy.TenantProgram],
    records: Sequence[tuple[Any, ...]],
    outcomes: list[Outcome] | None = None,
) -> Callable[[], None]:
    """Decides all *records*, from empty rows."""
    decided = [] if outcomes is None else outcomes

    def decide() -> None:
        engine = Engine(EngineConfig())
        rows, queue = state.MemoryRows(), state.ExpiryQueue()
        for number, record in enumerate(records):
            now_us = _NOW_US + 100 * number
            source = events.Source("bench.requests", 0, number, 0, 0, 0)
            arrival = Arrival(record[0], record[1], source, now_us, now_us)
            decided.append(engine.request(program_of, arrival, rows, queue))

    return decide


def _in_shadow(documents: Iterable[policy.Document]) -> tuple[policy.Document, ...]:
    """The same policies once more, under other ids, in shadow."""
    texts: list[tuple[str, str]] = []
    for document in documents:
        if document.kind == "Policy":
            body = orjson.loads(document.canonical)
            body["metadata"]["id"] += "-shadow"
            body["spec"]["mode"] = "shadow"
            texts.append((f"{document.id}.json", orjson.dumps(body).decode()))
    return policy.load(texts).documents


def _multiple(slower: Sequence[float], faster: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(slower, faster, strict=True))


def _allocated(
    program_of: Callable[[str], policy.TenantProgram], records: Sequence[tuple[Any, ...]]
) -> float:
    """Bytes that the answer of one evaluation of the 20 rules holds."""
    requests = [events.read_request(record[1]) for record in records]
    pairs = [(r, detect.RequestFacts(r, day=date(2026, 1, 1))) for r in requests]
    for request, facts in pairs:
        program_of(request.tenant).evaluate(request, facts)
    return scale.allocated_bytes(
        lambda: [program_of(r.tenant).evaluate(r, f) for r, f in pairs], len(pairs)
    )


def _us(work: Callable[[], object], count: int) -> float:
    gc.collect()
    begun_s = time.process_time()
    work()
    return (time.process_time() - begun_s) / count * 1e6


def _rules(documents: Iterable[policy.Document]) -> list[dict[str, Any]]:
    """Policy, rule, and the conditions of both, as plain maps."""
    found: list[dict[str, Any]] = []
    for document in documents:
        if document.kind != "Policy":
            continue
        spec = document.model.model_dump(exclude_none=True)["spec"]
        found.extend(
            {
                "name": (document.id, rule["id"]),
                "conditions": [c for c in (spec.get("match"), rule.get("condition")) if c],
            }
            for rule in spec.get("rules", ())
        )
    return found


def interpret(
    rules: Sequence[dict[str, Any]], request: events.Request, facts: detect.RequestFacts
) -> list[tuple[str, str]]:
    """Names of the rules whose conditions hold, every one looked at: the baseline."""
    return [
        rule["name"]
        for rule in rules
        if all(_holds(condition, request, facts) for condition in rule["conditions"])
    ]


def _holds(condition: dict[str, Any], request: events.Request, facts: detect.RequestFacts) -> bool:
    name = condition["operator"]
    if name == "and":
        return all(_holds(inner, request, facts) for inner in condition["conditions"])
    if name == "not":
        return not _holds(condition["conditions"][0], request, facts)
    value = _value(condition["field"], request, facts)
    if name == "exists":
        return value is not None
    given = condition["value"]
    if name == "not_in":
        return value not in given
    if value is None:
        return False
    if name == "in":
        return value in given
    if name == "contains":
        return given in value
    if name == "matches":
        return re.search(given, value) is not None
    return _COMPARISONS[name](value, given)


def _value(path: str, request: events.Request, facts: detect.RequestFacts) -> Any:
    if path == "pii.types":
        return facts.pii_types
    first, _, rest = path.partition(".")
    if first == "llm" and rest in {"input_tokens", "estimated_cost_usd"}:
        return getattr(facts, rest)
    if first == "attributes":
        return request.attributes.get(rest)
    value: Any = request
    for step in path.split("."):
        value = getattr(value, step, None)
    return value
