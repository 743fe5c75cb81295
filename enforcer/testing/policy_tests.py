"""
Runs the cases of a file of tests through the engine that agents run, and says what is not as expected.

Each case is one request on rows of its own. What a case says was spent or used before stands in exactly the rows
that its request reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from enforcer import detect, events, policy, state
from enforcer.engine import Arrival, Engine, EngineConfig, limits
from enforcer.errors import EnforcerError
from enforcer.policy.cases.reading import DEFAULT_TENANT
from enforcer.policy.tracing import PolicyTrace, TracedProgram, trace_policies, traced_policies
from enforcer.testing.expectations import Difference, differences, near

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from enforcer.policy.cases import ReadCase
    from enforcer.policy.tracing import TracedPolicy

_CONFIG: Final = EngineConfig()


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """A budget or rate limit that applied to a request, and whether the request went past it."""

    policy: str
    scope: str
    id: str
    exceeded: bool


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of one case: its decision as JSON, what differs, and what was looked at."""

    case: ReadCase
    differences: tuple[Difference, ...]
    decision: dict[str, Any]
    traces: tuple[PolicyTrace, ...] = ()
    limits: tuple[LimitSeen, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.differences


@dataclass(slots=True)
class Bench:
    """
    The documents under test, compiled once a tenant.

    A case that names no tenant is of the one whose policies these are; where they are everybody's, it is of a tenant
    that is known and has no settings of its own.
    """

    documents: tuple[policy.Document, ...]
    _programs: dict[str, tuple[TracedProgram, tuple[TracedPolicy, ...]]] = field(
        default_factory=dict
    )

    def tenant(self) -> str:
        """Whose a request is that does not say."""
        named = {each.scope for each in self.documents if each.kind == "Policy"} - {"*"}
        return next(iter(named)) if len(named) == 1 else DEFAULT_TENANT

    def program(
        self, tenant: str, *, is_implied: bool
    ) -> tuple[TracedProgram, tuple[TracedPolicy, ...]]:
        """The program of a tenant, and its policies term by term."""
        found = self._programs.get(tenant)
        if found is None:
            documents = self.documents
            if is_implied and not any(each.scope == tenant for each in documents):
                documents = (*documents, *_tenant(tenant))
            scopes = [
                policy.compile_scope(documents, scope)
                if any(each.scope == scope for each in documents)
                else None
                for scope in ("*", tenant)
            ]
            program = TracedProgram(scopes[0], scopes[1], tenant)
            found = self._programs[tenant] = (program, traced_policies(documents, tenant))
        return found

    def run(self, case: ReadCase) -> Tested:
        """Decide *case*, and compare the decision with what is expected."""
        is_implied = "tenant" not in case.request
        data = {"tenant": self.tenant(), **case.request}
        program, policies = self.program(str(data["tenant"]), is_implied=is_implied)
        program.forget()
        rows, queue = state.MemoryRows(), state.ExpiryQueue()
        value = orjson.dumps(data)
        unplaced = _placed(case, program, value, rows)
        if unplaced:
            return Tested(case, tuple(unplaced), {})
        source = events.Source("cases", 0, 0, 0, 0, 0)
        arrival = Arrival(None, value, source, case.now_us, case.now_us)
        outcome = Engine(_CONFIG).request(lambda _: program, arrival, rows, queue)
        if outcome.value is None:
            why = "" if outcome.dead_letter is None else outcome.dead_letter.reason
            return Tested(case, (Difference("request", "a request", why),), {})
        decision = events.read_decision(outcome.value)
        assert isinstance(decision, events.Decision), "an engine claims nothing"
        told = events.to_json(decision)
        found = differences(case.expect, told, data, decision.edits)
        traces: list[PolicyTrace] = []
        if program.asked is not None:
            # Every policy is walked, those too that the index passes over: their guards are false.
            every = frozenset(each.name for each in policies)
            traces = trace_policies(policies, program.asked, every, exempt=program.exempt)
        return Tested(case, tuple(found), told, tuple(traces), _limits_seen(program, told))


def _tenant(name: str) -> tuple[policy.Document, ...]:
    text = f"{{apiVersion: enforcer/v1, kind: Tenant, metadata: {{id: {name}}}}}"
    return policy.load([("implied.yaml", text)]).documents


def _placed(
    case: ReadCase, program: TracedProgram, value: bytes, rows: state.MemoryRows
) -> list[Difference]:
    """Write what was spent and used before into the rows that this request will read; what has no row."""
    if not case.rows:
        return []
    try:
        request = events.request_from_json(value)
        planned = _plan(program, request, case.now_us)
    except EnforcerError as error:
        return [Difference("request", "a request", error.message)]
    given = dict(case.rows)
    for budget in planned.budgets:
        row = given.pop(budget.limit.id, None)
        if row is not None:
            spent, reserved = _nano(row.spent_usd), _nano(row.reserved_usd)
            rows.put(budget.row, events.BudgetRow(spent, reserved, budget.until_us))
    for rate in planned.rates:
        row = given.pop(rate.limit.id, None)
        if row is not None:
            limit, period_us = rate.quota.limit, rate.quota.period_us
            used = row.used or 0
            effect = events.Effect("take", rate.row, used, case.now_us, 0, limit, period_us)
            state.apply_all(rows, [effect])
    known = [budget.limit.id for budget in planned.budgets]
    known += [rate.limit.id for rate in planned.rates]
    return [
        Difference(f"rows.{name}", "a limit that applies to this request", near(name, known))
        for name in sorted(given)
    ]


def _plan(program: TracedProgram, request: events.Request, now_us: int) -> limits.Plan:
    day = datetime.fromtimestamp(now_us / 1e6, UTC).date()
    facts = detect.RequestFacts(request, day=day, kinds=program.pii_kinds)
    account = events.account_of(request.tenant, request.team.id, program.settings.account_by)
    return limits.plan(
        program,
        request,
        facts,
        account=account,
        now_us=now_us,
        pseudonym_key=_CONFIG.pseudonym_key,
    )


def _nano(usd: Decimal | int | None) -> int:
    return 0 if usd is None else round(usd * 1_000_000_000)


_EXCEEDED = frozenset({"budget_exceeded", "rate_limited", "exceeds_burst"})


def _limits_seen(program: TracedProgram, told: dict[str, Any]) -> tuple[LimitSeen, ...]:
    """The limits that applied, told by the decision: those exceeded by their reasons."""
    exceeded = {
        (each["policy"], each["rule"])
        for each in (*told["reasons"], *told["warnings"])
        if each["code"] in _EXCEEDED
    }
    if program.asked is None:
        return ()
    asked = program.asked
    seen: list[LimitSeen] = []
    every: Iterable[Any] = (*program.budgets, *program.rate_limits)
    for limit in every:
        if limit.shadow or not limit.code.guard(asked.request, asked.facts, asked.now_us):
            continue
        is_missing = None in policy.key_values(asked.request, limit.paths)
        if is_missing and limit.on_missing_key != "shared":
            continue
        if told["verdict"] == "deny" and (limit.policy, limit.id) not in exceeded:
            continue  # Denied for another reason: whether it was within this limit is not told.
        was = (limit.policy, limit.id) in exceeded
        seen.append(LimitSeen(limit.policy, limit.code.scope, limit.id, was))
    return tuple(seen)
