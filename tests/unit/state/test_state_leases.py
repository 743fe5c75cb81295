"""
Slices of a tenant's budget, against every interleaving: words that come late, twice, in another order, or never,
and sides that die and begin again from what was committed.
"""

from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enforcer import state
from enforcer.events import BudgetRow, Effect, Lease, LeaseRow, LentRow
from enforcer.state import leases
from enforcer.state.pace import Pace

LIMIT = 1_000
HOLDERS = 3
ROW = state.budget_key("acme", "company", "month", "", "2026-11")
LEASE, LENT = state.lease_key(ROW), state.lent_key(ROW)
SECOND = 1_000_000
HOLDER = st.integers(0, HOLDERS - 1)


class Side:
    """One partition: rows as committed, rows as in memory, and what the open transaction will say."""

    def __init__(self) -> None:
        self.committed = state.MemoryRows()
        self.rows = state.MemoryRows()
        self.pending: list[Lease] = []
        self.told: list[Effect] = []
        self.heard: list[Lease] = []

    def take(self, word: leases.Word) -> None:
        """Apply what this side does; what it says is said with the commit."""
        state.apply_all(self.rows, word.effects)
        self.pending += word.records

    def commit(self) -> list[Lease]:
        """Everything becomes durable and readable at once."""
        self.committed.rows = dict(self.rows.rows)
        said, self.pending, self.told, self.heard = self.pending, [], [], []
        return said

    def die(self) -> list[Lease]:
        """Begin again from what was committed; verdicts that were told are redone, words are heard anew."""
        self.rows.rows = dict(self.committed.rows)
        self.pending = []
        state.apply_all(self.rows, self.told)
        again, self.heard = self.heard, []
        return again


class Lending(RuleBasedStateMachine):
    """An owner and its holders, and a network of records that may come in any order and more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = Side()
        self.holders = [Side() for _ in range(HOLDERS)]
        self.to_owner: list[Lease] = []
        self.to_holder: list[list[Lease]] = [[] for _ in range(HOLDERS)]
        self.said: list[Lease] = []
        self.demand = [0] * HOLDERS
        self.now_us = 1_000 * SECOND
        self.overrun = 0

    @initialize(limit=st.sampled_from([LIMIT, 100, 7, 0]))
    def begin(self, limit):
        """A budget, large, tiny or of nothing."""
        self.limit = limit

    def publish(self, said):
        self.said += said
        for record in said:
            if record.kind in ("request", "repay"):
                self.to_owner.append(record)
            else:
                self.to_holder[record.holder].append(record)

    @rule(holder=HOLDER, cost=st.sampled_from([1, 2, 5, 20, 100, 200]))
    def spend(self, holder, cost):
        """A request is admitted by the holder's slice, or turned, and then wanted."""
        side = self.holders[holder]
        row, lease = side.rows.get(ROW), side.rows.get(LEASE)
        if state.admits(row, state.slice_usd_nano(lease), cost):
            effect = Effect("reserve", ROW, cost)
            state.apply_all(side.rows, [effect])
            side.told.append(effect)
        else:
            self.demand[holder] = min(self.demand[holder] or cost, cost)

    @rule(holder=HOLDER, part=st.integers(0, 150), more=st.sampled_from([0, 0, 0, 30]))
    def settle(self, holder, part, more):
        """A reservation is settled for less, or for more than any admission has seen."""
        side = self.holders[holder]
        row = side.rows.get(ROW)
        held = min(part, row.reserved_usd_nano) if row is not None else 0
        if not held:
            return
        self.overrun += more
        effects = [Effect("release", ROW, held), Effect("charge", ROW, held // 2 + more)]
        if more and held // 2 + more <= held:
            self.overrun -= more
        elif more:
            self.overrun -= more - (held // 2 + more - held)
        state.apply_all(side.rows, effects)
        side.told += effects

    @rule(holder=HOLDER)
    def commit_holder(self, holder):
        """A holder's cut: it says what is to be said, and all of it becomes durable."""
        side = self.holders[holder]
        demand = state.Demand("acme", self.demand[holder], self.limit, 0)
        self.demand[holder] = 0
        side.take(
            leases.tend(
                side.rows, ROW, demand, holder=holder, partitions=HOLDERS, now_us=self.now_us
            )
        )
        self.publish(side.commit())

    @rule()
    def commit_owner(self):
        """The owner's cut."""
        self.publish(self.owner.commit())

    @precondition(lambda self: self.to_owner)
    @rule(data=st.data(), twice=st.booleans())
    def owner_hears(self, data, twice):
        """Any of the words on the way to the owner, and perhaps once more later."""
        index = data.draw(st.integers(0, len(self.to_owner) - 1))
        record = self.to_owner[index] if twice else self.to_owner.pop(index)
        row = self.owner.rows.get(LENT)
        if record.kind == "request":
            self.owner.take(leases.answer(row, record, self.limit))
        else:
            self.owner.take(leases.repaid(record))
        if not twice:
            self.owner.heard.append(record)

    @rule(holder=HOLDER, data=st.data(), twice=st.booleans())
    def holder_hears(self, holder, data, twice):
        """Any of the words on the way to a holder."""
        way, side = self.to_holder[holder], self.holders[holder]
        if not way:
            return
        index = data.draw(st.integers(0, len(way) - 1))
        record = way[index] if twice else way.pop(index)
        side.take(leases.heard(record, self.now_us))
        if not twice:
            side.heard.append(record)

    @rule(holder=HOLDER)
    def holder_dies(self, holder):
        """With its slice: what was told is redone, what was heard and not committed comes again."""
        self.to_holder[holder] += self.holders[holder].die()

    @rule()
    def owner_dies(self):
        """Grants that were not committed were never made."""
        self.to_owner += self.owner.die()

    @rule(seconds=st.sampled_from([0, 1, 2, 11, 61]))
    def time_passes(self, seconds):
        """Slices end, requests are made again."""
        self.now_us += seconds * SECOND

    @invariant()
    def nothing_is_overspent(self):
        """What all holders spent and reserved is within the limit, but for overruns; so is what is lent."""
        used = 0
        for side in self.holders:
            row = side.rows.get(ROW)
            used += row.spent_usd_nano + row.reserved_usd_nano if row is not None else 0
        limit = getattr(self, "limit", LIMIT)
        assert used <= limit + self.overrun
        assert state.lent_usd_nano(self.owner.rows.get(LENT)) <= limit + self.overrun

    @invariant()
    def a_slice_is_never_more_than_was_lent(self):
        """As the owner has committed it: no holder counts on money that could be lent again."""
        lent = self.owner.committed.get(LENT)
        for number, side in enumerate(self.holders):
            mine = next((h for h in (lent.holdings if lent else []) if h.holder == number), None)
            lease = side.rows.get(LEASE)
            granted = mine.granted_usd_nano if mine else 0
            assert (lease.granted_usd_nano if lease else 0) <= granted
            assert (mine.repaid_usd_nano if mine else 0) <= (lease.repaid_usd_nano if lease else 0)


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


class Town:
    """The same without faults: a round is one cut of each holder and one of the owner."""

    def __init__(self, limit, holders=4):
        self.limit, self.now_us = limit, 1_000 * SECOND
        self.owner = state.MemoryRows()
        self.holders = [state.MemoryRows() for _ in range(holders)]
        self.needs = [0] * holders
        self.paces = [Pace() for _ in range(holders)]
        self.known = {}
        self.turned = 0

    def used(self, holder=None):
        """Spent and reserved of one holder, or of all."""
        rows = self.holders if holder is None else [self.holders[holder]]
        found = [each.get(ROW) for each in rows]
        return sum(r.spent_usd_nano + r.reserved_usd_nano for r in found if r is not None)

    def lent(self):
        """What the owner counts as spent."""
        return state.lent_usd_nano(self.owner.get(LENT))

    def spend(self, holder, cost, times=1):
        """How many of *times* requests were admitted."""
        rows, done = self.holders[holder], 0
        self.paces[holder] = self.paces[holder].called(cost)
        for _ in range(times):
            if state.admits(rows.get(ROW), state.slice_usd_nano(rows.get(LEASE)), cost):
                state.apply_all(rows, [Effect("reserve", ROW, cost)])
                done += 1
            else:
                self.needs[holder] = min(self.needs[holder] or cost, cost)
                lease = rows.get(LEASE)
                self.turned += lease is None or not lease.is_short
        return done

    def round(self, milliseconds=100, silent=()):
        """Everybody cuts, everybody hears; *silent* holders do neither."""
        self.now_us += milliseconds * 1_000
        said = []
        for number, rows in enumerate(self.holders):
            if number in silent:
                continue
            pace = self.paces[number].looked(
                leases.used_usd_nano(rows, ROW),
                self.now_us,
                waited_us=milliseconds * 1_000,
                is_turned=self.needs[number] > 0,
            )
            is_idle = self.now_us - pace.spent_us >= leases.TTL_US
            demand = state.Demand(
                "acme", self.needs[number], self.limit, 0, pace, self.now_us, is_idle
            )
            self.needs[number] = 0
            word = leases.tend(
                rows, ROW, demand, holder=number, partitions=len(self.holders), now_us=self.now_us
            )
            state.apply_all(rows, word.effects)
            said += word.records
            is_asked = any(record.kind == "request" for record in word.records)
            self.paces[number] = pace.asked(self.now_us) if is_asked else pace
        answers = []
        for record in said:
            if record.least_usd_nano:
                self.known[record.holder] = record.least_usd_nano
            if record.kind == "request":
                word = leases.answer(self.owner.get(LENT), record, self.limit, known=self.known)
            else:
                word = leases.repaid(record)
            state.apply_all(self.owner, word.effects)
            answers += word.records
        for record in answers:
            state.apply_all(self.holders[record.holder], leases.heard(record, self.now_us).effects)
            if record.kind == "grant":
                self.paces[record.holder] = self.paces[record.holder].answered(
                    self.now_us + milliseconds * 1_000
                )
        return said, answers


def test_the_first_request_is_turned_and_the_next_one_admitted():
    """Without a slice nothing is admitted; one round later there is one."""
    town = Town(10_000)
    assert town.spend(0, 50) == 0
    town.round()
    assert town.spend(0, 50) == 1
    assert 0 < town.lent() <= 10_000


def test_a_budget_of_one_busy_holder_is_spent_to_the_last_call():
    """Slices shrink as the budget does, down to single calls: nothing is stranded at the owner."""
    town = Town(10_000)
    for _ in range(200):
        town.spend(1, 50, times=5)
        town.round()
    assert town.used() == 10_000


def test_what_others_hold_unused_is_recalled_and_spent():
    """Four holders with slices, three of which fall silent in traffic but not in life: the fourth gets it all."""
    town = Town(10_000)
    for holder in range(4):
        town.spend(holder, 10)
    town.round()
    for _ in range(200):
        town.spend(2, 50, times=5)
        town.round()
    assert town.used() >= 10_000 - 50


def test_a_dead_holder_strands_its_slice_and_no_more():
    """What it was lent counts as spent for as long as it is away, and is spent after it is back."""
    town = Town(10_000)
    for holder in range(2):
        town.spend(holder, 10)
    town.round()
    slice_ = state.slice_usd_nano(town.holders[0].get(LEASE))
    for _ in range(700):
        town.spend(1, 10, times=5)
        town.round(silent={0})
    assert slice_ > 0
    assert 10_000 - slice_ - 10 < town.used(1) <= 10_000 - slice_
    for _ in range(100):
        town.spend(1, 10, times=5)
        town.round()
    assert town.used() == 10_000


def test_an_overrun_is_lent_after_the_fact_and_nobody_is_lent_it_twice():
    """What a settlement cost above its slice is missing elsewhere."""
    town = Town(1_000)
    town.spend(0, 100)
    town.round()
    state.apply_all(town.holders[0], [Effect("charge", ROW, 900)])
    town.round()
    others = sum(state.slice_usd_nano(rows.get(LEASE)) for rows in town.holders[1:])
    assert town.lent() == 900 + others
    for _ in range(50):
        town.spend(1, 10, times=3)
        town.round(1_000)
    assert 90 <= town.used(1) <= others
    assert town.lent() <= 900 + others


def test_an_owner_that_does_not_know_the_budget_is_short():
    """Its policies may be older: nothing is lent, and the holder denies."""
    request = Lease("request", "acme", ROW, 2, 1, 500, 10)
    word = leases.answer(None, request, 0)
    (grant,) = word.records
    assert (grant.kind, grant.amount_usd_nano, grant.is_short) == ("grant", 0, True)
    (effect,) = leases.heard(grant, 5).effects
    row = leases.apply_lease(None, effect)
    assert row is not None
    assert (row.is_short, state.slice_usd_nano(row)) == (True, 0)


def test_a_request_is_answered_once():
    """The same again, or an older one, changes nothing and is not answered."""
    rows = state.MemoryRows()
    request = Lease("request", "acme", ROW, 2, 3, 500, 10)
    state.apply_all(rows, leases.answer(None, request, LIMIT).effects)
    assert leases.answer(rows.get(LENT), request, LIMIT) == leases.NOTHING
    older = Lease("request", "acme", ROW, 2, 2, 500, 10)
    assert leases.answer(rows.get(LENT), older, LIMIT) == leases.NOTHING


def test_a_holder_asks_no_second_time_until_it_is_answered_or_long_unheard():
    """One request at a time; after ten seconds it is made again."""
    rows, asked = state.MemoryRows(), []
    for now_s in (0, 1, 5, 9, 10, 11):
        word = leases.tend(
            rows,
            ROW,
            state.Demand("acme", 10, LIMIT, 0),
            holder=0,
            partitions=4,
            now_us=now_s * SECOND,
        )
        state.apply_all(rows, word.effects)
        asked += [now_s for record in word.records if record.kind == "request"]
    assert asked == [0, 10]


def test_a_short_holder_asks_again_after_a_second():
    """So that an exhausted budget is not a storm of requests."""
    town = Town(100)
    assert not town.spend(0, 500)
    asked = 0
    for _ in range(30):
        town.spend(0, 500)
        said, _ = town.round(100)
        asked += len([record for record in said if record.holder == 0])
    assert 3 <= asked <= 4
    assert town.holders[0].get(LEASE).is_short


def test_past_its_time_what_is_unused_goes_back():
    """An idle holder keeps no more than its part of a 64th of the limit for longer than two minutes, and that is recalled."""
    town = Town(100_000)
    town.spend(0, 10)
    town.round()
    town.spend(0, 10)
    town.round(61_000)
    town.round(61_000)
    idle = 100_000 // (4 * leases.IDLE_PART)
    assert town.lent() == 10 + 4 * idle
    assert town.spend(0, 10) == 1
    for _ in range(60):
        town.spend(1, 10, times=500)
        town.round(1_000)
    assert town.used() >= 100_000 - 4 * 10


@pytest.mark.parametrize("milliseconds", [100, 500, 2_000])
@pytest.mark.parametrize("limit", [100_000, 3_000_000])
def test_while_there_is_money_a_holder_that_spends_is_not_turned(limit, milliseconds):
    """Four holders at unlike rates: the next slice is there before this one is used up, however late commits are."""
    town, rounds = Town(limit), 0
    for _ in range(4):  # Until they know their pace.
        town.round(milliseconds)
    town.turned = 0
    while town.used() < limit - 4 * 400 * milliseconds // 100 and rounds < 1_000:
        for holder, times in enumerate((1, 2, 4, 8)):
            town.spend(holder, 5 * (1 + rounds % 3), times=max(times * milliseconds // 400, 1))
        town.round(milliseconds)
        rounds += 1
    assert town.turned == 0


@given(limit=st.integers(0, 5_000), costs=st.lists(st.integers(1, 400), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_slices_add_up_whatever_is_spent_where(limit, costs):
    """Whatever order calls come in, the sum of all slices is within the limit."""
    town = Town(limit)
    for index, cost in enumerate(costs):
        town.spend(index * 7 % 4, cost)
        town.round()
        slices = sum(state.slice_usd_nano(rows.get(LEASE)) for rows in town.holders)
        assert town.used() <= slices <= town.lent() <= limit


@pytest.mark.no_cover
@pytest.mark.parametrize("bug", ["frees when it expires", "spends before it is granted"])
def test_the_machine_finds_a_bug_put_in(bug):
    """An owner that takes an expired slice for free, a holder that counts what it asked for: both overspend."""

    def freed(row):
        return 0 if row is None else row.holdings[0].repaid_usd_nano * 0

    def early(row):
        return 0 if row is None else row.granted_usd_nano - row.repaid_usd_nano + row.asked_usd_nano

    class Sabotaged(Lending):
        @invariant()
        def _(self):
            pass

    place = (
        patch.object(leases, "lent_usd_nano", freed)
        if bug.startswith("frees")
        else patch.object(state, "slice_usd_nano", early)
    )
    Sabotaged.TestCase.settings = settings(
        max_examples=400,
        stateful_step_count=60,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    with place, pytest.raises(AssertionError):
        Sabotaged.TestCase("runTest").runTest()


def test_rows_of_closed_windows_go_after_a_month():
    """Held and lent alike; of a total they stay for ever."""
    day = 86_400 * SECOND
    for row in (LeaseRow(5, 0, 10 * day), LentRow(10 * day)):
        assert not state.is_spent(row, 41 * day)
        assert state.is_spent(row, 42 * day)
    assert not state.is_spent(LeaseRow(5, 0, 0), 1_000 * day)
    assert isinstance(BudgetRow(0, 0, 0), BudgetRow)
