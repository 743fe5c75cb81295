"""Usage reports and expiry."""

import pytest
from state_desk import DAY, DEDUP_US, TOKENS, TTL_US, WINDOW_END_US, Desk, price_of, usage

from enforcer import state
from enforcer.events import BudgetRow
from enforcer.state.effects import WAITING_REPORTS_MAX
from enforcer.state.settlement import REMEMBERED_US


@pytest.fixture
def desk() -> Desk:
    """A desk with one open call: 100 reserved, of which 20 for the input."""
    desk = Desk()
    assert desk.request() == "allow"
    return desk


OUTCOMES = ("completed", "cancelled", "failed")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_reported_counts_are_charged_whatever_the_outcome(desk, outcome) -> None:
    """LANGUAGE: reported counts are charged whatever the outcome; the rest is released."""
    found = desk.report(usage(outcome=outcome, input_tokens=10, output_tokens=5))
    assert (found.charged_usd_nano, found.overrun_usd_nano, found.notes) == (60, 0, ())
    assert desk.money() == (60, 0)


@pytest.mark.parametrize(
    ("outcome", "spent"), [("completed", 100), ("cancelled", 20), ("failed", 0)]
)
def test_without_counts_the_outcome_says_what_is_charged(desk, outcome, spent) -> None:
    """
    LANGUAGE: without counts completed charges the reservation, cancelled the input estimate, failed
    nothing.
    """
    desk.report(usage(outcome=outcome))
    assert desk.money() == (spent, 0)


def test_usage_is_applied_once(desk) -> None:
    """LANGUAGE: usage is keyed by the call, applied once."""
    desk.report(usage(input_tokens=10, output_tokens=5))
    for outcome in OUTCOMES:
        again = desk.report(usage(outcome=outcome, input_tokens=100))
        assert (again.effects, again.notes) == ((), ("duplicate",))
    assert desk.report(usage(final=False, input_tokens=1)).notes == ("after_final",)
    assert desk.money() == (60, 0)


def test_a_partial_report_adds_and_renews(desk) -> None:
    """LANGUAGE: final: false adds and renews."""
    desk.now_us += TTL_US - 1
    found = desk.report(usage(final=False, output_tokens=5))
    assert (found.charged_usd_nano, found.overrun_usd_nano) == (40, 0)
    assert desk.money() == (40, 60)
    desk.now_us += TTL_US - 1
    desk.report(usage(final=False, output_tokens=5))
    assert desk.money() == (80, 20)
    assert desk.call().expires_us == desk.now_us + TTL_US
    assert desk.call().end_us == desk.now_us + TTL_US + DEDUP_US
    desk.report(usage(final=False))  # Says only that the call goes on.
    assert desk.money() == (80, 20)


def test_a_final_report_settles(desk) -> None:
    """
    LANGUAGE: final: true settles: its counts are the whole call's, more or less than the partial
    ones added up to.
    """
    desk.report(usage(final=False, output_tokens=10))
    assert desk.money() == (80, 20)
    found = desk.report(usage(input_tokens=10, output_tokens=5))
    assert found.charged_usd_nano == -20
    assert desk.money() == (60, 0)
    assert (desk.call().status, desk.call().charged_usd_nano) == ("settled", 60)


@pytest.mark.parametrize(
    ("outcome", "spent"), [("completed", 100), ("cancelled", 80), ("failed", 80)]
)
def test_a_final_report_without_counts_keeps_what_was_reported(desk, outcome, spent) -> None:
    """Cancelled in mid-stream: what partial reports charged stays charged."""
    desk.report(usage(final=False, output_tokens=10))
    desk.report(usage(outcome=outcome))
    assert desk.money() == (spent, 0)


def test_an_overrun_is_charged_and_reported(desk) -> None:
    """
    LANGUAGE: what a settlement costs above its reservation is charged, may exceed the limit, and is
    reported.
    """
    desk.limits[DAY] = 100
    found = desk.report(usage(output_tokens=20))
    assert (found.charged_usd_nano, found.overrun_usd_nano) == (160, 60)
    assert found.notes == ("overrun",)
    assert desk.money() == (160, 0)


def test_partial_reports_overrun_step_by_step(desk) -> None:
    """Each report tells only what it claims itself."""
    overruns = [
        desk.report(usage(final=False, output_tokens=10)).overrun_usd_nano,
        desk.report(usage(final=False, output_tokens=10)).overrun_usd_nano,
        desk.report(usage(input_tokens=10, output_tokens=20)).overrun_usd_nano,
    ]
    assert overruns == [0, 60, 20]
    assert desk.money() == (180, 0)


def test_usage_of_a_denied_request_is_charged_and_flagged() -> None:
    """LANGUAGE: usage of a denied request is charged and flagged, to the budgets that denied it."""
    desk = Desk()
    desk.request(denied=True)
    found = desk.report(usage(acted="timeout_allow", input_tokens=10, output_tokens=5))
    assert found.notes == ("denied_request", "overrun", "bypass")
    assert (found.charged_usd_nano, found.overrun_usd_nano) == (60, 60)
    assert desk.money() == (60, 0)
    assert desk.report(usage(input_tokens=10)).notes == ("duplicate",)


def test_a_denied_request_that_did_not_run_is_not_flagged() -> None:
    """A gateway may report that nothing was used."""
    desk = Desk()
    desk.request(denied=True)
    assert desk.report(usage(acted="deny", outcome="failed")).notes == ()
    assert desk.money() == (0, 0)


def test_a_partial_report_of_a_denied_request_reserves_nothing() -> None:
    """It is charged; there is no reservation to renew."""
    desk = Desk()
    desk.request(denied=True)
    desk.report(usage(final=False, output_tokens=5))
    assert desk.money() == (40, 0)
    assert desk.call().status == "denied"
    assert len(desk.queue) == 0


def test_an_expired_reservation_is_charged(desk) -> None:
    """LANGUAGE: an expired reservation is charged (default)."""
    desk.pass_time(TTL_US - 1)
    assert desk.money() == (0, 100)
    desk.pass_time(1)
    assert desk.money() == (100, 0)
    assert desk.expiries[0].charged_usd_nano == 100
    assert desk.call().status == "expired"


def test_an_expired_reservation_is_released() -> None:
    """LANGUAGE: or released; what was reported stays charged."""
    desk = Desk()
    desk.request(release=True)
    desk.report(usage(final=False, output_tokens=5))
    desk.pass_time(TTL_US)
    assert desk.money() == (40, 0)
    assert (desk.expiries[0].charged_usd_nano, desk.expiries[0].notes) == (0, ("released",))


@pytest.mark.parametrize(("release", "before"), [(False, 100), (True, 0)])
def test_usage_of_an_expired_request_is_charged_and_flagged(release, before) -> None:
    """
    LANGUAGE: usage of an expired request is charged and flagged; what the expiry charged is taken
    into account.
    """
    desk = Desk()
    desk.request(release=release)
    desk.pass_time(TTL_US)
    assert desk.money() == (before, 0)
    found = desk.report(usage(input_tokens=10, output_tokens=5))
    assert found.notes[0] == "expired_request"
    assert found.charged_usd_nano == 60 - before
    assert desk.money() == (60, 0)


def test_partial_reports_of_an_expired_request() -> None:
    """They add up to more than the expiry charged before they cost anything more."""
    desk = Desk()
    desk.request()
    desk.pass_time(TTL_US)
    assert desk.report(usage(final=False, output_tokens=10)).charged_usd_nano == 0
    assert desk.report(usage(final=False, output_tokens=10)).charged_usd_nano == 60
    assert desk.money() == (160, 0)
    assert desk.call().status == "expired"
    assert len(desk.queue) == 0


ABSURD = (
    {"input_tokens": -1, "output_tokens": 5},
    {"input_tokens": 10, "output_tokens": -5},
    {"output_tokens": 1_000_000_001},
    {"input_tokens": 1_000_000_001},
    {"input_tokens": 10, "cached_tokens": 11},
    {"input_tokens": 10, "cached_tokens": 6, "cache_write_tokens": 5},
    {"input_tokens": 10, "cached_tokens": -1},
    {"output_tokens": 10, "reasoning_tokens": 11},
    {"cost_usd_nano": -1},
    {"input_tokens": 1, "cost_usd_nano": 10**15 + 1},
)


@pytest.mark.parametrize("counts", ABSURD)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_absurd_counts_charge_the_reservation(desk, counts, outcome) -> None:
    """LANGUAGE: absurd counts charge the reservation; they are flagged."""
    found = desk.report(usage(outcome=outcome, **counts))
    assert found.notes == ("absurd_counts",)
    assert desk.money() == (100, 0)


def test_absurd_counts_of_a_partial_report_charge_the_reservation(desk) -> None:
    """A true final report still corrects them."""
    desk.report(usage(final=False, output_tokens=-1))
    assert desk.money() == (100, 0)
    desk.report(usage(input_tokens=10, output_tokens=5))
    assert desk.money() == (60, 0)


@pytest.mark.parametrize(
    ("report", "spent"),
    [
        ({"cost_usd_nano": 33}, 33),
        ({"cost_usd_nano": 33, "input_tokens": 10, "output_tokens": 5}, 33),
        ({"cost_usd_nano": 0, "input_tokens": 10, "output_tokens": 5}, 60),
        ({"cost_usd_nano": 0, "model": "free", "input_tokens": 10}, 0),
        ({"cost_usd_nano": 0}, 100),
        ({"model": "mini", "input_tokens": 10, "output_tokens": 5}, 20),
        ({"model": "gpt-4o-2024-08-06", "input_tokens": 10, "output_tokens": 5}, 60),
        ({"output_tokens": 5}, 40),
        ({"input_tokens": 5}, 10),
    ],
)
def test_what_a_report_is_priced_at(desk, report, spent) -> None:
    """
    A reported cost goes before counts times price, unless it is 0; an unknown model is priced as
    the one asked for.
    """
    desk.report(usage(**report))
    assert desk.money() == (spent, 0)


def test_a_call_without_a_price_charges_its_reservation() -> None:
    """A tenant with no ceiling for unknown models: the reservation is charged, flagged."""
    desk = Desk()
    desk.request(model="unheard-of")
    found = desk.report(usage(outcome="failed", input_tokens=10))
    assert found.notes == ("unknown_price",)
    assert desk.money() == (100, 0)


def test_usage_before_its_request_waits() -> None:
    """
    LANGUAGE: usage before its request waits as a row until reservation_ttl; the request joins it.
    """
    desk = Desk()
    assert desk.report(usage(final=False, output_tokens=5)).notes == ("waiting",)
    assert desk.report(usage(input_tokens=10, output_tokens=5)).notes == ("waiting",)
    assert desk.waiting().end_us == desk.now_us + TTL_US
    desk.now_us += TTL_US - 1
    assert desk.request() == "allow"
    assert desk.money() == (60, 0)
    assert [one.settlement.notes for one in desk.joined_before] == [("early",), ("early",)]
    assert desk.waiting().reports == []
    assert desk.call().status == "settled"
    desk.pass_time(TTL_US)
    assert desk.money() == (60, 0)


def test_all_reports_wait_as_long_as_the_first() -> None:
    """A late second report does not put the charge off."""
    desk = Desk()
    desk.report(usage(model="gpt-4o", final=False, output_tokens=5, team="t1"))
    end_us = desk.waiting().end_us
    desk.now_us += TTL_US - 1
    desk.report(usage(model="gpt-4o", final=False, output_tokens=5, team="t1"))
    assert desk.waiting().end_us == end_us
    desk.pass_time(1)
    assert desk.money() == (80, 0)


def test_usage_without_a_request_is_charged_to_the_budgets_it_names() -> None:
    """LANGUAGE: then it is charged to the budgets whose keys it carries."""
    desk = Desk()
    desk.report(usage(model="gpt-4o", final=False, output_tokens=5, team="t1"))
    desk.report(usage(model="gpt-4o", input_tokens=10, output_tokens=5, team="t1"))
    desk.pass_time(TTL_US)
    found = desk.expiries[0]
    assert desk.money() == (60, 0)
    assert desk.rows.get(DAY).window_end_us == WINDOW_END_US
    assert (found.notes, found.overrun_usd_nano) == (("early", "overrun"), 60)


def test_usage_without_a_request_that_names_no_budget_is_unattributed() -> None:
    """LANGUAGE: else it is audited as unattributed."""
    desk = Desk()
    desk.report(usage(model="gpt-4o", input_tokens=10, output_tokens=5))
    desk.pass_time(TTL_US)
    assert desk.expiries[0].notes == ("early", "unattributed")
    assert desk.expiries[0].charged_usd_nano == 60
    assert desk.money() == (0, 0)


def test_usage_without_a_request_is_charged_once() -> None:
    """What was charged without its request is remembered, and known when it comes again."""
    desk = Desk()
    report = usage(model="gpt-4o", input_tokens=10, output_tokens=5, team="t1")
    desk.report(report)
    desk.pass_time(TTL_US)
    assert desk.report(report).notes == ("duplicate",)
    desk.pass_time(REMEMBERED_US)
    assert desk.money() == (60, 0)
    assert state.is_spent(desk.waiting(), desk.now_us)


def test_a_waiting_report_without_price_is_flagged() -> None:
    """Nothing is charged that nobody can price; the audit says so."""
    desk = Desk()
    desk.report(usage(input_tokens=10, team="t1"))
    desk.report(usage(attempt=2, output_tokens=-1, team="t1"))
    desk.pass_time(TTL_US)
    assert [one.notes for one in desk.expiries] == [
        ("early", "unknown_price"),
        ("early", "absurd_counts"),
    ]
    assert desk.money() == (0, 0)


def test_waiting_reports_are_bounded() -> None:
    """However many reports wait for a call, the row stays small and the newest is in it."""
    desk = Desk()
    for _ in range(WAITING_REPORTS_MAX + 5):
        desk.report(usage(final=False, output_tokens=1))
    desk.report(usage(input_tokens=1))
    assert len(desk.waiting().reports) == WAITING_REPORTS_MAX
    desk.request()
    assert desk.money() == (2, 0)


def test_usage_after_the_end_of_its_call_waits() -> None:
    """A row that is past its end counts as absent, whether it was swept or not."""
    desk = Desk()
    desk.request()
    desk.pass_time(TTL_US)
    desk.now_us = desk.call().end_us
    assert desk.report(usage(input_tokens=1)).notes == ("waiting",)


def test_a_call_that_expired_late_stays_for_late_usage() -> None:
    """
    Nothing expires while a partition is silent; the first event after it expires, and usage still
    finds the call.
    """
    desk = Desk()
    desk.request()
    desk.now_us += 100 * TTL_US
    found = desk.report(usage(input_tokens=10, output_tokens=5))
    assert found.notes == ("expired_request",)
    assert desk.money() == (60, 0)


def tokens_left(desk) -> int:
    """What the token limit holds, of 1,000."""
    from state_desk import TOKEN_QUOTA

    return state.available(desk.rows.get(TOKENS), TOKEN_QUOTA, now_us=desk.now_us)


@pytest.mark.parametrize(
    ("report", "left"),
    [
        ({"input_tokens": 100, "output_tokens": 50}, 850),
        ({"input_tokens": 100, "output_tokens": 500}, 400),
        ({"outcome": "failed"}, 1_000),
        ({"outcome": "completed"}, 600),
        ({"outcome": "cancelled"}, 600),
        ({"cost_usd_nano": 5, "outcome": "failed"}, 600),
        ({"input_tokens": -1}, 600),
        ({"final": False, "output_tokens": 100}, 600),
        ({"final": False, "output_tokens": 500}, 500),
    ],
)
def test_token_limits_charge_the_estimate_and_settle_the_difference(report, left) -> None:
    """
    LANGUAGE: token limits charge the estimate and settle the difference; a limit of requests is not
    settled.
    """
    desk = Desk()
    desk.request(tokens=400)
    assert tokens_left(desk) == 600
    assert [held.row for held in desk.call().token_rates] == [TOKENS]
    desk.report(usage(**report))
    assert tokens_left(desk) == left


def test_token_limits_settle_over_several_reports() -> None:
    """Partial reports take what is above the estimate; the final one levels it."""
    desk = Desk()
    desk.request(tokens=400)
    desk.report(usage(final=False, output_tokens=300))
    desk.report(usage(final=False, output_tokens=300))
    assert tokens_left(desk) == 400
    desk.report(usage(input_tokens=50, output_tokens=400))
    assert tokens_left(desk) == 550


def test_nothing_expires_twice() -> None:
    """A row that was settled, or never was, has nothing to expire."""
    desk = Desk()
    desk.request()
    desk.report(usage(input_tokens=1))
    assert desk.ended("c/acme/r1/1").effects == ()
    assert desk.ended("c/acme/none/1").effects == ()
    assert desk.ended("u/acme/none/1").effects == ()


def test_a_lost_call_leaks_no_reservation() -> None:
    """What a budget holds for calls that a restore did not find is charged, and no more."""
    desk = Desk()
    desk.request("r1")
    desk.request("r2")
    desk.report(usage("r2", final=False, output_tokens=5))
    assert state.leaked(desk.rows.items()) == ()
    desk.rows.delete("c/acme/r1/1")
    for effect in state.leaked(desk.rows.items()):
        state.apply(desk.rows, effect)
    assert desk.rows.get(DAY) == BudgetRow(140, 60, WINDOW_END_US)
    assert state.leaked(desk.rows.items()) == ()


def test_a_renewal_never_shortens(desk) -> None:
    """A tenant that shortens reservation_ttl does not cut off the calls that are open."""
    before = desk.call()
    found = state.settle(
        desk.rows,
        usage(final=False),
        call_key="c/acme/r1/1",
        now_us=desk.now_us + 1,
        reservation_ttl_us=1,
        price_of=price_of,
    )
    state.apply_all(desk.rows, found.effects, queue=desk.queue)
    assert (desk.call().expires_us, desk.call().end_us) == (before.expires_us, before.end_us)
