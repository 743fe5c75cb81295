"""
Reads decisions and tenants for a gateway: one reader, one task, no group.

Positions are taken before the gateway sends anything, so that no verdict of its own can be missed. They
are kept here, not in the reader: when that is lost, the next one goes on at the same place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.broker.to_end import read_to
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Broker, Partition, Reader, Record
    from enforcer.client.tenants import Tenants
    from enforcer.policy.trust import Trust

_POLL_MS: Final = 1000
_BACKOFF_S: Final = 0.25

_log = structlog.get_logger("enforcer.client")


class Follower:
    """Hands decisions of this gateway to *take*; others are dropped by their header, undecoded."""

    def __init__(
        self,
        broker: Broker,
        *,
        decisions: str,
        partitions: int,
        policies: str,
        gateway: bytes,
        tenants: Tenants,
        take: Callable[[bytes], None],
        trust: Trust | None = None,
    ) -> None:
        self._broker = broker
        self._decisions = [(decisions, number) for number in range(partitions)]
        self._policies = (policies, 0)
        self._gateway = gateway
        self._tenants = tenants
        self._trust = trust
        self._take = take
        self._reader: Reader | None = None
        self._positions: dict[Partition, int] = {}
        self.foreign = 0

    async def start(self) -> None:
        """Take positions at the end of decisions, and read all of policies that is there now."""
        reader = self._reader = await self._broker.open_reader(read_committed=True)
        self._positions = await reader.offsets_end(self._decisions)
        self._positions.update(await reader.offsets_begin([self._policies]))
        end = (await reader.offsets_end([self._policies]))[self._policies]
        self._place(reader)
        async for polled in read_to(reader, {self._policies: end}):
            self._sort(polled)

    def _place(self, reader: Reader) -> None:
        reader.assign([*self._decisions, self._policies])
        for (topic, partition), offset in self._positions.items():
            reader.seek(topic, partition, offset)

    async def grow(self, partitions: int) -> None:
        """Follow as many partitions of decisions from now on, the new ones from their beginning. Raises UnavailableError."""
        topic, known = self._decisions[0][0], len(self._decisions)
        new = [(topic, number) for number in range(known, partitions)]
        assert self._reader is not None
        begins = await self._reader.offsets_begin(new)
        # Between these lines nobody reopens: either reader is placed with all of them.
        self._decisions += new
        self._positions.update(begins)
        self._reader.assign([*self._decisions, self._policies])
        for (topic, partition), offset in begins.items():
            self._reader.seek(topic, partition, offset)

    async def run(self) -> None:
        """Follow, for as long as the gateway is open."""
        while True:
            assert self._reader is not None
            try:
                self._sort(await self._reader.poll(_POLL_MS))
            except EnforcerError as error:
                _log.warning("reader_lost", code=error.code)
                await self._reopen()

    def _sort(self, polled: dict[Partition, list[Record]]) -> None:
        ours = self._gateway
        for place, records in polled.items():
            if place == self._policies:
                for record in records:
                    if not self._is_refused(record):
                        self._tenants.apply(record.key, record.value)
            else:
                for record in records:
                    for name, content in record.headers:
                        if name == "gateway":
                            if content == ours and record.value is not None:
                                self._take(record.value)
                            else:
                                self.foreign += 1
                            break
            self._positions[place] = records[-1].offset + 1

    def _is_refused(self, record: Record) -> bool:
        """Whether it is not to be believed: what a tenant does at a deadline is not everybody's to say."""
        if self._trust is None:
            return False
        refusal = self._trust.look(record.offset, record.key, record.value, record.headers)
        if refusal is not None:
            _log.warning("policy_record_refused", scope=refusal.scope, code=refusal.code)
        return refusal is not None

    async def _reopen(self) -> None:
        while True:
            assert self._reader is not None
            await self._reader.close()
            await asyncio.sleep(_BACKOFF_S)
            try:
                self._reader = await self._broker.open_reader(read_committed=True)
                await self._move_into_log(self._reader)
                self._place(self._reader)
            except EnforcerError as error:
                _log.warning("reopen_failed", code=error.code)
            else:
                return

    async def _move_into_log(self, reader: Reader) -> None:
        """A position the log no longer holds, or does not hold yet, goes to the nearest that it does."""
        places = list(self._positions)
        begins, ends = await reader.offsets_begin(places), await reader.offsets_end(places)
        for place in places:
            self._positions[place] = min(max(self._positions[place], begins[place]), ends[place])

    async def close(self) -> None:
        """Stop reading. Never raises."""
        if self._reader is not None:
            await self._reader.close()
