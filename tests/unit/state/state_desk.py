"""
A small engine for tests of state: it takes requests and reports, and keeps a diary of all it
applied.
"""

from copy import deepcopy
from dataclasses import dataclass, field

from enforcer import state
from enforcer.events import Allocation, CallRow, Effect, Usage, encode

SECOND = 1_000_000
MINUTE = 60 * SECOND
TTL_US = 15 * MINUTE
DEDUP_US = 20 * MINUTE
START_US = 1_795_000_000 * SECOND
WINDOW_END_US = START_US + 3_600 * SECOND
ACCOUNT = "acme"
DAY = state.budget_key(ACCOUNT, "guard", "day", "t1", "2026-11-23")
TOTAL = state.budget_key(ACCOUNT, "guard", "all", "", "total")
TOKENS = state.rate_key(ACCOUNT, "guard", "tokens", "u1")
REQUESTS = state.rate_key(ACCOUNT, "guard", "requests", "u1")
TOKEN_QUOTA = state.Quota(1_000, MINUTE)
REQUEST_QUOTA = state.Quota(60, MINUTE)


@dataclass(frozen=True)
class FlatRates:
    """Whole nano-USD a token."""

    input: int = 2
    output: int = 8

    def cost_usd_nano(self, *, input_tokens, output_tokens=0, **_others) -> int:
        """The price of a call."""
        return input_tokens * self.input + output_tokens * self.output


MODELS = {"gpt-4o": FlatRates(), "mini": FlatRates(1, 2), "free": FlatRates(0, 0)}


def price_of(_provider, model, _service_tier, _time_us):
    """The price list of the tests."""
    return MODELS.get(model)


def usage(request_id="r1", *, attempt=1, **fields) -> Usage:
    """A report; final and completed unless it says otherwise."""
    return Usage(request_id, ACCOUNT, attempt, **fields)


@dataclass
class Entry:
    """One list of effects as it was applied, with what came with it."""

    effects: tuple[Effect, ...]
    call: CallRow | None = None
    report: state.Report | None = None


@dataclass
class Desk:
    """Rows, queue and time; the budgets by row key with their limits."""

    limits: dict[str, int] = field(default_factory=lambda: {DAY: 1_000, TOTAL: 5_000})
    rows: state.MemoryRows = field(default_factory=state.MemoryRows)
    queue: state.ExpiryQueue = field(default_factory=state.ExpiryQueue)
    now_us: int = START_US
    diary: list[Entry] = field(default_factory=list)
    expiries: list[state.Settlement] = field(default_factory=list)
    joined: list[state.Joined] = field(default_factory=list)

    def apply(self, effects, *, call=None, report=None) -> None:
        """Apply and write down."""
        self.diary.append(Entry(tuple(deepcopy(effects)), deepcopy(call), report))
        state.apply_all(self.rows, effects, call=call, report=report, queue=self.queue)

    def expire(self, keys) -> None:
        """Take an event's due rows: first those it reads, then the oldest others."""
        for find in (lambda: self.queue.due_for(keys, self.now_us), self.others):
            for key in find():
                found = self.ended(key)
                self.expiries.append(found)
                self.apply(found.effects)

    def ended(self, key) -> state.Settlement:
        """What the expiry of a row changes."""
        return state.expire(
            self.rows, key, now_us=self.now_us, price_of=price_of, budgets_of=self.budgets_of
        )

    def others(self):
        """Due rows that the event does not read."""
        return self.queue.due(self.now_us)

    def budgets_of(self, _account, report):
        """Usage that names its team belongs to the day's budget."""
        return [Allocation(DAY, 0, WINDOW_END_US)] if report.team == "t1" else []

    def request(
        self,
        request_id="r1",
        *,
        cost=100,
        input_cost=20,
        tokens=0,
        attempt=1,
        content=b"a" * 32,
        budgets=(DAY, TOTAL),
        release=False,
        denied=False,
        model="gpt-4o",
    ) -> str:
        """Decide a request: allow, deny (over a budget), redelivery or reused."""
        keys = state.call_keys(ACCOUNT, request_id, attempt)
        self.expire([*budgets, *keys, state.waiting_key_of(keys[0])])
        known = state.lookup(
            self.rows, keys, content=content, now_us=self.now_us, dedup_window_us=DEDUP_US
        )
        if known.kind != "new":
            return known.kind
        fits = all(state.admits(self.rows.get(key), self.limits[key], cost) for key in budgets)
        denied = denied or not fits
        effects = [
            Effect("reserve", key, 0 if denied else cost, until_us=self.until(key))
            for key in budgets
        ]
        expires_us, end_us = state.ends(
            self.now_us, reservation_ttl_us=TTL_US, dedup_window_us=DEDUP_US
        )
        if tokens:
            quota = TOKEN_QUOTA
            effects.append(
                Effect("take", TOKENS, tokens, self.now_us, expires_us, quota[0], quota[1])
            )
            quota = REQUEST_QUOTA
            effects.append(Effect("take", REQUESTS, 1, self.now_us, 0, quota[0], quota[1]))
        effects.append(Effect("open", keys[0], cost, expires_us, end_us, input_cost, tokens))
        call = CallRow(
            0, "denied" if denied else "open", content, b"told", self.now_us, 0, "openai", model
        )
        call.release_on_expiry = release
        self.apply(effects, call=call)
        self.joined += state.join(
            self.rows,
            call_key=keys[0],
            now_us=self.now_us,
            reservation_ttl_us=TTL_US,
            price_of=price_of,
            queue=self.queue,
        )
        self.diary += [Entry(tuple(deepcopy(one.settlement.effects))) for one in self.joined]
        self.joined_before, self.joined = self.joined, []
        return "deny" if denied else "allow"

    joined_before: list[state.Joined] = field(default_factory=list)

    def until(self, key) -> int:
        """The end of a budget's window."""
        return 0 if key == TOTAL else WINDOW_END_US

    def report(self, report: Usage) -> state.Settlement:
        """Take a usage report."""
        key = state.call_row_key(ACCOUNT, report.request_id, report.attempt)
        row = self.rows.get(key)
        held = [allocation.row for allocation in row.budgets] if row else []
        self.expire([key, state.waiting_key_of(key), *held])
        found = state.settle(
            self.rows,
            report,
            call_key=key,
            now_us=self.now_us,
            reservation_ttl_us=TTL_US,
            price_of=price_of,
        )
        self.apply(found.effects, report=state.Report(ACCOUNT, encode(report)))
        return found

    def pass_time(self, us: int) -> None:
        """Let time pass, and an event come that reads nothing."""
        self.now_us += us
        self.expire([])

    def money(self, key=DAY) -> tuple[int, int]:
        """Spent and reserved of a budget."""
        row = self.rows.get(key)
        return (row.spent_usd_nano, row.reserved_usd_nano) if row else (0, 0)

    def call(self, request_id="r1", attempt=1) -> CallRow:
        """The row of a call."""
        return self.rows.get(state.call_row_key(ACCOUNT, request_id, attempt))

    def waiting(self, request_id="r1", attempt=1):
        """The row of usage that waits for a call."""
        return self.rows.get(state.waiting_key(ACCOUNT, request_id, attempt))

    def redone(self) -> state.MemoryRows:
        """The rows that another owner has after it redid the diary."""
        rows = state.MemoryRows()
        for entry in deepcopy(self.diary):
            state.apply_all(rows, entry.effects, call=entry.call, report=entry.report)
        return rows
