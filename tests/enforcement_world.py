"""A small company on a real broker: topics, policies, traffic from a seed, and what the topics hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enforcer import events, policy
from enforcer.broker import topics
from enforcer.control import policies
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer.broker.ports import Broker, Partition, Record
    from enforcer.control.policies import SetChange
    from enforcer.control.published import Signing

TENANT = "acme"
TEAMS = 240
PROJECTS = 7
WORDS = 10
NANO_PER_TOKEN = 1_000_000
"""The tenant's ceiling for models that nobody has a price of: 1,000 USD a million tokens."""
ACCOUNT_LIMIT_USD = 2
PROJECT_LIMIT_USD = 1
CAPPED, CAP = 999, 40
RAISES, KILLS = "raise-an-error", "kill-the-process"
BREAKS = "break-the-slice"
"""Raises where the engine does not guard itself: the record is denied unread, as one that kills."""

_TENANT = f"""
apiVersion: enforcer/v1
kind: Tenant
metadata: {{id: {TENANT}}}
spec:
  account: [tenant, team.id]
  unknown_model: {{ceiling_usd_per_mtok: {NANO_PER_TOKEN // 1_000}}}
"""

_LIMITS = f"""
apiVersion: enforcer/v1
kind: Policy
metadata: {{id: limits}}
spec:
  priority: 100
  budgets:
    - {{id: account, per: total, limit_usd: {ACCOUNT_LIMIT_USD}, on_exceeded: deny}}
    - {{id: project, key: project.id, per: total, limit_usd: {PROJECT_LIMIT_USD}, on_exceeded: deny}}
"""

_WORDS = """
apiVersion: enforcer/v1
kind: Policy
metadata: {{id: words}}
spec:
  priority: 500
  rules:
    - id: word
      condition: {{operator: contains, field: llm.prompt, value: "{word}"}}
      then: deny
      code: WORD-{version}
      reason: This word is not to be said
    - id: cap
      condition: {{operator: eq, field: llm.max_tokens, value: {capped}}}
      then: {{verdict: modify, edits: [{{cap: llm.max_tokens, value: {cap}}}]}}
      code: CAP-001
      reason: Too much is asked for
"""


def word(version: int) -> str:
    """The word that revision *version* of the policies forbids."""
    return f"word{version % WORDS}."


async def make_topics(broker: Broker, prefix: str, partitions: int) -> None:
    """All topics, as the product makes them."""
    await topics.apply(broker, topics.load_specs(), prefix=prefix, partitions=partitions)


_COMPANY = """
    - {{id: company, per: total, limit_usd: {limit}, span: tenant}}
"""


async def apply_policies(broker: Broker, prefix: str, version: int, *, company_usd: int = 0) -> str:
    """
    Put revision *version* in force; the digest of everybody's set.

    *company_usd* above 0: with a budget of the whole tenant, of which partitions hold slices.
    """
    change = await change_policies(broker, prefix, version, company_usd=company_usd)
    return change.digest


async def change_policies(
    broker: Broker,
    prefix: str,
    version: int,
    *,
    company_usd: int = 0,
    signing: Signing | None = None,
) -> SetChange:
    """As ``apply_policies``, signed if asked so; the change of everybody's set."""
    words = _WORDS.format(word=word(version), version=version, capped=CAPPED, cap=CAP)
    limits = _LIMITS + (_COMPANY.format(limit=company_usd).lstrip("\n") if company_usd else "")
    texts = {"tenant.yaml": _TENANT, "limits.yaml": limits, "words.yaml": words}
    loaded = policy.load(texts.items(), default_tenant="*")
    assert not loaded.findings, loaded.findings
    changes = await policies.apply(broker, prefix, loaded.documents, signing=signing)
    # Not what is published: the end of the change may be on its way to the topic yet.
    return next(change for change in changes if change.scope == "*")


@dataclass(frozen=True, slots=True)
class Send:
    """One record to send. *partition* None: where its key belongs."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


@dataclass(slots=True)
class Traffic:
    """Requests and what is reported of them, in the order in which they are sent; the same for the same seed."""

    requests: int
    seed: int = 1
    poison: tuple[str, ...] = ()
    """Texts of which each stands in one request more."""
    name: str = "r"
    """How ids of calls begin."""
    teams: int = TEAMS
    sent: dict[str, int] = field(default_factory=dict)
    """How many records of each kind were given out."""

    def __iter__(self) -> Iterator[Send]:
        rng = random.Random(self.seed)
        later: dict[int, list[Send]] = {}
        poisoned = {
            self.requests * (i + 1) // (len(self.poison) + 1): i for i in range(len(self.poison))
        }
        for number in range(self.requests):
            yield from later.pop(number, [])
            request = self._request(rng, number)
            for at, send in self._after(rng, number, request):
                if at <= number:
                    yield send
                else:
                    later.setdefault(at, []).append(send)
            yield self._send("request", request)
            if number in poisoned:
                bad = self._request(rng, number)
                bad.id, bad.llm.prompt = f"p{self.name}{number}", self.poison[poisoned[number]]
                yield self._send("poison", bad)
        for number in sorted(later):
            yield from later[number]

    def _request(self, rng: random.Random, number: int) -> events.Request:
        text = " ".join(f"word{rng.randrange(4 * WORDS)}." for _ in range(3))
        return events.Request(
            f"{self.name}{number}",
            TENANT,
            user=events.User(f"u{rng.randrange(1000)}"),
            team=events.Team(f"t{rng.randrange(self.teams)}"),
            project=events.Project(f"p{rng.randrange(PROJECTS)}"),
            llm=events.Llm(
                "nobody",
                "unpriced",
                max_tokens=CAPPED if rng.random() < 0.05 else rng.randrange(10, 60),
                prompt=text,
            ),
        )

    def _after(
        self, rng: random.Random, number: int, request: events.Request
    ) -> Iterator[tuple[int, Send]]:
        """What is sent about a request, and after which other one: before it, if its own number or less."""
        at = number + rng.randrange(20, 400)
        cost = rng.randrange(1, 60) * NANO_PER_TOKEN
        draw = rng.random()
        if draw < 0.05:
            yield number, self._usage(request, cost)  # Early.
        elif draw < 0.15:
            yield at, self._usage(request, cost // 3, final=False)
            yield at + 20, self._usage(request, cost)
        elif draw < 0.20:
            yield at, self._usage(request, cost)
            yield at + 1, self._usage(request, cost + 5)  # The first final report counts.
        elif draw < 0.75:
            yield at, self._usage(request, cost)
        draw = rng.random()
        if draw < 0.03:
            yield at, self._send("repeat", request)
        elif draw < 0.04:
            other = events.Request(
                request.id, TENANT, user=request.user, team=request.team, project=request.project,
                llm=events.Llm("nobody", "unpriced", max_tokens=9, prompt="another text"),
            )  # fmt: skip
            yield at, self._send("reused", other)
        elif draw < 0.05:
            value = rng.choice((b"\xc3\x01garbage", b"garbage", b'{"id": "x"', b""))
            yield at, self._made("unreadable", Send("requests", b"acme/t1", value))
        elif draw < 0.055:
            value = b'{"id":"bad%d","tenant":"acme","llm":{"provider":"x"}}' % number
            yield at, self._made("invalid", Send("requests", b"acme/t1", value))
        elif draw < 0.06:
            request = self._request(rng, number)
            request.id = f"m{self.name}{number}"
            value = events.encode_request(request)
            yield at, self._made("misrouted", Send("requests", b"somebody", value, number % 3))

    def _send(self, kind: str, request: events.Request) -> Send:
        text = kind == "request" and request.llm.max_tokens in (11, 12)
        value = events.to_json_bytes(request) if text else events.encode_request(request)
        account = events.account_of(TENANT, request.team.id, ("tenant", "team.id"))
        return self._made(kind, Send("requests", account.encode(), value))

    def _usage(self, request: events.Request, cost: int, *, final: bool = True) -> Send:
        usage = events.Usage(
            request.id, TENANT, final=final, outcome="completed", cost_usd_nano=cost,
            team=request.team.id, project=request.project.id,
        )  # fmt: skip
        account = events.account_of(TENANT, request.team.id, ("tenant", "team.id"))
        return self._made("usage", Send("usage", account.encode(), events.encode_usage(usage)))

    def _made(self, kind: str, send: Send) -> Send:
        self.sent[kind] = self.sent.get(kind, 0) + 1
        return send


class _Sender:
    """Sends until it is acknowledged: what a broker that goes away may not have taken is sent again."""

    def __init__(self, broker: Broker, topics: list[str]) -> None:
        self._broker, self._topics = broker, topics
        self._producer: Any = None
        self._pending: list[tuple[Any, Partition, list[Any]]] = []

    async def open(self) -> None:
        """Another producer, and everything that is not acknowledged once more."""
        if self._producer is not None:
            await self._producer.close()
        async with asyncio.timeout(60):
            while True:
                try:
                    self._producer = await self._broker.open_producer()
                    await self._producer.prepare(self._topics)
                    break
                except UnavailableError:
                    await asyncio.sleep(0.2)
        pending, self._pending = self._pending, []
        for _, place, records in pending:
            self.send(place, records)

    def send(self, place: Partition, records: list[Any]) -> None:
        """Enqueue *records*."""
        try:
            ack = self._producer.send(*place, records)
        except UnavailableError:
            ack = None
        self._pending.append((ack, place, records))

    async def settle(self) -> None:
        """Forget what was acknowledged; begin anew if anything failed."""
        self._pending = [each for each in self._pending if each[0] is None or not _is_done(each[0])]
        if any(ack is None or ack.done() for ack, _, _ in self._pending):
            await self.open()

    async def finish(self) -> None:
        """Return when all is acknowledged."""
        async with asyncio.timeout(90):
            while self._pending:
                await self.settle()
                await asyncio.sleep(0.02)
        await self._producer.close()


def _is_done(ack: Any) -> bool:
    return bool(ack.done()) and not ack.cancelled() and ack.exception() is None


async def send_all(
    broker: Broker,
    prefix: str,
    traffic: Iterable[Send],
    *,
    partitions: int,
    per_second: float,
) -> None:
    """Send everything at a pace, in order."""
    sender = _Sender(broker, [f"{prefix}.requests", f"{prefix}.usage"])
    await sender.open()
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    batch: dict[Partition, list[Any]] = {}

    async def flush() -> None:
        for place, records in batch.items():
            sender.send(place, records)
        batch.clear()
        await sender.settle()

    for count, send in enumerate(traffic, 1):
        if send.partition is None:
            where = events.partition_of(send.key, partitions)
        else:
            where = send.partition % partitions
        place = (f"{prefix}.{send.topic}", where)
        batch.setdefault(place, []).append((send.key, send.value, (), None))
        ahead_s = count / per_second - (loop.time() - begun_s)
        if count % 200 == 0 or ahead_s > 0.01:
            await flush()
            await asyncio.sleep(max(ahead_s, 0))
    await flush()
    await sender.finish()


async def read(
    broker: Broker, prefix: str, name: str, *, read_committed: bool = True
) -> dict[int, list[Record]]:
    """Everything a topic holds now, by partition."""
    topic = f"{prefix}.{name}"
    found: dict[int, list[Record]] = {n: [] for n in range(await broker.partitions(topic))}
    reader = await broker.open_reader(read_committed=read_committed)
    try:
        places = [(topic, n) for n in found]
        ends = await reader.offsets_end(places)
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        while any((reader.position(*place) or 0) < ends[place] for place in places):
            for (_, n), records in (await reader.poll(100)).items():
                found[n].extend(records)
    finally:
        await reader.close()
    return found


async def until_committed(broker: Broker, prefix: str, *, timeout_s: float) -> None:
    """Return when the group's offsets have reached the ends of both inputs."""
    reader = await broker.open_reader(read_committed=True)
    count = await broker.partitions(f"{prefix}.requests")
    places = [(f"{prefix}.{name}", n) for name in ("requests", "usage") for n in range(count)]
    try:
        async with asyncio.timeout(timeout_s):
            ends = await reader.offsets_end(places)
            while True:
                committed = await broker.group_offsets(prefix)
                if all(committed.get(p, 0) >= end for p, end in ends.items()):
                    return
                await asyncio.sleep(0.2)
    finally:
        await reader.close()


async def until_owned(broker: Broker, prefix: str, *, timeout_s: float) -> None:
    """Return when every partition has an agent that has committed its start."""
    wanted = 3 * await broker.partitions(f"{prefix}.requests")
    committed = 0
    async with asyncio.timeout(timeout_s):
        while committed < wanted:
            await asyncio.sleep(0.1)
            # A new broker has no coordinator of groups before the first of them joins.
            with contextlib.suppress(UnavailableError):
                committed = len(await broker.group_offsets(prefix))
