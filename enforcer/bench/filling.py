"""Calls that were before: rows of one partition's changelogs, as if it had been busy until now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.stream.rows import encode_row

if TYPE_CHECKING:
    from enforcer.bench.site import Place
    from enforcer.broker import KafkaBroker, Outgoing

_AT_ONCE: Final = 2_000
_DECISION: Final = b"d" * 600
_BUDGET: Final = "b/acme/limits/day/u/total"
_US: Final = 1_000_000
_FIRST_US: Final = 90 * _US
_SPAN_US: Final = 900 * _US


async def fill_calls(broker: KafkaBroker, where: Place, *, partition: int, calls: int) -> None:
    """
    Write *calls* rows of *partition*, every second one open, the others settled, and the budget that holds for them.

    The open ones fall due evenly from 90 s on, over a quarter of an hour.
    """
    producer = await broker.open_producer()
    now_us = time.time_ns() // 1_000
    try:
        waiting: list[Outgoing] = []
        for number in range(calls):
            waiting.append(_call(number, now_us + _FIRST_US + _SPAN_US * number // calls, now_us))
            if len(waiting) == _AT_ONCE or number == calls - 1:
                await producer.send(where.topic("calls"), partition, waiting)
                waiting = []
        held = events.BudgetRow(0, (calls + 1) // 2, 0)
        row: Outgoing = (_BUDGET.encode(), encode_row(_BUDGET, held), (), None)
        await producer.send(where.topic("state"), partition, [row])
        await producer.flush()
    finally:
        await producer.close()


def _call(number: int, due_us: int, now_us: int) -> Outgoing:
    row = events.CallRow(
        due_us + _SPAN_US,
        "settled" if number % 2 else "open",
        number.to_bytes(32, "big"),
        _DECISION,
        now_us,
        due_us,
        "openai",
        "gpt-4o",
        reserved_usd_nano=1,
        budgets=[events.Allocation(_BUDGET, 1)],
    )
    # Ids come in no order, as those of real calls.
    key = f"c/acme/{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}/1"
    return key.encode(), events.encode_call_row(row), (), None
