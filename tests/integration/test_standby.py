"""Standing by, on the real broker: warm copies, moves to the warm, a planned stop that hands over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from enforcement_check import check, read_topics
from enforcement_worker import running, until_ready
from enforcement_world import Traffic, apply_policies, make_topics, send_all, until_committed

from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.stream.tables import open_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from enforcer.stream.worker import Worker

PARTITIONS = 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 — asked from outside, as /ready is
            await asyncio.sleep(0.02)


def owned(worker: Worker) -> dict[str, str]:
    return dict(worker.describe()["partitions"])  # type: ignore[call-overload]


def copies(worker: Worker) -> dict[str, str]:
    return dict(worker.describe()["standbys"])  # type: ignore[call-overload]


async def test_a_new_worker_waits_until_it_is_warm_and_a_stopped_one_hands_over_to_its_standby(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """
    The second worker reads its tables first and gets its half then; stopped under load, it gives it back to a warm copy.

    Each takeover after the first reads a tail and no table, and nothing is lost, doubled or contradicted.
    """
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        versions = {await apply_policies(broker, prefix, 1): 1}
        async with running(broker, prefix, tmp_path / "one", "one") as one:
            await until_ready(one, partitions=PARTITIONS)
            first = Traffic(600, seed=1)
            await send_all(broker, prefix, first, partitions=PARTITIONS, per_second=2_000)
            await until_committed(broker, prefix, timeout_s=60)
            assert one.describe()["standbys"] == {}

            async with running(broker, prefix, tmp_path / "two", "two") as two:
                await until(lambda: len(owned(one)) == len(owned(two)) == 1 and two.is_ready)
                await until(
                    lambda: set(copies(one).values()) == set(copies(two).values()) == {"warm"}
                )
                assert owned(one).keys() == copies(two).keys()
                assert owned(two).keys() == copies(one).keys()
                (moved,) = owned(two)
                sending = asyncio.create_task(
                    send_all(
                        broker,
                        prefix,
                        Traffic(600, seed=2, name="s"),
                        partitions=PARTITIONS,
                        per_second=300,
                    )
                )
                await asyncio.sleep(1)
                two.stop()
                await until(lambda: len(owned(one)) == PARTITIONS and one.is_ready)
                assert one.describe()["restored_rows"][moved] < 200  # type: ignore[index]
            await sending
            await until_committed(broker, prefix, timeout_s=60)
        tables = {}
        for number in range(PARTITIONS):
            table = open_table(tmp_path / "one", number)
            tables[number] = {key.decode(): value for key, value in table.scan()}
            table.close()
        found = check(await read_topics(broker, prefix), versions, tables=tables)
        assert found.problems == {}, found.examples
