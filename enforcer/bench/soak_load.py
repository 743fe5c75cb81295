"""
Open load for hours from little CPU: requests encoded once, of which only the id and one word of the text change.

Calls leave every 10 ms, as many as are due, and count from then. What comes back is matched by the request's id. Most calls
that were allowed get a usage report a second later; the others' reservations expire. The newest turn of a conversation is new, what
came before it is not. Run as ``python -m enforcer.bench.soak_load TASK`` (see ``sampling``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import uvloop

from enforcer import events
from enforcer.bench import workload
from enforcer.bench.figures import percentile
from enforcer.bench.sampling import rss_mb, say, stopped_by_parent, task
from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.broker import Outgoing, Producer, Reader

TICK_S: Final = 0.01
MARK: Final = "soak-0000000000"
"""In a request's id, in its text and in its report; as long as what is put in its place."""
TEMPLATES: Final = 480
TURNS: Final = (1, 1, 3, 5)
"""Messages of a template's conversation, in turn."""
USER_MARK: Final = "soak-user-0000000"
"""In a request's user id, as ``MARK`` in its id."""
LONG_EVERY: Final = 160
"""One template in so many has a text that is read by the other process."""
LONG_CHARACTERS: Final = 20_000
REPORTED_OF: Final = 5
"""All but one call of so many get a report."""
REPORT_AFTER_S: Final = 1.0
OPEN_S_MAX: Final = 60.0
"""Calls of so many seconds may be without a verdict; then no more are made."""
_RAN: Final = frozenset({"allow", "warn", "modify"})
_DRAIN_S: Final = 10.0
_POLL_MS: Final = 100
_HEADERS: Final = (("gateway", b"soak"),)
_MARK: Final = MARK.encode()
_USER_MARK: Final = USER_MARK.encode()
_TENANTS: Final = workload.TENANTS_PER_PARTITION * workload.PARTITIONS
_STEP: Final = 7_919
"""A prime: users take turns, and neighbours in time are none by name."""


class Template(NamedTuple):
    """A request and the report of what it used, encoded, with ``MARK`` where the id goes. *tenant* is the tenant's number."""

    tenant: int
    partition: int
    key: bytes
    request: bytes
    usage: bytes


def templates(count: int = TEMPLATES) -> list[Template]:
    """The same at every call."""
    source = workload.Workload(11, tag="t")
    return [_template(source, number) for number in range(count)]


def _template(source: workload.Workload, number: int) -> Template:
    is_long = number % LONG_EVERY == LONG_EVERY - 1
    request, partition = source.request(LONG_CHARACTERS if is_long else workload.PROMPT_CHARACTERS)
    assert request.user is not None
    request.id, request.user.id = MARK, USER_MARK
    (newest,) = request.llm.messages
    assert isinstance(newest.content, str)
    newest.content = f"{MARK} {newest.content}"
    roles = ("user", "assistant")
    before = [
        events.Message(roles[turn % 2], content=source.text(workload.PROMPT_CHARACTERS))
        for turn in range(TURNS[number % len(TURNS)] - 1)
    ]
    request.llm.messages = [*before, newest]
    usage = events.Usage(
        MARK,
        request.tenant,
        provider=request.llm.provider,
        model=request.llm.model,
        input_tokens=150,
        output_tokens=80,
    )
    return Template(
        # The workload's tenants take turns, and it counts from 1.
        (number + 1) % _TENANTS,
        partition,
        request.tenant.encode(),
        events.encode_request(request),
        events.encode_usage(usage),
    )


def mark_of(serial: int) -> bytes:
    """What stands in the place of ``MARK`` in call *serial*."""
    return b"soak-%010d" % serial


def user_of(number: int) -> bytes:
    """The id of user *number*, whose tenant has the number's remainder by the number of tenants."""
    return b"soak-user-%07d" % number


@dataclass(slots=True)
class Counts:
    """What has happened since the start; *latencies_ms* since the last sample."""

    sent: int = 0
    decided: int = 0
    again: int = 0
    """Decisions on calls that had one: told twice, or of nobody's."""
    reported: int = 0
    held_back: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Load:
    """The calls of one run."""

    def __init__(self, given: dict[str, Any]) -> None:
        """*given*: ``prefix``, ``rate`` and ``users`` of the task."""
        self._topics = {name: f"{given['prefix']}.{name}" for name in ("requests", "usage")}
        self._decisions = f"{given['prefix']}.decisions"
        self._rate = float(given["rate"])
        self._users_of_tenant = max(1, int(given["users"]) // _TENANTS)
        self._templates = templates()
        self._open: dict[bytes, tuple[int, float]] = {}
        self._due: deque[tuple[float, int]] = deque()
        self.counts = Counts()

    @property
    def open(self) -> int:
        """Calls without a verdict."""
        return len(self._open)

    async def send(self, producer: Producer) -> None:
        """Make calls until cancelled."""
        begun_s, tick = time.perf_counter(), 0
        while True:
            tick += 1
            due_s = begun_s + tick * TICK_S
            wait_s = due_s - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._send(producer, "requests", self._calls(int(tick * TICK_S * self._rate), due_s))
            self._send(producer, "usage", self._reports(time.perf_counter()))

    def _send(
        self, producer: Producer, topic: str, records: Iterator[tuple[int, Outgoing]]
    ) -> None:
        by_partition: dict[int, list[Outgoing]] = defaultdict(list)
        for partition, record in records:
            by_partition[partition].append(record)
        for partition, of_partition in by_partition.items():
            producer.send(self._topics[topic], partition, of_partition)

    def _calls(self, until: int, due_s: float) -> Iterator[tuple[int, Outgoing]]:
        counts, held = self.counts, self._templates
        while counts.sent + counts.held_back < until:
            if len(self._open) >= OPEN_S_MAX * self._rate:
                counts.held_back += 1
                continue
            serial = counts.sent
            counts.sent += 1
            template, mark = held[serial % len(held)], mark_of(serial)
            self._open[mark] = serial, due_s
            turn = serial // _TENANTS * _STEP % self._users_of_tenant
            number = turn * _TENANTS + template.tenant
            value = template.request.replace(_MARK, mark).replace(_USER_MARK, user_of(number))
            yield template.partition, (template.key, value, _HEADERS, None)

    def _reports(self, now_s: float) -> Iterator[tuple[int, Outgoing]]:
        while self._due and self._due[0][0] <= now_s:
            _, serial = self._due.popleft()
            self.counts.reported += 1
            template = self._templates[serial % len(self._templates)]
            value = template.usage.replace(_MARK, mark_of(serial))
            yield template.partition, (template.key, value, (), None)

    async def read(self, reader: Reader) -> None:
        """Match verdicts until cancelled."""
        while True:
            polled = await reader.poll(_POLL_MS)
            now_s = time.perf_counter()
            for records in polled.values():
                for record in records:
                    self.decided(record.value or b"", now_s)

    def decided(self, value: bytes, now_s: float) -> None:
        """One record of ``decisions``: a claim counts for nothing, of several verdicts on a call the first."""
        found = events.decode(value)
        if not isinstance(found, events.Decision):
            return
        counts = self.counts
        called = self._open.pop(found.request_id.encode(), None)
        if called is None:
            counts.again += 1
            return
        serial, due_s = called
        counts.decided += 1
        counts.latencies_ms.append((now_s - due_s) * 1e3)
        if found.verdict in _RAN and serial % REPORTED_OF:
            self._due.append((now_s + REPORT_AFTER_S, serial))

    def sample(self) -> dict[str, Any]:
        """The counts, and percentiles of the calls decided since the last sample."""
        counts = self.counts
        ordered, counts.latencies_ms = sorted(counts.latencies_ms), []
        shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        found = (
            {name: percentile(ordered, share) for name, share in shares.items()} if ordered else {}
        )
        return {
            "at_s": time.monotonic(),
            "sent": counts.sent,
            "decided": counts.decided,
            "again": counts.again,
            "reported": counts.reported,
            "held_back": counts.held_back,
            "open": self.open,
            "load_cpu_s": time.process_time(),
            "load_rss_mb": rss_mb(),
            **found,
        }


async def main(given: dict[str, Any]) -> None:
    """Load until the parent says stop; a line of counts every ``sample_s``, and a last one when all calls are decided."""
    stopped = stopped_by_parent()
    load = Load(given)
    async with KafkaBroker(BrokerConfig(bootstrap=given["bootstrap"])) as broker:
        producer = await broker.open_producer()
        reader = await broker.open_reader(read_committed=False)
        await producer.prepare([f"{given['prefix']}.{name}" for name in ("requests", "usage")])
        reader.assign([(f"{given['prefix']}.decisions", n) for n in range(workload.PARTITIONS)])
        await reader.seek_to_end()
        reading = asyncio.create_task(load.read(reader))
        sending = asyncio.create_task(load.send(producer))
        say({"ready": True})
        told = asyncio.create_task(stopped.wait())
        while not told.done():
            await asyncio.wait(
                {reading, sending, told},
                timeout=given["sample_s"],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for each in (reading, sending):
                if each.done():
                    each.result()
            if not told.done():
                say(load.sample())
        sending.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while load.open:  # noqa: ASYNC110 — another process
                    await asyncio.sleep(TICK_S)
        reading.cancel()
        await asyncio.gather(reading, sending, return_exceptions=True)
        await reader.close()
        await producer.close()
    say({**load.sample(), "lost": load.open})


if __name__ == "__main__":
    uvloop.run(main(task()))
