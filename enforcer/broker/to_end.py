"""Reading up to an end that is known, with a bound on how long the broker may give nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from enforcer.broker.ports import Partition, Reader, Record

SILENCE_S: Final = 30.0
"""So long nothing may come of what is known to be there; the whole has no limit."""
POLL_MS: Final = 100


async def read_to(
    reader: Reader, ends: Mapping[Partition, int], *, silence_s: float = SILENCE_S
) -> AsyncGenerator[dict[Partition, list[Record]]]:
    """
    What *reader* gives until its positions have reached *ends*; records at or past an end may be among it.

    Args:
        reader: Its partitions assigned and sought.
        ends: Offsets, exclusive. Control and aborted records count: a position passes them.
        silence_s: How long no position may move.

    Raises: UnavailableError (code ``silent``), naming what cannot be read; as ``Reader.poll``.
    """
    clock = asyncio.get_running_loop().time
    moved_s, before = clock(), -1
    while left := [place for place, end in ends.items() if (reader.position(*place) or 0) < end]:
        polled = await reader.poll(POLL_MS)
        now = sum(reader.position(*place) or 0 for place in ends)
        if polled or now != before:
            moved_s, before = clock(), now
        elif clock() - moved_s > silence_s:
            topic, partition = left[0]
            raise UnavailableError(
                f"{topic}-{partition} cannot be read: it gives nothing for {silence_s:g} s of what is in it",
                help="is the partition's leader there? `enforcer doctor`",
                code="silent",
            )
        if polled:
            yield polled
