"""The broker port on aiokafka: connects, checks the version, and opens everything else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Self

from aiokafka import errors as kafka_errors
from aiokafka.conn import collect_hosts, create_conn

from enforcer.broker import tls
from enforcer.broker.admin import Admin, topic_missing
from enforcer.broker.client import quiet_client_logs, translated
from enforcer.broker.courier import Courier
from enforcer.broker.membership import KafkaMembership
from enforcer.broker.ports import nothing_warm
from enforcer.broker.producer import KafkaLedger, KafkaProducer
from enforcer.broker.reader import KafkaReader
from enforcer.errors import AuthError, EnforcerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from enforcer.broker.acls import Acl
    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Assigned, NewTopicSpec, Partition, TopicInfo, Warm

_END_TXN = 26
_END_TXN_VERSION_OF_KAFKA_4_0 = 5
"""KIP-890's second part. The client asks for old versions; what the broker offers tells its age."""

_PROBE_PAUSE_S = 0.25
_CLOSED_MAX = 4
"""A broker that ends closes a connection or two; one that closes each wants to be spoken to otherwise."""


class KafkaBroker:
    """``ports.Broker`` on aiokafka."""

    def __init__(self, config: BrokerConfig) -> None:
        self.config = config
        self._admin: Admin | None = None
        self._cluster_id = ""
        self._started_courier: Courier | None = None
        self._courier_lock = asyncio.Lock()

    async def start(self) -> None:
        """See ``ports.Broker``."""
        quiet_client_logs()
        await self._probe()
        admin = Admin(self.config)
        try:
            await admin.start()
            self._cluster_id, _ = await admin.cluster()
        except BaseException:
            with contextlib.suppress(EnforcerError):
                await admin.close()
            raise
        self._admin = admin

    async def stop(self) -> None:
        """See ``ports.Broker``."""
        if self._started_courier is not None:
            courier, self._started_courier = self._started_courier, None
            await courier.close()
        if self._admin is not None:
            admin, self._admin = self._admin, None
            with contextlib.suppress(EnforcerError):
                await admin.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def cluster_id(self) -> str:
        """See ``ports.Broker``."""
        assert self._admin is not None, "start first"
        return self._cluster_id

    async def broker_count(self) -> int:
        """See ``ports.Broker``."""
        return (await self._started.cluster())[1]

    async def topic_id(self, topic: str) -> str:
        """See ``ports.Broker``."""
        return (await self._described(topic)).topic_id

    async def partitions(self, topic: str) -> int:
        """See ``ports.Broker``."""
        return (await self._described(topic)).partitions

    async def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """See ``ports.Broker``."""
        return await self._started.describe(topics, configs=True)

    async def create_topics(self, topics: Sequence[NewTopicSpec]) -> None:
        """See ``ports.Broker``."""
        await self._started.create(topics)

    async def delete_topics(self, topics: Sequence[str]) -> None:
        """See ``ports.Broker``."""
        await self._started.delete(topics)

    async def alter_topic_configs(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """See ``ports.Broker``."""
        await self._started.alter(changes)

    async def grow_topics(self, counts: Mapping[str, int]) -> None:
        """See ``ports.Broker``."""
        await self._started.grow(counts)

    async def group_members(self, group: str) -> list[str]:
        """See ``ports.Broker``."""
        return await self._started.group_members(group)

    async def group_offsets(self, group: str) -> dict[Partition, int]:
        """See ``ports.Broker``."""
        return await self._started.group_offsets(group)

    async def acls(self) -> list[Acl] | None:
        """Every ACL that allows something; None where there is no authorizer. AuthError without Describe on the cluster."""
        return await self._started.acls()

    async def grant(self, wanted: Sequence[Acl]) -> None:
        """Add ACLs. AuthError without Alter on the cluster; ConflictError where there is no authorizer."""
        await self._started.grant(wanted)

    async def open_reader(self, *, read_committed: bool = True) -> KafkaReader:
        """See ``ports.Broker``."""
        return await KafkaReader.start(self.config, read_committed=read_committed)

    async def open_producer(self) -> KafkaProducer:
        """See ``ports.Broker``."""
        courier = await self._courier()
        return KafkaProducer(courier, self.config, await courier.new_producer_id(), is_lane=False)

    def open_ledger(self, transactional_id: str) -> KafkaLedger:
        """See ``ports.Broker``."""
        return KafkaLedger(transactional_id, self.config, self._courier)

    async def _courier(self) -> Courier:
        """The one that carries the sends of all producers opened here; connected when first asked for."""
        async with self._courier_lock:
            if self._started_courier is None:
                courier = Courier(self.config)
                try:
                    await courier.start()
                except BaseException:
                    await courier.close()
                    raise
                self._started_courier = courier
        return self._started_courier

    def open_membership(
        self,
        group: str,
        topic: str,
        *,
        instance_id: str,
        assigned: Assigned,
        warm: Warm = nothing_warm,
        standbys: int = 0,
    ) -> KafkaMembership:
        """See ``ports.Broker``."""
        return KafkaMembership(
            self.config,
            group,
            topic,
            instance_id=instance_id,
            assigned=assigned,
            warm=warm,
            standbys=standbys,
        )

    @property
    def _started(self) -> Admin:
        assert self._admin is not None, "start first"
        return self._admin

    async def _described(self, topic: str) -> TopicInfo:
        found = await self._started.describe([topic], configs=False)
        if topic not in found:
            raise topic_missing(topic)
        return found[topic]

    async def _probe(self) -> None:
        """Wait for the first broker that answers, and check its age."""
        config = self.config
        last: BaseException = TimeoutError("no answer")
        closed = 0
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                while True:
                    for host, port, _ in collect_hosts(config.bootstrap):
                        try:
                            versions = await self._offered(host, port)
                        except (OSError, TimeoutError, kafka_errors.KafkaError) as error:
                            last = error
                            self._refuse_if_hopeless(error, f"{host}:{port}")
                            closed = closed + 1 if _is_closed(error) else 0
                            if closed >= _CLOSED_MAX:
                                raise self._closed_unanswered(f"{host}:{port}") from error
                        else:
                            _check_age(versions, f"{host}:{port}")
                            return
                    await asyncio.sleep(_PROBE_PAUSE_S)
        except TimeoutError:
            raise UnavailableError(
                f"no Kafka broker answers at {config.bootstrap} ({_short(last)})",
                help="Is it running? `enforcer up` starts a local one; else check --bootstrap.",
            ) from last

    async def _offered(self, host: str, port: int) -> dict[int, tuple[int, int]]:
        """The versions of each request that the broker offers."""
        arguments: dict[str, Any] = self.config.connection()
        arguments.pop("bootstrap_servers")
        connection = await create_conn(
            host, port, request_timeout_ms=self.config.request_timeout_ms, **arguments
        )
        try:
            return dict(connection._versions)  # noqa: SLF001 — client.PRIVATE_NAMES
        finally:
            closing = connection.close()
            if closing is not None:
                await closing

    def _closed_unanswered(self, address: str) -> AuthError:
        security = self.config.security
        return tls.closed_unanswered(
            address,
            is_tls="ssl_context" in security,
            has_certificate=self.config.certificate_file is not None,
        )

    @staticmethod
    def _refuse_if_hopeless(error: BaseException, address: str) -> None:
        if isinstance(error, ssl.SSLError):
            raise tls.refusal(error, address) from error
        translation = translated(error, address)
        if isinstance(translation, AuthError):
            raise translation from error


def _is_closed(error: BaseException) -> bool:
    """Whether the broker took the connection and closed it before it answered."""
    if isinstance(error, ConnectionResetError):
        return True
    return isinstance(error, kafka_errors.KafkaConnectionError) and "closed" in str(error)


def _check_age(versions: Mapping[int, tuple[int, int]], address: str) -> None:
    if versions.get(_END_TXN, (0, 0))[1] < _END_TXN_VERSION_OF_KAFKA_4_0:
        raise UnavailableError(
            f"{address} is older than Kafka 4.0",
            code="broker_too_old",
            help="Upgrade the cluster: fencing and transactions are relied on as of 4.0.",
        )


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
