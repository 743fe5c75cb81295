"""
Rate limits and budgets: which rows a request needs, and what they say.

The rows follow from the request as it came, so every one is known before evaluation: ``plan`` names them. What
names a person never becomes part of a key: values under ``user`` and the caller's address are replaced by keyed
pseudonyms, the same for the same value as long as the key is the same.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from enforcer import detect, events, state
from enforcer.errors import CostExceedsBurstError
from enforcer.policy import key_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from enforcer.policy import BudgetLimit, FactsView, RateLimit, TenantProgram, TenantSettings
    from enforcer.state import Rows

PSEUDONYM_BYTES = 10
PERIODS = {1_000_000: "second", 60_000_000: "minute", 3_600_000_000: "hour", 86_400_000_000: "day"}
US_PER_MS = 1_000
BOOKED_USD_NANO_MAX = 1 << 62  # Past its limit: a row has 64 bits, and even `warn` ends there.
FULL_AT_US_MAX = 1 << 62  # The same for rate limits.
SHADOW = "~"  # Begins the policy's name in the row keys of limits that are only tried out.
ESTIMATE = 1  # Marks units that usage settles, until the reservation's expiry takes its place.


class PlannedBudget(NamedTuple):
    """A budget that applies, its row, and its key as decisions show it."""

    limit: BudgetLimit
    row: str
    key: str
    limit_usd_nano: int
    until_us: int
    is_leased: bool = False
    """Of the whole tenant, of which this partition holds a slice."""
    is_pending: bool = False
    """Its owner has not said that it has no more to lend."""


class PlannedRate(NamedTuple):
    """A rate limit that applies, and its row."""

    limit: RateLimit
    row: str
    quota: state.Quota


class Plan(NamedTuple):
    """Everything about limits that the request alone determines."""

    budgets: tuple[PlannedBudget, ...]
    rates: tuple[PlannedRate, ...]
    missing: tuple[events.Reason, ...]
    errors: tuple[events.RuleError, ...]
    failed: tuple[events.Reason, ...]
    shadow: Plan | None = None
    """Of the limits of shadow policies, which have rows of their own; None where there are none."""
    is_leased: bool = False
    """Whether a budget in it, or in its shadow, is."""


NOTHING = Plan((), (), (), (), ())


@lru_cache(maxsize=16_384)
def pseudonym(value: str, key: bytes) -> str:
    """A keyed pseudonym: equal for equal values, telling nothing without the key."""
    return blake2b(
        value.encode("utf-8", "surrogatepass"), key=key, digest_size=PSEUDONYM_BYTES
    ).hexdigest()


def _names_a_person(path: str) -> bool:
    # Texts of the call, and what is read from the JSON as it came, may hold anything.
    return path.startswith(("user.", "caller.ip", "llm.messages", "llm.prompt", "raw."))


def row_values(
    values: Sequence[str | None], paths: Sequence[str], pseudonym_key: bytes
) -> list[str | None]:
    """Key values as they may stand in a row's key."""
    return [
        pseudonym(value, pseudonym_key) if value and _names_a_person(path) else value
        for value, path in zip(values, paths, strict=True)
    ]


@lru_cache(maxsize=16_384)
def row_part(values: tuple[str | None, ...], paths: tuple[str, ...], pseudonym_key: bytes) -> str:
    """The key part of a row: the same few thousand users and teams ask for it again and again."""
    return state.key_part(row_values(values, paths, pseudonym_key))


def plan(
    program: TenantProgram,
    request: events.Request,
    facts: FactsView,
    *,
    account: str,
    now_us: int,
    pseudonym_key: bytes,
) -> Plan:
    """
    The limits that apply to *request*, with their rows; those of shadow policies apart.

    Args:
        program: Of the request's tenant.
        request: As it came.
        facts: Its facts, for the guards.
        account: Whose rows they are.
        now_us: Event time: it says which window.
        pseudonym_key: For keys that name a person.
    """
    if program.shadow_budgets or program.shadow_rate_limits:
        live, shadow = (
            _planned(
                limits,
                request,
                account=account,
                zone=program.settings.time_zone,
                by_team="team.id" in program.settings.account_by,
                found=_Planning(request, facts, now_us, pseudonym_key),
            )
            for limits in (
                (program.budgets, program.rate_limits),
                (program.shadow_budgets, program.shadow_rate_limits),
            )
        )
        # What errs is told of both; the deny that comes of it stays where it belongs.
        return live._replace(
            errors=(*live.errors, *shadow.errors),
            shadow=shadow,
            is_leased=live.is_leased or shadow.is_leased,
        )
    if not program.budgets and not program.rate_limits:
        return NOTHING
    return _planned(
        (program.budgets, program.rate_limits),
        request,
        account=account,
        zone=program.settings.time_zone,
        by_team="team.id" in program.settings.account_by,
        found=_Planning(request, facts, now_us, pseudonym_key),
    )


def _planned(
    limits: tuple[Sequence[BudgetLimit], Sequence[RateLimit]],
    request: events.Request,
    *,
    account: str,
    zone: str,
    by_team: bool,
    found: _Planning,
) -> Plan:
    now_us = found.now_us
    budgets: list[PlannedBudget] = []
    is_any_leased = False
    for budget in limits[0]:
        part = found.key_of(budget)
        if part is not None:
            window = state.window(budget.per, zone, now_us)
            is_leased = by_team and budget.span == "tenant"
            whose = events.account_of(request.tenant, None) if is_leased else account
            row = state.budget_key(whose, policy_name(budget), budget.id, part, window.name)
            amount = budget.limit_usd_nano(request) or 0
            is_any_leased = is_any_leased or is_leased
            budgets.append(PlannedBudget(budget, row, part, amount, window.end_us, is_leased))
    rates: list[PlannedRate] = []
    for rate in limits[1]:
        part = found.key_of(rate)
        if part is not None:
            row = state.rate_key(account, policy_name(rate), rate.id, part)
            quota = state.Quota(rate.limit(request), rate.period_us, rate.burst(request))
            rates.append(PlannedRate(rate, row, quota))
    return Plan(
        tuple(budgets),
        tuple(rates),
        tuple(found.missing),
        tuple(found.errors),
        tuple(found.failed),
        is_leased=is_any_leased,
    )


def policy_name(limit: BudgetLimit | RateLimit) -> str:
    """
    The policy as row keys name it.

    A tenant's own and everybody's of the same id have rows of their own, and so has a policy in shadow: put in
    force, it begins at zero. Neither sign can begin an id.
    """
    name = f"*{limit.policy}" if limit.code.scope == "*" else limit.policy
    return f"{SHADOW}{name}" if limit.shadow else name


class _Planning:
    """What is found out about one request's limits, one limit at a time."""

    __slots__ = ("_facts", "_pseudonym_key", "_request", "errors", "failed", "missing", "now_us")

    def __init__(
        self,
        request: events.Request,
        facts: FactsView,
        now_us: int,
        pseudonym_key: bytes,
    ) -> None:
        self._request = request
        self._facts = facts
        self.now_us = now_us
        self._pseudonym_key = pseudonym_key
        self.missing: list[events.Reason] = []
        self.errors: list[events.RuleError] = []
        self.failed: list[events.Reason] = []

    def key_of(self, limit: BudgetLimit | RateLimit) -> str | None:
        """The key part of the limit's row, or None where the limit does not apply."""
        if not self._applies(limit):
            return None
        if not limit.paths:
            return ""
        values = key_values(self._request, limit.paths)
        if None in values:
            if limit.on_missing_key == "skip":
                return None
            if limit.on_missing_key == "deny":
                self.missing.append(_reason(limit, "deny", "missing_key", _missing(limit, values)))
                return None
        return row_part(tuple(values), limit.paths, self._pseudonym_key)

    def _applies(self, limit: BudgetLimit | RateLimit) -> bool:
        """Whether the limit's policy concerns the request; what errs is listed, and denies unless told to skip."""
        holds = limit.code.guard(self._request, self._facts, self.now_us)
        if holds is None:
            message = f"the match of policy `{limit.policy}` could not be evaluated"
            self.errors.append(
                events.RuleError(limit.policy, limit.id, "evaluation_error", message)
            )
            if limit.code.on_error != "skip":
                self.failed.append(_reason(limit, "deny", "evaluation_error", message))
            return False
        return holds


def _missing(limit: BudgetLimit | RateLimit, values: Iterable[str | None]) -> str:
    absent = [p for p, v in zip(limit.paths, values, strict=True) if v is None]
    return f"the request has no {' and no '.join(absent)}, by which `{limit.id}` counts"


def _reason(limit: BudgetLimit | RateLimit, verdict: str, code: str, message: str) -> events.Reason:
    return events.Reason(limit.policy, limit.id, verdict, code, message)


def _told(on_exceeded: str) -> str:
    """The verdict of an exceeded limit's reason: what caps or downgrades modifies, if the call can be made to fit."""
    return "modify" if on_exceeded in {"cap", "downgrade"} else on_exceeded


def check_rates(
    planned: Sequence[PlannedRate], rows: Rows, *, tokens: int, now_us: int
) -> tuple[list[events.Reason], list[events.Effect], int | None]:
    """
    Compare every rate limit with its bucket.

    Args:
        planned: The limits and their rows.
        rows: As they were before this request.
        tokens: Estimated input and output: what token limits cost.
        now_us: Event time.

    Returns: Reasons, the ``take`` effects that book the request, and the longest wait in ms.
    """
    reasons: list[events.Reason] = []
    effects: list[events.Effect] = []
    wait_ms: int | None = None
    for limit, row_key, quota in planned:
        in_tokens = limit.unit == "tokens"
        cost = tokens if in_tokens else 1
        row = rows.get(row_key)
        verdict = _told(limit.on_exceeded)
        if verdict == "warn" and _is_beyond_reason(row, quota, cost, now_us):  # type: ignore[arg-type]
            verdict = "deny"
        try:
            wait_us = state.wait_us(row, quota, cost=cost, now_us=now_us)  # type: ignore[arg-type]
        except CostExceedsBurstError as error:
            reasons.append(_reason(limit, verdict, "exceeds_burst", error.message))
            wait_us = 0
        if wait_us:
            if verdict == "deny":
                wait_ms = max(wait_ms or 0, -(-wait_us // US_PER_MS))
            what = f"{quota.limit} {limit.unit} per {PERIODS.get(limit.period_us, 'period')}"
            reasons.append(
                _reason(limit, verdict, "rate_limited", f"the limit of {what} is reached")
            )
        effects.append(
            events.Effect(
                "take",
                row_key,
                cost,
                now_us,
                ESTIMATE if in_tokens else 0,
                quota.limit,
                quota.period_us,
            )
        )
    return reasons, effects, wait_ms


def _is_beyond_reason(
    row: events.RateRow | None, quota: state.Quota, cost: int, now_us: int
) -> bool:
    """Whether taking *cost* would put the bucket's next full moment where 64 bits end."""
    full_at_us = now_us if row is None else max(row.full_at_us, now_us)
    return full_at_us + cost * quota.period_us // max(quota.limit, 1) > FULL_AT_US_MAX


def check_budgets(
    planned: Sequence[PlannedBudget], rows: Rows, *, cost_usd_nano: int
) -> tuple[list[events.Reason], list[events.Effect]]:
    """Compare every budget with its row: settled + reserved + this within the limit."""
    reasons: list[events.Reason] = []
    effects: list[events.Effect] = []
    for budget in planned:
        limit, row_key, _, limit_usd_nano, until_us = budget[:5]
        row = rows.get(row_key)
        if not state.admits(row, limit_usd_nano, cost_usd_nano):  # type: ignore[arg-type]
            remaining = state.remaining_usd_nano(row, limit_usd_nano)  # type: ignore[arg-type]
            left = max(remaining, 0)
            if budget.is_pending:
                reasons.append(_pending(limit, cost_usd_nano))
                effects.append(events.Effect("reserve", row_key, cost_usd_nano, 0, until_us))
                continue
            reasons.append(
                _reason(
                    limit,
                    _told(limit.on_exceeded) if remaining > -BOOKED_USD_NANO_MAX else "deny",
                    "budget_exceeded",
                    f"the budget of {usd(limit_usd_nano)} USD per {limit.per} has {usd(left)} left, "
                    f"the call may cost {usd(cost_usd_nano)}",
                )
            )
        effects.append(events.Effect("reserve", row_key, cost_usd_nano, 0, until_us))
    return reasons, effects


def _pending(limit: BudgetLimit, cost_usd_nano: int) -> events.Reason:
    """The reason of a call that this partition's slice does not hold, while the owner may have more."""
    message = f"this partition's slice of `{limit.id}` does not hold {usd(cost_usd_nano)} USD; more is asked for"
    return _reason(limit, _told(limit.on_exceeded), "lease_pending", message)


def unpriced(limit: BudgetLimit, model: str) -> events.Reason:
    """The denial of a model that has no price, where a budget applies."""
    message = f"no price is known for `{model}`, so it cannot be held to a budget"
    return _reason(limit, "deny", "unknown_model", message)


def views(planned: Sequence[PlannedBudget], rows: Rows) -> list[events.BudgetView]:
    """The budgets as they stand in *rows* now."""
    found = []
    for limit, row_key, key, limit_usd_nano, *_ in planned:
        row = rows.get(row_key)
        spent, reserved = (row.spent_usd_nano, row.reserved_usd_nano) if row is not None else (0, 0)  # type: ignore[union-attr]
        found.append(
            events.BudgetView(limit.policy, limit.id, key, limit_usd_nano, spent, reserved)
        )
    return found


def with_reserved(before: Sequence[events.BudgetView], amount: int) -> list[events.BudgetView]:
    """The same budgets after each has reserved *amount* more nano-USD."""
    return [
        events.BudgetView(
            v.policy, v.id, v.key, v.limit_usd_nano, v.spent_usd_nano, v.reserved_usd_nano + amount
        )
        for v in before
    ]


def ceiling_rates(settings: TenantSettings) -> detect.pricing.Rates | None:
    """The price that the tenant assumes for models nobody has a price of; None: they are denied."""
    ceiling = settings.unknown_model_ceiling_usd_per_mtok_nano
    if ceiling is None:
        return None
    return detect.pricing.Rates(ceiling, ceiling, ceiling, ceiling)


def usd(nano: int) -> str:
    """Nano-USD as people read it: cents, or as many digits as a small amount needs."""
    digits = 2 if nano >= 1_000_000_000 or nano == 0 else 6
    return f"{nano / 1_000_000_000:.{digits}f}"
