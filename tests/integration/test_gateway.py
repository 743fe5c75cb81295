"""The gateway over the real broker, with a stand-in for the agents: it answers, and decides nothing."""

import asyncio
import json
import time

import pytest

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker, NewTopicSpec
from enforcer.client import Gateway
from enforcer.config import Settings
from enforcer.errors import NotFoundError
from enforcer.local import Stack

PARTITIONS = 4
TOPICS = {"requests": PARTITIONS, "usage": PARTITIONS, "decisions": PARTITIONS, "policies": 1}


async def started(bootstrap, prefix):
    """A started broker with a gateway's topics."""
    broker = KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix))
    await broker.start()
    await broker.create_topics(
        [NewTopicSpec(f"{prefix}.{name}", count, 1) for name, count in TOPICS.items()]
    )
    return broker


@pytest.fixture
async def broker(bootstrap, prefix):
    """The run's broker, with topics of this test's own."""
    broker = await started(bootstrap, prefix)
    yield broker
    await broker.stop()


@pytest.fixture
def own_stack(tmp_path):
    """A Kafka of this test's own, that it may stop."""
    settings = Settings.load()
    stack = Stack(
        tmp_path,
        cache=settings.cache,
        maven_url=settings.maven_url,
        maven_repository=settings.maven_repository,
        train=False,
    )
    yield stack
    stack.stop()


class Answers:
    """Answers every request on its partition, with its ``gateway`` header, as agents do."""

    def __init__(self, broker, prefix, verdict=None):
        self.broker = broker
        self.prefix = prefix
        self.verdict = verdict or (lambda _: "allow")
        self.requests = []

    async def __aenter__(self):
        self.reader = await self.broker.open_reader()
        self.producer = await self.broker.open_producer()
        self.reader.assign([(f"{self.prefix}.requests", n) for n in range(PARTITIONS)])
        await self.reader.seek_to_beginning()
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.reader.close()
        await self.producer.close()

    async def run(self):
        while True:
            for (_, partition), records in (await self.reader.poll(100)).items():
                out = []
                for record in records:
                    self.requests.append(record)
                    request = events.read_request(record.value)
                    verdict = self.verdict(request)
                    if verdict is not None:
                        decision = decision_on(request, record, verdict)
                        out.append((record.key, encoded(decision, record), record.headers, None))
                if out:
                    self.producer.send(f"{self.prefix}.decisions", partition, out)


def encoded(decision, record):
    is_json = events.is_json(record.value)
    return events.to_json_bytes(decision) if is_json else events.encode(decision)


def decision_on(request, record, verdict):
    return events.Decision(
        id=events.decision_id(record.key.decode(), request.id, request.attempt),
        request_id=request.id,
        attempt=request.attempt,
        tenant=request.tenant,
        account=record.key.decode(),
        verdict=verdict,
        http_status=403 if verdict == "deny" else 200,
        reasons=[],
        policy_digest="",
        data_digest="",
        engine="test",
        source=events.Source("requests", record.partition, record.offset, 0, 0, 0),
        time_us=record.timestamp * 1000,
    )


def request(name, tenant="acme"):
    content = f"What follows from {name}? " * 24
    llm = events.Llm("openai", "gpt-4o", messages=[events.Message("user", content=content)])
    return events.Request(name, tenant, user=events.User("u1"), llm=llm)


async def read_all(broker, topic, count):
    """All records of *topic*, once there are *count*."""
    reader = await broker.open_reader()
    reader.assign([(topic, number) for number in range(await broker.partitions(topic))])
    await reader.seek_to_beginning()
    found = []
    async with asyncio.timeout(20):
        while len(found) < count:
            for records in (await reader.poll(200)).values():
                found += records
    await reader.close()
    return found


async def test_thousands_of_calls_at_once(broker, prefix):
    """Every call of thousands gets its own verdict, by Avro and by JSON, over all partitions."""
    tenants = [f"tenant-{number}" for number in range(40)]
    async with (
        Answers(broker, prefix, lambda r: "deny" if r.id.endswith("7") else "allow") as agents,
        Gateway(broker, prefix=prefix) as gateway,
    ):
        calls = [request(f"r{n}", tenants[n % 40]) for n in range(3000)]
        calls += [events.to_json(request(f"j{n}", tenants[n % 40])) for n in range(500)]
        outcomes = await asyncio.gather(*(gateway.decide(call, 20_000) for call in calls))
        assert gateway.in_flight == 0
        for call, outcome in zip(calls, outcomes, strict=True):
            name = call["id"] if isinstance(call, dict) else call.id
            assert outcome.decision.request_id == name
            assert outcome.verdict == ("deny" if name.endswith("7") else "allow")
    assert len(agents.requests) == 3500
    assert {record.partition for record in agents.requests} == set(range(PARTITIONS))
    for record in agents.requests:
        assert record.partition == events.partition_of(record.key, PARTITIONS)


async def test_two_gateways_do_not_hear_each_other(broker, prefix):
    """Each takes only its own verdicts, even for calls of the same name."""
    async with (
        Answers(broker, prefix),
        Gateway(broker, prefix=prefix) as one,
        Gateway(broker, prefix=prefix) as two,
    ):
        both = [gateway.decide(request("same"), 10_000) for gateway in (one, two)]
        assert [outcome.verdict for outcome in await asyncio.gather(*both)] == ["allow", "allow"]
        async with asyncio.timeout(5):
            while one.stats.foreign < 1 or two.stats.foreign < 1:  # noqa: ASYNC110 — nothing tells of what is dropped
                await asyncio.sleep(0.01)
        assert one.stats.late == two.stats.late == 0


async def test_a_verdict_that_does_not_come_is_a_reported_bypass(broker, prefix):
    """At the deadline the tenant's ``on_timeout`` counts, and usage says what was done."""
    await put_tenant(broker, prefix, "globex", on_timeout="allow")
    async with Answers(broker, prefix, lambda _: None), Gateway(broker, prefix=prefix) as gateway:
        started = time.monotonic()
        allowed, denied = await asyncio.gather(
            gateway.decide(request("a", "globex"), 200), gateway.decide(request("b"), 200)
        )
        assert 0.15 < time.monotonic() - started < 2
        assert (allowed.acted, denied.acted) == ("timeout_allow", "timeout_deny")
        await gateway.report({"request_id": "a", "tenant": "globex", "output_tokens": 3})
    usage = [events.read_usage(r.value) for r in await read_all(broker, f"{prefix}.usage", 3)]
    told = sorted((u.request_id, u.acted or "", u.final) for u in usage)
    assert told == [("a", "", True), ("a", "timeout_allow", False), ("b", "timeout_deny", True)]


async def put_tenant(broker, prefix, tenant, **spec):
    canonical = json.dumps({"kind": "Tenant", "metadata": {"id": tenant}, "spec": spec})
    document = events.PolicyDocument(
        kind="Tenant", id=tenant, scope=tenant, digest="d1", canonical=canonical
    )
    of_all = events.PolicySet(scope=tenant, revision=1, documents=["d1"], digest="s1")
    producer = await broker.open_producer()
    records = [
        (f"{tenant}/doc/d1".encode(), events.encode(document), (), None),
        (f"{tenant}/set".encode(), events.encode(of_all), (), None),
    ]
    await producer.send(f"{prefix}.policies", 0, records)
    await producer.close()


async def test_a_gateway_by_address_needs_its_topics(bootstrap, prefix):
    """A gateway can be made from an address alone; missing topics are told at its start."""
    with pytest.raises(NotFoundError):
        async with Gateway(bootstrap, prefix=prefix):
            pass


@pytest.mark.broker
async def test_a_gateway_survives_the_brokers_absence(own_stack, prefix):
    """While the broker is away calls end by their deadlines; once it is back, the same gateway works."""
    where = (await asyncio.to_thread(own_stack.start)).bootstrap
    broker = await started(where, prefix)
    async with Answers(broker, prefix), Gateway(broker, prefix=prefix) as gateway:
        assert (await gateway.decide(request("before"), 10_000)).verdict == "allow"
        await asyncio.to_thread(own_stack.stop)
        begun = time.monotonic()
        away = await asyncio.gather(*(gateway.decide(request(f"away-{n}"), 300) for n in range(50)))
        assert {outcome.acted for outcome in away} == {"timeout_deny"}
        assert time.monotonic() - begun < 5
        assert (await asyncio.to_thread(own_stack.start)).bootstrap == where
        async with asyncio.timeout(60):
            number = 0
            while (await gateway.decide(request(f"after-{number}"), 2000)).by_timeout:
                number += 1
        late = [gateway.decide(request(f"more-{n}"), 20_000) for n in range(200)]
        assert {outcome.verdict for outcome in await asyncio.gather(*late)} == {"allow"}
    await broker.stop()
