"""
One record, its rows and the time, to one decision and its effects. No clock, no I/O.

The order of one decision is law (LANGUAGE, "One decision, in order"): rules on the request as it came; the merged
edits; the deny rules that read what was edited, once more; tokens and cost of the edited request; rate limits and
budgets. Only if the joined verdict is no deny are all rows written, together: a denied request consumes nothing.

Everything fails closed. What the caller did wrong is a denial with its code; what a rule could not evaluate counts
as a deny where the rule denies or modifies; a bug becomes ``internal_error``, names no text, and costs one request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enforcer import detect, events, state
from enforcer.detect.models import NO_MODELS
from enforcer.engine import leasing, limits
from enforcer.engine.ahead import Foresight
from enforcer.engine.concluding import conclude, enter
from enforcer.engine.denials import DenialError, deny
from enforcer.engine.edits import Redaction
from enforcer.engine.expiries import apply_expiry, expire_due
from enforcer.engine.ordinary import compile_ordinary
from enforcer.engine.outcome import Arrival, Entry, Outcome
from enforcer.engine.prices import as_called, day_of, price_of
from enforcer.engine.recording import (
    Case,
    dead_letter,
    said,
)
from enforcer.engine.requirements import absent_of, completed_by
from enforcer.engine.verdict import Asked, rule_on
from enforcer.errors import AgentError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.engine.ruling import Ruling
    from enforcer.policy import TenantProgram
    from enforcer.state import ExpiryQueue, Rows

REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
USAGE_BYTES_MAX: Final = 16 * 1024
"""64 reports may wait for one request, in one row, which must fit into a record of ``calls``."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine is made with. *pseudonym_key* must be the same on every worker, or keys of rows differ."""

    pseudonym_key: bytes = b"enforcer-unkeyed"
    fact_cache: detect.FactCache | None = None
    redaction_key: bytes | None = None
    """Of the styles ``hash`` and ``pseudonym``, 16 bytes at least, the same on every worker; without it they deny."""
    models: detect.Models = NO_MODELS
    timed: detect.Timed | None = None
    """Takes the time of each computation over texts; the engine has no clock."""
    is_ordinary: bool = True
    """Whether ordinary decisions are made by their program's function; else all by the general path. The same bytes."""


class Engine:
    """Decides, redoes and settles. Keeps nothing between records but what saves time: no decision depends on it."""

    __slots__ = (
        "_cache",
        "_is_ordinary",
        "_key",
        "_models",
        "_redaction_key",
        "_timed",
        "foresight",
    )

    def __init__(self, config: EngineConfig | None = None) -> None:
        config = config or EngineConfig()
        self._key = config.pseudonym_key
        self._redaction_key = config.redaction_key
        self._models = config.models
        self._cache = config.fact_cache
        self._timed = config.timed
        self._is_ordinary = config.is_ordinary
        self.foresight = Foresight(self._facts, config.timed, config.models)

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
        ahead = arrival.ahead
        try:
            request = self._read(arrival) if ahead is None else ahead.request
            content = events.content_digest(request, arrival.value or b"")
        except RequestError as error:
            return self._unreadable(program_of, arrival, rows, queue, error)
        program = program_of(request.tenant)
        facts = None if ahead is None else ahead.facts_under(program, arrival.now_us)
        known = None if ahead is None else ahead.known
        if self._decides_ordinarily(arrival, request):
            facts = facts or self._facts(program, request, arrival.now_us, known)
            outcome = self._ordinary(program, arrival, request, content, facts, rows, queue)
            if outcome is not None:
                self.foresight.note(program, facts)
                return outcome
        account = events.account_of(request.tenant, request.team.id, program.settings.account_by)
        case = Case(arrival, program, request, account, rows, queue, Outcome())
        if _is_misrouted(arrival, account):
            message = f"this partition does not hold the account `{account}`"
            return conclude(case, deny("misrouted", message))
        keys = state.call_keys(account, request.id, request.attempt)
        case.content = content
        asked, failure = self._asked(program, request, arrival.now_us, facts=facts, known=known)
        if failure is None:
            case.plan, failure = self._plan(program, asked, account, arrival.now_us)
        reads = [*keys, state.waiting_key_of(keys[0]), *(b.row for b in case.plan.budgets)]
        if case.plan.shadow is not None:
            reads += [b.row for b in case.plan.shadow.budgets]
        case.expired = self._expire(program_of, reads, arrival.now_us, rows, queue, case.outcome)
        found = state.lookup(
            rows,
            keys,
            content=content,
            now_us=arrival.now_us,
            dedup_window_us=program.settings.dedup_window_us,
        )
        if found.kind == "redelivery":
            assert found.row is not None
            case.outcome.value = found.row.decision
            return case.outcome
        if found.kind == "reused":
            message = "this id was used for a request with other content"
            return conclude(case, deny("request_id_reused", message))
        case.key = keys[0]
        if case.plan.is_leased and arrival.partitions:
            case.plan = leasing.with_slices(case.plan, rows)
        ruling = self._ruling(case, asked, failure)
        self.foresight.note(program, asked.facts)
        return conclude(case, ruling)

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
        outcome = Outcome(value=value, told=told, verdict=told.verdict)
        groups, own = state.split(told.effects)
        for group in groups:
            apply_expiry(group, rows, queue, outcome)
        opened = next((e.row for e in own if e.kind == "open"), "")
        first = told.reasons[0] if told.reasons else None
        if first is not None and first.code == "internal_error":
            outcome.dead_letter = dead_letter(arrival, "internal_error", first.message)
            if not opened:
                # Refused unread, and so it stays: it ends whoever reads it.
                outcome.entries.append(Entry("decision", told.account, value))
                return outcome
        try:
            request = self._read(arrival)
            content = events.content_digest(request, arrival.value or b"")
        except RequestError as error:
            outcome.dead_letter = dead_letter(arrival, error.code, said(error))
            outcome.entries.append(Entry("decision", told.account, value))
            return outcome
        program = program_of(request.tenant)
        case = Case(arrival, program, request, told.account, rows, queue, outcome, opened, content)
        enter(case, told, value, list(own))
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
        outcome = Outcome(dead_letter=dead_letter(arrival, error.code, said(error)))
        request_id, tenant, attempt = events.peek_identity(arrival.value or b"")
        if request_id is None:
            return outcome
        tenant = tenant or ""
        code = error.code if error.code in ("too_large", "internal_error") else "invalid_request"
        request = events.Request(request_id, tenant, attempt=attempt or 1, llm=events.Llm("", ""))
        account = arrival.key.decode("utf-8", "replace") if arrival.key else tenant
        case = Case(arrival, program_of(tenant), request, account, rows, queue, outcome)
        return conclude(case, deny(code, said(error)))

    def refuse(
        self,
        program_of: Callable[[str], TenantProgram],
        arrival: Arrival,
        rows: Rows,
        queue: ExpiryQueue,
    ) -> Outcome:
        """Deny a request unread, ``internal_error``: it ends whoever takes it. It goes to the dead letters."""
        error = RequestError("the request could not be decided", code="internal_error")
        return self._unreadable(program_of, arrival, rows, queue, error)

    def refuse_usage(self, arrival: Arrival) -> Outcome:
        """Set a usage report aside unread, for the same reason. Its reservation expires."""
        letter = dead_letter(arrival, "internal_error", "the report could not be settled")
        account = (arrival.key or b"").decode("utf-8", "replace")
        return Outcome(
            entries=[Entry("settlement", account, b"", ("internal_error",))], dead_letter=letter
        )

    def _asked(
        self,
        program: TenantProgram,
        request: events.Request,
        now_us: int,
        *,
        facts: detect.RequestFacts | None = None,
        known: Mapping[str, detect.CachedFacts] | None = None,
    ) -> tuple[Asked, Exception | None]:
        """The request as rules read it: with the tenant's defaults, and facts: *facts* where there are no defaults."""

        def facts_of(edited: events.Request) -> detect.RequestFacts:
            found = self._facts(program, edited, now_us, known)
            if asked is not None:
                found.inherit(asked.facts)
            return found

        asked: Asked | None = None

        completed, failure = request, None
        if program.settings.defaults:
            facts = None
            try:
                completed = completed_by(program.settings, request)
            except RequestError as error:
                failure = DenialError(error.code, error.message)
        redaction = Redaction(program.default_kinds, self._redaction_key, self._models)
        asked = Asked(request, completed, facts or facts_of(completed), facts_of, redaction)
        return asked, failure

    def _plan(
        self, program: TenantProgram, asked: Asked, account: str, now_us: int
    ) -> tuple[limits.Plan, Exception | None]:
        if asked.request.phase != "request" or program.invalid or not program.known:
            return limits.NOTHING, None
        try:
            return limits.plan(
                program,
                asked.completed,
                asked.facts,
                account=account,
                now_us=now_us,
                pseudonym_key=self._key,
            ), None
        except Exception as error:  # noqa: BLE001 — raised again where bugs become denials
            return limits.NOTHING, error

    def _ruling(self, case: Case, asked: Asked, failure: Exception | None) -> Ruling:
        """The verdict, or the denial that stands in its place."""
        try:
            self._check_admissible(case, asked, failure)
            return rule_on(case.program, asked, case.plan, case.rows, now_us=case.arrival.now_us)
        except DenialError as denial:
            return deny(denial.code, denial.message)
        except AgentError:
            raise  # The rows are at fault, and they are the agent's: no caller is denied for them.
        except Exception as error:  # noqa: BLE001 — one request must not stop a company: it fails closed
            message = f"the request could not be decided ({type(error).__name__})"
            case.outcome.dead_letter = dead_letter(case.arrival, "internal_error", message)
            return deny("internal_error", message)

    @staticmethod
    def _check_admissible(case: Case, asked: Asked, failure: Exception | None) -> None:
        """Raise what stands in the way of any evaluation, or went wrong before it."""
        if case.program.invalid:
            message = "the policies of this tenant do not check: no request passes"
            raise DenialError("policy_invalid", message)
        stopped = case.program.stopped(asked.request)
        if stopped is not None:
            raise DenialError("stopped", stopped)
        if case.arrival.is_stale and case.program.settings.on_stale_policies == "deny":
            message = "this worker cannot tell whether its policies are the newest"
            raise DenialError("policy_stale", message)
        if not case.program.known:
            message = f"no document names the tenant `{case.request.tenant}`"
            raise DenialError("unknown_tenant", message)
        deadline_ms, late_ms = case.request.deadline_ms, case.arrival.source.late_ms
        if deadline_ms is not None and late_ms > deadline_ms:
            message = f"taken up {late_ms} ms after it came, its deadline was {deadline_ms} ms"
            raise DenialError("too_late", message)
        if failure is not None:
            raise failure
        if case.program.settings.required:
            absent = absent_of(case.program.settings, asked.request)
            if absent:
                raise DenialError("invalid_request", f"the tenant requires {', '.join(absent)}")

    def _facts(
        self,
        program: TenantProgram,
        request: events.Request,
        now_us: int,
        known: Mapping[str, detect.CachedFacts] | None = None,
    ) -> detect.RequestFacts:
        """Facts of *request*, its model resolved through the tenant's aliases for tokens and prices."""
        return detect.RequestFacts(
            as_called(program.settings, request),
            day=day_of(now_us),
            assumed_output_tokens=program.settings.assumed_output_tokens,
            cache=self._cache,
            kinds=program.pii_kinds,
            timed=self._timed,
            models=self._models,
            known=known,
        )

    # -- the ordinary decision ----------------------------------------------------------------------------------

    def _decides_ordinarily(self, arrival: Arrival, request: events.Request) -> bool:
        """Whether the ordinary function may be asked: of a first attempt, in Avro."""
        return (
            self._is_ordinary
            and request.attempt == 1
            and request.phase == "request"
            and request.raw is None
            and arrival.value is not None
        )

    def _ordinary(
        self,
        program: TenantProgram,
        arrival: Arrival,
        request: events.Request,
        content: bytes,
        facts: detect.RequestFacts,
        rows: Rows,
        queue: ExpiryQueue,
    ) -> Outcome | None:
        """What the program's function says; None where it stands aside, or cannot be made or run."""
        known = program.made
        try:
            if self._key not in known:
                known[self._key] = compile_ordinary(program, self._key)
            decide = known[self._key]
            if decide is None:
                return None
            outcome: Outcome | None = decide(arrival, request, content, facts, rows, queue)
        except Exception:  # noqa: BLE001 — nothing was written: the general path meets it again, and tells it
            return None
        return outcome

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
            if len(arrival.value) > USAGE_BYTES_MAX:
                message = f"the report has {len(arrival.value)} bytes, at most {USAGE_BYTES_MAX} are taken"
                raise RequestError(message, code="too_large")  # noqa: TRY301 — as above
            usage = events.read_usage(arrival.value)
        except RequestError as error:
            outcome.dead_letter = dead_letter(arrival, error.code, said(error))
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
        self._expire(program_of, reads, arrival.now_us, rows, queue, outcome)
        settlement = state.settle(
            rows,
            usage,
            call_key=key,
            now_us=arrival.now_us,
            reservation_ttl_us=program.settings.reservation_ttl_us,
            price_of=price_of(program),
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
        reads: list[str],
        now_us: int,
        rows: Rows,
        queue: ExpiryQueue,
        outcome: Outcome,
    ) -> list[events.Effect]:
        def budgets_of(account: str, usage: events.Usage) -> list[events.Allocation]:
            return self._budgets_of(program_of, account, usage, now_us)

        return expire_due(
            program_of, reads, now_us, rows, queue, outcome=outcome, budgets_of=budgets_of
        )

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
        asked, failure = self._asked(program, request, now_us)
        plan, failed = self._plan(program, asked, account, now_us)
        budgets = plan.budgets if failure is None and failed is None else ()
        return [events.Allocation(b.row, 0, b.until_us) for b in budgets]


def _is_misrouted(arrival: Arrival, account: str) -> bool:
    key, count = account.encode(), arrival.partitions
    return count > 0 and (
        arrival.key != key or events.partition_of(key, count) != arrival.source.partition
    )
