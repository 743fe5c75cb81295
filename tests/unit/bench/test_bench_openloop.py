"""Calls leave when they are due, and a late answer counts from then."""

import asyncio
import sys
import time

from enforcer.bench.openloop import Course


async def test_calls_leave_in_order_and_each_once():
    """Whatever the loop does meanwhile."""
    course = Course([n / 200 for n in range(40)])
    left = []

    def fire(begin, end):
        left.extend(range(begin, end))
        for number in range(begin, end):
            course.answered(number)

    before = sys.getswitchinterval()
    await course.run(fire, grace_s=5)
    assert left == list(range(40))
    assert course.missing == 0
    assert sys.getswitchinterval() == before


async def test_latency_counts_from_the_intended_time():
    """A loop that stalls pays for every call it kept waiting: no coordinated omission."""
    course = Course([n / 100 for n in range(20)])

    def fire(begin, end):
        if begin == 0:
            time.sleep(0.1)
        for number in range(begin, end):
            course.answered(number)

    begun_s = await course.run(fire, grace_s=5)
    late = [ms for ms in course.latencies_ms(begun_s, skip_s=0) if ms > 20]
    assert len(late) >= 5


async def test_what_is_not_answered_counts_to_the_end():
    """The run ends after its grace; only a first answer counts, and no answer is no reason to be left out."""
    course = Course([0.0, 0.01, 0.02])
    asyncio.get_running_loop().call_later(0.1, course.answered, 1)
    asyncio.get_running_loop().call_later(0.15, course.answered, 1)
    begun_s = await course.run(lambda *_: None, grace_s=0.3)
    assert course.missing == 2
    answered_ms, *missing_ms = course.latencies_ms(begun_s, skip_s=0)
    assert answered_ms < 200
    assert len(missing_ms) == 2
    assert min(missing_ms) > 250
    assert course.latencies_ms(begun_s, skip_s=0.5) == []
