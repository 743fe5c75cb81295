"""Whether the broker's topics are such that agents may run on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer.errors import ConfigError, NotFoundError, UnavailableError
from enforcer.store.table import Meta
from enforcer.stream.restore import CHANGELOGS, ROWS_VERSION
from enforcer.stream.topology import INPUTS, PARTITIONED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker.ports import Broker, TopicInfo
    from enforcer.stream.config import WorkerConfig

DELETE_RETENTION_MS_DEFAULT: Final = 86_400_000


class MisalignedError(UnavailableError):
    """Partition counts differ, from each other or from what rows were written under: accounts live elsewhere."""

    code = "partition_count"

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            help="accounts would be looked for in other partitions: run `enforcer topics repartition`",
        )


async def check_installation(broker: Broker, config: WorkerConfig) -> tuple[Meta, int]:
    """
    Check that topics are there, agree in their partitions, and have the times that agents rely on.

    Returns: What tables are written for, and how old a table may be (ms).
    Raises: NotFoundError, ConfigError, MisalignedError, UnavailableError.
    """
    names = [*PARTITIONED, "policies", "policy-history", "dead-letters"]
    described = await broker.describe_topics([config.topic(name) for name in names])
    found = {
        name: described[config.topic(name)] for name in names if config.topic(name) in described
    }
    missing = [config.topic(name) for name in names if name not in found]
    if missing:
        raise NotFoundError(
            f"topics are missing: {', '.join(missing)}",
            help=f"run `enforcer topics apply --prefix {config.prefix}`, or give the prefix of topics that are there",
            code="topics_missing",
        )
    _check_partitions(found)
    _check_times(found)
    # What is not set on the topic is the broker's, and its own default is a day.
    state = found["state"].config
    retention_ms = int(state.get("delete.retention.ms", DELETE_RETENTION_MS_DEFAULT))
    meta = Meta(
        cluster_id=await broker.cluster_id(),
        topic_ids={name: found[name].topic_id for name in CHANGELOGS},
        schema=ROWS_VERSION,
        partitions=found["requests"].partitions,
    )
    return meta, retention_ms // 2


def _check_partitions(found: Mapping[str, TopicInfo]) -> None:
    counts = {name: found[name].partitions for name in (*PARTITIONED, "dead-letters")}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise MisalignedError(f"the topics differ in their number of partitions: {each}")


def _check_times(found: Mapping[str, TopicInfo]) -> None:
    for name in INPUTS:
        # Not set on the topic: the broker's default decides, and the first record tells.
        kind = found[name].config.get("message.timestamp.type", "LogAppendTime")
        if kind != "LogAppendTime":
            raise ConfigError(
                f"{found[name].name} carries the producer's time ({kind}), not the broker's",
                help="run `enforcer topics apply`: message.timestamp.type must be LogAppendTime",
                code="append_time",
            )
