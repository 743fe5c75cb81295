"""
One record, its rows and the time, to one decision and its effects. No clock, no I/O.

The order of one decision is law (LANGUAGE, "One decision, in order"): rules on the request as it came; the merged
edits; the deny rules that read what was edited, once more; tokens and cost of the edited request; rate limits and
budgets. Only if the joined verdict is no deny are all rows written, together: a denied request consumes nothing.

Everything fails closed. What the caller did wrong is a denial with its code; what a rule could not evaluate counts
as a deny where the rule denies or modifies; a bug becomes ``internal_error``, names no text, and costs one request.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import orjson

from enforcer import __version__, detect, events, state
from enforcer.engine import limits
from enforcer.engine.denials import DenialError, deny
from enforcer.engine.outcome import Arrival, Entry, Outcome
from enforcer.engine.verdict import rule_on
from enforcer.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.engine.ruling import Ruling
    from enforcer.policy import TenantProgram
    from enforcer.state import ExpiryQueue, Rows

REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
DECISION_BYTES_MAX: Final = 512 * 1024
REASONS_MAX: Final = 16
US_PER_DAY: Final = 86_400_000_000
UNREADABLE: Final = frozenset({"invalid_request", "too_large"})
"""Reason codes of denials whose input also went to the dead letters, when no row was opened for them."""

HTTP_STATUS: Final = {
    "invalid_request": 400,
    "too_large": 400,
    "misrouted": 400,
    "request_id_reused": 400,
    "budget_exceeded": 402,
    "rate_limited": 429,
    "exceeds_burst": 429,
}
"""By reason code; every other deny is 403. The first of 400, 403, 402, 429 that a reason has is the decision's."""
_HTTP_ORDER: Final = (400, 403, 402, 429)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine is made with. *pseudonym_key* must be the same on every worker, or keys of rows differ."""

    pseudonym_key: bytes = b"enforcer-unkeyed"
    fact_cache: detect.FactCache | None = None


@dataclass(slots=True)
class _Case:
    """One request on its way to a decision: what every step needs of the steps before."""

    arrival: Arrival
    program: TenantProgram
    request: events.Request
    account: str
    rows: Rows
    queue: ExpiryQueue
    outcome: Outcome
    key: str = ""
    """Row key of its call; "" opens no row: the call is not its own."""
    content: bytes = b""
    plan: limits.Plan = limits.NOTHING
    expired: list[events.Effect] = field(default_factory=list)


class Engine:
    """Decides, redoes and settles. Keeps nothing between records but the facts of texts seen before."""

    __slots__ = ("_cache", "_key", "_version")

    def __init__(self, config: EngineConfig | None = None) -> None:
        config = config or EngineConfig()
        self._key = config.pseudonym_key
        self._cache = config.fact_cache
        self._version = __version__

    # -- requests ---------------------------------------------------------------------------------------------

    def request(
        self,
        program_of: Callable[[str], TenantProgram],
        arrival: Arrival,
        rows: Rows,
        queue: ExpiryQueue,
    ) -> Outcome:
        """
        Decide one request, and apply the effects.

        Args:
            program_of: The program in force for a tenant.
            arrival: The record.
            rows: Of the partition; read and written.
            queue: Of the same rows; kept in step.

        Returns: Never raises for what a caller or an author did.
        """
        try:
            request = self._read(arrival)
        except RequestError as error:
            return self._unreadable(program_of, arrival, rows, queue, error)
        program = program_of(request.tenant)
        account = events.account_of(request.tenant, request.team.id, program.settings.account_by)
        case = _Case(arrival, program, request, account, rows, queue, Outcome())
        if _is_misrouted(arrival, account):
            message = f"this partition does not hold the account `{account}`"
            return self._conclude(case, deny("misrouted", message))
        keys = state.call_keys(account, request.id, request.attempt)
        case.content = events.content_digest(request, arrival.value or b"")
        facts = self._facts(program, request, arrival.now_us)
        case.plan, failure = self._plan(program, request, facts, account, arrival.now_us)
        reads = [*keys, state.waiting_key_of(keys[0]), *(b.row for b in case.plan.budgets)]
        case.expired = self._expire(program_of, reads, arrival, rows, queue, case.outcome)
        found = state.lookup(
            rows,
            keys,
            content=case.content,
            now_us=arrival.now_us,
            dedup_window_us=program.settings.dedup_window_us,
        )
        if found.kind == "redelivery":
            assert found.row is not None
            case.outcome.value = found.row.decision
            return case.outcome
        if found.kind == "reused":
            message = "this id was used for a request with other content"
            return self._conclude(case, deny("request_id_reused", message))
        case.key = keys[0]
        return self._conclude(case, self._ruling(case, facts, failure))

    def redo(
        self,
        arrival: Arrival,
        told: events.Decision,
        value: bytes,
        rows: Rows,
        queue: ExpiryQueue,
        *,
        program_of: Callable[[str], TenantProgram],
    ) -> Outcome:
        """
        Take over a verdict that was told: its effects are applied in its recorded order; nothing is evaluated.

        Args:
            arrival: The request's record, come by again.
            told: The decision as it was told.
            value: Its exact bytes.
            rows: As for ``request``.
            queue: As for ``request``.
            program_of: For what effects do not carry: the tenant's prices and what it does on expiry.
        """
        outcome = Outcome(value=value, decision=told)
        groups, own = state.split(told.effects)
        for group in groups:
            self._apply_expiry(group, rows, queue, outcome)
        opened = next((e for e in own if e.kind == "open"), None)
        if opened is None:
            state.apply_all(rows, own, queue=queue)
            outcome.entries.append(Entry("decision", told.account, value))
            code = told.reasons[0].code if told.reasons else ""
            if code in UNREADABLE:
                outcome.dead_letter = _dead_letter(arrival, code, told.reasons[0].message)
            return outcome
        request = self._read(arrival)
        program = program_of(request.tenant)
        case = _Case(arrival, program, request, told.account, rows, queue, outcome, opened.row)
        case.content = events.content_digest(request, arrival.value or b"")
        self._enter(case, told, value, list(own))
        return outcome

    def _read(self, arrival: Arrival) -> events.Request:
        value = arrival.value
        if value is None:
            raise RequestError("the record has no value", code="undecodable")
        if len(value) > REQUEST_BYTES_MAX:
            raise RequestError(
                f"the request has {len(value)} bytes, at most {REQUEST_BYTES_MAX} are taken",
                code="too_large",
            )
        return events.read_request(value)

    def _unreadable(
        self,
        program_of: Callable[[str], TenantProgram],
        arrival: Arrival,
        rows: Rows,
        queue: ExpiryQueue,
        error: RequestError,
    ) -> Outcome:
        """A request nobody can read: a dead letter, and a denial where an id can be made out."""
        outcome = Outcome(dead_letter=_dead_letter(arrival, error.code, _said(error)))
        request_id, tenant, attempt = events.peek_identity(arrival.value or b"")
        if request_id is None or tenant is None:
            return outcome
        code = "too_large" if error.code == "too_large" else "invalid_request"
        request = events.Request(request_id, tenant, attempt=attempt or 1, llm=events.Llm("", ""))
        account = arrival.key.decode("utf-8", "replace") if arrival.key else tenant
        case = _Case(arrival, program_of(tenant), request, account, rows, queue, outcome)
        return self._conclude(case, deny(code, _said(error)))

    def _plan(
        self,
        program: TenantProgram,
        request: events.Request,
        facts: detect.RequestFacts,
        account: str,
        now_us: int,
    ) -> tuple[limits.Plan, Exception | None]:
        if request.phase != "request" or program.invalid or not program.known:
            return limits.NOTHING, None
        try:
            return limits.plan(
                program, request, facts, account=account, now_us=now_us, pseudonym_key=self._key
            ), None
        except Exception as error:  # noqa: BLE001 — raised again where bugs become denials
            return limits.NOTHING, error

    def _ruling(self, case: _Case, facts: detect.RequestFacts, failure: Exception | None) -> Ruling:
        """The verdict, or the denial that stands in its place."""
        try:
            self._check_admissible(case, failure)
            return rule_on(
                case.program,
                case.request,
                facts,
                case.plan,
                case.rows,
                now_us=case.arrival.now_us,
                facts_of=lambda edited: self._facts(case.program, edited, case.arrival.now_us),
            )
        except DenialError as denial:
            return deny(denial.code, denial.message)
        except Exception as error:  # noqa: BLE001 — one request must not stop a company: it fails closed
            name = type(error).__name__
            case.outcome.dead_letter = _dead_letter(case.arrival, "internal_error", name)
            return deny("internal_error", f"the request could not be decided ({name})")

    @staticmethod
    def _check_admissible(case: _Case, failure: Exception | None) -> None:
        """Raise what stands in the way of any evaluation, or went wrong before it."""
        if failure is not None:
            raise failure
        if case.program.invalid:
            message = "the policies of this tenant do not check: no request passes"
            raise DenialError("policy_invalid", message)
        if not case.program.known:
            message = f"no document names the tenant `{case.request.tenant}`"
            raise DenialError("unknown_tenant", message)
        deadline_ms, late_ms = case.request.deadline_ms, case.arrival.source.late_ms
        if deadline_ms is not None and late_ms > deadline_ms:
            message = f"taken up {late_ms} ms after it came, its deadline was {deadline_ms} ms"
            raise DenialError("too_late", message)

    def _facts(
        self, program: TenantProgram, request: events.Request, now_us: int
    ) -> detect.RequestFacts:
        """Facts of *request*, its model resolved through the tenant's aliases for tokens and prices."""
        settings = program.settings
        alias = settings.models.get(request.llm.model) if settings.models else None
        if alias is not None:
            provider, _, model = alias.partition("/")
            llm = copy(request.llm)
            llm.provider, llm.model = provider, model
            request = copy(request)
            request.llm = llm
        return detect.RequestFacts(
            request,
            day=_day(now_us // US_PER_DAY),
            assumed_output_tokens=settings.assumed_output_tokens,
            cache=self._cache,
        )

    # -- concluding ---------------------------------------------------------------------------------------------

    def _conclude(self, case: _Case, ruling: Ruling) -> Outcome:
        """Make the decision of a ruling, apply its effects, and add its ledger entries."""
        own = self._own_effects(case, ruling) if case.key else []
        decision = self._decision(case, ruling, [*case.expired, *own])
        value = self._encode(case.arrival, decision)
        if len(value) > DECISION_BYTES_MAX:
            message = f"its decision has {len(value)} bytes, at most {DECISION_BYTES_MAX} are told"
            return self._conclude(case, deny("too_large", message))
        case.outcome.value, case.outcome.decision = value, decision
        self._enter(case, decision, value, own)
        return case.outcome

    def _enter(
        self, case: _Case, decision: events.Decision, value: bytes, own: list[events.Effect]
    ) -> None:
        """Apply a decision's own effects, enter it in the ledger, and settle usage that waited for it."""
        case.outcome.entries.append(Entry("decision", case.account, value))
        if not case.key:
            return
        row = self._call_row(case, decision, value)
        state.apply_all(case.rows, own, call=row, queue=case.queue)
        joined = state.join(
            case.rows,
            call_key=case.key,
            now_us=case.arrival.now_us,
            reservation_ttl_us=case.program.settings.reservation_ttl_us,
            price_of=_price_of(case.program),
            queue=case.queue,
        )
        for report, settlement in joined:
            case.outcome.overrun_usd_nano += settlement.overrun_usd_nano
            case.outcome.entries.append(
                Entry("settlement", case.account, report, settlement.notes, settlement.effects)
            )

    @staticmethod
    def _own_effects(case: _Case, ruling: Ruling) -> list[events.Effect]:
        settings, now_us = case.program.settings, case.arrival.now_us
        expires_us, end_us = state.ends(
            now_us,
            reservation_ttl_us=settings.reservation_ttl_us,
            dedup_window_us=settings.dedup_window_us,
        )
        if ruling.verdict == "deny":
            # Nothing is consumed. The rows are named, for usage of a denied request is charged, and flagged.
            booked = [events.Effect("reserve", b.row, 0, 0, b.until_us) for b in case.plan.budgets]
            booked += [
                events.Effect(
                    "take", r.row, 0, now_us, expires_us, r.quota.limit, r.quota.period_us
                )
                for r in case.plan.rates
                if r.limit.unit == "tokens"
            ]
        else:
            booked = ruling.effects(expires_us)
        opened = events.Effect(
            "open",
            case.key,
            ruling.cost_usd_nano or 0,
            expires_us,
            end_us,
            ruling.input_usd_nano,
            ruling.tokens,
        )
        return [*booked, opened]

    @staticmethod
    def _call_row(case: _Case, decision: events.Decision, value: bytes) -> events.CallRow:
        """The row of a call, less what the effects fill in."""
        settings, llm = case.program.settings, case.request.llm
        provider, model = llm.provider, llm.model
        alias = settings.models.get(model) if settings.models else None
        if alias is not None:
            provider, _, model = alias.partition("/")
        return events.CallRow(
            0,
            "denied" if decision.verdict == "deny" else "open",
            case.content,
            value,
            decision.time_us,
            0,
            provider,
            model,
            llm.service_tier,
            release_on_expiry=settings.on_expiry == "release",
        )

    def _decision(
        self, case: _Case, ruling: Ruling, effects: list[events.Effect]
    ) -> events.Decision:
        arrival, request, program = case.arrival, case.request, case.program
        name = request.id
        if not case.key:
            # Not the call's own decision: its id must not be taken for the first verdict's.
            name = f"{name}@{arrival.source.partition}/{arrival.source.offset}"
        is_denied = ruling.verdict == "deny"
        reservation = None
        if ruling.reserves and not is_denied:
            reservation = events.Reservation(ruling.cost_usd_nano or 0, effects[-1].at_us)
        return events.Decision(
            id=events.decision_id(case.account, name, request.attempt),
            request_id=request.id,
            attempt=request.attempt,
            tenant=request.tenant,
            account=case.account,
            verdict=ruling.verdict,
            http_status=_http_status(ruling) if is_denied else 200,
            reasons=ruling.reasons[:REASONS_MAX],
            reasons_count=len(ruling.reasons),
            edits=[] if is_denied else ruling.edits,
            warnings=ruling.warnings,
            retry_after_ms=ruling.retry_after_ms if is_denied else None,
            facts=ruling.facts,
            budgets=ruling.views,
            reservation=reservation,
            errors=ruling.errors,
            shadow=ruling.shadow,
            policy_digest=program.policy_digest,
            policy_sets=program.policy_sets,
            data_digest=detect.DATA_DIGEST,
            engine=self._version,
            source=arrival.source,
            time_us=arrival.now_us,
            subject=_subject(request),
            effects=effects,
        )

    @staticmethod
    def _encode(arrival: Arrival, decision: events.Decision) -> bytes:
        # Who asks in JSON is answered in JSON.
        if events.is_json(arrival.value or b""):
            return events.to_json_bytes(decision)
        return events.encode_decision(decision)

    # -- usage ------------------------------------------------------------------------------------------------

    def usage(
        self,
        program_of: Callable[[str], TenantProgram],
        arrival: Arrival,
        rows: Rows,
        queue: ExpiryQueue,
    ) -> Outcome:
        """Settle one usage report, and apply the effects. Never raises for what a gateway did."""
        outcome = Outcome()
        try:
            if arrival.value is None:
                raise RequestError("the record has no value", code="undecodable")  # noqa: TRY301 — one handler
            usage = events.read_usage(arrival.value)
        except RequestError as error:
            outcome.dead_letter = _dead_letter(arrival, error.code, _said(error))
            return outcome
        program = program_of(usage.tenant)
        account = events.account_of(usage.tenant, usage.team, program.settings.account_by)
        if usage.acted in ("timeout_allow", "timeout_deny"):
            outcome.bypass = usage.acted
        if _is_misrouted(arrival, account):
            outcome.entries.append(Entry("settlement", account, arrival.value, ("misrouted",)))
            return outcome
        key = state.call_row_key(account, usage.request_id, usage.attempt)
        row = rows.get(key)
        held = [a.row for a in row.budgets] if isinstance(row, events.CallRow) else []
        reads = [key, state.waiting_key_of(key), *held]
        self._expire(program_of, reads, arrival, rows, queue, outcome)
        settlement = state.settle(
            rows,
            usage,
            call_key=key,
            now_us=arrival.now_us,
            reservation_ttl_us=program.settings.reservation_ttl_us,
            price_of=_price_of(program),
        )
        state.apply_all(
            rows, settlement.effects, report=state.Report(account, arrival.value), queue=queue
        )
        outcome.overrun_usd_nano += settlement.overrun_usd_nano
        outcome.entries.append(
            Entry("settlement", account, arrival.value, settlement.notes, settlement.effects)
        )
        return outcome

    # -- expiry -----------------------------------------------------------------------------------------------

    def _expire(
        self,
        program_of: Callable[[str], TenantProgram],
        reads: Iterable[str],
        arrival: Arrival,
        rows: Rows,
        queue: ExpiryQueue,
        outcome: Outcome,
    ) -> list[events.Effect]:
        """Expire the due rows that the event reads, then at most 8 others in order. Returns the effects applied."""
        now_us = arrival.now_us
        first = queue.due_for(reads, now_us)
        others = queue.due(now_us, len(first) + state.OTHERS_MAX)
        if not others:
            return []
        reading = frozenset(first)
        due = [*first, *[k for k in others if k not in reading][: state.OTHERS_MAX]]
        effects: list[events.Effect] = []
        for key in due:
            program = program_of(_tenant_of(key))
            settlement = state.expire(
                rows,
                key,
                now_us=now_us,
                price_of=_price_of(program),
                budgets_of=lambda account, usage: self._budgets_of(
                    program_of, account, usage, now_us
                ),
            )
            if not settlement.effects:
                queue.discard(key)
                continue
            effects.extend(settlement.effects)
            self._apply_expiry(state.Group(key, settlement.effects), rows, queue, outcome)
        return effects

    @staticmethod
    def _apply_expiry(group: state.Group, rows: Rows, queue: ExpiryQueue, outcome: Outcome) -> None:
        """Apply one expiry and enter it; one whose row has moved on meanwhile is void, and not entered."""
        row = rows.get(group.row)
        notes: tuple[str, ...]
        if isinstance(row, events.CallRow):
            is_void = row.status != "open"
            notes = ("released",) if row.release_on_expiry else ()
        else:
            is_void = row is None or not row.reports  # type: ignore[union-attr]
            notes = ("early",) if len(group.effects) > 1 else ("early", "unattributed")
        if is_void:
            queue.discard(group.row)
            return
        state.apply_all(rows, group.effects, queue=queue)
        account = state.parse_call_key(group.row).account
        outcome.entries.append(Entry("expiry", account, b"", notes, group.effects))

    def _budgets_of(
        self,
        program_of: Callable[[str], TenantProgram],
        account: str,
        usage: events.Usage,
        now_us: int,
    ) -> list[events.Allocation]:
        """The budgets whose keys a report carries, when its request never came."""
        program = program_of(usage.tenant)
        request = events.Request(
            usage.request_id,
            usage.tenant,
            attempt=usage.attempt,
            user=events.User(usage.user),
            team=events.Team(usage.team),
            project=events.Project(usage.project),
            llm=events.Llm(usage.provider or "", usage.model or ""),
        )
        plan, failure = self._plan(
            program, request, self._facts(program, request, now_us), account, now_us
        )
        if failure is not None:
            return []
        return [events.Allocation(b.row, 0, b.until_us) for b in plan.budgets]


def _is_misrouted(arrival: Arrival, account: str) -> bool:
    if not arrival.partitions:
        return False
    key = account.encode()
    return (
        arrival.key != key
        or events.partition_of(key, arrival.partitions) != arrival.source.partition
    )


def _tenant_of(key: str) -> str:
    """The tenant of a call's or a waiting report's row: the first part of its account."""
    return unquote(state.parse_call_key(key).account.partition("/")[0])


def _price_of(program: TenantProgram) -> Callable[[str, str, str | None, int], state.Rates | None]:
    """Prices as this tenant has them: aliases resolved, unknown models at the stated ceiling."""
    settings = program.settings

    def price_of(
        provider: str, model: str, service_tier: str | None, time_us: int
    ) -> state.Rates | None:
        alias = settings.models.get(model)
        if alias is not None:
            provider, _, model = alias.partition("/")
        rates = detect.pricing.resolve(provider, model, service_tier, _day(time_us // US_PER_DAY))
        return rates or limits.ceiling_rates(settings)

    return price_of


@lru_cache(maxsize=4_096)
def _day(day: int) -> date:
    return datetime.fromtimestamp(day * 86_400, UTC).date()


def _http_status(ruling: Ruling) -> int:
    found = {
        HTTP_STATUS.get(reason.code, 403) for reason in ruling.reasons if reason.verdict == "deny"
    }
    return next((status for status in _HTTP_ORDER if status in found), 403)


def _subject(request: events.Request) -> events.Subject | None:
    """What names a person, apart. Unencrypted for now: the key id says so."""
    named = {"user": request.user.id, "email": request.user.email, "ip": request.caller.ip}
    named = {name: value for name, value in named.items() if value is not None}
    return events.Subject("none", orjson.dumps(named)) if named else None


def _said(error: RequestError) -> str:
    return f"{error.place}: {error.message}" if error.place else error.message


def _dead_letter(arrival: Arrival, code: str, why: str) -> events.DeadLetter:
    source = arrival.source
    return events.DeadLetter(
        source.topic,
        source.partition,
        source.offset,
        arrival.record_us,
        code,
        why,
        arrival.key,
        arrival.value,
    )
