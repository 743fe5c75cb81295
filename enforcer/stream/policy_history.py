"""Reading ``policy-history`` whole, where policies are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.policy.trust import History

if TYPE_CHECKING:
    from enforcer.broker.ports import Broker
    from enforcer.policy.signing import Verifier

_POLL_MS = 200


async def read_history(broker: Broker, prefix: str, verifier: Verifier) -> History:
    """What the signed records of the history say, as of now."""
    place = (f"{prefix}.policy-history", 0)
    history = History(verifier)
    reader = await broker.open_reader(read_committed=True)
    try:
        end = (await reader.offsets_end([place]))[place]
        reader.assign([place])
        await reader.seek_to_beginning(place)
        while (reader.position(*place) or 0) < end:
            for records in (await reader.poll(_POLL_MS)).values():
                for record in records:
                    history.take(record.key, record.value, record.headers)
    finally:
        await reader.close()
    return history
