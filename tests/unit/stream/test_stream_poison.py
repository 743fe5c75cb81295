"""How one record that kills is found without a witness, and one trial at a time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.stream.poison import (
    CAREFUL_COMMIT_RECORDS,
    CAREFUL_RECORDS,
    TRIALS_MAX,
    Care,
    PoisonError,
    Trial,
    encode,
)

R7, U7 = ("requests", 7), ("usage", 7)


def care(starts, *, trying=None, trying_count=0, counts=True):
    return Care(starts=starts, trying=trying, trying_count=trying_count, counts=counts)


@given(st.tuples(st.sampled_from(["requests", "usage"]), st.integers(0, 2**62)))
def test_a_place_is_one_number(place):
    """Requests are at or above zero, usage below; no two places share one."""
    code = encode(place)
    assert (code >= 0) == (place[0] == "requests")
    assert place[1] == (code if code >= 0 else ~code)


@pytest.mark.parametrize(("starts", "limit"), [(1, 5000), (2, 5000), (3, 20), (4, 1), (9, 1)])
def test_starts_at_one_position_narrow_the_commits(starts, limit):
    """From the third start on 20 records go into a commit, from the fourth on one."""
    assert care(starts).limit(5000) == limit
    assert care(starts).is_single == (starts >= 4)


def test_a_smaller_setting_stays():
    """Care never allows more than what is configured."""
    assert care(3).limit(5) == 5


def test_after_20_000_records_the_third_start_is_forgotten():
    """Care ends when the position has come far enough, and the count goes back to nothing."""
    found = care(3)
    found.took(CAREFUL_RECORDS - 1)
    assert found.limit(5000) == CAREFUL_COMMIT_RECORDS
    assert found.starts_after(moved=True) == 3
    found.took(1)
    assert found.limit(5000) == 5000
    assert found.starts_after(moved=True) == 0


def test_the_first_commit_that_moves_ends_an_ordinary_count():
    """A start or two are counted only as long as the position stands where it was."""
    assert care(2).starts_after(moved=False) == 2
    assert care(2).starts_after(moved=True) == 0


def test_single_steps_end_after_20_records_and_stay_careful():
    """After 20 records one by one it is 20 a commit again, as after a third start."""
    found = care(5)
    assert found.starts_after(moved=True) == 5
    for _ in range(20):
        assert found.limit(5000) == 1
        found.took(1)
    assert found.limit(5000) == 20
    assert found.starts_after(moved=True) == 3


def test_a_record_is_taken_singly_only_after_it_was_committed_as_trying():
    """The ledger knows who is on trial before it is taken; once taken, the next one needs its own trial."""
    found = care(4)
    assert not found.may_take(R7)
    found.try_next(R7)
    assert (found.trying, found.trying_count) == (7, 1)
    assert not found.may_take(R7)
    found.committed(4, 7)
    assert found.trying is None
    assert found.may_take(R7)
    assert not found.may_take(U7)
    found.took(1)
    assert not found.may_take(R7)
    found.committed(4, None)
    assert found.trial is None


def test_trials_of_one_record_add_up_over_deaths():
    """Found on trial once, it is tried a second and a third time; another record begins at one."""
    found = care(5, trying=7, trying_count=1)
    found.try_next(R7)
    assert found.trying_count == 2
    other = care(5, trying=7, trying_count=2)
    other.try_next(("requests", 8))
    assert other.trying_count == 1


def test_taking_over_from_oneself_is_no_death():
    """After a failed commit the trial is repeated, not counted."""
    found = care(5, trying=7, trying_count=2, counts=False)
    found.try_next(R7)
    assert found.trying_count == 2


@pytest.mark.parametrize(("count", "condemned"), [(TRIALS_MAX - 1, False), (TRIALS_MAX, True)])
def test_three_trials_condemn(count, condemned):
    """A record found on trial three times is refused, and needs no further trial."""
    found = care(7, trying=encode(U7), trying_count=count)
    assert found.is_condemned(U7) is condemned
    assert found.may_take(U7) is condemned
    assert not found.is_condemned(R7)


@pytest.mark.parametrize("killer", [0, 3, 25, 57])
def test_a_record_that_kills_is_condemned_and_no_other(killer):
    """Process after process dies at one of 100 records; in the end that one is refused and the rest is taken."""
    position, starts, trying, count, deaths, refused = 0, 0, None, 0, 0, []
    while position < 100:
        starts += 1
        found = care(starts, trying=trying, trying_count=count)
        trying, count, at = None, 0, position
        while at < 100:
            taken = 0
            while at < 100 and taken < found.limit(40):
                place = ("requests", at)
                if found.is_single and not found.may_take(place):
                    if not taken:
                        found.try_next(place)
                    break
                if found.is_condemned(place):
                    refused.append(at)
                elif at == killer:
                    taken = -1
                    break
                taken, at = taken + 1, at + 1
                found.took(1)
            if taken < 0:
                deaths += 1
                assert deaths < 15
                break
            position, starts = at, found.starts_after(moved=at != position)
            trying, count = found.trying, found.trying_count
            found.committed(starts, trying)
    assert refused == [killer]


@pytest.mark.parametrize(("starts", "forgiven"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_planned_stop_takes_an_ordinary_start_back(starts, forgiven):
    """Who lives to see its planned end has not died of a record; a search under way goes on."""
    found = care(starts)
    assert found.forgive() is forgiven
    assert found.starts_after(moved=False) == (0 if forgiven else starts)


def test_an_exception_names_its_record():
    """What the engine raised at a record carries the place, and nothing of the record's text."""
    error = PoisonError(R7, "ValueError")
    assert (error.place, error.error, str(error)) == (R7, "ValueError", "requests 7: ValueError")


# -- one trial a process ----------------------------------------------------------------------------------------


async def test_a_trial_bars_all_others():
    """While one partition's record is on trial no other partition decides, nor begins a trial."""
    trial = Trial()
    assert trial.begin(1)
    assert trial.begin(1)
    assert not trial.begin(2)
    assert (trial.bars(1), trial.bars(2)) == (False, True)
    await trial.wait(1)
    waiting = asyncio.create_task(trial.wait(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    trial.end(2)  # Not its own.
    assert trial.bars(2)
    trial.end(1)
    await waiting
    assert trial.begin(2)


async def test_who_waited_waits_on_if_the_next_trial_is_anothers():
    """Being woken is no right to go on: a third partition may have begun meanwhile."""
    trial = Trial()
    trial.begin(1)
    waiting = asyncio.create_task(trial.wait(2))
    await asyncio.sleep(0)
    trial.end(1)
    trial.begin(3)
    await asyncio.sleep(0.001)
    assert not waiting.done()
    trial.end(3)
    await waiting
