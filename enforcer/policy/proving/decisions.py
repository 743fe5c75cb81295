"""
What policies decide, as one formula: verdict and codes over every request there can be.

Theory of operation
===================

The five steps of a decision (LANGUAGE, "One decision, in order"), each over all requests at once.

1. Every rule on the request as it came. An erring deny or modify rule counts as a deny unless its policy skips
   errors; an erring ``unless`` does not exempt; an erring ``match`` is every such rule's error.
2. The edits of matched modify rules make a second version of the facts: at each path the removes, sets and caps
   that would be merged there, in the order of the law, as one choice. What a redaction makes of texts, and what
   detectors then find in them, is anything.
3. Deny rules on the second version. Where no edit changed what a rule reads, both versions agree, so that all deny
   rules may be asked again.
4, 5. Budgets, rate limits and prices may say what they like; a missing key is known.

What is not decided (``Space.free``) may say what it likes too. So a proof holds for every request; a
counter-example is only one once a decision of the engine agrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import z3

from enforcer.policy import documents as models
from enforcer.policy.checker import check_policy, check_values
from enforcer.policy.conditions import to_plain
from enforcer.policy.environment import fact_of
from enforcer.policy.exemptions import EXCEPTION_USE
from enforcer.policy.fields import FieldError, Kind, resolve
from enforcer.policy.findings import Findings
from enforcer.policy.ir import ALWAYS, NEVER
from enforcer.policy.proving.conditions import Conditions
from enforcer.policy.proving.values import Alternative, Members, Value, constant, equal
from enforcer.policy.settings import TenantSettings
from enforcer.policy.tenants import check_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.policy.checker import Lowered
    from enforcer.policy.environment import Fact
    from enforcer.policy.loader import Document
    from enforcer.policy.model import EditSpec, RuleCode
    from enforcer.policy.proving.symbols import Space

VERDICTS: Final = ("deny", "modify", "warn", "allow")
_US_NS: Final = 1_000
_DETECTED: Final = ("pii", "secrets", "injection")
_COUNTED: Final = ("llm.input_tokens", "llm.max_output_tokens", "llm.estimated_cost_usd")


@dataclass(slots=True)
class Decision:
    """
    The formula.

    Args:
        verdicts: When the verdict is each; exactly one of them is.
        codes: When each code stands among the reasons.
        rules: When each rule (``policy/rule``) stands among them.
    """

    verdicts: dict[str, z3.BoolRef]
    codes: dict[str, z3.BoolRef]
    rules: dict[str, z3.BoolRef]


@dataclass(slots=True)
class _Found:
    """Reasons while they are collected."""

    denies: list[z3.BoolRef] = field(default_factory=list)
    warns: list[z3.BoolRef] = field(default_factory=list)
    allows: list[z3.BoolRef] = field(default_factory=list)
    reasons: list[tuple[str, str, str, z3.BoolRef]] = field(default_factory=list)

    def deny(self, code: str, rule: str, when: z3.BoolRef) -> None:
        self.denies.append(when)
        self.reasons.append(("deny", code, rule, when))


@dataclass(frozen=True, slots=True)
class _Modify:
    """A matched modify rule: its edits, and where it stands in the order."""

    order: tuple[int, str, str]
    code: str
    rule: str
    when: z3.BoolRef
    edits: tuple[EditSpec, ...]


class Policies:
    """
    The policies of one tenant, lowered.

    Args:
        documents: Loaded, of any scope; those of other tenants are passed over.
        tenant: Whose requests are decided.
    """

    def __init__(self, documents: Iterable[Document], tenant: str) -> None:
        self.tenant = tenant
        self.settings = TenantSettings(tenant)
        own = [each for each in documents if each.scope in {"*", tenant}]
        findings = Findings()
        values: dict[str, dict[str, Any]] = {}
        for each in own:
            if isinstance(each.model, models.Values):
                known = values.setdefault(each.scope, {})
                known.update(check_values(each.model, each.node, findings))
            elif isinstance(each.model, models.Tenant):
                self.settings = check_tenant(each.model, each.node, findings)
        self.lowered: list[Lowered] = [
            check_policy(each.model, each.node, values.get(each.scope, {}), findings)
            for each in own
            if isinstance(each.model, models.Policy)
            and each.model.spec.enabled
            and each.model.spec.mode == "enforce"
        ]

    def decide(self, space: Space) -> Decision:
        """The formula of what these policies decide."""
        return _Deciding(self, space).decision()


class _Deciding:
    def __init__(self, policies: Policies, space: Space) -> None:
        self._policies = policies
        self._space = space
        self._found = _Found()
        self._uses: list[z3.BoolRef] = []

    def decision(self) -> Decision:
        found, space = self._found, self._space
        modifies = self._first(Conditions(space))
        self._requirements()
        self._missing_keys(Conditions(space))
        first = z3.Or(*found.denies)
        kept = self._second(modifies, first)
        self._default(kept)
        kept += self._limits(Conditions(space))
        denied = z3.Or(*found.denies)
        modified = z3.And(z3.Not(denied), z3.Or(*(when for _, when in kept)))
        for rule, when in kept:
            found.reasons.append(("modify", rule.code, rule.rule, when))
        warned = z3.And(z3.Not(denied), z3.Not(modified), z3.Or(*found.warns))
        allowed = z3.And(z3.Not(denied), z3.Not(modified), z3.Not(warned))
        verdicts = dict(zip(VERDICTS, (denied, modified, warned, allowed), strict=True))
        return Decision(verdicts, *self._told(verdicts))

    def _told(
        self, verdicts: dict[str, z3.BoolRef]
    ) -> tuple[dict[str, z3.BoolRef], dict[str, z3.BoolRef]]:
        """Which codes and rules stand in the reasons: those of the verdict that stands."""
        codes: dict[str, list[z3.BoolRef]] = {}
        rules: dict[str, list[z3.BoolRef]] = {}
        for verdict, code, rule, when in self._found.reasons:
            told = z3.And(verdicts[verdict], when)
            codes.setdefault(code, []).append(told)
            rules.setdefault(rule, []).append(told)
        if self._uses:
            codes[EXCEPTION_USE] = self._uses
        return (
            {code: z3.Or(*whens) for code, whens in codes.items()},
            {rule: z3.Or(*whens) for rule, whens in rules.items()},
        )

    # --- 1. rules on the request as it came -----------------------------------------------------

    def _first(self, conditions: Conditions) -> list[_Modify]:
        modifies: list[_Modify] = []
        for lowered in self._policies.lowered:
            applies, guard_errs = self._guard(lowered, conditions)
            for rule in lowered.rules:
                if "request" not in rule.phases:
                    continue
                name = f"{lowered.model.metadata.id}/{rule.id}"
                condition = conditions.of(rule.condition)
                when = z3.And(applies, condition.holds)
                when = self._unless_exempt(rule, when, conditions)
                if rule.failure is not None:
                    errs = z3.Or(guard_errs, z3.And(applies, condition.errs))
                    self._found.deny(rule.failure.code, name, errs)
                self._matched(rule, name, when, modifies, lowered)
        return modifies

    def _matched(
        self, rule: RuleCode, name: str, when: z3.BoolRef, modifies: list[_Modify], lowered: Lowered
    ) -> None:
        found, code = self._found, rule.match.code
        if rule.verdict == "deny":
            found.deny(code, name, when)
        elif rule.verdict == "modify":
            order = (-rule.match.priority, lowered.model.metadata.id, rule.id)
            modifies.append(_Modify(order, code, name, when, rule.match.edits))
        elif rule.verdict == "warn":
            found.warns.append(when)
            found.reasons.append(("warn", code, name, when))
        else:
            found.allows.append(when)
            found.reasons.append(("allow", code, name, when))

    def _unless_exempt(
        self, rule: RuleCode, when: z3.BoolRef, conditions: Conditions
    ) -> z3.BoolRef:
        """When a matched rule is not removed by an exception that has not expired; one that errs removes nothing."""
        if not rule.exceptions:
            return when
        (now,) = self._space.fact(fact_of(resolve("now"))).alternatives
        removed = z3.Or(
            *(
                z3.And(now.term < code.expires_us * _US_NS, conditions.of(code.condition).holds)
                for code in rule.exceptions
            )
        )
        # Whether the use is told depends on what was looked at before it.
        self._uses.append(z3.And(when, removed, self._space.limit("an exception's use is told")))
        return z3.And(when, z3.Not(removed))

    @staticmethod
    def _guard(lowered: Lowered, conditions: Conditions) -> tuple[z3.BoolRef, z3.BoolRef]:
        """When a policy applies, and when its ``match`` errs where it might."""
        match = conditions.of(lowered.match if lowered.match is not None else ALWAYS)
        unless = conditions.of(lowered.unless if lowered.unless is not None else NEVER)
        spared = unless.holds
        return z3.And(match.holds, z3.Not(spared)), z3.And(match.errs, z3.Not(spared))

    # --- 2. and 3. edits, and the deny rules again ----------------------------------------------

    def _second(
        self, modifies: list[_Modify], denied: z3.BoolRef
    ) -> list[tuple[_Modify, z3.BoolRef]]:
        """The modify rules that change something, and the denials of the edited request."""
        if not modifies:
            return []
        edited, effective = self._edited(sorted(modifies, key=lambda each: each.order))
        again = Conditions(self._space, edited, " (edited)")
        is_edited = z3.And(z3.Not(denied), z3.Or(*(when for _, when in effective)))
        for lowered in self._policies.lowered:
            applies, guard_errs = self._guard(lowered, again)
            for rule in lowered.rules:
                if "request" not in rule.phases or rule.verdict != "deny":
                    continue
                name = f"{lowered.model.metadata.id}/{rule.id}"
                condition = again.of(rule.condition)
                when = z3.And(is_edited, applies, condition.holds)
                when = self._unless_exempt(rule, when, again)
                self._found.deny(rule.match.code, name, when)
                if rule.failure is not None:
                    errs = z3.Or(guard_errs, z3.And(applies, condition.errs))
                    self._found.deny(rule.failure.code, name, z3.And(is_edited, errs))
        return effective

    def _edited(
        self, modifies: list[_Modify]
    ) -> tuple[dict[str, Value], list[tuple[_Modify, z3.BoolRef]]]:
        """Facts after the edits, and when each rule's edits change something."""
        edited: dict[str, Value] = {}
        changes: dict[str, list[z3.BoolRef]] = {each.rule: [] for each in modifies}
        touched: list[z3.BoolRef] = []
        paths = {edit.path for each in modifies for edit in each.edits}
        for path in sorted(paths):
            fact = self._scalar(path)
            if fact is None:
                self._opaque(path, modifies, changes, touched)
                continue
            before = self._space.fact(fact)
            after = self._merged(before, path, modifies)
            edited[fact.name] = after
            changed = z3.Not(_identical(before, after))
            if path.startswith("llm"):
                touched.append(changed)
            for each in modifies:
                if any(edit.path == path for edit in each.edits):
                    changes[each.rule].append(z3.And(each.when, changed))
        self._derived(edited, z3.Or(*touched))
        return edited, [(each, z3.Or(*changes[each.rule])) for each in modifies]

    def _scalar(self, path: str) -> Fact | None:
        """The fact of a path that edits replace whole; None of texts, lists and records."""
        try:
            found = resolve(path)
        except FieldError:
            return None
        scalars = {Kind.STRING, Kind.INT, Kind.DOUBLE, Kind.BOOL}
        is_open = found.path[0] == "attributes" and len(found.path) == 2
        is_text = found.path[:2] in {("llm", "messages"), ("llm", "prompt")}
        if (found.type.kind in scalars and not is_text) or is_open:
            return fact_of(found)
        return None

    def _merged(self, before: Value, path: str, modifies: list[_Modify]) -> Value:
        """Remove, then set (the first in order counts), then the smallest cap."""
        value = before
        steps = [(each, edit) for each in modifies for edit in each.edits if edit.path == path]
        for each, edit in steps:
            if edit.op == "remove":
                value = _choice(each.when, Value(()), value)
        # Of several sets the first in order wins, so it is laid on last.
        for each, edit in reversed(steps):
            if edit.op == "set":
                value = _choice(each.when, constant(to_plain(edit.value)), value)
        for each, edit in steps:
            if edit.op == "cap":
                value = _choice(each.when, _capped(value, constant(to_plain(edit.value))), value)
        return value

    def _opaque(
        self,
        path: str,
        modifies: list[_Modify],
        changes: dict[str, list[z3.BoolRef]],
        touched: list[z3.BoolRef],
    ) -> None:
        """Edits of texts, lists and records: whether they change something is not known."""
        for each in modifies:
            for edit in each.edits:
                if edit.path == path:
                    changed = z3.And(each.when, self._space.flag(f"{each.rule} changes {path}"))
                    changes[each.rule].append(changed)
                    touched.append(changed)

    def _derived(self, edited: dict[str, Value], touched: z3.BoolRef) -> None:
        """What is found in the edited texts, and what they cost, is anything once something changed."""
        for name, variable in list(self._space.variables.items()):
            derived = name in _COUNTED or name == "llm.prompt" or name.split(".")[0] in _DETECTED
            if not derived or name in edited:
                continue
            fresh = [
                Alternative(each.kind, each.when, self._another(name, each))
                for each in variable.value.alternatives
            ]
            edited[name] = _choice(touched, Value(tuple(fresh)), variable.value)

    def _another(self, name: str, like: Alternative) -> Any:
        if like.kind == "members":
            return Members(
                name,
                z3.Function(f"in {name} (edited)", z3.StringSort(), z3.BoolSort()),
                z3.Int(f"size {name} (edited)"),
            )
        return self._space.fresh(like.term.sort(), f"{name} (edited)")

    # --- the rest -------------------------------------------------------------------------------

    def _requirements(self) -> None:
        """Fields that the tenant requires: a request without them is denied."""
        for path in self._policies.settings.required:
            try:
                value = self._space.fact(fact_of(resolve(str(path))))
            except FieldError:
                continue
            self._found.deny("invalid_request", "", z3.Not(value.is_present))

    def _missing_keys(self, conditions: Conditions) -> None:
        for lowered in self._policies.lowered:
            applies, errs = self._guard(lowered, conditions)
            policy = lowered.model.metadata.id
            for limit in (*lowered.budgets, *lowered.rate_limits):
                name = f"{policy}/{limit.model.id}"
                if lowered.model.spec.on_error == "deny":
                    self._found.deny("evaluation_error", name, errs)
                if limit.model.on_missing_key != "deny":
                    continue
                absent = [
                    z3.Not(self._space.fact(fact_of(resolve(path))).is_present)
                    for path in limit.paths
                ]
                self._found.deny("missing_key", name, z3.And(applies, z3.Or(*absent)))

    def _default(self, kept: list[tuple[_Modify, z3.BoolRef]]) -> None:
        if self._policies.settings.default_verdict != "deny":
            return
        found = self._found
        anything = z3.Or(*found.denies, *found.warns, *found.allows, *(when for _, when in kept))
        found.deny("default_deny", "", z3.Not(anything))

    def _limits(self, conditions: Conditions) -> list[tuple[_Modify, z3.BoolRef]]:
        """
        Whether a limit is exceeded, or a price known, is anybody's guess.

        Returns: What limits edit. Which deny rules the call so edited meets is a guess too.
        """
        edits: list[tuple[_Modify, z3.BoolRef]] = []
        for lowered in self._policies.lowered:
            applies, _ = self._guard(lowered, conditions)
            policy = lowered.model.metadata.id
            for kind, limits in (("budget", lowered.budgets), ("rate", lowered.rate_limits)):
                for limit in limits:
                    name = f"{policy}/{limit.model.id}"
                    code = "budget_exceeded" if kind == "budget" else "rate_limited"
                    exceeded = z3.And(applies, self._space.limit(f"{name} is exceeded"))
                    if limit.model.on_exceeded == "warn":
                        self._found.warns.append(exceeded)
                        self._found.reasons.append(("warn", code, name, exceeded))
                    elif limit.model.on_exceeded == "deny":
                        self._found.deny(code, name, exceeded)
                    else:
                        edits.append(self._edited_by_limit(code, name, exceeded))
                    if kind == "budget":
                        unknown = z3.And(applies, self._space.limit("no price is known"))
                        self._found.deny("unknown_model", name, unknown)
        return edits

    def _edited_by_limit(
        self, code: str, name: str, exceeded: z3.BoolRef
    ) -> tuple[_Modify, z3.BoolRef]:
        """A limit that caps or downgrades: it edits, or denies; and deny rules may meet what it edited."""
        space, found = self._space, self._found
        found.deny(code, name, z3.And(exceeded, space.limit(f"{name} denies")))
        for lowered in self._policies.lowered:
            for rule in lowered.rules:
                if rule.verdict == "deny":
                    other = f"{lowered.model.metadata.id}/{rule.id}"
                    meets = z3.And(exceeded, space.limit(f"{other} meets what {name} edited"))
                    found.deny(rule.match.code, other, meets)
        when = z3.And(exceeded, space.limit(f"{name} edits"))
        return _Modify((0, "", name), code, name, exceeded, ()), when


def _choice(when: z3.BoolRef, then: Value, otherwise: Value) -> Value:
    """One value or the other."""
    parts = ((when, then), (z3.Not(when), otherwise))
    alternatives = [
        Alternative(each.kind, z3.And(condition, each.when), each.term)
        for condition, value in parts
        for each in value.alternatives
    ]
    return Value(tuple(alternatives), z3.Or(*(z3.And(c, v.errs) for c, v in parts)))


def _capped(value: Value, most: Value) -> Value:
    """The smaller of both; an absent number becomes the cap."""
    (cap,) = most.alternatives
    found = []
    for each in value.alternatives:
        if each.kind in {"int", "double"}:
            above = each.term > cap.term
            found.append(Alternative(each.kind, z3.And(each.when, z3.Not(above)), each.term))
            found.append(Alternative(cap.kind, z3.And(each.when, above), cap.term))
        else:
            found.append(each)
    found.append(Alternative(cap.kind, z3.Not(value.is_present), cap.term))
    return Value(tuple(found), value.errs)


def _identical(before: Value, after: Value) -> z3.BoolRef:
    """Whether two values are the same, absence included."""
    both_absent = z3.And(z3.Not(before.is_present), z3.Not(after.is_present))
    return z3.Or(both_absent, equal(before, after))
