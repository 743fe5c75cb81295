"""
The checker: what a document means, beyond its shape. Each fault is a finding at its place.

It lowers as it checks (conditions to the intermediate form, edits to ``EditSpec``, limits to integers),
so what the compiler takes is what was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from enforcer.policy import documents as models
from enforcer.policy.amounts import AmountError, usd_nano
from enforcer.policy.conditions import Conditions, to_plain
from enforcer.policy.edits import Edits
from enforcer.policy.environment import RESERVED_NAMES, Environment
from enforcer.policy.exemptions import ExceptionCode
from enforcer.policy.expressions import resolve_variable
from enforcer.policy.fields import Field, FieldError, Kind, Origin, resolve
from enforcer.policy.ir import ALWAYS, All, Expr, fields_of
from enforcer.policy.limits import Table
from enforcer.policy.model import EVALUATION_ERROR, Match, RuleCode
from enforcer.policy.narrowing import absent_false, absent_true, narrowed
from enforcer.policy.shape import ID_HELP, is_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from enforcer.errors import Span
    from enforcer.policy.expressions import Condition
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

COUNT_MAX = 10**12


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget or rate limit, checked: the document's model and what became of it."""

    model: models.Budget | models.RateLimit
    paths: tuple[str, ...]
    table: Table[int]
    burst: Table[int] | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """A checked policy: what the compiler takes."""

    model: models.Policy
    match: Expr | None
    unless: Expr | None
    rules: tuple[RuleCode, ...]
    budgets: tuple[Limit, ...]
    rate_limits: tuple[Limit, ...]
    expressions: tuple[Condition, ...] = ()
    """Those of CEL in it, in the order of the document."""

    @property
    def is_guarded(self) -> bool:
        """Whether its guards, where it has any, are without an error: then they say what its rules may rely on."""
        spec = self.model.spec
        has_match = spec.match is None or self.match is not None
        return has_match and (spec.unless is None or self.unless is not None)


def _environment(policy: models.Policy, values: Mapping[str, Any], node: Node) -> Environment:
    """What the expressions of *policy*, whose spec stands at *node*, may name."""
    metadata, spec = policy.metadata, policy.spec
    limits: dict[str, Iterable[models.Budget | models.RateLimit]] = {
        "budget": spec.budgets,
        "rate": spec.rate_limits,
    }
    rows = {
        kind: {each.id: each.key is not None and each.on_missing_key == "skip" for each in found}
        for kind, found in limits.items()
    }
    plain = {name: to_plain(value) for name, value in values.items()}
    variables = {
        name: (text, child(node, "variables", name)) for name, text in spec.variables.items()
    }
    return Environment((metadata.tenant, metadata.id), plain, rows, variables)


def child(node: Node, *steps: str | int) -> Node:
    """The node at *steps* below, or the last one on the way."""
    for step in steps:
        if isinstance(step, int):
            items = node.items()
            node = items[step] if step < len(items) else node
        else:
            node = node.get(step) or node
    return node


def check_policy(
    policy: models.Policy, node: Node, values: Mapping[str, Any], findings: Findings
) -> Lowered:
    """Check and lower a policy. Meaningless where *findings* has errors afterwards."""
    return _PolicyCheck(policy, node, values, findings).lower()


class _PolicyCheck:
    def __init__(
        self, policy: models.Policy, node: Node, values: Mapping[str, Any], findings: Findings
    ) -> None:
        self._policy = policy
        self._node = child(node, "spec")
        self._metadata = child(node, "metadata")
        self._findings = findings
        self._conditions = Conditions(findings, _environment(policy, values, child(node, "spec")))

    def lower(self) -> Lowered:
        policy, spec = self._policy, self._policy.spec
        _check_scope(policy.metadata.id, policy.metadata.tenant, self._metadata, self._findings)
        self.check_ids()
        if not (spec.rules or spec.budgets or spec.rate_limits):
            self._findings.warning(
                "ENF0506",
                "the policy has no rules, budgets or rate limits",
                self._node.span,
                help="add one, or remove the policy",
            )
        self._check_variables()
        exceptions = self._exceptions()
        match = self._guard(spec.match, "match")
        unless = self._guard(spec.unless, "unless")
        present = frozenset[str]()
        if match is not None:
            present |= absent_false(match)
        if unless is not None:
            present |= absent_true(unless)
        rules = [
            self._rule(rule, at, (match, unless), present, exceptions)
            for at, rule in enumerate(spec.rules)
        ]
        enabled = [rule for rule in rules if rule is not None]
        return Lowered(
            policy,
            match,
            unless,
            tuple(sorted(enabled, key=lambda rule: rule.id)),
            self._limits(spec.budgets, "budgets", self._budget),
            self._limits(spec.rate_limits, "rate_limits", self._rate_limit),
            tuple(self._conditions.expressions),
        )

    def check_ids(self) -> None:
        spec = self._policy.spec
        named: tuple[tuple[str, Iterable[Any]], ...] = (
            ("rules", spec.rules),
            ("budgets", spec.budgets),
            ("rate_limits", spec.rate_limits),
            ("exceptions", spec.exceptions),
        )
        for key, each in named:
            seen: dict[str, Span] = {}
            for at, item in enumerate(each):
                span = child(self._node, key, at, "id").span
                check_id(item.id, span, self._findings)
                if item.id in seen:
                    self._findings.error(
                        "ENF0207",
                        f"the id `{item.id}` stands twice in `{key}`",
                        span,
                        help=f"it is already at line {seen[item.id].line}",
                    )
                seen.setdefault(item.id, span)

    def _check_variables(self) -> None:
        environment = self._conditions.environment
        for name in self._policy.spec.variables:
            span = child(self._node, "variables", name).span
            is_name = name.isidentifier() and name.isascii()
            if not is_name or name in RESERVED_NAMES:
                self._findings.error(
                    "ENF0706",
                    f"a variable cannot be called `{name}`",
                    span,
                    help="a simple name, that no fact, type or word of the language has",
                )
            else:
                resolve_variable(name, environment, self._findings)

    def _exceptions(self) -> dict[str, tuple[ExceptionCode, ...]]:
        """The exceptions of each rule, by its id."""
        spec = self._policy.spec
        known = {rule.id for rule in spec.rules}
        found: dict[str, tuple[ExceptionCode, ...]] = {}
        for at, exception in enumerate(spec.exceptions):
            node = child(self._node, "exceptions", at)
            expires_us = _moment_us(exception.expires)
            if expires_us is None:
                said, help_line = f"`{exception.expires}` is no date", "write `2026-12-31`"
                self._findings.error("ENF0707", said, child(node, "expires").span, help=help_line)
            unknown = [each for each in exception.rules if each not in known]
            if unknown:
                said = f"the policy has no rule `{unknown[0]}`"
                help_line = f"there are: {', '.join(sorted(known)) or 'none'}"
                self._findings.error("ENF0707", said, child(node, "rules").span, help=help_line)
            condition: Expr | None = ALWAYS
            if exception.when is not None:
                condition = self._conditions.build(exception.when, child(node, "when"))
            if condition is None or expires_us is None:
                continue
            told = (
                f"exception {exception.id}, approved by {exception.approved_by} until "
                f"{exception.expires}: {exception.reason}"
            )
            code = ExceptionCode(exception.id, condition, expires_us, told)
            for rule in exception.rules:
                found[rule] = (*found.get(rule, ()), code)
        return found

    def _guard(self, condition: models.Condition | str | None, key: str) -> Expr | None:
        if condition is None:
            return None
        return self._conditions.build(condition, child(self._node, key))

    def _condition(self, rule: models.Rule, node: Node, present: frozenset[str]) -> Expr | None:
        """What a rule asks, in either notation or both; None where it has an error."""
        asked: dict[str, models.Condition | str | None] = {
            "condition": rule.condition,
            "when": rule.when,
        }
        built = [
            self._conditions.build(condition, child(node, key), present)
            for key, condition in asked.items()
            if condition is not None
        ]
        terms = tuple(each for each in built if each is not None)
        if len(terms) < len(built):
            return None
        return terms[0] if len(terms) == 1 else narrowed(All(terms), present)

    def _rule(
        self,
        rule: models.Rule,
        at: int,
        guards: tuple[Expr | None, Expr | None],
        present: frozenset[str],
        exceptions: Mapping[str, tuple[ExceptionCode, ...]],
    ) -> RuleCode | None:
        node = child(self._node, "rules", at)
        condition = self._condition(rule, node, present)
        edits = Edits(self._findings).build(rule, node)
        template = None
        if rule.reason is not None and "{{" in rule.reason:
            template = self._conditions.template(rule.reason, child(node, "reason"))
        if not rule.enabled or condition is None:
            return None
        policy = self._policy
        priority, verdict = policy.spec.priority, rule.verdict
        match = Match(
            policy.metadata.id,
            rule.id,
            verdict,
            rule.code or f"policy_{verdict}",
            rule.reason or f"rule {rule.id} of policy {policy.metadata.id}",
            priority,
            edits,
        )
        failure = None
        if verdict in {"deny", "modify"} and policy.spec.on_error == "deny":
            said = f"rule {rule.id} of policy {policy.metadata.id} could not be evaluated"
            failure = Match(policy.metadata.id, rule.id, "deny", EVALUATION_ERROR, said, priority)
        read = [each for each in (condition, *guards) if each is not None]
        return RuleCode(
            rule.id,
            verdict,
            condition,
            rule.phases or policy.spec.phases,
            match,
            failure,
            frozenset(field.path for each in read for field in fields_of(each)),
            exceptions.get(rule.id, ()),
            template,
        )

    def _limits(
        self,
        limits: tuple[Any, ...],
        key: str,
        check: Callable[[Any, Node], Limit | None],
    ) -> tuple[Limit, ...]:
        built = [check(limit, child(self._node, key, at)) for at, limit in enumerate(limits)]
        return tuple(sorted((each for each in built if each), key=lambda each: each.model.id))

    def _budget(self, budget: models.Budget, node: Node) -> Limit | None:
        paths = self._key(budget.key, node)
        table = self._table(budget.limit_usd, child(node, "limit_usd"), usd_nano)
        reaction = budget.on_exceeded
        if isinstance(reaction, models.Downgrade) and not reaction.downgrade.strip("/"):
            span = child(node, "on_exceeded").span
            said = "`downgrade` names no model"
            self._findings.error("ENF0304", said, span, help="write `{downgrade: gpt-4o-mini}`")
            return None
        if budget.span == "tenant" and isinstance(budget.limit_usd, dict):
            self._findings.error(
                "ENF0209",
                "a budget of the whole tenant has one limit",
                child(node, "limit_usd").span,
                help="write a number: who lends slices of it sees no request to choose by",
            )
            return None
        return Limit(budget, paths, table) if table and paths is not None else None

    def _rate_limit(self, limit: models.RateLimit, node: Node) -> Limit | None:
        paths = self._key(limit.key, node)
        if (limit.limit_requests is None) == (limit.limit_tokens is None):
            self._findings.error(
                "ENF0209",
                "a rate limit has one of `limit_requests` and `limit_tokens`",
                node.span,
                help="two limits are two entries of `rate_limits`",
            )
            return None
        key = "limit_tokens" if limit.limit_requests is None else "limit_requests"
        if limit.on_exceeded == "cap" and key == "limit_requests":
            span = child(node, "on_exceeded").span
            said = "`cap` lowers tokens, and this limit counts requests"
            self._findings.error("ENF0304", said, span, help="write `deny` or `warn`")
            return None
        table = self._table(getattr(limit, key), child(node, key), _count)
        burst = None
        if limit.burst is not None:
            burst = self._table(limit.burst, child(node, "burst"), _count)
            if burst is None:
                return None
        return Limit(limit, paths, table, burst) if table and paths is not None else None

    def _key(self, key: Any, node: Node) -> tuple[str, ...] | None:
        texts = () if key is None else (key,) if isinstance(key, str) else tuple(key)
        span = child(node, "key").span
        fields = [_resolve_key(text, span, self._findings) for text in texts]
        if any(field is None for field in fields):
            return None
        return tuple(str(field) for field in fields)

    def _table(self, written: Any, node: Node, convert: Callable[[Any], int]) -> Table[int] | None:
        if not isinstance(written, dict):
            amount = self._amount(written, node.span, convert)
            return None if amount is None else Table(amount)
        if "by" not in written or "default" not in written or not isinstance(written["by"], str):
            self._findings.error(
                "ENF0209",
                "a limit by table has `by: path` and a `default`",
                node.span,
                help="for example `{by: team.tier, gold: 500, default: 50}`",
            )
            return None
        field = _resolve_key(written["by"], child(node, "by").span, self._findings)
        amounts = {
            key: self._amount(amount, child(node, key).span, convert)
            for key, amount in written.items()
            if key != "by"
        }
        if field is None or any(amount is None for amount in amounts.values()):
            return None
        entries = {key: amount for key, amount in amounts.items() if amount is not None}
        return Table(entries.pop("default"), str(field), entries)

    def _amount(self, written: Any, span: Span, convert: Callable[[Any], int]) -> int | None:
        try:
            return convert(written)
        except AmountError as error:
            self._findings.error(
                "ENF0208", str(error), span, help="a plain number, without a unit or quotes"
            )
            return None


def _moment_us(text: str) -> int | None:
    """Microseconds of a date, at its beginning in UTC, or of a time with its offset; None of other texts."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        if len(text) != len("2026-12-31"):
            return None
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _count(written: Any) -> int:
    if isinstance(written, bool) or not isinstance(written, int):
        raise AmountError("a count must be a whole number")
    if not 1 <= written <= COUNT_MAX:
        raise AmountError("a count must be from 1 to 10^12")
    return written


def check_id(text: str, span: Span, findings: Findings) -> None:
    if not is_id(text):
        findings.error("ENF0206", f"`{text}` cannot be an id", span, help=ID_HELP)


def _check_scope(id_: str, tenant: str, metadata: Node, findings: Findings) -> None:
    check_id(id_, child(metadata, "id").span, findings)
    if tenant != "*":
        check_id(tenant, child(metadata, "tenant").span, findings)


def _resolve_key(text: str, span: Span, findings: Findings) -> Field | None:
    """A field that can be a key or select an entry: of the request as it came, and no collection."""
    field = resolve_path(text, span, findings)
    if field is None:
        return None
    collections = {Kind.LIST, Kind.MAP, Kind.RECORD, Kind.JSON, Kind.TIME}
    if field.origin in {Origin.FACT, Origin.NOW} or field.type.kind in collections:
        findings.error(
            "ENF0209",
            f"`{text}` cannot be a key: it is derived, or no single value",
            span,
            help="use a field such as `user.id`, or an attribute",
        )
        return None
    return field


def resolve_path(text: str, span: Span, findings: Findings) -> Field | None:
    try:
        return resolve(text)
    except FieldError as error:
        findings.error(error.code, str(error), span, help=error.help)
        return None


def check_values(document: models.Values, node: Node, findings: Findings) -> dict[str, Any]:
    """The named lists and maps of a Values document."""
    _check_scope(document.metadata.id, document.metadata.tenant, child(node, "metadata"), findings)
    spec = child(node, "spec")
    for name, value in document.spec.items():
        span = child(spec, name).span
        check_id(name, span, findings)
        if not isinstance(value, (list, dict)):
            findings.error(
                "ENF0203",
                f"`{name}` is no list and no map",
                span,
                help="a single value stands where it is used",
            )
    return dict(document.spec)
