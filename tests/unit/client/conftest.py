"""A broker in memory, as far as a gateway uses one, with switches for what can go wrong."""

import asyncio
import json
from collections import defaultdict
from typing import NamedTuple

import pytest

from enforcer import events
from enforcer.errors import NotFoundError, UnavailableError


class Kept(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple


PARTITIONS = 3
PREFIX = "t"


class FakeBroker:
    """Logs in memory. ``down`` refuses everything, ``losing`` fails sends that were taken, ``full`` takes none."""

    def __init__(self):
        self.logs = defaultdict(list)
        self.down = False
        self.losing = False
        self.full = False
        self.refusing = None
        self.producers = 0
        self.readers = 0
        self.sends = 0
        self.appended = asyncio.Event()
        self.on_append = None
        self.missing = set()
        self.count = PARTITIONS

    async def partitions(self, topic):
        if topic in self.missing:
            raise NotFoundError(f"no topic {topic}")
        return 1 if topic.endswith("policies") else self.count

    async def open_reader(self, *, read_committed=True):
        self.check()
        self.readers += 1
        return FakeReader(self)

    async def open_producer(self):
        self.check()
        self.producers += 1
        return FakeProducer(self)

    def check(self):
        if self.down:
            raise UnavailableError("the fake broker is down")

    def append(self, topic, partition, record):
        key, value, headers, _ = record
        log = self.logs[topic, partition]
        log.append(Kept(topic, partition, len(log), 1, 1, key, value, tuple(headers)))
        self.appended.set()
        if self.on_append is not None:
            self.on_append(log[-1])

    def values(self, name):
        return [
            record.value
            for (topic, _), log in sorted(self.logs.items())
            if topic == f"{PREFIX}.{name}"
            for record in log
        ]

    # What agents and administrators do:

    def put_policies(self, *documents, scope="acme"):
        digests = []
        for kind, name, spec in documents:
            canonical = json.dumps({"kind": kind, "metadata": {"id": name}, "spec": spec})
            digest = f"{hash(canonical):x}"
            digests.append(digest)
            record = events.PolicyDocument(
                kind=kind, id=name, scope=scope, digest=digest, canonical=canonical
            )
            key = f"{scope}/doc/{digest}".encode()
            self.append(f"{PREFIX}.policies", 0, (key, events.encode(record), (), None))
        of_all = events.PolicySet(scope=scope, revision=1, documents=digests, digest="d")
        self.append(
            f"{PREFIX}.policies", 0, (f"{scope}/set".encode(), events.encode(of_all), (), None)
        )

    def answer(self, request_record, **fields):
        request = events.read_request(request_record.value)
        decision = make_decision(request, **fields)
        gateway = dict(request_record.headers)["gateway"]
        self.append(
            f"{PREFIX}.decisions",
            request_record.partition,
            (request_record.key, events.encode(decision), (("gateway", gateway),), None),
        )

    def answer_all(self, **fields):
        """From now on every request is decided at once."""

        def on_append(record):
            if record.topic == f"{PREFIX}.requests":
                self.answer(record, **fields)

        self.on_append = on_append


def make_decision(request, *, verdict="allow", code="OK", edits=(), account="acme"):
    return events.Decision(
        id="d",
        request_id=request.id,
        attempt=request.attempt,
        tenant=request.tenant,
        account=account,
        verdict=verdict,
        http_status=403 if verdict == "deny" else 200,
        reasons=[events.Reason("p", "r", verdict, code, "because")],
        edits=list(edits),
        policy_digest="",
        data_digest="",
        engine="test",
        source=events.Source("requests", 0, 0, 0, 0, 0),
        time_us=1,
    )


class FakeReader:
    def __init__(self, broker):
        self.broker = broker
        self.positions = {}
        self.failure = None

    def assign(self, partitions):
        self.positions = {place: self.positions.get(place) for place in partitions}

    def seek(self, topic, partition, offset):
        self.positions[topic, partition] = offset

    def position(self, topic, partition):
        return self.positions[topic, partition]

    async def offsets_begin(self, partitions):
        self.broker.check()
        return dict.fromkeys(partitions, 0)

    async def offsets_end(self, partitions):
        self.broker.check()
        return {place: len(self.broker.logs[place]) for place in partitions}

    async def poll(self, timeout_ms):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while True:
            self.broker.check()
            polled = {}
            for place, position in self.positions.items():
                if records := self.broker.logs[place][position:]:
                    polled[place] = records
                    self.positions[place] = position + len(records)
            if polled or loop.time() >= deadline:
                return polled
            self.broker.appended.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self.broker.appended.wait()
            except TimeoutError:
                pass

    async def close(self):
        pass


class FakeProducer:
    queued_bytes = 0

    def __init__(self, broker):
        self.broker = broker
        self.dead = False

    def send(self, topic, partition, records):
        broker = self.broker
        if self.dead:
            raise UnavailableError("poisoned")
        if broker.full:
            raise UnavailableError("full", code="backlog")
        broker.sends += 1
        future = asyncio.get_running_loop().create_future()
        if broker.refusing is not None:
            future.set_exception(broker.refusing)
            return future
        if not broker.down:
            for record in records:
                broker.append(topic, partition, record)
        if broker.down or broker.losing:
            self.dead = True
            future.set_exception(UnavailableError("lost"))
        else:
            future.set_result(0)
        return future

    async def prepare(self, topics):
        self.broker.check()

    async def flush(self):
        pass

    async def close(self):
        pass


@pytest.fixture
async def broker():
    return FakeBroker()
