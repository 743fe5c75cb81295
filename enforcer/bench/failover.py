"""
How long no verdict comes when a worker ends: planned, killed, or with its machine. Under load, on a real broker.

Two workers, each ``enforcer worker --processes 1`` with a directory of its own, share the partitions and stand by for each
other. One fault after the other, in turn:

* *planned*: SIGTERM to one of the commands; started again when it has ended.
* *killed*: SIGKILL to the process under the command, which starts another.
* *host*: SIGKILL to both at once, and nothing is started until the other worker has everything.

A gap is the longest time between two verdicts of a partition that the ended worker owned, as a reader of ``decisions`` receives
them, around the fault. The baseline is the same of the other worker's partitions at the same time. Between two faults the
fleet comes to rest: partitions shared evenly, all copies warm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer.bench import machine, workload
from enforcer.bench.figures import percentile, rounded
from enforcer.bench.filling import fill_calls
from enforcer.bench.site import installed
from enforcer.errors import UnavailableError
from enforcer.local import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from enforcer.bench.site import Place, Publish
    from enforcer.broker import KafkaBroker, Outgoing

FULL: Final = 0
KINDS: Final = ("planned", "killed", "host")
BEFORE_S: Final = 0.5
AFTER_S: Final = 1.0
REST_S: Final = 1.0
REST_TIMEOUT_S: Final = 120.0
GRACE_S: Final = 15.0
_TICK_S: Final = 0.005
_POLL_S: Final = 0.1
_PREPARED: Final = 4_000
_GAUGE: Final = re.compile(r"^(enforcer_\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_PARTITION: Final = re.compile(r'partition="(\d+)"')


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults, how often each, and requests a second of all partitions."""

    kinds: tuple[str, ...] = KINDS
    repeats: int = 5
    rate: float = 200.0
    calls: int = 0
    """Rows of calls, half of them open, that partition ``FULL`` has beforehand; its owner is then struck each time."""


@dataclass(slots=True)
class Gaps:
    """Milliseconds, of the partitions that changed hands or stopped, and of the others meanwhile."""

    struck: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


def longest_gap_s(times_s: Sequence[float], begin_s: float, end_s: float) -> float:
    """The longest time without a verdict between *begin_s* and *end_s*; its verdicts at *times_s*, ascending."""
    inside = [at for at in times_s if begin_s < at < end_s]
    return max(after - before for before, after in pairwise([begin_s, *inside, end_s]))


async def measure(
    where: Place, plan: Plan, *, publish: Publish, tell: Callable[[str], None]
) -> dict[str, Any]:
    """
    Strike, and return the answer of ``bench failover``.

    Raises: UnavailableError when the fleet does not come to rest, with what it said last.
    """
    gaps = {kind: Gaps() for kind in plan.kinds}
    async with contextlib.AsyncExitStack() as opened:
        broker = await opened.enter_async_context(installed(where, publish))
        if plan.calls:
            tell(f"writing {plan.calls:,} calls")
            await fill_calls(broker, where, partition=FULL, calls=plan.calls)
        fleet = await opened.enter_async_context(_fleet(where))
        load = _Load(broker, where, plan.rate)
        async with load.running():
            for number in range(plan.repeats):
                for kind in plan.kinds:
                    await _until_rest(fleet)
                    victim = await _owner_of_full(fleet) if plan.calls else number % 2
                    await _strike(kind, fleet, victim, load, gaps[kind])
                    tell(
                        f"{number + 1} of {plan.repeats}: {kind} "
                        + ", ".join(f"{ms:.0f}" for ms in gaps[kind].struck[-2:])
                        + " ms"
                    )
            await _until_rest(fleet)
        lost = await load.lost()
        used = [await command.used() for command in fleet]
    return _answer(where, plan, gaps, lost, load.sent, used)


async def _strike(kind: str, fleet: list[_Command], number: int, load: _Load, gaps: Gaps) -> None:
    victim, other = fleet[number], fleet[1 - number]
    await asyncio.sleep(REST_S)
    owned, kept = await victim.owned(), await other.owned()
    begin_s = time.monotonic() - BEFORE_S
    if kind == "planned":
        victim.tell(signal.SIGTERM)
        await victim.ended()
    elif kind == "killed":
        victim.signal_child(signal.SIGKILL)
    else:
        victim.signal_all(signal.SIGKILL)
        await victim.ended()
    # Over when all that was asked until a moment after the fault is decided.
    await asyncio.sleep(AFTER_S)
    asked = load.sent
    async with asyncio.timeout(REST_TIMEOUT_S):
        while load.is_open(asked):  # noqa: ASYNC110 — other processes
            await asyncio.sleep(_TICK_S)
    await asyncio.sleep(AFTER_S)
    end_s = time.monotonic()
    gaps.struck += [1_000 * longest_gap_s(load.times[n], begin_s, end_s) for n in sorted(owned)]
    gaps.others += [1_000 * longest_gap_s(load.times[n], begin_s, end_s) for n in sorted(kept)]
    if kind != "killed":
        await victim.start()


async def _owner_of_full(fleet: list[_Command]) -> int:
    return 0 if FULL in await fleet[0].owned() else 1


async def _until_rest(fleet: list[_Command]) -> None:
    """Shared evenly, and every copy warm."""
    each = workload.PARTITIONS // len(fleet)
    try:
        async with asyncio.timeout(REST_TIMEOUT_S):
            while True:
                found = [(await c.owned(), await c.warm()) for c in fleet]
                owned = sorted(n for mine, _ in found for n in mine)
                if owned == list(range(workload.PARTITIONS)) and all(
                    len(mine) == each and len(warm) == workload.PARTITIONS - each
                    for mine, warm in found
                ):
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise UnavailableError(
            f"the workers do not come to rest: {found}; {fleet[0].last_lines()}"
        ) from error


class _Command:
    """One ``enforcer worker --processes 1``, in a session of its own."""

    def __init__(self, where: Place, name: str) -> None:
        (self._port,) = ports.choose(1)
        self._where = where
        self._name = name
        self._log: Path = where.directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        where = self._where
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "enforcer.cli", "worker", "--processes", "1"),
                *("--bootstrap", where.bootstrap, "--prefix", where.prefix),
                *("--state-dir", str(where.directory / self._name)),
                *("--metrics-port", str(self._port)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Its children as well: they are of its session."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def signal_child(self, number: signal.Signals) -> None:
        assert self._process is not None
        (child,) = machine.children(self._process.pid)
        os.kill(child, number)

    async def ended(self) -> None:
        assert self._process is not None
        await self._process.wait()

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.signal_all(signal.SIGKILL)
            await self._process.wait()

    async def owned(self) -> frozenset[int]:
        """Partitions that it decides, as its metrics have it."""
        return await self._partitions("enforcer_lag_records", None)

    async def warm(self) -> frozenset[int]:
        """Partitions it could take over."""
        return await self._partitions("enforcer_standby_warm", "1.0")

    async def _partitions(self, gauge: str, value: str | None) -> frozenset[int]:
        found = (
            _PARTITION.search(labels)
            for name, labels, at in _GAUGE.findall(await self._metrics())
            if name == gauge and value in (None, at)
        )
        return frozenset(int(each[1]) for each in found if each)

    async def _metrics(self) -> str:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")
                body = await reader.read()
                writer.close()
                return body.decode()
        return ""

    async def used(self) -> tuple[float, float, float]:
        """Of its worker as it is now: CPU seconds, resident MiB, verdicts told."""
        assert self._process is not None
        (child,) = machine.children(self._process.pid)
        told = [
            float(value)
            for name, _, value in _GAUGE.findall(await self._metrics())
            if name == "enforcer_decisions_total"
        ]
        return *machine.used(child), sum(told)

    def last_lines(self) -> str:
        return self._log.read_text()[-600:]


@contextlib.asynccontextmanager
async def _fleet(where: Place) -> AsyncIterator[list[_Command]]:
    fleet = [_Command(where, name) for name in ("one", "two")]
    try:
        for command in fleet:
            await command.start()
        yield fleet
    finally:
        for command in fleet:
            await command.end()


class _Load:
    """Requests at an even rate to all partitions in turn, and the times at which their verdicts arrive."""

    def __init__(self, broker: KafkaBroker, where: Place, rate: float) -> None:
        self._broker, self._where, self._rate = broker, where, rate
        self._source = workload.Workload(5, tag=f"f{time.time_ns():x}")
        self._ready: list[tuple[int, Outgoing]] = []
        self.times: dict[int, list[float]] = defaultdict(list)
        self.sent = 0
        self._open: set[int] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._producer = await self._broker.open_producer()
        self._reader = await self._broker.open_reader(read_committed=False)
        await self._producer.prepare([self._where.topic("requests")])
        topic = self._where.topic("decisions")
        self._reader.assign([(topic, n) for n in range(workload.PARTITIONS)])
        await self._reader.seek_to_end()
        self._reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._send())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def lost(self) -> int:
        """Requests without a verdict, some time after the last was sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                while self._open:  # noqa: ASYNC110 — another process
                    await asyncio.sleep(_POLL_S)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._producer.close()
        await self._reader.close()
        return len(self._open)

    def is_open(self, before: int) -> bool:
        """Whether any of the first *before* requests has no verdict yet."""
        return any(number < before for number in self._open)

    async def _send(self) -> None:
        topic = self._where.topic("requests")
        begun_s, first = time.monotonic(), self.sent
        while True:
            due = first + int((time.monotonic() - begun_s) * self._rate)
            by_partition: dict[int, list[Outgoing]] = defaultdict(list)
            while self.sent < due:
                if not self._ready:
                    self._ready = list(self._source.records(100))
                partition, (key, value, _, at) = self._ready.pop()
                header = (("gateway", b"%d" % self.sent),)
                by_partition[partition].append((key, value, header, at))
                self._open.add(self.sent)
                self.sent += 1
            for partition, records in by_partition.items():
                self._producer.send(topic, partition, records)
            await asyncio.sleep(_TICK_S)

    async def _read(self) -> None:
        while True:
            for (_, partition), records in (await self._reader.poll(100)).items():
                now_s = time.monotonic()
                for record in records:
                    if record.headers:
                        self._open.discard(int(record.headers[0][1]))
                        self.times[partition].append(now_s)


def _answer(
    where: Place,
    plan: Plan,
    gaps: dict[str, Gaps],
    lost: int,
    sent: int,
    used: list[tuple[float, float, float]],
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    baseline: dict[str, Any] = {}
    for kind, found in gaps.items():
        for target, values in ((figures, found.struck), (baseline, found.others)):
            ordered = sorted(values)
            target[f"{kind}_p50_ms"] = median(ordered)
            target[f"{kind}_p99_ms"] = percentile(ordered, 0.99)
    figures |= {"sent": sent, "lost": lost}
    answer = {
        "figures": figures,
        "baseline": baseline,
        "multiple": {kind: figures[f"{kind}_p99_ms"] / baseline[f"{kind}_p99_ms"] for kind in gaps},
        # Of the workers that are there at the end, idle times and standing by included.
        "cpu_us_per_event": sum(each[0] for each in used) / max(1, sum(e[2] for e in used)) * 1e6,
        "rss_mb": max(each[1] for each in used),
        "noisy": False,
        "gaps_ms": {kind: found.struck for kind, found in gaps.items()},
        "machine": {
            **machine.describe(where.jvm_flags),
            "partitions": workload.PARTITIONS,
            "repeats": plan.repeats,
            "calls_per_s": plan.rate,
            "calls_before": plan.calls,
        },
    }
    done = rounded(answer)
    assert isinstance(done, dict)
    return done
