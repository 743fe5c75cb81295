"""What the tests of the data plane share: a cluster in memory, policies in few words, one worker's services."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from enforcer import events, policy
from enforcer.broker import Assignment
from enforcer.broker.ports import TopicInfo
from enforcer.engine import Engine
from enforcer.errors import AgentCorruptedError, AgentFencedError, EnforcerError, NotFoundError
from enforcer.store import MemoryTable, Meta
from enforcer.stream.config import WorkerConfig
from enforcer.stream.poison import Trial
from enforcer.stream.policy_follower import PolicyFollower
from enforcer.stream.services import CommitGate
from enforcer.stream.topology import PARTITIONED
from enforcer.telemetry import Metrics

NOW_MS = 1_794_830_400_000  # Noon UTC.
META = Meta(
    cluster_id="cluster", topic_ids={"state": "id-state", "calls": "id-calls"},
    schema="1", partitions=1,
)  # fmt: skip
ACME = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\nspec: {}\n"
CAPPED = """
apiVersion: enforcer/v1
kind: Policy
metadata: {id: cap, tenant: acme}
spec:
  budgets: [{id: all, per: total, limit_usd: 1, on_exceeded: deny}]
"""


def deny_word(word, *, tenant="*"):
    """A policy that denies prompts with a word in them."""
    return (
        "apiVersion: enforcer/v1\nkind: Policy\n"
        f"metadata: {{id: words, tenant: '{tenant}'}}\nspec:\n  rules:\n"
        f"    - {{id: w, condition: {{operator: contains, field: llm.prompt, value: {word}}}, then: deny}}\n"
    )


@dataclass(slots=True)
class Rec:
    """A record as a reader gives it."""

    topic: str = "enforcer.requests"
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_MS
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple = ()
    timestamp_type: int = 1


@dataclass(slots=True)
class Transaction:
    """Open, committed or aborted, and the logs it wrote to."""

    state: str = "open"
    logs: list = field(default_factory=list)


class Log:
    """One partition. Offsets without a record are control records, or were compacted away."""

    def __init__(self, topic, partition):
        self.topic, self.partition = topic, partition
        self.begin = self.end = 0
        self.records = {}

    def append(self, key=None, value=b"", headers=(), *, at_ms=NOW_MS, transaction=None, kind=1):
        """One record; its offset."""
        offset = self.end
        record = Rec(self.topic, self.partition, offset, at_ms, key, value, tuple(headers), kind)
        self.records[offset] = (record, transaction)
        self.end += 1
        return offset

    def gap(self, count=1):
        """Offsets that nobody ever reads."""
        self.end += count

    def stable_end(self):
        """The last stable offset."""
        opened = [o for o, (_, t) in self.records.items() if t is not None and t.state == "open"]
        return min([self.end, *opened])

    def read(self, start, end, *, committed=True):
        """Records from *start*, before *end*; committed ones alone if asked so."""
        found = [self.records[o] for o in range(start, end) if o in self.records]
        return [
            r for r, t in found if not committed or t is None or t.state == "committed"
        ]  # fmt: skip

    def values(self, *, committed=True):
        """Everything in it."""
        end = self.stable_end() if committed else self.end
        return [r.value for r in self.read(self.begin, end, committed=committed)]


class Reader:
    """Reads logs of a cluster."""

    def __init__(self, cluster, *, committed):
        self.cluster, self.committed = cluster, committed
        self.positions, self.known, self.paused, self.assigned = {}, {}, set(), []
        self.closed = False

    def _end(self, place):
        log = self.cluster.log(*place)
        return log.stable_end() if self.committed else log.end

    def assign(self, partitions):
        self.assigned = list(partitions)
        self.paused &= set(self.assigned)
        self.positions = {p: o for p, o in self.positions.items() if p in self.assigned}

    def seek(self, topic, partition, offset):
        self.positions[topic, partition] = offset
        self.known.pop((topic, partition), None)

    async def seek_to_beginning(self, *partitions):
        for place in partitions or self.assigned:
            self.seek(*place, self.cluster.log(*place).begin)

    async def poll(self, timeout_ms):
        self.cluster.polls += 1
        await self.cluster.hook("poll")
        polled = {}
        for place in self.assigned:
            if place in self.paused or place not in self.positions:
                continue
            log, start = self.cluster.log(*place), self.positions[place]
            self.known[place] = end = self._end(place)
            if start < log.begin or start > log.end:
                raise AgentCorruptedError("out of range", code="offset_out_of_range")
            if self.cluster.silent or start >= end:
                continue
            end = min(end, start + self.cluster.per_poll)
            self.positions[place] = end
            records = log.read(start, end, committed=self.committed)
            if records:
                polled[place] = records
        await asyncio.sleep(0 if polled else min(timeout_ms, 2) / 1000)
        return polled

    def pause(self, *partitions):
        self.paused.update(partitions)

    def resume(self, *partitions):
        self.paused.difference_update(partitions)

    def position(self, topic, partition):
        return self.positions.get((topic, partition))

    def end(self, topic, partition):
        return self.known.get((topic, partition))

    async def offsets_begin(self, partitions):
        await self.cluster.hook("offsets_begin")
        return {place: self.cluster.log(*place).begin for place in partitions}

    async def offsets_end(self, partitions):
        return {place: self._end(place) for place in partitions}

    async def close(self):
        self.closed = True


def settled(value):
    """A future that is done already."""
    done = asyncio.get_running_loop().create_future()
    if isinstance(value, Exception):
        done.set_exception(value)
        done.exception()  # Looked at: nobody need await it.
    else:
        done.set_result(value)
    return done


class FastLane:
    """Sends without a transaction. ``hold`` keeps acknowledgements back."""

    def __init__(self, ledger):
        self.ledger, self.queued_bytes = ledger, 0

    def send(self, topic, partition, records):
        self.ledger.check()
        name = topic.rpartition(".")[2]
        self.ledger.cluster.journal.append(f"tell {name}")
        log = self.ledger.cluster.log(topic, partition)
        failure = self.ledger.cluster.failure(f"tell:{name}")
        offsets = [log.append(k, v, h) for k, v, h, _ in records]
        if self.ledger.cluster.holds_acks:
            return asyncio.get_running_loop().create_future()
        return settled(failure or offsets[0])


class Ledger:
    """A transactional producer; ``start`` fences whoever held its id."""

    def __init__(self, cluster, transactional_id):
        self.cluster, self.transactional_id = cluster, transactional_id
        self.epoch, self.producer_id, self.fenced, self.closed = -1, 1, False, False
        self.transaction = None
        self.fast = FastLane(self)

    def check(self):
        if self.fenced:
            raise AgentFencedError("a newer owner holds this id")

    async def _step(self, name):
        self.check()
        self.cluster.journal.append(name)
        await self.cluster.hook(name)
        failure = self.cluster.failure(name)
        if failure is not None:
            raise failure

    async def start(self):
        await self._step("start")
        last = self.cluster.owners.get(self.transactional_id)
        if last is not None and last is not self:
            last.fenced = True
            last.finish("aborted")
        self.cluster.owners[self.transactional_id] = self
        self.epoch = self.cluster.epoch = self.cluster.epoch + 1
        return self.epoch

    async def begin(self):
        await self._step("begin")
        self.transaction = Transaction()

    def send(self, topic, partition, records):
        self.check()
        name = topic.rpartition(".")[2]
        self.cluster.journal.append(f"send {name}")
        failure = self.cluster.failure(f"send {name}")
        if failure is not None:
            return settled(failure)
        log = self.cluster.log(topic, partition)
        self.transaction.logs.append(log)
        offsets = [log.append(k, v, h, transaction=self.transaction) for k, v, h, _ in records]
        return settled(offsets[0])

    async def offsets(self, group, offsets):
        await self._step("offsets")
        self.transaction.logs.append((group, dict(offsets)))

    async def commit(self):
        await self._step("commit")
        self.finish("committed")
        failure = self.cluster.failure("committed")
        if failure is not None:
            raise failure

    def finish(self, state):
        """End the transaction, with its markers."""
        ended, self.transaction = self.transaction, None
        if ended is None:
            return
        ended.state = state
        for log in dict.fromkeys(each for each in ended.logs if isinstance(each, Log)):
            log.gap()
        if state == "committed":
            for each in ended.logs:
                if isinstance(each, tuple):
                    self.cluster.groups.setdefault(each[0], {}).update(each[1])

    async def close(self):
        self.closed = True


class Membership:
    """A seat in a group of one."""

    def __init__(self, cluster, assigned):
        self.cluster, self.assigned = cluster, assigned
        self.partitions, self.lost, self.left = frozenset(), asyncio.Event(), False

    async def start(self):
        self.cluster.seat = self

    async def run(self):
        self.give(*self.cluster.gives)
        await self.lost.wait()
        self.check()

    def give(self, *partitions):
        """A finished assignment."""
        self.partitions = frozenset(partitions)
        self.assigned(Assignment(self.partitions))

    def check(self):
        if self.lost.is_set():
            raise AgentFencedError("the seat is lost")

    async def leave(self):
        self.left = True

    async def close(self):
        pass


class Cluster:
    """Logs by topic and partition, behind the broker's port. ``fail`` makes steps fail, by name, in order."""

    def __init__(self, *, partitions=1, prefix="enforcer"):
        self.logs, self.owners, self.groups, self.fail = {}, {}, {}, {}
        self.journal, self.hooks, self.readers = [], {}, []
        self.epoch, self.polls, self.per_poll = 0, 0, 1_000
        self.silent = self.holds_acks = False
        self.seat, self.gives = None, (0,)
        self.topics = {
            f"{prefix}.{name}": TopicInfo(f"{prefix}.{name}", f"id-{name}", count, 1)
            for names, count in (
                ((*PARTITIONED, "dead-letters"), partitions),
                (("policies", "policy-history", "policy-acks"), 1),
            )
            for name in names
        }
        self.prefix = prefix

    def log(self, topic, partition=0):
        """The log, made on first use. A short name is one of this installation."""
        if "." not in topic:
            topic = f"{self.prefix}.{topic}"
        if (topic, partition) not in self.logs:
            self.logs[topic, partition] = Log(topic, partition)
        return self.logs[topic, partition]

    def failure(self, name):
        """What the step raises this time."""
        waiting = self.fail.get(name)
        return waiting.pop(0) if waiting else None

    async def hook(self, name):
        """Run what a test wants done at this step."""
        doing = self.hooks.get(name)
        if doing is not None:
            await doing()

    async def cluster_id(self):
        return META.cluster_id

    async def partitions(self, topic):
        if topic not in self.topics:
            raise NotFoundError(f"no topic {topic}")
        return self.topics[topic].partitions

    async def describe_topics(self, topics):
        return {name: self.topics[name] for name in topics if name in self.topics}

    async def group_offsets(self, group):
        failure = self.failure("group_offsets")
        if failure is not None:
            raise failure
        return dict(self.groups.get(group, {}))

    async def open_reader(self, *, read_committed=True):
        self.readers.append(Reader(self, committed=read_committed))
        return self.readers[-1]

    def open_ledger(self, transactional_id):
        return Ledger(self, transactional_id)

    def open_membership(self, group, topic, *, instance_id, assigned, **_):
        return Membership(self, assigned)

    # -- what is in it ----------------------------------------------------------------------------------------

    def ask(self, request_id="r1", prompt="hi", *, at_ms=NOW_MS, headers=(), partition=0, **fields):
        """Append a request of acme; its offset."""
        llm = {"provider": "openai", "model": "gpt-4o", "max_tokens": 10, "prompt": prompt}
        value = {"id": request_id, "tenant": "acme", "llm": llm, **fields}
        log = self.log("requests", partition)
        return log.append(b"acme", json.dumps(value).encode(), headers, at_ms=at_ms)

    def report(self, request_id="r1", *, at_ms=NOW_MS, **fields):
        """Append a usage report; its offset."""
        value = {
            "request_id": request_id, "tenant": "acme", "attempt": 1, "final": True,
            "outcome": "completed", "cost_usd": 0.001, **fields,
        }  # fmt: skip
        return self.log("usage").append(b"acme", json.dumps(value).encode(), at_ms=at_ms)

    def put_set(self, *texts):
        """Publish documents, then one set for each of their scopes."""
        for key, value in published(*texts):
            self.log("policies").append(key, value)

    def told(self, partition=0):
        """Verdicts in ``decisions``, without the claims."""
        found = [
            events.read_decision(v)
            for v in self.log("decisions", partition).values(committed=False)
        ]
        return [each for each in found if isinstance(each, events.Decision)]

    def ledger(self, partition=0):
        """The audit records, decoded."""
        return [events.decode_audit(v) for v in self.log("audit", partition).values()]

    def position(self, partition=0):
        """The newest position row that is committed."""
        log = self.log("state", partition)
        rows = [r.value for r in log.read(log.begin, log.stable_end()) if r.key == b"p"]
        return events.decode_position_row(rows[-1]) if rows else None


def documents_of(*texts):
    """The documents of some texts, which must check."""
    loaded = policy.load([(f"d{at}.yaml", text) for at, text in enumerate(texts)])
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    return loaded.documents


def set_of(scope, documents, *, digest=None):
    """The key and value of a set over documents."""
    digests = [each.digest for each in documents]
    record = events.PolicySet(
        scope, 1, documents=digests, digest=digest or policy.set_digest(digests)
    )
    return f"{scope}/set".encode(), events.encode_policy_set(record)


def document_of(document):
    """The key and value of a document."""
    key = f"{document.scope}/doc/{document.digest}".encode()
    return key, events.encode_policy_document(document.to_record())


def published(*texts):
    """Records of the policy topic that put documents in force."""
    documents = documents_of(*texts)
    for each in documents:
        yield document_of(each)
    for scope in sorted({each.scope for each in documents}):
        yield set_of(scope, [each for each in documents if each.scope == scope])


def position(**fields):
    """A position row, zero where nothing is said."""
    whole = {
        "request_offset": 0, "usage_offset": 0, "chain_head": bytes(32), "next_sequence": 0,
        "tail_start": 0, "now_us": 0, "policy_offset": 0, "partition_count": 1, "starts": 1,
    }  # fmt: skip
    return events.PositionRow(**(whole | fields))


def call_row(**fields):
    """A row of a call, young and denied where nothing is said."""
    whole = {
        "end_us": (NOW_MS + 1000) * 1000, "status": "denied", "content": b"c" * 32,
        "decision": b"told", "time_us": NOW_MS * 1000, "expires_us": 0,
        "provider": "openai", "model": "gpt-4o",
    }  # fmt: skip
    return events.CallRow(**(whole | fields))


def config(**fields):
    """A worker's settings, quick where it waits."""
    quick = {
        "instance_id": "w1", "state_dir": Path("unused"), "lone_input_wait_ms": 1,
        "commit_interval_ms": 1, "commits_per_second": 1000, "fenced_wait_ms": 20,
        "drain_timeout_ms": 1000, "slice_us": 1_000_000,
    }  # fmt: skip
    return WorkerConfig(**(quick | fields))


class Shelf(MemoryTable):
    """A table that can be closed and opened again, and told to fail."""

    def __init__(self):
        super().__init__()
        self.failure = None
        self.writes = 0

    def write(self, puts, deletes=(), *, meta=None):
        if self.failure is not None:
            raise self.failure
        self.writes += 1
        super().write(puts, deletes, meta=meta)

    def close(self):
        """Stay open: a next owner finds the rows, as on a disk."""

    def rows(self):
        """Everything in it but its meta record."""
        return dict(self.scan())


class Office:
    """A worker's services for one agent, without the worker."""

    def __init__(self, cluster, **fields):
        self.config = config(**fields)
        self.broker = cluster
        self.engine = Engine()
        self.policies = PolicyFollower(cluster, self.config.topic("policies"))
        self.metrics = Metrics()
        self.commit_gate = CommitGate(self.config.commits_per_second)
        self.trial = Trial()
        self.text_readers = self.spans = None
        self.table_meta = replace(META, partitions=1)
        self.table_age_ms_max = 1_000_000
        self.clock_ms = NOW_MS
        self.table = Shelf()
        self.at_end = {"requests": True, "usage": True, "leases": True}
        self.sought, self.forgotten, self.made = [], [], 0
        self.seat_lost = None
        self.progress = []

    def now_ms(self):
        return self.clock_ms

    def transactional_id(self, partition):
        return f"enforcer-{partition}"

    def check_seat(self):
        if self.seat_lost is not None:
            raise self.seat_lost

    def cached_rows_max(self):
        return 1000

    def open_table(self, partition):
        return self.table

    def seek_inputs(self, partition, offsets):
        self.sought.append((offsets["requests"], offsets["usage"]))

    def unseek_inputs(self, partition):
        self.sought.append(None)

    def is_at_end(self, name, partition):
        return self.at_end[name]

    def made_room(self, agent):
        self.made += 1

    def restore_progress(self, partition):
        return lambda done, total: self.progress.append((done, total))

    def forget(self, partition):
        self.forgotten.append(partition)

    def fetched(self, name, start=0, partition=0):
        """What a pump would feed of an input from *start* on."""
        log = self.broker.log(name, partition)
        return log.read(start, log.stable_end())


async def until(true, *, seconds=5.0):
    """Return when *true()* is."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 — asked from outside
            await asyncio.sleep(0.001)


def refused(code="unavailable"):
    """Some error of the broker."""
    return EnforcerError("refused", code=code)
