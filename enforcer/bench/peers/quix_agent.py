"""
The job on Quix Streams, by its documentation: a stateful step over a topic, exactly once, state in RocksDB.

Rows are the state of their account (the record's key); the changelog is the framework's. Run with the Python of its
environment, as ``python -m enforcer.bench.peers.quix_agent TASK``.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State, message_context

from enforcer.bench.peers.job import Answer, Job, Record
from enforcer.bench.peers.reporting import Reporter
from enforcer.bench.sampling import task


class _Store:
    """The state of the record's key."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._state.get_bytes(key)
        return found

    def put(self, key: str, value: bytes) -> None:
        self._state.set_bytes(key, value)

    def delete(self, key: str) -> None:
        self._state.delete(key)


def main(given: dict[str, Any]) -> None:
    """Decide until told to stop."""
    job = Job(given["sources"], partitions=given["partitions"])
    application = Application(
        broker_address=given["bootstrap"],
        consumer_group=given["group"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=given["commit_interval_s"],
        state_dir=given["state_dir"],
        # A process that comes back keeps its partitions: the kindest setting for a restart.
        consumer_extra_config={
            "group.instance.id": given["group"],
            "session.timeout.ms": given["session_timeout_ms"],
        },
        producer_extra_config=given["producer"],
        loglevel="WARNING",
    )

    def topic(name: str) -> Any:
        return application.topic(
            given[name],
            key_deserializer="bytes",
            value_deserializer="bytes",
            key_serializer="bytes",
            value_serializer="bytes",
        )

    def decide(value: bytes, key: bytes, time_ms: int, _headers: Any, state: State) -> Answer:
        at = message_context()
        record = Record(given["source"], at.partition, at.offset, time_ms, key, value)
        return job.decide(record, _Store(state))

    decided = application.dataframe(topic("source")).apply(decide, stateful=True, metadata=True)
    told = decided.apply(lambda answer: answer.decision)
    told[told.apply(lambda value: value is not None)].to_topic(topic("decisions"))
    decided.apply(lambda answer: answer.audit, expand=True).to_topic(topic("audit"))
    Reporter(job).start()
    application.run()


if __name__ == "__main__":
    main(task())
