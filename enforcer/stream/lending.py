"""
Slices of tenants' budgets at one partition: what is said to other agents, and what becomes of what they say.

Theory of operation
-------------------
The transitions are ``enforcer.state.leases``; this is their place in an agent's life. A partition is both sides at once: it
holds slices of the budgets it spends of, and owns the budgets of the tenants whose own key it holds.

* A word (a record of ``leases``) is taken like any input: its effects change rows, are entered in the ledger, and the
  answer goes into the same commit.
* A holder speaks when the agent cuts an interval, and only when no verdict of the tail is left to redo: what it then asks
  or gives back follows from all it has told. It looks at the slices that this interval has touched or was refused for, at
  those recalled, and at those past their time.

Nothing here is remembered that rows do not say, but what requests were turned for (if that is lost the next one tells again),
and what was observed: each slice's pace, and as an owner what holders said they had used. Asking and recalling go by it;
who may spend what does not.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import structlog

from enforcer import events, state
from enforcer.engine import leasing
from enforcer.state import leases
from enforcer.state.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.broker.ports import Outgoing
    from enforcer.policy import TenantProgram
    from enforcer.store.table import Table
    from enforcer.stream.interval import Interval
    from enforcer.stream.policies import PolicyTable
    from enforcer.stream.rows import RowCache

AHEAD_US: Final = 30_000_000
"""So long before its window ends a slice of the next one is asked for."""
TENDED_MAX: Final = 2_000
"""Budgets tended in one cut; the others wait for the next."""
AWAITED_US: Final = 3_000_000
"""For so long after a recall an owner that has nothing left does not say so."""
OWNED_MAX: Final = 10_000
"""Budgets of which an owner remembers what holders said; of others it recalls more than there is."""

_UNSEEN: Final = Pace()
_log = structlog.get_logger("enforcer.leases")


def _clock_us() -> int:
    """What paces are measured by."""
    return int(time.monotonic() * 1e6)


class Lending:
    """
    One tenure's side of it.

    *enter* puts an entry into the chain (kind, account, payload, notes, effects), *say* a record into the commit at hand.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        rows: RowCache,
        *,
        policies: PolicyTable,
        enter: Callable[[str, str, bytes, tuple[str, ...], tuple[events.Effect, ...]], None],
        say: Callable[[int, Outgoing], None],
    ) -> None:
        self._partition = partition
        self._partitions = partitions
        self._rows = rows
        self._policies = policies
        self._program_of = policies.program
        self._enter = enter
        self._say = say
        self._tenants: dict[str, str] = {}
        """Budget rows of which this partition holds a slice, and whose they are."""
        self._wanted: dict[str, leasing.Want] = {}
        self._paces: dict[str, Pace] = {}
        self._known: dict[str, dict[int, int]] = {}
        """As an owner, by row: what each holder had used, repaid or will use soon, by its last word."""
        self._recalled: dict[str, dict[int, tuple[int, int]]] = {}
        """By row and holder, recalls that nobody has answered yet: when they were made, and what for."""
        self._due_us = 0
        self._idle_at_us: int | None = None
        """By the clock: when to look for slices that nobody uses, though no event comes by."""
        self._waited_us = 0
        self._heard_us = 0
        """Time of the newest word: a partition without events has no other clock."""

    def begin(self, table: Table, now_ms: int) -> None:
        """Find the slices that are held already, and want those that should be."""
        for raw_key, _ in table.scan(leases.LEASE.encode()):
            row = "b/" + raw_key.decode()[2:]
            account = state.parse_budget_key(row).account
            if not account.startswith("#"):
                self._tenants[row] = unquote(account)
        if self._tenants:
            self._idle_at_us = _clock_us() + leases.TTL_US
        self.want_first([in_force.scope for in_force in self._policies.sets()], now_ms)

    @property
    def has_wants(self) -> bool:
        """Whether a slice is wanted that nobody has asked for yet."""
        return bool(self._wanted)

    @property
    def idle_s(self) -> float | None:
        """Seconds until slices are to be looked at that nobody may have used; None: there are none."""
        if self._idle_at_us is None:
            return None
        return max(self._idle_at_us - _clock_us(), 0) / 1e6

    def want(self, wants: Iterable[leasing.Want]) -> None:
        """Note what a decision has read of slices, and was turned for. The smallest need counts."""
        for want in wants:
            pace = self._paces.get(want.row, _UNSEEN)
            if want.cost_usd_nano > pace.largest_usd_nano:
                self._paces[want.row] = pace.called(want.cost_usd_nano)
            before = self._wanted.get(want.row)
            if before is not None and before.need_usd_nano:
                if not want.need_usd_nano or want.need_usd_nano >= before.need_usd_nano:
                    continue
            elif not want.need_usd_nano and want.row in self._tenants:
                continue  # Its row changes, and that is looked at.
            self._wanted[want.row] = want

    def want_first(self, scopes: Iterable[str], now_ms: int) -> None:
        """Policies came into force: want a slice of each budget that has no key, before the first request does."""
        tenants = list(scopes)
        if "*" in tenants:
            tenants = [in_force.scope for in_force in self._policies.sets()]
        for tenant in tenants:
            for row, end_us in leasing.current_rows(self._program_of(tenant), now_ms * 1000):
                if self._rows.get(state.lease_key(row)) is None:
                    self._wanted.setdefault(row, leasing.Want(row, tenant, 0, end_us))

    # -- words that come ------------------------------------------------------------------------------------

    def take(self, value: bytes | None, time_us: int) -> None:
        """Take a word of that time. One that nobody here can have written is passed over, loudly."""
        self._heard_us = max(self._heard_us, time_us)
        try:
            record = events.decode_lease(value or b"")
            state.parse_budget_key(record.row)
        except (events.CodecError, AssertionError, ValueError):
            _log.error("lease_undecodable", partition=self._partition)
            return
        if record.kind in ("grant", "recall"):
            self._tenants.setdefault(record.row, record.tenant)
            if record.kind == "recall":
                self._due_us = 0
            elif (pace := self._paces.get(record.row)) is not None:
                self._paces[record.row] = pace.answered(_clock_us())
            self._idle_at_us = self._idle_at_us or _clock_us() + leases.TTL_US
            word = leases.heard(record, self._heard_us)
        elif self._owner_of(record.tenant) != self._partition:
            # Said before the number of partitions changed, and not sent on: who owns the budget now never hears of it.
            _log.error("lease_misrouted", partition=self._partition, row=record.row)
            return
        elif record.kind == "repay":
            self._note(record)
            word = leases.repaid(record)
        else:
            limit = leasing.limit_usd_nano(self._program_of(record.tenant), record.row)
            lent: Any = self._rows.get(state.lent_key(record.row))
            known, awaited = self._note(record), self._awaited_usd_nano(record.row)
            word = leases.answer(lent, record, limit, known=known, awaited_usd_nano=awaited)
            for said in word.records:
                if said.kind == "recall":
                    made = (_clock_us(), said.amount_usd_nano)
                    self._recalled.setdefault(record.row, {})[said.holder] = made
        state.apply_all(self._rows, word.effects)
        self._speak(word, record.tenant, record.row, value or b"", record.kind)

    def _note(self, record: events.Lease) -> dict[int, int]:
        """Note what a holder has used, which only an owner's recalls go by; what is known of all of them."""
        if record.kind == "repay":
            self._recalled.get(record.row, {}).pop(record.holder, None)
        known = self._known.setdefault(record.row, {})
        if record.least_usd_nano:
            known[record.holder] = record.least_usd_nano
        if len(self._known) > OWNED_MAX:
            self._known.pop(next(iter(self._known)))
        return known

    def _awaited_usd_nano(self, row: str) -> int:
        """What recalls may yet bring back. Who is dead answers none, and is not waited for."""
        since_us = _clock_us() - AWAITED_US
        awaited = self._recalled.pop(row, {})
        awaited = {holder: made for holder, made in awaited.items() if made[0] >= since_us}
        if awaited and len(self._recalled) < OWNED_MAX:
            self._recalled[row] = awaited
        return sum(amount for _, amount in awaited.values())

    def follow(self, told: events.Decision) -> None:
        """
        Before a verdict of the tail is redone: repay what its owner had repaid when it was told.

        That owner died before the commit in which it did, so nobody has heard of it; but the verdict was given by what
        was left, and the ledger must say so.
        """
        reserved = [effect.row for effect in told.effects if effect.kind == "reserve"]
        for row, view in zip(reserved, told.budgets, strict=False):
            lease: Any = self._rows.get(state.lease_key(row)) if row in self._tenants else None
            more = state.slice_usd_nano(lease) - view.limit_usd_nano
            if lease is not None and more > 0:
                word = leases.repay(
                    lease, row, told.tenant, more, holder=self._partition, now_us=told.time_us
                )
                state.apply_all(self._rows, word.effects)
                payload = events.encode_lease(word.records[0])
                self._speak(word, told.tenant, row, payload, "repay")

    # -- words of its own -----------------------------------------------------------------------------------

    def speak(self, now_us: int, interval: Interval | None = None) -> None:
        """Ask and repay with the cut of *interval*; None: it has no events."""
        self._waited_us = 0
        if interval is not None and interval.events:
            self._waited_us = _clock_us() - int(interval.started_s * 1e6)
        if not self._wanted and not self._tenants:
            self._idle_at_us = None
            return
        now_us, clock_us = max(now_us, self._heard_us), _clock_us()
        wanted = dict(islice(self._wanted.items(), TENDED_MAX))
        self._wanted = dict(islice(self._wanted.items(), TENDED_MAX, None))
        is_idle_time = self._idle_at_us is not None and clock_us >= self._idle_at_us
        is_due = now_us >= self._due_us or is_idle_time
        touched = [
            r
            for r in self._tenants
            if r not in wanted and r not in self._wanted and (is_due or self._rows.is_changed(r))
        ]
        if len(touched) > TENDED_MAX:
            touched = [
                r
                for r in touched
                if is_idle_time or self._rows.is_changed(r) or self._is_due(r, now_us)
            ][:TENDED_MAX]
            for row in touched:  # To the end: next time it is the others' turn.
                self._tenants[row] = self._tenants.pop(row)
        for row in (*wanted, *touched):
            self._tend(row, wanted.get(row), now_us, clock_us)
        if is_due:
            self._due_us = self._next_due_us()
        if is_idle_time:
            is_over = len(self._tenants) <= TENDED_MAX and not self._has_used(clock_us)
            self._idle_at_us = None if is_over else clock_us + leases.TTL_US

    def _has_used(self, clock_us: int) -> bool:
        """Whether a slice was used of lately, so that it may be idle the next time."""
        return any(clock_us - pace.spent_us < leases.TTL_US for pace in self._paces.values())

    def _tend(self, row: str, want: leasing.Want | None, now_us: int, clock_us: int) -> None:
        tenant = want.tenant if want is not None else self._tenants[row]
        program = self._program_of(tenant)
        lease: Any = self._rows.get(state.lease_key(row))
        if want is not None:
            end_us, need = want.window_end_us, want.need_usd_nano
        else:
            end_us, need = (0 if lease is None else lease.window_end_us), 0
        if 0 < end_us <= now_us and not need:
            if now_us > end_us + AHEAD_US:
                self._forget(row)
                return  # Its window is over: what comes late is charged past it, as everywhere.
        elif 0 < end_us - now_us <= AHEAD_US:
            self._want_next(program, row, tenant, end_us)
        limit = leasing.limit_usd_nano(program, row)
        pace, is_idle = self._look(row, clock_us, is_turned=need > 0)
        demand = state.Demand(tenant, need, limit, end_us, pace, clock_us, is_idle)
        word = leases.tend(
            self._rows,
            row,
            demand,
            holder=self._partition,
            partitions=self._partitions,
            now_us=now_us,
        )
        if not word.effects:
            return
        self._tenants.setdefault(row, tenant)
        self._due_us = min(self._due_us, now_us + leases.TTL_US)
        state.apply_all(self._rows, word.effects)
        payload = events.encode_lease(word.records[0]) if word.records else b""
        kind = word.records[0].kind if word.records else "repay"
        if kind == "request":
            self._paces[row] = pace.asked(clock_us)
        self._speak(word, tenant, row, payload, kind)

    def _look(self, row: str, clock_us: int, *, is_turned: bool) -> tuple[Pace, bool]:
        """The pace of a slice, and whether nothing was used of it for as long as one lasts."""
        before = self._paces.get(row, _UNSEEN)
        used = leases.used_usd_nano(self._rows, row)
        pace = before.looked(used, clock_us, waited_us=self._waited_us, is_turned=is_turned)
        self._paces[row] = pace
        is_idle = not is_turned and clock_us - pace.spent_us >= leases.TTL_US
        self._idle_at_us = self._idle_at_us or clock_us + leases.TTL_US
        return pace, is_idle

    def _forget(self, row: str) -> None:
        self._tenants.pop(row, None)
        self._paces.pop(row, None)

    def _want_next(self, program: TenantProgram, row: str, tenant: str, end_us: int) -> None:
        following = leasing.following_row(program, row, end_us)
        if following is not None and self._rows.get(state.lease_key(following[0])) is None:
            self._wanted.setdefault(
                following[0], leasing.Want(following[0], tenant, 0, following[1])
            )
            if row in self._paces:
                self._paces.setdefault(following[0], self._paces[row].following())

    def _is_due(self, row: str, now_us: int) -> bool:
        lease: Any = self._rows.get(state.lease_key(row))
        return lease is None or lease.is_recalled or lease.until_us <= now_us

    def _next_due_us(self) -> int:
        found: list[Any] = [self._rows.get(state.lease_key(row)) for row in self._tenants]
        # Recalled and still here: there were more than one cut could tend.
        return min([0 if e.is_recalled else e.until_us for e in found if e is not None], default=0)

    def _owner_of(self, tenant: str) -> int:
        return events.partition_of(events.account_of(tenant, None).encode(), self._partitions)

    def _speak(self, word: leases.Word, tenant: str, row: str, payload: bytes, kind: str) -> None:
        """Enter a change of slices in the ledger, and say to other agents what goes with it."""
        notes = (kind, "short") if any(r.is_short for r in word.records) else (kind,)
        self._enter("lease", state.parse_budget_key(row).account, payload, notes, word.effects)
        for record in word.records:
            to = self._owner_of(tenant) if record.kind in ("request", "repay") else record.holder
            self._say(to, (row.encode(), events.encode_lease(record), (), None))
