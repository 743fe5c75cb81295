"""The longest gaps of an event loop name what ran in them."""

from __future__ import annotations

import asyncio
import gc
import sys
import time

from enforcer.bench.stalls import GAP_S, Stalls

STALL_S = 0.1


def a_long_look_at_something() -> None:
    time.sleep(STALL_S)


async def test_a_call_that_blocks_the_loop_is_named_with_how_long_it_took() -> None:
    """First the longest; the innermost call comes first."""
    stalls = Stalls()
    stalls.start()
    await asyncio.sleep(0.05)
    a_long_look_at_something()
    await asyncio.sleep(0.05)
    longest = stalls.end()[0]
    assert longest["ms"] >= STALL_S * 1000 * 0.8
    assert "a_long_look_at_something" in longest["doing"][0]


async def test_a_loop_with_nothing_to_do_has_few_gaps_and_all_is_as_before_at_the_end() -> None:
    """Waiting is no gap; the interpreter's switch interval and the collector's callbacks are put back."""
    before = sys.getswitchinterval(), list(gc.callbacks)
    stalls = Stalls()
    stalls.start()
    await asyncio.sleep(10 * GAP_S)
    found = stalls.end()
    assert all(each["ms"] < 10 * GAP_S * 1000 for each in found)
    assert (sys.getswitchinterval(), list(gc.callbacks)) == before
