"""
The port to Kafka: what the rest of Enforcer may ask of a broker. No Kafka type crosses it.

``enforcer.broker.kafka`` implements it on aiokafka, ``enforcer.testing`` in memory.

Errors, everywhere: ``AgentFencedError`` when a newer owner holds the producer id or the group identity,
``AuthError`` when the principal is refused, ``UnavailableError`` when the broker cannot be reached or
refuses for another reason, ``ConfigError`` for wrong settings, ``NotFoundError`` for an unknown topic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Partition = tuple[str, int]
"""Topic and partition number."""

Headers = Sequence[tuple[str, bytes]]

Outgoing = tuple[bytes | None, bytes | None, Headers, int | None]
"""Key, value (None: a tombstone), headers, timestamp in ms (None: now; topics with append time ignore it)."""

LOG_APPEND_TIME = 1
"""``Record.timestamp_type`` of a record whose time the broker has given."""


class Record(Protocol):
    """
    One record read. Structural: what the client library makes is handed on as it is, unconverted.

    ``timestamp`` is in ms since the epoch; ``timestamp_type`` 0 is the producer's time, 1 the broker's.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as the broker has it. *config* holds the settings that were set on it, and no defaults."""

    name: str
    topic_id: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewTopicSpec:
    """A topic to create."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """
    Reads assigned partitions, in no group. Read committed unless opened otherwise.

    A partition newly assigned has no position until ``seek``; it delivers nothing before.
    """

    def assign(self, partitions: Sequence[Partition]) -> None:
        """Read exactly *partitions*: kept ones keep position and pause, new ones wait for ``seek``."""

    def assignment(self) -> frozenset[Partition]:
        """What is assigned now."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Deliver from *offset* on; what was fetched before is thrown away."""

    async def seek_to_beginning(self, *partitions: Partition) -> None:
        """Seek to the log start (of all assigned, if none is named)."""

    async def seek_to_end(self, *partitions: Partition) -> None:
        """Seek to the end (last stable offset when read committed) of all assigned, or of those named."""

    async def poll(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        """
        Everything fetched by now, in offset order per partition; waits at most *timeout_ms* for the first.

        An offset that the log no longer holds raises ``AgentCorruptedError`` (code ``offset_out_of_range``).
        """

    def pause(self, *partitions: Partition) -> None:
        """Fetch no more of *partitions*; what was fetched is kept for ``resume``."""

    def resume(self, *partitions: Partition) -> None:
        """Fetch *partitions* again."""

    def position(self, topic: str, partition: int) -> int | None:
        """Offset of the next record to deliver, past control and aborted records; None before ``seek``."""

    def end(self, topic: str, partition: int) -> int | None:
        """
        The end as the newest fetch answer told it: last stable offset when read committed.

        None before the first answer since ``seek``. ``position >= end`` is "caught up, as far as known".
        """

    async def offsets_begin(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Log start offsets, asked now."""

    async def offsets_end(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Ends, asked now: last stable offsets when read committed, else high watermarks."""

    async def offsets_for_times(
        self, times_ms: Mapping[Partition, int]
    ) -> dict[Partition, int | None]:
        """First offset at or after each time; None where there is none."""

    async def close(self) -> None:
        """Stop fetching. Bounded in time; never raises."""


class Producer(Protocol):
    """
    Idempotent. Records of one partition stay in the order of the calls.

    ``send`` only enqueues: it never waits, and what was enqueued while a batch was in flight travels in the
    next one. A send that fails poisons the producer (a hole in the sequence): close it, open another.
    """

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> Awaitable[int]:
        """
        Enqueue *records*; the awaitable (an ``asyncio.Future``) gives the offset of the first, once all are acknowledged.

        Need not be awaited: a failure nobody looked at is not reported by the event loop.
        Raises: UnavailableError (code ``backlog``) at once, above the limit of queued bytes or when poisoned;
        AgentFencedError likewise, when fenced.
        """

    @property
    def queued_bytes(self) -> int:
        """Bytes enqueued and not acknowledged; callers pause their inputs by it."""

    async def prepare(self, topics: Sequence[str]) -> None:
        """Know the leaders of *topics*, so that the first send need not wait. NotFoundError if one is missing."""

    async def flush(self) -> None:
        """Wait for all that was enqueued; raises the first failure."""

    async def close(self) -> None:
        """Bounded in time; never raises; what is not acknowledged fails."""


class LedgerProducer(Protocol):
    """
    One partition's transactional producer, and its fast lane under the same producer id and epoch.

    After any exception from a method the object is poisoned: every later call but ``close`` raises the
    same error. Whether the transaction was committed is then unknown; only a new ``start`` under the same
    transactional id (which ends it) and the position row tell.
    """

    @property
    def transactional_id(self) -> str: ...

    @property
    def producer_id(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def fast(self) -> Producer:
        """The fast lane: not transactional, fenced with the ledger once a newer owner's claim is written."""

    async def start(self) -> int:
        """Take the transactional id over (InitProducerId): fences older owners, ends their transaction. Returns the epoch."""

    async def prepare(self, topics: Sequence[str]) -> None:
        """Know the leaders of *topics* in both lanes. NotFoundError if one is missing."""

    async def begin(self) -> None:
        """Begin a transaction. Sends nothing."""

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> Awaitable[int]:
        """Enqueue *records* in the transaction, as ``Producer.send``."""

    async def offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Commit *offsets* (of the next record to read) of *group* in the transaction. Does not wait for the sends."""

    async def commit(self) -> None:
        """Await every send of the transaction, then commit. Raises, uncommitted, if any send failed."""

    async def abort(self) -> None:
        """End the transaction; nothing of it is ever read by those who read committed."""

    async def close(self) -> None:
        """Close both lanes. Bounded in time, never raises, leaves an open transaction to its timeout or successor."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a finished rebalance gave a member."""

    partitions: frozenset[int] = frozenset()
    """Its own."""
    standbys: frozenset[int] = frozenset()
    """It is to keep warm tables of these."""
    pending: frozenset[int] = frozenset()
    """Those of *standbys* that will be its own once it is warm for them and has joined again."""
    is_last: bool = True
    """There is nobody to hand anything over to."""


class Membership(Protocol):
    """
    A seat in the group, apart from the data: it says which partition numbers are ours, and nothing else.

    A rebalance in progress tells nothing: only the finished assignment is given to ``assigned``.
    """

    @property
    def partitions(self) -> frozenset[int]:
        """The newest finished assignment; empty before the first."""

    async def start(self) -> None:
        """Join. Returns before the first assignment."""

    async def run(self) -> None:
        """
        Keep the seat until ``leave`` or ``close``; must run as a task while the seat is wanted.

        Raises: AgentFencedError when the identity was taken by another process, when the group dropped us, or
        when this loop was late by more than the session timeout: stop at once, do not rejoin.
        Whatever the ``assigned`` callback raised is raised here.
        """

    def check(self) -> None:
        """
        Raise what ``run`` would raise: the seat is lost, or this loop was late by more than the session timeout.

        Cheap; call it before anything is sent, for after a long stop the loop may run the sender first.
        """

    def rejoin(self, *, leaving: bool = False) -> None:
        """
        Begin a rebalance: tell the group for what this member is warm by now.

        Args:
            leaving: It wants nothing any more, and goes on with what it has until the assignment gives that away.
        """

    async def leave(self) -> None:
        """Give the seat back at once (LeaveGroup, static members too): the others need not wait for the session to end."""

    async def close(self) -> None:
        """Stop without a word: with the same identity a restart within the session timeout moves nothing."""


Assigned = Callable[[Assignment], None]
"""Told every finished assignment, in the event loop; must not block."""


Warm = Callable[[], Collection[int]]


def nothing_warm() -> Collection[int]:
    """Of a member that keeps no copies."""
    return ()


class Broker(Protocol):
    """One Kafka cluster. Everything else is opened from here and closed by whoever opened it."""

    async def start(self) -> None:
        """Connect; checks that the cluster is Kafka 4.0 or newer. UnavailableError within 10 s otherwise."""

    async def stop(self) -> None:
        """Disconnect. Never raises."""

    async def cluster_id(self) -> str:
        """The cluster's identity: a warm table of another cluster is worthless."""

    async def broker_count(self) -> int:
        """Brokers alive; bounds replication factors."""

    async def topic_id(self, topic: str) -> str:
        """The topic's identity, 32 hex digits: a topic deleted and made again has another. NotFoundError."""

    async def partitions(self, topic: str) -> int:
        """Number of partitions. NotFoundError."""

    async def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """Those of *topics* that exist."""

    async def create_topics(self, topics: Sequence[NewTopicSpec]) -> None:
        """Create, and wait until every leader is known. One that exists is left as it is."""

    async def delete_topics(self, topics: Sequence[str]) -> None:
        """Delete them, records and all; for a moment more they may be described. One that is not there is ignored."""

    async def alter_topic_configs(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set (or with None: unset) single settings of topics; others stay as they are."""

    async def grow_topics(self, counts: Mapping[str, int]) -> None:
        """Add partitions to topics, up to these numbers, and wait until every leader is known."""

    async def group_members(self, group: str) -> list[str]:
        """Who sits in *group* now: static identities, else member ids."""

    async def group_offsets(self, group: str) -> dict[Partition, int]:
        """What lag tools see: the group's committed offsets."""

    def open_reader(self, *, read_committed: bool = True) -> Awaitable[Reader]:
        """A started reader with nothing assigned."""

    def open_producer(self) -> Awaitable[Producer]:
        """A started producer for clients and tools."""

    def open_ledger(self, transactional_id: str) -> LedgerProducer:
        """A ledger producer; its ``start`` fences, this does not."""

    def open_membership(
        self,
        group: str,
        topic: str,
        *,
        instance_id: str,
        assigned: Assigned,
        warm: Warm = nothing_warm,
        standbys: int = 0,
    ) -> Membership:
        """
        A seat in *group* over the partition numbers of *topic*; its ``start`` joins, this does not.

        Args:
            instance_id: The member's name, whichever process has it.
            assigned: Told every finished assignment.
            warm: Asked at each rebalance for which partitions this member stands by with warm tables.
            standbys: Members that are to stand by for each partition, if this one has the say.
        """
