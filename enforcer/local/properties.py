"""The broker's settings: one node that is broker and controller, small and quick to start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enforcer.errors import ConfigError
from enforcer.local.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Listener:
    """A further way in, beside the plain one of the loopback interface."""

    name: str
    protocol: str
    """``SSL``, ``SASL_SSL`` or ``SASL_PLAINTEXT``."""
    port: int


@dataclass(frozen=True, slots=True)
class Extras:
    """What a broker has beyond the usual: listeners, and settings by Kafka's names (TLS, SASL, an authorizer)."""

    listeners: tuple[Listener, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{more_listeners}
advertised.listeners=PLAINTEXT://{host}:{port}{more_listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{more_protocols}
log.dirs={data}
num.partitions=4
auto.create.topics.enable=false
# One node holds the only copy of everything.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A group need not wait for members that will not come.
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
background.threads=2
# The default, 128 MB, is half of the heap.
log.cleaner.dedupe.buffer.size=16777216
# The default reserves 2 x 10 MB a partition.
log.index.size.max.bytes=1048576
# After a SIGKILL the new broker waits for the session of the dead one: 4 s instead of 11.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def text(*, data: Path, port: int, controller_port: int, extras: Extras | None = None) -> str:
    """
    The properties file. Both ports may change between two starts on one *data* directory.

    Raises: ConfigError, if the path of *data* cannot be written down in it.
    """
    require_plain(data)
    extras = extras or Extras()
    settings = _SETTINGS.format(
        host=HOST,
        data=data,
        port=port,
        controller_port=controller_port,
        more_listeners="".join(f",{x.name}://{HOST}:{x.port}" for x in extras.listeners),
        more_protocols="".join(f",{x.name}:{x.protocol}" for x in extras.listeners),
    )
    return settings + "".join(f"{name}={value}\n" for name, value in extras.settings.items())


def require_plain(path: Path) -> None:
    """Raises: ConfigError, if *path* holds what Kafka or Java would take for a separator."""
    bad = sorted(set(str(path)) & set(",:\\\n\r;"))
    if bad or str(path) != str(path).strip():
        raise ConfigError(
            f"Kafka cannot use the directory `{path}`: {' '.join(map(repr, bad)) or 'a space'} in it",
            help="set ENFORCER_HOME and ENFORCER_CACHE to paths without it",
        )
