"""Membership apart from data, on the real broker: seats move by themselves and tell nothing unfinished."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from enforcer.broker import Assignment, BrokerConfig, KafkaBroker, Membership, NewTopicSpec
from enforcer.errors import AgentFencedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PARTITIONS = 6


@dataclass
class Seat:
    """A member in this process, its history and its end."""

    membership: Membership
    history: list[frozenset[int]] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    warm: set[int] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    @property
    def now(self) -> frozenset[int]:
        return self.history[-1] if self.history else frozenset()


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await opened.create_topics([NewTopicSpec(f"{prefix}.requests", PARTITIONS, 1)])
        yield opened


@pytest.fixture
async def sit(broker: KafkaBroker, prefix: str) -> AsyncIterator[Callable[..., object]]:
    """Take a seat; all are given back at the end."""
    seats: list[Seat] = []

    async def take(name: str, *, is_warm: bool = True) -> Seat:
        assignments: list[Assignment] = []
        history: list[frozenset[int]] = []
        warm = set(range(PARTITIONS)) if is_warm else set()

        def assigned(assignment: Assignment) -> None:
            assignments.append(assignment)
            history.append(assignment.partitions)

        membership = broker.open_membership(
            f"{prefix}-g",
            f"{prefix}.requests",
            instance_id=name,
            assigned=assigned,
            warm=lambda: warm,
            standbys=1,
        )
        await membership.start()
        seat = Seat(membership, history, assignments, warm)
        seat.task = asyncio.create_task(membership.run())
        seats.append(seat)
        return seat

    yield take
    for seat in seats:
        await seat.membership.leave()
        assert seat.task is not None
        with contextlib.suppress(AgentFencedError, ValueError):
            await seat.task


async def until(condition: Callable[[], bool], timeout_s: float = 12) -> float:
    begun_s = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 — what is waited for happens in another process
            await asyncio.sleep(0.02)
    return time.monotonic() - begun_s


def shared(*seats: Seat) -> bool:
    numbers = sorted(number for seat in seats for number in seat.now)
    return numbers == list(range(PARTITIONS)) and all(seat.now for seat in seats)


async def test_partitions_are_shared_and_move_no_more_than_needed(sit: Callable) -> None:
    """One takes all, a second half, a third a third; each change moves only what balance asks for."""
    first = await sit("a")
    await until(lambda: shared(first))
    second = await sit("b")
    await until(lambda: shared(first, second))
    assert len(first.now) == len(second.now) == 3
    before = (first.now, second.now)
    third = await sit("c")
    await until(lambda: shared(first, second, third))
    assert first.now < before[0]
    assert second.now < before[1]
    assert len(third.now) == 2


async def test_a_planned_leave_gives_the_seat_back_at_once(sit: Callable) -> None:
    """LeaveGroup for a static member: the others need not wait for its session to end."""
    first, second = await sit("a"), await sit("b")
    await until(lambda: shared(first, second))
    kept = first.now
    await second.membership.leave()
    took_s = await until(lambda: len(first.now) == PARTITIONS)

    assert took_s < 2.5
    assert kept <= first.now
    assert second.task is not None
    await second.task


async def test_one_that_is_cold_stands_by_until_it_is_warm_and_joins_again(sit: Callable) -> None:
    """A new member gets nothing but copies to keep; warm for them and joined again, it gets its half of them."""
    first = await sit("a")
    await until(lambda: shared(first))
    second = await sit("b", is_warm=False)
    await until(lambda: bool(second.assignments))
    told = second.assignments[-1]
    assert told.partitions == frozenset()
    assert told.standbys == frozenset(range(PARTITIONS))
    assert len(told.pending) == 3
    assert not first.assignments[-1].is_last
    second.warm |= told.pending
    second.membership.rejoin()
    await until(lambda: second.now == told.pending)
    await until(lambda: shared(first, second))
    assert first.assignments[-1].standbys == told.pending


async def test_one_that_is_leaving_goes_on_until_another_has_it(sit: Callable) -> None:
    """Told to the group first: the finished assignment gives everything to the other, and only then it leaves."""
    first, second = await sit("a"), await sit("b")
    await until(lambda: shared(first, second))
    second.membership.rejoin(leaving=True)
    took_s = await until(lambda: len(first.now) == PARTITIONS and not second.now)
    assert took_s < 3
    assert first.assignments[-1].is_last
    second.membership.check()


async def test_a_restart_with_the_same_name_moves_nothing(sit: Callable) -> None:
    """Closing without leaving keeps the seat for the session: the same identity gets the same partitions."""
    first, second = await sit("a"), await sit("b")
    await until(lambda: shared(first, second))
    mine, rebalances = second.now, len(first.history)
    await second.membership.close()
    again = await sit("b")
    await until(lambda: again.now == mine)
    await asyncio.sleep(1)
    assert len(first.history) == rebalances


async def test_a_second_process_with_our_name_ends_us_for_good(sit: Callable) -> None:
    """The older of two with one identity is told that it lost its seat, and does not fight for it."""
    first = await sit("a")
    await until(lambda: shared(first))
    usurper = await sit("a")
    assert first.task is not None
    with pytest.raises(AgentFencedError) as caught:
        await asyncio.wait_for(asyncio.shield(first.task), 8)
    assert caught.value.code == "membership_lost"
    with pytest.raises(AgentFencedError):
        first.membership.check()

    await until(lambda: shared(usurper))
    await asyncio.sleep(1.5)
    usurper.membership.check()
    assert usurper.task is not None
    assert not usurper.task.done()


async def test_what_the_callback_raises_reaches_run(broker: KafkaBroker, prefix: str) -> None:
    """aiokafka swallows a listener's exception; here it ends run()."""

    def refuse(_: Assignment) -> None:
        raise ValueError("no")

    membership = broker.open_membership(
        f"{prefix}-g", f"{prefix}.requests", instance_id="a", assigned=refuse
    )
    await membership.start()
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(membership.run(), 10)
    await membership.leave()


async def test_a_loop_that_stood_still_is_told_before_it_sends(bootstrap: str, prefix: str) -> None:
    """After more than a session of silence check() refuses, whoever in the loop runs first."""
    config = BrokerConfig(bootstrap=bootstrap, prefix=prefix, session_timeout_ms=6_000)
    async with KafkaBroker(config) as broker:
        await broker.create_topics([NewTopicSpec(f"{prefix}.requests", 2, 1)])
        membership = broker.open_membership(
            f"{prefix}-g", f"{prefix}.requests", instance_id="a", assigned=lambda _: None
        )
        await membership.start()
        task = asyncio.create_task(membership.run())
        await asyncio.sleep(0.5)
        membership.check()
        time.sleep(6.2)  # noqa: ASYNC251 — the loop must stand still
        with pytest.raises(AgentFencedError) as caught:
            membership.check()
        assert caught.value.code == "agent_late"
        with pytest.raises(AgentFencedError):
            await asyncio.wait_for(task, 3)
        await membership.close()


MEMBER = """
import asyncio, json, sys, time
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.errors import EnforcerError

async def main(bootstrap, prefix, name):
    def say(told):
        print(json.dumps([time.time(), sorted(told.partitions)]), flush=True)
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        seat = broker.open_membership(f"{prefix}-g", f"{prefix}.requests", instance_id=name, assigned=say, warm=lambda: range(6), standbys=1)
        await seat.start()
        try:
            await seat.run()
        except EnforcerError as error:
            print(json.dumps([time.time(), error.code]), flush=True)
        await seat.close()

asyncio.run(main(*sys.argv[1:]))
"""


class Process:
    """A member in a process of its own."""

    def __init__(self, bootstrap: str, prefix: str, name: str) -> None:
        self.said: list[tuple[float, object]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", MEMBER, bootstrap, prefix, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(tuple(json.loads(line)))

    @property
    def now(self) -> object:
        return self.said[-1][1] if self.said else None

    def end(self) -> str:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        complaints = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return complaints


@pytest.fixture
def start(bootstrap: str, prefix: str) -> Iterator[Callable[[str], Process]]:
    processes: list[Process] = []

    def begin(name: str) -> Process:
        processes.append(Process(bootstrap, prefix, name))
        return processes[-1]

    yield begin
    for process in processes:
        assert process.end() == "", "a member wrote to stderr"


async def test_a_killed_member_is_replaced_after_its_session(
    broker: KafkaBroker, start: Callable[[str], Process], sit: Callable
) -> None:
    """SIGKILL: the survivor keeps its partitions all the while, and has the rest within session + 2 s."""
    survivor = await sit("a")
    other = start("b")
    await until(lambda: len(survivor.now) == 3 and other.now is not None, 15)
    kept = survivor.now
    other.process.kill()
    took_s = await until(lambda: len(survivor.now) == PARTITIONS)

    assert 3 < took_s < 8
    assert all(kept <= told for told in survivor.history[-2:])


async def test_a_stopped_member_finds_out_and_does_not_come_back(
    broker: KafkaBroker, start: Callable[[str], Process], sit: Callable
) -> None:
    """SIGSTOP past the session, then SIGCONT: the zombie says that it is late or lost, and stays away."""
    survivor = await sit("a")
    zombie = start("b")
    await until(lambda: len(survivor.now) == 3 and zombie.now is not None, 15)
    zombie.process.send_signal(signal.SIGSTOP)
    await until(lambda: len(survivor.now) == PARTITIONS)
    zombie.process.send_signal(signal.SIGCONT)
    await until(lambda: zombie.now in ("agent_late", "membership_lost"), 5)
    await asyncio.sleep(1)
    assert survivor.now == frozenset(range(PARTITIONS))
    assert zombie.process.wait(5) == 0
