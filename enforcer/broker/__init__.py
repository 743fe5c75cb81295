"""The port to Kafka (``ports``) and aiokafka behind it. The only importer of a Kafka client."""

from enforcer.broker.config import BrokerConfig, load
from enforcer.broker.kafka import KafkaBroker
from enforcer.broker.ports import (
    LOG_APPEND_TIME,
    Assigned,
    Assignment,
    Broker,
    LedgerProducer,
    Membership,
    NewTopicSpec,
    Outgoing,
    Partition,
    Producer,
    Reader,
    Record,
    TopicInfo,
)

__all__ = [
    "LOG_APPEND_TIME",
    "Assigned",
    "Assignment",
    "Broker",
    "BrokerConfig",
    "KafkaBroker",
    "LedgerProducer",
    "Membership",
    "NewTopicSpec",
    "Outgoing",
    "Partition",
    "Producer",
    "Reader",
    "Record",
    "TopicInfo",
    "load",
]
