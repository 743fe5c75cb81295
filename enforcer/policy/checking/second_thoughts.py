"""
What is well formed and hardly meant: rules that never count, that always do, that fall out with each other.

A warning here is right or is not given: what ``domains`` cannot tell is passed over.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any, Final

from enforcer.errors import Span
from enforcer.policy.checking.domains import ELEMENTS, is_always, is_never, may_hold
from enforcer.policy.checking.units import odd_limit, odd_number, unit_faults
from enforcer.policy.fields import resolve
from enforcer.policy.ir import ALWAYS, All, Expr, Not, Test, tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from enforcer.policy.checker import Lowered
    from enforcer.policy.findings import Findings
    from enforcer.policy.model import RuleCode
    from enforcer.policy.source import Node

_PAIRS_MAX: Final = 2_000
_SETS_MAX: Final = 500
_YEAR_US: Final = 366 * 86_400 * 1_000_000
_YEARS_MAX: Final = 10
_TELL_NEVER: Final = "remove the rule, or correct its condition"


@dataclass(frozen=True, slots=True)
class Placed:
    """A checked policy and where it stands."""

    lowered: Lowered
    node: Node

    def rule_node(self, rule: RuleCode) -> Node:
        """Where a rule stands."""
        spec = self.node.get("spec")
        rules = spec.get("rules") if spec is not None else None
        for model, node in zip(
            self.lowered.model.spec.rules, rules.items() if rules is not None else [], strict=False
        ):
            if model.id == rule.id:
                return node
        return self.node

    def place(self, rule: RuleCode) -> Span:
        """Where the condition of a rule stands; its id, where it has none."""
        node = self.rule_node(rule)
        for key in ("when", "condition", "id"):
            found = node.get(key)
            if found is not None:
                return found.text_at or found.span
        return node.span

    @property
    def guards(self) -> tuple[Expr, ...]:
        """What must hold for any of its rules to count."""
        found = [self.lowered.match] if self.lowered.match is not None else []
        if self.lowered.unless is not None:
            found.append(Not(self.lowered.unless))
        return tuple(found)

    def whole(self, rule: RuleCode) -> Expr:
        """When a rule counts, with the guards of its policy."""
        return All((*self.guards, rule.condition))


def think_again(placed: Placed, findings: Findings, *, now_us: int | None) -> None:
    """Second thoughts about one policy."""
    if not placed.lowered.model.spec.enabled:
        return
    if _guard_is_never(placed, findings):
        return
    odd = _units(placed, findings)
    for rule in placed.lowered.rules:
        if rule.id not in odd:
            _never_or_always(placed, rule, findings)
        _patterns(rule, findings)
    _expiries(placed, findings, now_us)
    _shadowed(placed, findings)
    _conflicting(placed, findings)


# --- never and always -----------------------------------------------------------------------------


def _guard_is_never(placed: Placed, findings: Findings) -> bool:
    guards = placed.guards
    if not guards or not is_never(All(guards)):
        return False
    spec = placed.node.get("spec")
    found = None
    for key in ("match", "unless"):
        found = found or (spec.get(key) if spec is not None else None)
    span = found.span if found is not None else placed.node.span
    said = "the policy applies to no request: its `match` or `unless` leaves none"
    findings.warning("ENF0901", said, span, help="correct the condition")
    return True


def _never_or_always(placed: Placed, rule: RuleCode, findings: Findings) -> None:
    condition = rule.condition
    if condition == ALWAYS:
        return
    if is_never(condition):
        said = f"the rule `{rule.id}` matches no request"
        help_line = _nearest_kind(condition) or _TELL_NEVER
        findings.warning("ENF0901", said, placed.place(rule), help=help_line)
    elif is_never(condition, (*placed.guards, _phases(rule))):
        said = f"the rule `{rule.id}` matches no request that it is asked about"
        findings.warning("ENF0901", said, placed.place(rule), help=_TELL_NEVER)
    elif is_always(condition):
        said = f"the condition of the rule `{rule.id}` is always true"
        help_line = "a rule without a condition always matches; was `&&` meant for `||`?"
        findings.warning("ENF0902", said, placed.place(rule), help=help_line)


def _nearest_kind(condition: Expr) -> str:
    """Help, where a kind of personal data or secrets is asked for that there is not."""
    for test in tests(condition):
        kinds = ELEMENTS.get(test.field.fact)
        if test.op == "contains" and kinds is not None and test.value not in kinds:
            close = difflib.get_close_matches(str(test.value), sorted(kinds), n=1)
            meant = f": did you mean `{close[0]}`?" if close else ""
            return f"there is no kind `{test.value}`{meant}"
    return ""


def _phases(rule: RuleCode) -> Expr:
    """That a request is of a phase that the rule is asked about."""
    return Test("in", resolve("phase"), list(rule.phases), Span())


def _patterns(rule: RuleCode, findings: Findings) -> None:
    for test in tests(rule.condition):
        if test.op == "matches" and isinstance(test.value, str):
            odd = next((each for each in test.value if each < " " and each not in "\t\n\r"), None)
            if odd is not None:
                said = f"the regular expression looks for the control character U+{ord(odd):04X}"
                help_line = r'`\b` in a text is a backspace: write r"\b", or "\\b"'
                findings.warning("ENF0410", said, test.span, help=help_line)


def _units(placed: Placed, findings: Findings) -> set[str]:
    """Units that do not fit; the rules with numbers that can only be meant in another one."""
    for expression in placed.lowered.expressions:
        for fault in unit_faults(expression):
            start, end = fault.place
            span = expression.place(start)
            findings.warning("ENF0905", fault.message, span, help=fault.help, length=end - start)
    odd: set[str] = set()
    asked = [("", each) for each in placed.guards]
    asked += [(rule.id, rule.condition) for rule in placed.lowered.rules]
    for rule_id, condition in asked:
        for test in tests(condition):
            found = odd_number(test)
            if found is not None:
                odd.add(rule_id)
                findings.warning("ENF0905", found[0], test.span, help=found[1])
    _odd_budgets(placed, findings)
    return odd


def _odd_budgets(placed: Placed, findings: Findings) -> None:
    spec = placed.node.get("spec")
    listed = spec.get("budgets") if spec is not None else None
    nodes = listed.items() if listed is not None else []
    for budget, node in zip(placed.lowered.model.spec.budgets, nodes, strict=False):
        written, limit = budget.limit_usd, node.get("limit_usd")
        amounts = written if isinstance(written, dict) else {"": written}
        for key, amount in amounts.items():
            found = None if key == "by" else odd_limit(float(amount), budget.per)
            if found is not None and limit is not None:
                span = (limit.get(key) or limit).span
                findings.warning("ENF0905", found[0], span, help=found[1])


# --- rules beside each other ----------------------------------------------------------------------


def _shadowed(placed: Placed, findings: Findings) -> None:
    rules = placed.lowered.rules
    denies = [each for each in rules if each.verdict == "deny" and not each.exceptions]
    pairs = ((rule, deny) for rule in rules for deny in denies if _is_behind(rule, deny))
    told: set[str] = set()
    for rule, deny in islice(pairs, _PAIRS_MAX):
        if rule.id not in told and is_always(deny.condition, (*placed.guards, rule.condition)):
            if is_never(placed.whole(rule)):
                continue
            told.add(rule.id)
            _tell_shadowed(placed, rule, f"the rule `{deny.id}`", findings)


def _is_behind(rule: RuleCode, deny: RuleCode) -> bool:
    """Whether *rule* counts for nothing where *deny* matches: a deny carries no edits and joins above."""
    if rule is deny or rule.verdict == "deny" or not set(rule.phases) <= set(deny.phases):
        return False
    # A warning that comes before the deny is still told.
    return rule.verdict != "warn" or deny.id < rule.id


def _tell_shadowed(placed: Placed, rule: RuleCode, by: str, findings: Findings) -> None:
    findings.warning(
        "ENF0903",
        f"the rule `{rule.id}` has no effect: {by} denies every request that it matches",
        placed.place(rule),
        help="narrow the deny, or remove the rule",
    )


def compare(policies: Sequence[Placed], findings: Findings) -> None:
    """Second thoughts about policies beside each other."""
    enforced = [
        each
        for each in policies
        if each.lowered.model.spec.enabled and each.lowered.model.spec.mode == "enforce"
    ]
    for other, deny in _unconditional(enforced):
        by = f"the rule `{deny.id}` of policy `{other.lowered.model.metadata.id}`"
        for placed in enforced:
            if placed is other or not _sees(placed, other):
                continue
            for rule in placed.lowered.rules:
                is_behind = rule.verdict in {"modify", "allow"}
                if is_behind and set(rule.phases) <= set(deny.phases):
                    _tell_shadowed(placed, rule, by, findings)


def _unconditional(policies: Iterable[Placed]) -> Iterator[tuple[Placed, RuleCode]]:
    """The denies that every request meets, one a policy."""
    for placed in policies:
        for rule in placed.lowered.rules:
            is_plain = rule.verdict == "deny" and not rule.exceptions
            if is_plain and not placed.guards and rule.condition == ALWAYS:
                yield placed, rule
                break


def _sees(placed: Placed, other: Placed) -> bool:
    """Whether requests that *placed* is asked about are all asked of *other*."""
    scope = other.lowered.model.metadata.tenant
    return scope in {"*", placed.lowered.model.metadata.tenant}


def _conflicting(placed: Placed, findings: Findings) -> None:
    """Rules of one policy, which has one priority: which of two sets wins is decided by their ids."""
    setting = [
        (rule, edit)
        for rule in placed.lowered.rules
        for edit in rule.match.edits
        if edit.op == "set"
    ][:_SETS_MAX]
    pairs = (
        (first, second, edit)
        for (first, edit), (second, other) in combinations(setting, 2)
        if first is not second and edit.path == other.path and not _equal(edit.value, other.value)
    )
    told: set[tuple[str, str]] = set()
    for first, second, edit in islice(pairs, _PAIRS_MAX):
        both = All((placed.whole(first), second.condition))
        if (second.id, edit.path) in told or not set(first.phases) & set(second.phases):
            continue
        if may_hold(both):
            told.add((second.id, edit.path))
            findings.warning(
                "ENF0904",
                f"`{first.id}` and `{second.id}` set `{edit.path}` to different values, and both "
                f"can match: then `{first.id}` wins, by its id alone",
                placed.place(second),
                help="let one condition exclude the other, or put them in policies of two priorities",
            )


def _equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


# --- exceptions -----------------------------------------------------------------------------------


def _expiries(placed: Placed, findings: Findings, now_us: int | None) -> None:
    if now_us is None:
        return
    spec = placed.node.get("spec")
    listed = spec.get("exceptions") if spec is not None else None
    nodes = listed.items() if listed is not None else []
    expiries = {each.id: each for rule in placed.lowered.rules for each in rule.exceptions}
    for model, node in zip(placed.lowered.model.spec.exceptions, nodes, strict=False):
        code = expiries.get(model.id)
        expires = node.get("expires")
        if code is None or expires is None:
            continue
        if code.expires_us <= now_us:
            said = f"the exception `{model.id}` has expired: it removes nothing"
            help_line = "remove it, or have it approved anew with a later date"
            findings.warning("ENF0906", said, expires.span, help=help_line)
        elif code.expires_us > now_us + _YEARS_MAX * _YEAR_US:
            said = (
                f"the exception `{model.id}` never ends: it expires in more than {_YEARS_MAX} years"
            )
            help_line = "give it an end that somebody will look at, or change the rule itself"
            findings.warning("ENF0906", said, expires.span, help=help_line)
