"""
Who has a change of policies in force: every agent, by what its worker says on ``policy-acks``.

There is one agent a partition. A partition counts once any worker has said that its agent decides under a policy
table past the change: whoever takes the partition over later has waited for the table's end before it decides. A worker
may also say that it refused the change, for want of a signature it knows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.errors import EnforcerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.broker.ports import Broker

POLL_MS: Final = 50
"""Of one wait for records: what comes earlier ends it."""


@dataclass(slots=True)
class InForce:
    """How far a change has come. Fed with acks; ``agents`` of ``of`` have it in force."""

    offset: int
    """Of the change's last set record."""
    of: int
    scopes: frozenset[str] = frozenset()
    seconds: float = 0.0
    invalid: dict[str, str] = field(default_factory=dict)
    """Scope to why the change denies it, by any worker's word."""
    why_refused: dict[str, str] = field(default_factory=dict)
    """Scope to why its newest record was not believed, by any worker's word."""
    _partitions: set[int] = field(default_factory=set)
    _refused: set[int] = field(default_factory=set)

    @property
    def agents(self) -> int:
        """How many agents have it in force."""
        return len(self._partitions)

    @property
    def missing(self) -> list[int]:
        """The partitions whose agents have not."""
        return [p for p in range(self.of) if p not in self._partitions]

    @property
    def refused(self) -> list[int]:
        """The partitions whose agents know of the change, and go on as before."""
        return sorted(self._refused)

    def take(self, ack: events.PolicyAck) -> None:
        """Take a worker's word."""
        if ack.policy_offset <= self.offset:
            return
        ours = {p for p in ack.partitions if p < self.of}
        self.why_refused |= {s: why for s, why in ack.refused.items() if s in self.scopes}
        if self.scopes.isdisjoint(ack.refused):
            self._partitions |= ours
            self._refused -= ours
            self.invalid |= {s: why for s, why in ack.invalid.items() if s in self.scopes}
        else:
            self._refused |= ours - self._partitions


async def wait_in_force(
    broker: Broker,
    prefix: str,
    offset: int,
    *,
    scopes: Iterable[str],
    timeout_s: float,
    told: Callable[[InForce], None] = lambda _: None,
) -> InForce:
    """
    Wait until every agent decides under the policies as of *offset*.

    Args:
        broker: Started.
        prefix: Of the installation.
        offset: Of the change's last set record in ``policies``.
        scopes: What was changed.
        timeout_s: How long.
        told: Called whenever another agent has it, and once at the start.

    Raises: UnavailableError after *timeout_s*, naming the partitions that have not; NotFoundError without topics.
    """
    topic = f"{prefix}.policy-acks"
    begun_s = time.monotonic()
    state = InForce(offset, await broker.partitions(f"{prefix}.requests"), frozenset(scopes))
    await broker.partitions(topic)
    reader = await broker.open_reader(read_committed=True)
    try:
        reader.assign([(topic, 0)])
        await reader.seek_to_beginning((topic, 0))
        last = -1
        while True:
            state.seconds = time.monotonic() - begun_s
            if state.agents > last:
                last = state.agents
                told(state)
            if state.agents == state.of:
                return state
            if state.refused and state.agents + len(state.refused) == state.of:
                raise _refused(state)
            if state.seconds > timeout_s:
                raise _late(state, timeout_s)
            for records in (await reader.poll(POLL_MS)).values():
                for record in records:
                    _take(state, record.value)
    finally:
        await reader.close()


def _take(state: InForce, value: bytes | None) -> None:
    try:
        state.take(events.decode_policy_ack(value or b""))
    except EnforcerError:
        return  # Nobody we know wrote it, and nothing is decided by it.


def _refused(state: InForce) -> UnavailableError:
    return UnavailableError(
        f"{len(state.refused)} of {state.of} agents refuse it, and go on as before: "
        + "; ".join(sorted(state.why_refused.values())),
        help="sign with a key that workers know by --policy-keys: --sign-key FILE",
        code="policy_refused",
    )


def _late(state: InForce, timeout_s: float) -> UnavailableError:
    missing = state.missing
    named = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
    return UnavailableError(
        f"{state.agents} of {state.of} agents have it in force after {timeout_s:g} s; "
        f"partitions without: {named}",
        help="it is applied all the same: is a worker running for each partition, and ready?",
        code="not_in_force",
    )
