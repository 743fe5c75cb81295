"""Reading topics whole for what was signed, where policies are: the history, the policies, and how high workers have been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enforcer import events
from enforcer.broker.to_end import read_to
from enforcer.errors import EnforcerError
from enforcer.policy.trust import History, from_history, from_policies

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from enforcer.broker.ports import Broker, Record
    from enforcer.policy.signing import Verifier


async def read_history(
    broker: Broker, prefix: str, verifier: Verifier, *, with_policies: bool = False
) -> History:
    """
    What the signed records of the history say, as of now.

    Args:
        with_policies: And those of the policy topic: of what was refused under other keys.

    Raises: UnavailableError, when the broker gives nothing.
    """
    history = History(verifier)
    async for record in _records(broker, f"{prefix}.policy-history"):
        signed = from_history(record.key, record.value, record.headers)
        if signed is not None:
            history.take(signed)
    if with_policies:
        async for record in _records(broker, f"{prefix}.policies"):
            signed = from_policies(record.key, record.value, record.headers)
            if signed is not None:
                history.take(signed)
    return history


@dataclass(slots=True)
class Floors:
    """What has been in force on any worker, by their word: nothing goes below."""

    revisions: dict[str, int] = field(default_factory=dict)
    """The highest of a signed set, by scope."""
    policy_offset: int = 0
    """Of the policy topic, up to which some worker had read it."""


async def read_floors(broker: Broker, prefix: str) -> Floors:
    """
    What workers have said on ``policy-acks``.

    Raises: NotFoundError, AuthError, where the topic is not there or not ours to read; UnavailableError.
    """
    await broker.partitions(f"{prefix}.policy-acks")
    floors = Floors()
    async for record in _records(broker, f"{prefix}.policy-acks"):
        try:
            said = events.decode_policy_ack(record.value or b"")
        except EnforcerError:
            continue  # Nobody we know wrote it.
        floors.policy_offset = max(floors.policy_offset, said.policy_offset)
        for scope, revision in said.revisions.items():
            floors.revisions[scope] = max(revision, floors.revisions.get(scope, 0))
    return floors


async def _records(broker: Broker, topic: str) -> AsyncGenerator[Record]:
    place = (topic, 0)
    reader = await broker.open_reader(read_committed=True)
    try:
        end = (await reader.offsets_end([place]))[place]
        reader.assign([place])
        await reader.seek_to_beginning(place)
        async for polled in read_to(reader, {place: end}):
            for record in polled.get(place, ()):
                yield record
    finally:
        await reader.close()
