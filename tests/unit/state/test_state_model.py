"""
Rows against an independent recomputation.

The model keeps what happened to every call and works its money out of that anew whenever it is
asked: it has no rows, no effects and no running sums.
"""

from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from state_desk import DAY, DEDUP_US, MINUTE, MODELS, TOTAL, TTL_US, Desk, usage

from enforcer import state

# Small, so that the limits are met all the time.
LIMITS = {DAY: 300, TOTAL: 500}
IDS = st.sampled_from(["r0", "r1", "r2"])
ATTEMPTS = st.sampled_from([1, 1, 1, 2])
COUNTS = st.none() | st.integers(0, 15)


@dataclass
class Said:
    """One usage report: a cost, nothing, or nonsense."""

    final: bool
    outcome: str
    cost: int | None
    bad: bool


@dataclass
class Told:
    """One call, and all that was said of it."""

    time_us: int
    reserved: int
    input: int
    budgets: tuple[str, ...]
    denied: bool
    release: bool
    content: bytes
    expires_us: int
    end_us: int
    expired: bool = False
    said: list[Said] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether the final report is there."""
        return any(one.final for one in self.said)

    @property
    def open(self) -> bool:
        """Whether it holds a reservation, be it of nothing."""
        return not (self.denied or self.expired or self.settled)

    def partial(self) -> int:
        """What partial reports add up to."""
        total = 0
        for one in self.said:
            if not one.final:
                total = max(total, self.reserved) if one.bad else total + (one.cost or 0)
        return total

    def money(self) -> tuple[int, int]:
        """Spent and held, in each of its budgets."""
        partial = self.partial()
        if not self.settled:
            if self.open:
                return partial, max(self.reserved - partial, 0)
            charged = self.expired and not self.release
            return (max(partial, self.reserved) if charged else partial), 0
        last = self.said[-1]
        if last.bad:
            return max(partial, self.reserved), 0
        if last.cost is not None:
            return last.cost, 0
        least = {"completed": self.reserved, "cancelled": self.input, "failed": 0}[last.outcome]
        return max(partial, least), 0


class Money(RuleBasedStateMachine):
    """Requests, reports and silence, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(limits=dict(LIMITS))
        self.calls: dict[tuple[str, int], Told] = {}
        self.past: list[Told] = []
        self.waiting: dict[tuple[str, int], tuple[int, list[tuple[Said, bool]]]] = {}
        self.remembered: dict[tuple[str, int], int] = {}
        self.unclaimed = 0  # Charged to DAY without a request.
        self.overrun = 0

    def total(self, budget: str) -> tuple[int, int]:
        """Spent and held of a budget, from all that ever happened."""
        found = [told.money() for told in self.everything() if budget in told.budgets]
        spent = sum(one[0] for one in found) + (self.unclaimed if budget == DAY else 0)
        return spent, sum(one[1] for one in found)

    def everything(self) -> list[Told]:
        """All calls there ever were."""
        return [*self.past, *self.calls.values()]

    def expire(self, budgets, call) -> None:
        """What an event does first: what it reads, then eight more, oldest first."""
        now_us = self.desk.now_us
        due = [
            (told.expires_us, "c", key)
            for key, told in self.calls.items()
            if told.open and told.budgets and told.expires_us <= now_us
        ]
        due += [(end, "u", key) for key, (end, _) in self.waiting.items() if end <= now_us]
        due.sort()
        reads = [one for one in due if one[2] == call]
        reads += [
            one
            for one in due
            if one[1] == "c" and one not in reads and set(budgets) & set(self.calls[one[2]].budgets)
        ]
        for _, kind, key in reads + [one for one in due if one not in reads][:8]:
            if kind == "c":
                told = self.calls[key]
                told.expired = True
                told.end_us = max(told.end_us, now_us + DEDUP_US)
            else:
                self.give_up(key, now_us)

    def give_up(self, key, now_us) -> None:
        """Charge reports whose request did not come, if they name a team."""
        _, reports = self.waiting.pop(key)
        cost = 0
        for said, _ in reports:
            if said.final and said.cost is not None:
                cost = said.cost
                break
            cost += said.cost or 0
        if any(team for _, team in reports):
            self.unclaimed += cost
            self.overrun += cost
        self.remembered[key] = now_us + 15 * MINUTE

    @rule(us=st.sampled_from([1, MINUTE, TTL_US - 1, TTL_US, 3 * TTL_US]))
    def pass_time(self, us) -> None:
        """Nothing happens for a while, then an event that reads nothing."""
        self.desk.pass_time(us)
        self.expire([], None)

    @rule(us=st.sampled_from([1, MINUTE, TTL_US]))
    def be_silent(self, us) -> None:
        """Nothing at all happens for a while."""
        self.desk.now_us += us

    @rule(
        request_id=IDS,
        attempt=ATTEMPTS,
        cost=st.integers(0, 150),
        share=st.integers(0, 4),
        budgets=st.sampled_from([(DAY, TOTAL), (DAY,), (TOTAL,), ()]),
        content=st.sampled_from([b"a" * 32, b"a" * 32, b"b" * 32]),
        release=st.booleans(),
        denied=st.sampled_from([False, False, False, True]),
    )
    def ask(self, request_id, attempt, cost, share, budgets, content, release, denied) -> None:
        """A request: new, told again, or under a used id."""
        key, now_us = (request_id, attempt), self.desk.now_us
        self.expire(budgets, key)
        expected = self.expected(key, content)
        if expected == "new":
            fits = all(sum(self.total(name)) + cost <= LIMITS[name] for name in budgets)
            expected = "allow" if fits and not denied else "deny"
        verdict = self.desk.request(
            request_id,
            attempt=attempt,
            cost=cost,
            input_cost=cost * share // 4,
            budgets=budgets,
            content=content,
            release=release,
            denied=denied,
        )
        assert verdict == expected
        if verdict in {"allow", "deny"}:
            if key in self.calls:
                self.past.append(self.calls[key])
            told = Told(
                now_us,
                cost,
                cost * share // 4,
                budgets,
                verdict == "deny",
                release,
                content,
                now_us + TTL_US,
                now_us + TTL_US + DEDUP_US,
            )
            self.calls[key] = told
            for said, _ in self.waiting.pop(key, (0, []))[1]:
                self.say(told, said)
            joined = [one.settlement for one in self.desk.joined_before]
            self.overrun += sum(one.overrun_usd_nano for one in joined)

    def expected(self, key, content) -> str:
        """new, redelivery or reused."""
        for known in (key, (key[0], 1)):
            told = self.calls.get(known)
            if told is None:
                continue
            now_us = self.desk.now_us
            if now_us < told.time_us + DEDUP_US or (told.open and now_us < told.expires_us):
                if told.content != content:
                    return "reused"
                return "redelivery" if known == key else "new"
        return "new"

    def say(self, told: Told, said: Said) -> None:
        """Write a report down, unless the final one is there."""
        if told.settled:
            return
        if not said.final and told.open:
            told.expires_us = max(told.expires_us, self.desk.now_us + TTL_US)
            told.end_us = told.expires_us + DEDUP_US
        told.said.append(said)

    @rule(
        request_id=IDS,
        attempt=ATTEMPTS,
        final=st.booleans(),
        outcome=st.sampled_from(["completed", "cancelled", "failed"]),
        inputs=COUNTS,
        outputs=COUNTS,
        bad=st.sampled_from([False, False, False, True]),
        team=st.sampled_from([None, "t1"]),
    )
    def report(self, request_id, attempt, final, outcome, inputs, outputs, bad, team) -> None:
        """A usage report: early, late, twice, absurd, or as it should be."""
        key, now_us = (request_id, attempt), self.desk.now_us
        told = self.calls.get(key)
        self.expire(told.budgets if told else [], key)
        named = inputs is not None or outputs is not None
        cost = MODELS["gpt-4o"].input * (inputs or 0) + MODELS["gpt-4o"].output * (outputs or 0)
        said = Said(final, outcome, cost if named and not bad else None, bad)
        found = self.desk.report(
            usage(
                request_id,
                attempt=attempt,
                final=final,
                outcome=outcome,
                model="gpt-4o",
                input_tokens=inputs,
                output_tokens=outputs,
                cached_tokens=-1 if bad else None,
                team=team,
            )
        )
        self.overrun += found.overrun_usd_nano
        if told is not None and now_us < told.end_us:
            self.say(told, said)
        elif key in self.waiting:
            self.waiting[key][1].append((said, team is not None))
        elif now_us >= self.remembered.get(key, 0):
            self.waiting[key] = (now_us + TTL_US, [(said, team is not None)])

    @invariant()
    def rows_say_what_happened(self) -> None:
        """
        The sum of all settlements is what is spent, and what open calls hold is what is reserved.
        """
        for budget in LIMITS:
            assert self.desk.money(budget) == self.total(budget)

    @invariant()
    def nothing_is_overspent(self) -> None:
        """A budget is never past its limit by more than the overruns that were reported."""
        for budget, limit in LIMITS.items():
            assert sum(self.desk.money(budget)) <= limit + self.overrun

    @invariant()
    def nothing_leaks(self) -> None:
        """Open calls hold all that is reserved, and the queue holds all of them."""
        assert state.leaked(self.desk.rows.items()) == ()
        assert state.ExpiryQueue.from_rows(self.desk.rows.items())._held == self.desk.queue._held

    def teardown(self) -> None:
        """
        Long after, nothing is reserved; another owner's rows are the same; all is swept but totals.
        """
        assert self.desk.redone().rows == self.desk.rows.rows
        for _ in range(4):
            self.pass_time(3 * TTL_US)
            self.rows_say_what_happened()
        assert self.desk.money(DAY)[1] == self.desk.money(TOTAL)[1] == 0
        assert len(self.desk.queue) == 0
        later_us = self.desk.now_us + 40 * 24 * 60 * MINUTE
        left = [key for key, row in self.desk.rows.items() if not state.is_spent(row, later_us)]
        assert set(left) <= {TOTAL} | {
            key for key, _ in self.desk.rows.items("c/") if self.idle(key)
        }

    def idle(self, key) -> bool:
        """Whether a call's row says it is open."""
        return self.desk.rows.get(key).status == "open"


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


@settings(max_examples=200, deadline=None)
@given(
    partials=st.lists(st.integers(0, 30), max_size=6),
    output=st.integers(0, 40),
    copies=st.integers(1, 3),
    early=st.integers(0, 8),
    seed=st.integers(0, 1_000),
)
def test_order_and_duplicates_of_usage_do_not_matter(partials, output, copies, early, seed) -> None:
    """
    Partial reports lost, doubled, late, and the request itself late: the final total is the final
    report's.
    """
    reports = [usage(final=False, output_tokens=count) for count in partials] * 2
    reports += [usage(input_tokens=1, output_tokens=output)] * copies
    Random(seed).shuffle(reports)
    desk = Desk()
    for index, report in enumerate(reports):
        if index == min(early, len(reports) - 1):
            assert desk.request() == "allow"
        desk.report(report)
    assert desk.money(DAY) == desk.money(TOTAL) == (2 + 8 * output, 0)
