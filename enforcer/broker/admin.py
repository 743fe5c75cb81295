"""
The administrative requests: what aiokafka's admin client lacks is written here, in its own request classes.

* Metadata version 12 tells topic ids (aiokafka stops at 5).
* IncrementalAlterConfigs changes single settings (aiokafka has AlterConfigs, which resets all others).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from enforcer.broker import acl_requests
from enforcer.broker.client import translated, within
from enforcer.broker.ports import NewTopicSpec, TopicInfo
from enforcer.errors import ConflictError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from enforcer.broker.acls import Acl
    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Partition

_DYNAMIC_TOPIC_CONFIG = 1
_OP_SET, _OP_DELETE = 0, 1
_TOPIC_RESOURCE = 2
_LEADER_WAIT_S = 10.0


class _MetadataResponse(Response):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                # A UUID: 16 bytes, which two numbers hold as well.
                ("id_high", Int64),
                ("id_low", Int64),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("id_high", Int64),
                ("id_low", Int64),
                ("name", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        named: list[tuple[int, int, str, dict[int, bytes]]] = [
            (0, 0, topic, {}) for topic in self._topics
        ]
        return request_struct_class(named, False, False, {})


class _AlterConfigsResponse(Response):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterConfigsStruct(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(
                        ("name", String("utf-8")),
                        ("operation", Int8),
                        ("value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterConfigsRequest(Request[_AlterConfigsStruct]):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 44

    def __init__(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        self._changes = changes

    def build(self, request_struct_class: Any) -> Any:
        resources = [
            (
                _TOPIC_RESOURCE,
                topic,
                [
                    (name, _OP_DELETE if value is None else _OP_SET, value)
                    for name, value in settings.items()
                ],
            )
            for topic, settings in self._changes.items()
        ]
        return request_struct_class(resources, False)


class Admin:
    """Questions and orders to the cluster, each bounded in time, each failure translated."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._client = AIOKafkaAdminClient(
            request_timeout_ms=config.request_timeout_ms,
            retry_backoff_ms=config.retry_backoff_ms,
            **config.connection(),
        )

    async def start(self) -> None:
        """Connect."""
        await self._asked(self._client.start(), "connect")

    async def close(self) -> None:
        """Disconnect."""
        await self._asked(self._client.close(), "disconnect")

    async def cluster(self) -> tuple[str, int]:
        """The cluster's id and its number of brokers."""
        answer = await self._metadata(())
        return str(answer.cluster_id), len(answer.brokers)

    async def describe(self, topics: Sequence[str], *, configs: bool) -> dict[str, TopicInfo]:
        """Those of *topics* that exist; their settings too if *configs*."""
        if not topics:
            return {}
        found: dict[str, TopicInfo] = {}
        for error_code, name, high, low, _, partitions, *_ in (await self._metadata(topics)).topics:
            error = kafka_errors.for_code(error_code)
            if error is kafka_errors.UnknownTopicOrPartitionError:
                continue
            # A topic just made has no leaders for a moment; it exists all the same.
            if error not in {kafka_errors.NoError, kafka_errors.LeaderNotAvailableError}:
                raise translated(error(name), f"describe {name}")
            found[name] = TopicInfo(
                name=name,
                topic_id=f"{high & _64_BITS:016x}{low & _64_BITS:016x}",
                partitions=len(partitions),
                replication_factor=min((len(row[4]) for row in partitions), default=0),
            )
        if configs and found:
            settings = await self._configs(list(found))
            found = {
                name: TopicInfo(
                    info.name,
                    info.topic_id,
                    info.partitions,
                    info.replication_factor,
                    settings.get(name, {}),
                )
                for name, info in found.items()
            }
        return found

    async def create(self, topics: Sequence[NewTopicSpec]) -> None:
        """Create *topics*, and wait until each has its leaders."""
        if not topics:
            return
        wanted = [
            NewTopic(
                topic.name,
                topic.partitions,
                topic.replication_factor,
                topic_configs=dict(topic.config),
            )
            for topic in topics
        ]
        answer = await self._asked(self._client.create_topics(wanted), "create topics")
        for name, error_code, *message in answer.topic_errors:
            error = kafka_errors.for_code(error_code)
            if error not in {kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError}:
                raise translated(error(*message), f"create topic {name}")
        await self._leaders_known([topic.name for topic in topics])

    async def delete(self, topics: Sequence[str]) -> None:
        """Delete *topics*, those of them that exist."""
        if not topics:
            return
        answer = await self._asked(self._client.delete_topics(list(topics)), "delete topics")
        for name, error_code in answer.topic_error_codes:
            error = kafka_errors.for_code(error_code)
            if error not in {kafka_errors.NoError, kafka_errors.UnknownTopicOrPartitionError}:
                raise translated(error(name), f"delete topic {name}")

    async def alter(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set or unset single settings."""
        if not changes:
            return
        answer = await self._send(_AlterConfigsRequest(changes), "alter topics")
        for error_code, message, _, name in answer.resources:
            if error_code:
                raise translated(
                    kafka_errors.for_code(error_code)(message), f"alter settings of {name}"
                )

    async def grow(self, counts: Mapping[str, int]) -> None:
        """Add partitions to topics, up to *counts*, and wait for their leaders."""
        wanted = {name: NewPartitions(count) for name, count in counts.items()}
        await self._asked(self._client.create_partitions(wanted), "add partitions")
        for _ in range(int(_LEADER_WAIT_S / 0.05)):
            found = await self.describe(list(counts), configs=False)
            if all(name in found and found[name].partitions >= n for name, n in counts.items()):
                await self._leaders_known(list(counts))
                return
            await asyncio.sleep(0.05)
        raise UnavailableError(f"{', '.join(counts)}: not grown after {_LEADER_WAIT_S:.0f} s")

    async def group_members(self, group: str) -> list[str]:
        """The static identities of *group*'s members, else their ids."""
        answers = await self._asked(self._members_of(group), f"read members of {group}")
        found: list[str] = []
        for answer in answers:
            for described in answer.groups:
                # Version 4 and later: member_id, group_instance_id, client_id, ...
                found += [member[1] or member[0] for member in described[5]]
        return found

    async def _members_of(self, group: str) -> Any:
        while True:
            try:
                return await self._client.describe_consumer_groups([group])
            except (
                kafka_errors.GroupCoordinatorNotAvailableError,
                kafka_errors.NotCoordinatorForGroupError,
                kafka_errors.GroupLoadInProgressError,
            ):
                await asyncio.sleep(0.05)

    async def group_offsets(self, group: str) -> dict[Partition, int]:
        """Committed offsets of *group*."""
        found = await self._asked(self._offsets_of(group), f"read offsets of {group}")
        return {(tp.topic, tp.partition): at.offset for tp, at in found.items() if at.offset >= 0}

    async def _offsets_of(self, group: str) -> Any:
        # The first question about any group makes the broker create its topic of offsets: until that
        # is there, no coordinator is. Bounded by the timeout of whoever asks.
        while True:
            try:
                return await self._client.list_consumer_group_offsets(group)
            except (
                kafka_errors.GroupCoordinatorNotAvailableError,
                kafka_errors.NotCoordinatorForGroupError,
                kafka_errors.GroupLoadInProgressError,
            ):
                await asyncio.sleep(0.05)

    async def acls(self) -> list[Acl] | None:
        """Every ACL that allows something; None where the broker has no authorizer. AuthError without Describe on the cluster."""
        answer = await self._send(acl_requests.describe_all(), "read ACLs")
        error = kafka_errors.for_code(answer.error_code)
        if error is kafka_errors.SecurityDisabled:
            return None
        if error is not kafka_errors.NoError:
            raise translated(error(answer.error_message or ""), "read ACLs")
        return acl_requests.granted(answer)

    async def grant(self, wanted: Sequence[Acl]) -> None:
        """Add *wanted*. AuthError without Alter on the cluster; ConflictError where the broker has no authorizer."""
        answer = await self._send(acl_requests.CreateAcls(wanted), "add ACLs")
        for error_code, message in answer.creation_responses:
            error = kafka_errors.for_code(error_code)
            if error is kafka_errors.SecurityDisabled:
                raise ConflictError(
                    "the broker has no authorizer: anybody may do anything",
                    help="set authorizer.class.name in the broker's settings",
                    code="no_authorizer",
                )
            if error is not kafka_errors.NoError:
                raise translated(error(message or ""), "add ACLs")

    async def _leaders_known(self, topics: Sequence[str]) -> None:
        for _ in range(int(_LEADER_WAIT_S / 0.05)):
            answer = await self._metadata(topics)
            if all(
                row[0] == 0 and row[5] and all(part[0] == 0 for part in row[5])
                for row in answer.topics
            ):
                return
            await asyncio.sleep(0.05)
        raise UnavailableError(f"{', '.join(topics)}: no leaders after {_LEADER_WAIT_S:.0f} s")

    async def _configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        answers = await self._asked(self._client.describe_configs(resources), "read settings")
        settings: dict[str, dict[str, str]] = {}
        for answer in answers:
            for error_code, message, _, name, entries in answer.resources:
                if error_code:
                    raise translated(
                        kafka_errors.for_code(error_code)(message), f"read settings of {name}"
                    )
                settings[name] = {
                    entry[0]: entry[1] or ""
                    for entry in entries
                    if entry[3] == _DYNAMIC_TOPIC_CONFIG
                }
        return settings

    async def _metadata(self, topics: Sequence[str]) -> Any:
        return await self._send(_MetadataRequest(topics), "read metadata")

    async def _send(self, request: Any, doing: str) -> Any:
        client = self._client._client  # noqa: SLF001 — client.PRIVATE_NAMES
        node = client.get_random_node()
        if node is None:
            raise UnavailableError(f"{doing}: no broker is known")
        return await self._asked(client.send(node, request), doing)

    async def _asked(self, question: Awaitable[Any], doing: str) -> Any:
        return await within(self._config.request_timeout_ms / 1000, question, doing)


_64_BITS = (1 << 64) - 1


def topic_missing(topic: str) -> NotFoundError:
    """The error for a topic that does not exist."""
    return NotFoundError(f"no topic {topic}", help="Run `enforcer topics apply`.")
