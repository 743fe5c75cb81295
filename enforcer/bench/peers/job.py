"""The job that every framework is given: one request and the rows of a store, to one decision. No framework in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from enforcer import detect, events, policy, state
from enforcer.bench.programs import programs
from enforcer.engine import Arrival, Engine, EngineConfig
from enforcer.errors import IntegrityError
from enforcer.stream.rows import decode_row, encode_row

if TYPE_CHECKING:
    from collections.abc import Sequence

_CACHE_KEY: Final = bytes(32)


class Store(Protocol):
    """Bytes by name: what a framework's state comes down to."""

    def get(self, key: str) -> bytes | None:
        """The value, as of now."""

    def put(self, key: str, value: bytes) -> None:
        """Set it."""

    def delete(self, key: str) -> None:
        """Remove it, if it is there."""


class StoredRows:
    """``state.Rows`` over a store: every row is decoded when it is read, and encoded when it is put."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Any:
        """The row, or None."""
        value = self._store.get(key)
        return None if value is None else decode_row(key, value)

    def put(self, key: str, row: Any) -> None:
        """Set a row."""
        self._store.put(key, encode_row(key, row))

    def put_encoded(self, key: str, value: bytes) -> None:
        """Set the row of a call, given as its bytes."""
        self._store.put(key, value)

    def delete(self, key: str) -> None:
        """Remove a row."""
        self._store.delete(key)


class Record(NamedTuple):
    """A request as every framework gives it. *time_ms* is the record's."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None


class Answer(NamedTuple):
    """What is to be sent: the decision, None where there is none to tell, and what goes to the audit."""

    decision: bytes | None
    audit: list[bytes]


class Job:
    """The engine under one set of policies."""

    def __init__(self, sources: Sequence[Sequence[str]], *, partitions: int) -> None:
        """
        Compile the policies.

        Args:
            sources: File names and texts of the policies.
            partitions: Of the topic of requests.

        Raises: IntegrityError when they do not check.
        """
        loaded = policy.load([(name, text) for name, text in sources])
        faults = [str(f.message) for f in loaded.findings if f.severity == "error"]
        if faults:
            raise IntegrityError(f"the benchmark's policies do not check: {faults[0]}")
        detect.warm()
        self._program_of = programs(loaded.documents)
        self._engine = Engine(EngineConfig(fact_cache=detect.FactCache(_CACHE_KEY)))
        self._partitions = partitions
        self._now_us = [0] * partitions
        # Of each account, for a store gives its rows to the account at hand only. No reservation
        # of a benchmark ends while it runs, so a queue need not outlive its process.
        self._queues: dict[bytes | None, state.ExpiryQueue] = {}
        self.count = 0
        """Requests decided."""

    def decide(self, record: Record, store: Store) -> Answer:
        """Decide one request; its rows in *store* are changed."""
        now_us = max(self._now_us[record.partition], record.time_ms * 1000)
        self._now_us[record.partition] = now_us
        queue = self._queues.get(record.key)
        if queue is None:
            queue = self._queues[record.key] = state.ExpiryQueue()
        source = events.Source(record.topic, record.partition, record.offset, 0, 0, 0, 0)
        arrival = Arrival(
            record.key, record.value, source, now_us, record.time_ms * 1000, self._partitions
        )
        outcome = self._engine.request(self._program_of, arrival, StoredRows(store), queue)
        self.count += 1
        return Answer(outcome.value, [entry.payload for entry in outcome.entries])
