"""
Programs: the compiled policies of a scope, and of a tenant.

A scope is compiled once per set of documents; a tenant's program is the composition of the scope ``*``
and its own, which is cheap: verdicts join, so functions of both are called in one canonical order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from enforcer.detect import pii
from enforcer.policy import documents as models
from enforcer.policy.amounts import PERIODS_US
from enforcer.policy.canonical import policy_digest, set_digest
from enforcer.policy.checker import Lowered, check_policy, check_values
from enforcer.policy.compiler import compile_guard, compile_run
from enforcer.policy.expressions import literals
from enforcer.policy.failures import Failures
from enforcer.policy.fields import Cost
from enforcer.policy.findings import Findings, raise_errors
from enforcer.policy.index import Index
from enforcer.policy.ir import ALWAYS, Leaf, Test, atoms, can_err, cost
from enforcer.policy.limits import BudgetLimit, RateLimit
from enforcer.policy.model import (
    NOTHING,
    Evaluation,
    FactsView,
    LimitsView,
    Match,
    PolicyCode,
    RuleErrorInfo,
)
from enforcer.policy.rechecking import concerned, touched
from enforcer.policy.requirements import both, either, requirements_of
from enforcer.policy.running import run_all
from enforcer.policy.settings import TenantSettings
from enforcer.policy.steps import finish
from enforcer.policy.stops import CODE as STOPPED
from enforcer.policy.stops import StopCode, check_stop, stopping
from enforcer.policy.tenants import check_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from enforcer.events import Request
    from enforcer.policy.loader import Document
    from enforcer.policy.paths import Path
    from enforcer.policy.steps import Steps

# Of each program, so that hostile requests cannot make it grow.
_CACHE_ENTRIES_MAX = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class ScopeProgram:
    """The compiled documents of one scope: ``*`` or a tenant."""

    scope: str
    digest: str  # Of the set.
    documents: int
    policies: tuple[PolicyCode, ...]
    budgets: tuple[BudgetLimit, ...]
    rate_limits: tuple[RateLimit, ...]
    settings: TenantSettings | None
    stops: tuple[StopCode, ...] = ()
    values_digest: str = ""  # Of its Values documents.

    @property
    def names_tenant(self) -> bool:
        """Whether it makes its tenant known: by a Tenant document, or a policy of its own."""
        return self.settings is not None or bool(self.policies)


def compile_scope(
    documents: Iterable[Document], scope: str, *, previous: ScopeProgram | None = None
) -> ScopeProgram:
    """
    Compile the documents of one scope; those of others are passed over.

    Args:
        documents: As loaded.
        scope: ``*`` or a tenant.
        previous: The scope's program before a change: what did not change is taken over from it.

    Raises: PolicyError, if a document does not check.
    """
    return finish(compile_scope_steps(documents, scope, previous=previous))


def compile_scope_steps(
    documents: Iterable[Document], scope: str, *, previous: ScopeProgram | None = None
) -> Steps[ScopeProgram]:
    """:func:`compile_scope`, a document's check or a function at a step: others may run between two of them."""
    own = sorted((each for each in documents if each.scope == scope), key=lambda each: each.digest)
    findings = Findings()
    settings: TenantSettings | None = None
    values: dict[str, Any] = {}
    for document in own:
        if isinstance(document.model, models.Tenant):
            settings = check_tenant(document.model, document.node, findings)
        elif isinstance(document.model, models.Values):
            values.update(check_values(document.model, document.node, findings))
    values_digest = set_digest(each.digest for each in own if each.kind == "Values")
    yield
    kept = _kept(previous, values_digest)
    documents_of_policies = [each for each in own if isinstance(each.model, models.Policy)]
    lowered: dict[str, Lowered] = {}
    for each in documents_of_policies:
        if isinstance(each.model, models.Policy) and each.digest not in kept:
            yield
            lowered[each.digest] = check_policy(each.model, each.node, values, findings)
    yield
    stops = tuple(
        check_stop(document.model, document.node, findings)
        for document in own
        if isinstance(document.model, models.Stop)
    )
    raise_errors(findings.sorted())
    parts: list[_Part] = []
    for each in documents_of_policies:
        part = kept.get(each.digest)
        parts.append(part or (yield from _part(lowered.pop(each.digest), each.digest)))
    yield
    return ScopeProgram(
        scope,
        set_digest(document.digest for document in own),
        len(own),
        tuple(part.code for part in parts),
        tuple(limit for part in parts for limit in part.budgets),
        tuple(limit for part in parts for limit in part.rate_limits),
        settings,
        tuple(sorted(stops)),
        values_digest,
    )


class _Part(NamedTuple):
    """What one policy comes to."""

    code: PolicyCode
    budgets: tuple[BudgetLimit, ...]
    rate_limits: tuple[RateLimit, ...]


def _kept(previous: ScopeProgram | None, values_digest: str) -> dict[str, _Part]:
    """
    What can be taken over from a program before a change, by digest of its document.

    A policy is its document and the values it may read: with other values nothing is taken over.
    """
    if previous is None or previous.values_digest != values_digest:
        return {}
    budgets: dict[PolicyCode, list[BudgetLimit]] = {}
    for budget in previous.budgets:
        budgets.setdefault(budget.code, []).append(budget)
    rates: dict[PolicyCode, list[RateLimit]] = {}
    for rate in previous.rate_limits:
        rates.setdefault(rate.code, []).append(rate)
    return {
        code.digest: _Part(code, tuple(budgets.get(code, ())), tuple(rates.get(code, ())))
        for code in previous.policies
    }


def _part(lowered: Lowered, digest: str) -> Steps[_Part]:
    code = yield from _compile(lowered, digest)
    if not lowered.model.spec.enabled:
        return _Part(code, (), ())
    return _Part(code, tuple(_budgets(lowered, code)), tuple(_rate_limits(lowered, code)))


def _compile(lowered: Lowered, digest: str) -> Steps[PolicyCode]:
    policy = lowered.model
    match, unless = lowered.match, lowered.unless
    rules = lowered.rules if policy.spec.enabled else ()
    failures = Failures(policy.metadata.id, rules, match, unless)
    denies = [rule for rule in rules if rule.verdict == "deny"]
    yield
    guard = compile_guard(match or ALWAYS, unless)
    yield
    run = compile_run(match=match, unless=unless, rules=rules, failures=failures)
    yield
    return PolicyCode(
        id=policy.metadata.id,
        scope=policy.metadata.tenant,
        priority=policy.spec.priority,
        digest=digest,
        shadow=policy.spec.mode == "shadow",
        rules=rules,
        run=run,
        guard=guard,
        is_guarded=match is not None or unless is not None,
        on_error=policy.spec.on_error,
        has_deny=bool(denies),
        deny_cost=max((cost(rule.condition) for rule in denies), default=Cost.FIELD),
        requirements=_requirements(lowered),
        pii_kinds=_pii_kinds(lowered),
    )


def _pii_kinds(lowered: Lowered) -> frozenset[str]:
    """The kinds of personal data that conditions name: in a path, or as a literal beside ``pii``."""
    named: set[Any] = set()
    guards = [each for each in (lowered.match, lowered.unless) if each is not None]
    conditions = [rule.condition for rule in lowered.rules]
    exempting = [code.condition for rule in lowered.rules for code in rule.exceptions]
    for expression in (*guards, *conditions, *exempting):
        for atom in atoms(expression):
            fields = [atom.field] if isinstance(atom, Test) else atom.fields
            # `pii.at` looks for all kinds, and for itself alone.
            read = [f for f in fields if f.path[0] == "pii" and f.argument is None]
            named.update(step for field in read for step in field.path[2:])
            if read:
                named.update(_texts(atom))
    return frozenset(named & set(pii.KINDS))


def _texts(atom: Test | Leaf) -> Iterator[str]:
    """The texts that a condition compares with."""
    if isinstance(atom, Test):
        values = atom.value if isinstance(atom.value, list) else [atom.value]
    else:
        values = [*literals(atom.root)]
        for fact in atom.facts:
            if fact.field is None and isinstance(fact.value, (list, dict)):
                values.extend(fact.value)
    return (value for value in values if isinstance(value, str))


def _requirements(lowered: Lowered) -> dict[Path, frozenset[str]]:
    """
    What a request must have for the policy's function to do anything.

    The rules' own tests count only where neither guard can err: an erring guard is told, and fails
    every rule, whatever the rules' conditions say.
    """
    guard = {} if lowered.match is None else requirements_of(lowered.match)
    guards = [each for each in (lowered.match, lowered.unless) if each is not None]
    if any(can_err(each) for each in guards):
        return guard
    return both([guard, either([requirements_of(rule.condition) for rule in lowered.rules])])


def _budgets(lowered: Lowered, code: PolicyCode) -> Iterable[BudgetLimit]:
    for limit in lowered.budgets:
        assert isinstance(limit.model, models.Budget)
        reaction = limit.model.on_exceeded
        yield BudgetLimit(
            policy=code.id,
            id=limit.model.id,
            paths=limit.paths,
            per=limit.model.per,
            on_exceeded="downgrade" if isinstance(reaction, models.Downgrade) else reaction,
            on_missing_key=limit.model.on_missing_key,
            shadow=code.shadow,
            priority=code.priority,
            table=limit.table,
            code=code,
            downgrade_to=reaction.downgrade if isinstance(reaction, models.Downgrade) else None,
            span=limit.model.span,
        )


def _rate_limits(lowered: Lowered, code: PolicyCode) -> Iterable[RateLimit]:
    for limit in lowered.rate_limits:
        assert isinstance(limit.model, models.RateLimit)
        yield RateLimit(
            policy=code.id,
            id=limit.model.id,
            paths=limit.paths,
            period_us=PERIODS_US[limit.model.per],
            unit="requests" if limit.model.limit_tokens is None else "tokens",
            on_exceeded=limit.model.on_exceeded,
            on_missing_key=limit.model.on_missing_key,
            shadow=code.shadow,
            priority=code.priority,
            table=limit.table,
            burst_table=limit.burst,
            code=code,
        )


def compile_tenant(
    global_: ScopeProgram | None,
    own: ScopeProgram | None,
    tenant: str,
    *,
    invalid: str = "",
    stops: ScopeProgram | None = None,
) -> TenantProgram:
    """
    The program of a tenant: the policies of ``*`` and its own, in canonical order.

    A scope that has no set is None. Without a document of its own the tenant is not known. *invalid* says
    why a set that should be in force is not: every request of the tenant is then denied. *stops* is the scope ``!``.
    """
    return TenantProgram(global_, own, tenant, invalid=invalid, stops=stops)


class TenantProgram:
    """All policies in force for a tenant, ready to evaluate its requests."""

    __slots__ = (
        "_has_exceptions",
        "_index",
        "_recheck_cache",
        "_shadow_index",
        "budgets",
        "default_kinds",
        "invalid",
        "known",
        "looked_for",
        "made",
        "pii_kinds",
        "policies",
        "policy_digest",
        "policy_sets",
        "rate_limits",
        "settings",
        "shadow_budgets",
        "shadow_rate_limits",
        "stops",
        "tenant",
    )

    def __init__(
        self,
        global_: ScopeProgram | None,
        own: ScopeProgram | None,
        tenant: str,
        *,
        invalid: str = "",
        stops: ScopeProgram | None = None,
    ) -> None:
        scopes = [scope for scope in (global_, own) if scope is not None]
        self.tenant = tenant
        self.invalid = invalid
        self.made: dict[bytes, Any] = {}
        self.looked_for: set[str | float] = set()
        """What its rules have asked of texts so far: a guess at what the next request's will, on which no decision depends."""
        self.known = own is not None and own.names_tenant
        settings = own.settings if own is not None else None
        self.settings = settings or TenantSettings(tenant)
        self.stops = tuple(
            stop for stop in (stops.stops if stops else ()) if stop.tenant in (None, tenant)
        )
        named = [*scopes, stops] if stops is not None else scopes
        self.policy_sets: dict[str, str] = {scope.scope: scope.digest for scope in named}
        self.policy_digest = policy_digest(self.policy_sets)
        every = [policy for scope in scopes for policy in scope.policies]
        self.default_kinds: frozenset[str] = pii.DEFAULT | self.settings.pii_kinds
        # What facts must look for: a kind that no scan looks for would never be found.
        self.pii_kinds: frozenset[str] = self.default_kinds.union(*(p.pii_kinds for p in every))
        policies = [policy for policy in every if policy.rules]
        policies.sort(key=lambda each: (-each.priority, each.id, each.scope))
        self.policies: tuple[PolicyCode, ...] = tuple(policies)
        self._has_exceptions = any(rule.exceptions for each in every for rule in each.rules)
        self._index = Index(tuple(each for each in policies if not each.shadow))
        shadow = tuple(each for each in policies if each.shadow)
        self._shadow_index = Index(shadow) if shadow else None
        budgets = _ordered([limit for scope in scopes for limit in scope.budgets])
        self.budgets: tuple[BudgetLimit, ...] = tuple(b for b in budgets if not b.shadow)
        self.shadow_budgets: tuple[BudgetLimit, ...] = tuple(b for b in budgets if b.shadow)
        rates = _ordered([limit for scope in scopes for limit in scope.rate_limits])
        self.rate_limits: tuple[RateLimit, ...] = tuple(r for r in rates if not r.shadow)
        self.shadow_rate_limits: tuple[RateLimit, ...] = tuple(r for r in rates if r.shadow)
        self._recheck_cache: dict[
            tuple[str, ...], tuple[tuple[PolicyCode, frozenset[Match]], ...]
        ] = {}

    def retire(self) -> None:
        """
        Not in force any more: let go what was made of it.

        That refers to the program, and a worker collects its heap as good as never: the circle is opened here, so that the
        program and all that was kept for its users go with the last who decides by it.
        """
        self.made.clear()

    @property
    def is_watched(self) -> bool:
        """Whether each evaluation is kept for somebody: then none may pass by ``evaluate``."""
        return False

    @property
    def shadow_policies(self) -> bool:
        """Whether policies are tried out on its requests."""
        return self._shadow_index is not None

    def candidates(self, request: Request) -> tuple[PolicyCode, ...]:
        """The policies in force that *request* can concern, in canonical order."""
        return self._index.candidates(request)

    def shadow_candidates(self, request: Request) -> tuple[PolicyCode, ...]:
        """The same of the policies that are tried out."""
        return () if self._shadow_index is None else self._shadow_index.candidates(request)

    @property
    def principals(self) -> tuple[str, ...]:
        """Who may send as this tenant; empty: not restricted here."""
        return self.settings.principals

    def evaluate(
        self,
        request: Request,
        facts: FactsView,
        *,
        now_us: int | None = None,
        limits: LimitsView | None = None,
    ) -> Evaluation:
        """
        Step 1 of a decision: all enabled rules, on the request as it came, in canonical order.

        Args:
            request: As it came.
            facts: Its facts; only those are computed that a rule needs.
            now_us: Event time, for conditions on ``now``; without it they err.
            limits: Rows as they were before the request, for ``budget()`` and ``rate()``; without it they err.
        """
        arguments = (request, facts, now_us, limits)
        hits: list[Match] = []
        errors: list[RuleErrorInfo] = []
        run_all(self._index.candidates(request), arguments, hits, errors)
        if self._shadow_index is not None:
            shadow: list[Match] = []
            run_all(self._shadow_index.candidates(request), arguments, shadow, errors)
            return self._found(hits, errors, shadow)
        return self._found(hits, errors, ()) if hits or errors else NOTHING

    def _found(
        self, hits: list[Match], errors: list[RuleErrorInfo], shadow: Sequence[Match]
    ) -> Evaluation:
        """Uses of exceptions join no verdict: they stand apart, and those of shadow policies are not told."""
        if not self._has_exceptions:
            return Evaluation(hits, errors, shadow)
        uses = [each for each in hits if each.verdict == "exempt"]
        matches = [each for each in hits if each.verdict != "exempt"]
        return Evaluation(matches, errors, [e for e in shadow if e.verdict != "exempt"], uses)

    def stopped(self, request: Request) -> str | None:
        """Why *request* is stopped, whatever the policies say; None: it is not."""
        if not self.stops:
            return None
        stop = stopping(self.stops, request, self.settings.models)
        return None if stop is None else stop.message

    def recheck(
        self,
        request: Request,
        facts: FactsView,
        edited_paths: Iterable[str],
        *,
        now_us: int | None = None,
        limits: LimitsView | None = None,
    ) -> list[Match]:
        """
        Step 3: the deny rules that read an edited path, on the edited request.

        Args:
            request: After the edits.
            facts: Of the edited request.
            edited_paths: Paths (``llm.model``) or JSON pointers (``/llm/messages/3/content``).
            now_us: As for ``evaluate``.
            limits: As for ``evaluate``.
        """
        found: list[Match] = []
        stopped = self.stopped(request)
        if stopped is not None:
            found.append(Match("", "", "deny", STOPPED, stopped, 0))
        for policy, wanted in self._recheck_plan(tuple(edited_paths)):
            hits: list[Match] = []
            policy.run(request, facts, now_us, limits, True, hits, [])
            found.extend(
                hit for hit in hits if (hit.origin or hit) in wanted or hit.verdict == "exempt"
            )
        return found

    def _recheck_plan(
        self, edited_paths: tuple[str, ...]
    ) -> tuple[tuple[PolicyCode, frozenset[Match]], ...]:
        plan = self._recheck_cache.get(edited_paths)
        if plan is None:
            paths = touched(edited_paths)
            pairs = ((each, concerned(each, paths)) for each in self.policies if not each.shadow)
            plan = tuple((policy, wanted) for policy, wanted in pairs if wanted)
            if len(self._recheck_cache) >= _CACHE_ENTRIES_MAX:
                self._recheck_cache.clear()
            self._recheck_cache[edited_paths] = plan
        return plan


def _ordered(limits: list[Any]) -> tuple[Any, ...]:
    return tuple(
        sorted(limits, key=lambda each: (-each.priority, each.policy, each.id, each.code.scope))
    )
