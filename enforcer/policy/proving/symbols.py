"""Facts as variables of the solver: what a request may hold, and what must be so of every request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import z3

from enforcer.policy.fields import Kind, Origin
from enforcer.policy.proving.values import (
    TRUE,
    Alternative,
    Members,
    Truth,
    UndecidableError,
    Value,
    constant,
    scalar,
    text,
)

if TYPE_CHECKING:
    from enforcer.policy.environment import Fact

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
NOW_NS_MAX: Final = 4_102_444_800 * 10**9
"""Event time ends with the year 2099, as that of `enforcer eval`."""
_OPEN: Final = ("null", "bool", "int", "double", "string", "members")
_SORTS: Final = {
    "bool": z3.BoolSort,
    "int": z3.IntSort,
    "double": z3.RealSort,
    "string": z3.StringSort,
}


@dataclass(slots=True)
class Variable:
    """A fact that was asked for: its value, and the members that were looked for in it."""

    fact: Fact
    value: Value
    looked_for: list[z3.ExprRef] = field(default_factory=list)


class Space:
    """
    All variables of one question, and the axioms about them.

    ``limits`` are the flags of limits that are exceeded and prices nobody knows. ``free`` are parts of conditions that are not decided: whatever they say, a proof must hold. *version* tells
    the request as it came from the one after the edits.
    """

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.axioms: list[z3.BoolRef] = []
        self.limits: list[z3.BoolRef] = []
        self.free: dict[str, tuple[Truth, Any]] = {}
        self._fresh = 0

    def fresh(self, sort: z3.SortRef, what: str) -> z3.ExprRef:
        """A variable of its own."""
        self._fresh += 1
        return z3.Const(f"{what}#{self._fresh}", sort)

    def flag(self, what: str) -> z3.BoolRef:
        """A condition about which nothing is known."""
        found = self.fresh(z3.BoolSort(), what)
        assert isinstance(found, z3.BoolRef)
        return found

    def limit(self, what: str) -> z3.BoolRef:
        """Whether a limit is exceeded, or no price known: nothing here tells."""
        found = self.flag(what)
        self.limits.append(found)
        return found

    def undecided(self, key: str, place: Any) -> Truth:
        """A condition that is not decided here: true, false or an error, as it likes."""
        if key not in self.free:
            holds, errs = self.flag(f"free {key}"), self.flag(f"error {key}")
            self.axioms.append(z3.Not(z3.And(holds, errs)))
            self.free[key] = Truth(holds, errs), place
        return self.free[key][0]

    def fact(self, fact: Fact) -> Value:
        """
        The value of a fact.

        Raises: UndecidableError, for one that no variable stands for.
        """
        if fact.name not in self.variables:
            self.variables[fact.name] = Variable(fact, self._value(fact))
            self._link(fact)
        return self.variables[fact.name].value

    def _value(self, fact: Fact) -> Value:
        if fact.value is not None:
            return constant(fact.value)
        present = z3.Bool(f"has {fact.name}") if fact.is_optional else TRUE
        kind = self._kind(fact)
        if kind in _SORTS:
            term = z3.Const(fact.name, _SORTS[kind]())
            self._bound(fact, kind, term)
            return scalar(kind, term, present)
        if kind == "members":
            members = self._members(fact.name)
            return scalar("members", members, present)
        if kind == "open":
            return self._open(fact.name)
        if kind == "timestamp":
            ns = z3.Int(fact.name)
            self.axioms += [ns >= 0, ns <= NOW_NS_MAX]
            return scalar("timestamp", ns)
        raise UndecidableError(f"`{fact.name}`")

    @staticmethod
    def _kind(fact: Fact) -> str:
        found = fact.field
        if found is None:
            return {"double": "double", "int": "int", "string": "string"}.get(
                fact.type.name, "members"
            )
        kinds = {
            Kind.STRING: "string",
            Kind.INT: "int",
            Kind.DOUBLE: "double",
            Kind.BOOL: "bool",
            Kind.TIME: "timestamp",
        }
        if found.type.kind in kinds:
            return kinds[found.type.kind]
        element = found.type.element
        if found.type.kind is Kind.LIST and element is not None and element.kind is Kind.STRING:
            return "members"
        is_attribute = found.origin is Origin.ATTRIBUTES and len(found.path) == 2
        return "open" if is_attribute else ""

    def _bound(self, fact: Fact, kind: str, term: Any) -> None:
        if kind == "int":
            self.axioms += [term >= INT_MIN, term <= INT_MAX]
        if kind in {"int", "double"}:
            if fact.low is not None:
                self.axioms.append(term >= z3.RealVal(repr(float(fact.low))))
            if fact.high is not None:
                self.axioms.append(term <= z3.RealVal(repr(float(fact.high))))
        if fact.name in {"llm.n", "attempt"}:
            self.axioms.append(term >= 1)
        if fact.name in {"llm.max_tokens", "deadline_ms"}:
            self.axioms.append(term >= 0)
        if fact.name in {"id", "tenant", "llm.model", "llm.provider"}:
            self.axioms.append(z3.Length(term) >= 1)
        if fact.name == "phase":
            self.axioms.append(term == text("request"))

    def _members(self, name: str) -> Members:
        contains = z3.Function(f"in {name}", z3.StringSort(), z3.BoolSort())
        members = Members(name, contains, z3.Int(f"size {name}"))
        self.axioms.append(members.size >= 0)
        return members

    def _open(self, name: str) -> Value:
        """An attribute: absent, a scalar of any kind, or a list of texts."""
        tag = z3.Int(f"kind {name}")
        self.axioms += [tag >= 0, tag <= len(_OPEN)]
        alternatives = []
        for at, kind in enumerate(_OPEN, 1):
            term: Any = None
            if kind == "members":
                term = self._members(name)
            elif kind != "null":
                term = z3.Const(f"{name} as {kind}", _SORTS[kind]())
            if kind == "int":
                self.axioms += [term >= INT_MIN, term <= INT_MAX]
            alternatives.append(Alternative(kind, tag == at, term))
        return Value(tuple(alternatives))

    def _link(self, fact: Fact) -> None:
        """What holds between counts of a detector and its kinds."""
        parts = fact.name.split(".")
        if len(parts) == 3 and parts[:2] == ["pii", "counts"]:
            count = self.variables[fact.name].value.alternatives[0].term
            self.axioms.append(count >= 0)
            self.look_for("pii.types", text(parts[2]))
            total = self.variables.get("pii.count")
            if total is not None:
                self.axioms.append(total.value.alternatives[0].term >= count)

    def look_for(self, name: str, term: z3.ExprRef) -> None:
        """Note that *term* was looked for in the list *name*: a member makes it longer than nothing."""
        variable = self.variables.get(name)
        if variable is None or any(term.eq(each) for each in variable.looked_for):
            return
        variable.looked_for.append(term)

    def closed(self) -> list[z3.BoolRef]:
        """All axioms, with those about members that were looked for."""
        found = list(self.axioms)
        for name, variable in self.variables.items():
            for each in variable.value.of("members"):
                members: Members = each.term
                inside = [members.contains(term) for term in variable.looked_for]
                found += [z3.Implies(hit, members.size >= 1) for hit in inside]
                literal = [
                    i
                    for i, t in zip(inside, variable.looked_for, strict=True)
                    if z3.is_string_value(t)
                ]
                if literal:
                    found.append(members.size >= z3.Sum(*(z3.If(hit, 1, 0) for hit in literal)))
                found += self._counted(name, members)
        return found

    def _counted(self, name: str, members: Members) -> list[z3.BoolRef]:
        """A kind is found where its count is above 0; the count of all is no smaller than that of kinds."""
        root = name.split(".", maxsplit=1)[0]
        total = self.variables.get(f"{root}.count")
        found = []
        if total is not None and name == f"{root}.types":
            found.append((total.value.alternatives[0].term >= 1) == (members.size >= 1))
            found.append(total.value.alternatives[0].term >= members.size)
        for other, each in self.variables.items():
            if name == "pii.types" and other.startswith("pii.counts."):
                kind = text(other.rpartition(".")[2])
                found.append((each.value.alternatives[0].term >= 1) == members.contains(kind))
        return found
