"""
The job on Faust, by its user guide: an agent over a topic, its rows in a table that is kept in RocksDB.

At least once: what Faust calls exactly-once keeps writes of aborted transactions and sends to other topics outside of
them. Run with the Python of its environment, as ``python -m enforcer.bench.peers.faust_agent TASK``.
"""

from __future__ import annotations

from typing import Any

import faust
import uvloop

from enforcer.bench.peers.job import Job, Record
from enforcer.bench.peers.reporting import Reporter
from enforcer.bench.sampling import task


class _Store:
    """A table of bytes."""

    __slots__ = ("_table",)

    def __init__(self, table: Any) -> None:
        self._table = table

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._table.get(key.encode())
        return found

    def put(self, key: str, value: bytes) -> None:
        self._table[key.encode()] = value

    def delete(self, key: str) -> None:
        self._table.pop(key.encode(), None)


def main(given: dict[str, Any]) -> None:
    """Decide until told to stop."""
    job = Job(given["sources"], partitions=given["partitions"])
    app = faust.App(
        given["group"],
        broker=f"kafka://{given['bootstrap']}",
        datadir=given["state_dir"],
        store="rocksdb://",
        processing_guarantee="at_least_once",
        topic_partitions=given["partitions"],
        topic_replication_factor=1,
        producer_acks=-1,
        broker_commit_interval=given["commit_interval_s"],
        broker_session_timeout=given["session_timeout_ms"] / 1000,
        broker_heartbeat_interval=given["session_timeout_ms"] / 3000,
        # A process that comes back keeps its partitions: the kindest setting for a restart.
        consumer_group_instance_id=given["group"],
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    raw: dict[str, Any] = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
    source = app.topic(given["source"], partitions=given["partitions"], **raw)
    decisions = app.topic(given["decisions"], partitions=given["partitions"], **raw)
    audit = app.topic(given["audit"], partitions=given["partitions"], **raw)
    store = _Store(
        app.Table("rows", partitions=given["partitions"], key_type=bytes, value_type=bytes)
    )

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def decide(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            answer = job.decide(
                Record(
                    message.topic,
                    message.partition,
                    message.offset,
                    int(message.timestamp * 1000),
                    message.key,
                    message.value,
                ),
                store,
            )
            if answer.decision is not None:
                await decisions.send(
                    key=message.key, value=answer.decision, headers=message.headers
                )
            for entry in answer.audit:
                await audit.send(key=message.key, value=entry, headers=message.headers)

    Reporter(job).start()
    uvloop.install()  # What `faust --loop uvloop` does.
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main(task())
