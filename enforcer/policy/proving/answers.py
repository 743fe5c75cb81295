"""Questions to the solver, and its answers: proved, refuted by a request, or not decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import z3

from enforcer import cel
from enforcer.errors import PolicyError, Span
from enforcer.policy.environment import Environment, Fact
from enforcer.policy.expressions import parse_condition
from enforcer.policy.findings import Findings, raise_errors
from enforcer.policy.proving.conditions import Conditions
from enforcer.policy.proving.decisions import VERDICTS, Decision, Policies
from enforcer.policy.proving.requests import request_of
from enforcer.policy.proving.symbols import Space
from enforcer.policy.proving.values import Members, Value, scalar, text
from enforcer.policy.source import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.policy.loader import Document

RESOURCES_MAX: Final = 40_000_000
"""Steps of the solver for one question; the same on every machine, unlike seconds."""
TRIES_MAX: Final = 24
"""Counter-examples that are looked at before the question is given up."""
TOLD: Final = ("verdict", "codes", "reasons")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What came of a question.

    Args:
        result: ``proved`` holds for every request; ``refuted`` has a request that the engine agrees on.
        request: The counter-example.
        undecided: Places of what could not be decided, or words for it.
    """

    result: Literal["proved", "refuted", "undecided"]
    request: dict[str, Any] | None = None
    undecided: tuple[str, ...] = field(default=())


def prove(
    documents: Iterable[Document],
    tenant: str,
    *,
    when: str,
    then: str,
    confirm: Callable[[dict[str, Any]], bool],
) -> Answer:
    """
    Whether every request for which *when* holds is decided as *then* says.

    Args:
        documents: The policies.
        tenant: Whose requests.
        when: CEL over facts of the request; ``verdict``, ``codes`` and ``reasons`` too.
        then: The same.
        confirm: Whether a request, decided by the engine, is a counter-example.

    Raises: PolicyError, for an expression that cannot be read.
    """
    space = Space()
    decision = Policies(documents, tenant).decide(space)
    conditions = Conditions(space, _told(space, decision))
    premise = _read(when, "--when", conditions)
    conclusion = _read(then, "--then", conditions)
    return _ask(space, [premise.holds, z3.Not(conclusion.holds)], tenant, confirm)


def equivalent(
    one: Iterable[Document],
    other: Iterable[Document],
    tenant: str,
    *,
    confirm: Callable[[dict[str, Any]], bool],
) -> Answer:
    """
    Whether two sets of policies decide every request alike: the verdict, and the codes of its reasons.

    Args:
        confirm: Whether the engine, with each of them, decides a request differently.
    """
    one, other = tuple(one), tuple(other)
    if {_name(each) for each in one} == {_name(each) for each in other}:
        # The same documents decide the same, limits and detectors too, which the solver cannot see into.
        return Answer("proved")
    space = Space()
    first, second = (Policies(each, tenant).decide(space) for each in (one, other))
    differs = [first.verdicts[each] != second.verdicts[each] for each in VERDICTS]
    for code in {*first.codes, *second.codes}:
        pair = [each.codes.get(code, z3.BoolVal(val=False)) for each in (first, second)]
        differs.append(pair[0] != pair[1])
    return _ask(space, [z3.Or(*differs)], tenant, confirm)


def _name(document: Document) -> tuple[str, str, str, str]:
    """What a document is: equal contents have equal digests."""
    return document.scope, document.kind, document.id, document.digest


def _pin(space: Space, tenant: str) -> None:
    """The tenant of every request is the one asked about."""
    for name, variable in space.variables.items():
        if name == "tenant":
            space.axioms.append(variable.value.alternatives[0].term == text(tenant))


def _told(space: Space, decision: Decision) -> dict[str, Value]:
    """``verdict``, ``codes`` and ``reasons`` as facts."""
    verdict = z3.String("verdict")
    space.axioms += [
        z3.Implies(when, verdict == text(name)) for name, when in decision.verdicts.items()
    ]
    found = {"verdict": scalar("string", verdict)}
    for name, whens in (("codes", decision.codes), ("reasons", decision.rules)):
        contains = z3.Function(f"in {name}", z3.StringSort(), z3.BoolSort())
        size = z3.Int(f"size {name}")
        known = [text(each) for each in whens if each]
        space.axioms += [contains(text(each)) == when for each, when in whens.items() if each]
        anything = z3.FreshConst(z3.StringSort(), "member")
        others = z3.And(*(anything != each for each in known))
        space.axioms.append(z3.ForAll([anything], z3.Implies(others, z3.Not(contains(anything)))))
        space.axioms.append(
            size == z3.Sum(z3.IntVal(0), *(z3.If(contains(each), 1, 0) for each in known))
        )
        found[name] = scalar("members", Members(name, contains, size))
    return found


def _read(expression: str, name: str, conditions: Conditions) -> Any:
    """An expression of the question, over facts and over what was decided."""
    environment = Environment(("*", name))
    environment.given = {
        "verdict": Fact("verdict", cel.read_type("string")),
        "codes": Fact("codes", cel.read_type("list(string)")),
        "reasons": Fact("reasons", cel.read_type("list(string)")),
    }
    findings = Findings()
    found = parse_condition(
        expression, Node(expression, Span(name, 1, 0), "plain"), environment, findings
    )
    raise_errors(findings.sorted())
    if found is None:
        raise PolicyError("the expression cannot be read", span=Span(name))
    return conditions.tree(found.resolved.root, found)


def _ask(
    space: Space,
    wanted: list[z3.BoolRef],
    tenant: str,
    confirm: Callable[[dict[str, Any]], bool],
) -> Answer:
    """Look for a request; each that the engine does not agree on is put aside, and the next one asked for."""
    solver = z3.Solver()
    solver.set("rlimit", RESOURCES_MAX)
    solver.set("random_seed", 1)
    _pin(space, tenant)
    solver.add(*space.closed(), *wanted)
    tried = False
    places = tuple(dict.fromkeys(str(place) for _, place in space.free.values()))
    # A request that needs no limit to be exceeded is asked for first: the engine can agree on it.
    likely = [z3.Not(flag) for flag in space.limits]
    for _ in range(TRIES_MAX):
        found = solver.check(*likely)
        if found == z3.unsat and likely:
            likely, found = [], solver.check()
        if found == z3.unsat and not tried:
            return Answer("proved")
        if found == z3.unsat:
            break
        if found == z3.unknown:
            return Answer(
                "undecided", undecided=places or (f"the solver gave up: {solver.reason_unknown()}",)
            )
        model = solver.model()
        request = request_of(space, model, tenant)
        if confirm(request):
            return Answer("refuted", request)
        tried = True
        solver.add(z3.Not(_assignment(space, model)))
    return Answer(
        "undecided", undecided=places or ("what limits and detectors say of the request",)
    )


def _assignment(space: Space, model: z3.ModelRef) -> z3.BoolRef:
    """What a model says of every fact."""
    parts = []
    for variable in space.variables.values():
        for each in variable.value.alternatives:
            parts.append(each.when == model.eval(each.when, model_completion=True))
            if each.kind == "members":
                parts += [
                    each.term.contains(t)
                    == model.eval(each.term.contains(t), model_completion=True)
                    for t in variable.looked_for
                ]
            elif each.kind in {"string", "int", "double", "bool", "timestamp"}:
                parts.append(each.term == model.eval(each.term, model_completion=True))
    return z3.And(*parts)
