"""
The local stack: a real Apache Kafka with no Docker, no system Java and no root.

``Stack(home).start()`` brings it up, or finds it running; ``stop()`` takes it down. One stack lives
in one directory; any number of processes may start, use and stop it. Everything is synchronous: call
it before an event loop runs, or in a thread.
"""

from enforcer.local.jars import KAFKA_VERSION
from enforcer.local.stack import Running, Stack, Status
from enforcer.local.steps import Progress, Step

__all__ = ["KAFKA_VERSION", "Progress", "Running", "Stack", "Status", "Step"]
