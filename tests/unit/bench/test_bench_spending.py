"""What a tenant's shared budget came to, added up from the ledgers of all partitions."""

from enforcer.bench.spending import EXCEEDED, PENDING, Event, course_of, static_stranded_share

SECOND_US = 1_000_000


def test_ledgers_are_put_in_one_order_and_their_peak_is_the_companys():
    """Two partitions that never spend 60 each, but 100 together at one moment."""
    one = [Event(1, 0, 60, ""), Event(3, 0, -60)]
    two = [Event(2, 1, 40, ""), Event(4, 1, 20, "")]
    course = course_of([one, two], 90)
    assert course.used_peak == 100
    assert course.before[""] == 3


def test_what_is_stranded_is_seen_at_denials_for_good():
    """A fifth of the limit was left when somebody was told that there is nothing."""
    ledger = [
        Event(1, 0, 80, ""),
        Event(2, 0, 0, PENDING),
        Event(3, 0, lent=(0, 100), is_short=True),
        Event(4, 0, 0, EXCEEDED),
    ]
    course = course_of([ledger], 100)
    assert [round(share, 3) for share in course.stranded] == [0.2]
    assert (course.before[PENDING], course.after[EXCEEDED]) == (1, 1)
    assert course.lent_peak == 100


def test_equal_parts_strand_what_a_quiet_partition_does_not_spend():
    """One spends all of its part and more, the other a tenth."""
    assert round(static_stranded_share({0: 900, 1: 10}, 200, 2), 6) == 0.45
