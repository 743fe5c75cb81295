"""How a busy client is slowed down to fuller requests, and a quiet one is not."""

from __future__ import annotations

import asyncio
import gc
import time
from itertools import pairwise
from typing import Any

from aiokafka.errors import ProducerFenced

from enforcer.broker import BrokerConfig
from enforcer.broker.producer import new_producer
from enforcer.broker.reader import pace_fetches

GAP_S = 0.02
EARLY_S = 0.002
"""A loop's timers may ring this much too early."""


class Fetcher:
    """Notes when a fetch of a node begins."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, float]] = []

    async def _proc_fetch_request(self, _assignment: Any, node_id: int, _request: Any) -> bool:
        self.begun.append((node_id, time.monotonic()))
        return True


def paced() -> Fetcher:
    fetcher = Fetcher()
    pace_fetches(fetcher, GAP_S)
    return fetcher


async def test_fetches_of_one_node_begin_a_gap_apart() -> None:
    """However soon the next one is asked for."""
    fetcher = paced()
    for _ in range(4):
        assert await fetcher._proc_fetch_request(None, 1, None)
    times = [at_s for _, at_s in fetcher.begun]
    assert all(b - a >= GAP_S - EARLY_S for a, b in pairwise(times))


async def test_a_fetch_after_a_quiet_time_does_not_wait() -> None:
    """It is begun in the same turn of the loop: a record in a quiet second is not held up."""
    fetcher = paced()
    await fetcher._proc_fetch_request(None, 1, None)
    await asyncio.sleep(2 * GAP_S)
    turns = asyncio.create_task(fetcher._proc_fetch_request(None, 1, None))
    await asyncio.sleep(0)
    assert turns.done()


async def test_nodes_do_not_wait_for_each_other() -> None:
    """The gap is of one node's fetches."""
    fetcher = paced()
    await fetcher._proc_fetch_request(None, 1, None)
    other = asyncio.create_task(fetcher._proc_fetch_request(None, 2, None))
    await asyncio.sleep(0)
    assert other.done()


async def test_a_fenced_producer_leaves_no_failure_that_the_loop_reports() -> None:
    """Fenced between two transactions or within one that nobody awaits any more: told once, by the next send."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    for in_between in (False, True):
        producer = new_producer(BrokerConfig(bootstrap="127.0.0.1:1"), transactional_id="t")
        producer._closed = True
        txn = producer._txn_manager
        txn.set_pid_and_epoch(1, 1)
        txn.begin_transaction()
        if in_between:
            txn.committing_transaction()
            txn.complete_transaction()
        txn.fatal_error(ProducerFenced())
        assert txn.is_fatal_error()
        await asyncio.sleep(0)
        del producer, txn
        gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
