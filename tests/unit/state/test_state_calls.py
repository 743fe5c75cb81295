"""Is a call new?"""

from state_desk import ACCOUNT, DEDUP_US, TTL_US, Desk, usage

from enforcer import state

OTHER = b"b" * 32


def test_the_same_call_is_a_redelivery() -> None:
    """
    LANGUAGE: within dedup_window the same call with the same digest gets the first verdict, charged
    once.
    """
    desk = Desk()
    assert desk.request() == "allow"
    desk.now_us += DEDUP_US - 1
    assert desk.request() == "redelivery"
    assert desk.call().decision == b"told"
    assert sum(desk.money()) == 100


def test_other_content_under_the_same_id_is_refused() -> None:
    """
    LANGUAGE: with other content it is denied, request_id_reused; the first call is not touched.
    """
    desk = Desk()
    desk.request()
    before = desk.call()
    assert desk.request(content=OTHER) == "reused"
    assert desk.call() is before
    assert desk.request() == "redelivery"


def test_a_denied_call_is_known_as_well() -> None:
    """A deny is told again, and its id is taken, like any other verdict's."""
    desk = Desk()
    desk.request(denied=True)
    assert desk.request() == "redelivery"
    assert desk.request(content=OTHER) == "reused"


def test_a_settled_call_is_known_as_well() -> None:
    """A redelivery after the settlement neither reserves nor charges."""
    desk = Desk()
    desk.request()
    desk.report(usage(input_tokens=1, output_tokens=1))
    assert desk.request() == "redelivery"
    assert desk.money() == (10, 0)


def test_after_the_window_an_id_is_new() -> None:
    """LANGUAGE: (account, id, attempt) names one call within dedup_window."""
    desk = Desk()
    desk.request()
    desk.report(usage(input_tokens=1, output_tokens=1))
    desk.now_us += DEDUP_US
    assert desk.request(content=OTHER) == "allow"
    assert desk.money() == (10, 100)


def test_an_open_reservation_keeps_the_call_known() -> None:
    """
    A call that a stream keeps renewing is known for longer: opened anew, its reservation would
    leak.
    """
    desk = Desk()
    desk.request()
    for _ in range(4):
        desk.now_us += TTL_US - 1
        desk.report(usage(final=False, output_tokens=1))
    assert desk.now_us > desk.call().time_us + DEDUP_US
    assert desk.request() == "redelivery"
    desk.now_us += TTL_US
    assert desk.request() == "allow"
    assert desk.money() == (100, 100)


def test_a_new_attempt_carries_the_first_ones_digest() -> None:
    """LANGUAGE: a new attempt must carry the first one's digest, and reserves anew."""
    desk = Desk()
    assert desk.request(attempt=1) == "allow"
    assert desk.request(attempt=2) == "allow"
    assert desk.money() == (0, 200)
    assert desk.request(attempt=3, content=OTHER) == "reused"
    assert desk.money() == (0, 200)


def test_attempts_outlive_the_first_one() -> None:
    """When the first attempt is no longer known, the one before stands in for it."""
    desk = Desk()
    desk.request(attempt=1)
    desk.now_us += DEDUP_US - 1
    desk.request(attempt=2)
    desk.now_us += DEDUP_US - 1
    assert desk.request(attempt=3, content=OTHER) == "reused"
    assert desk.request(attempt=3) == "allow"


def test_attempts_are_calls_of_their_own() -> None:
    """LANGUAGE: reservation, decision id and usage go by the call."""
    desk = Desk()
    desk.request(attempt=1)
    desk.request(attempt=2)
    desk.report(usage(attempt=2, input_tokens=5, output_tokens=0))
    assert desk.money() == (10, 100)
    assert desk.call(attempt=1).status == "open"
    assert desk.call(attempt=2).status == "settled"


def test_the_keys_that_a_lookup_reads() -> None:
    """They are known before any row is read, so that rows can be fetched."""
    assert state.call_keys(ACCOUNT, "r", 1) == ("c/acme/r/1",)
    assert state.call_keys(ACCOUNT, "r", 2) == ("c/acme/r/2", "c/acme/r/1")
    assert state.call_keys(ACCOUNT, "r", 3) == ("c/acme/r/3", "c/acme/r/1", "c/acme/r/2")


def test_a_row_ends_a_dedup_window_after_its_reservation() -> None:
    """The row outlives its reservation, and its dedup window, for late usage."""
    desk = Desk()
    desk.request()
    call = desk.call()
    assert (call.expires_us, call.end_us) == (
        call.time_us + TTL_US,
        call.time_us + TTL_US + DEDUP_US,
    )


def test_a_call_without_budgets_is_known_until_it_would_expire() -> None:
    """It holds nothing, and is not in the queue; its time runs all the same, and ends on time."""
    desk = Desk()
    desk.request(budgets=())
    for _ in range(4):
        desk.now_us += TTL_US - 1
        desk.report(usage(final=False))
    desk.now_us += TTL_US - 1
    assert desk.request(budgets=()) == "redelivery"
    desk.now_us += 1
    assert desk.request(budgets=()) == "allow"
