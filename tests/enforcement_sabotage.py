"""
Ways to break the ledger on purpose: a checker that nothing can displease proves nothing.

Each takes one promise out of the running code, and the kill test then has to fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from enforcer import events
from enforcer.broker import producer
from enforcer.stream import takeover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.broker.ports import Broker, Outgoing, Record
    from enforcer.stream.worker import Worker


PARTED_S = 4.0
HANGS_S = 8.0


def go_deaf(worker: Worker) -> None:
    """
    The process loses its seat in the group and does not notice: a network that parts it from the coordinators alone.

    It goes on deciding, and telling, what is no longer its own; from about when it is replaced its commits hang too,
    so that only the broker's refusal on the fast lane can stop it.
    """
    seat: Any = worker._membership
    seat.check = lambda: None
    seat._consumer._coordinator._heartbeat_task.cancel()

    def part() -> None:
        worker.commit_gate = _Hanging()  # type: ignore[assignment]

    asyncio.get_running_loop().call_later(PARTED_S, part)


class _Hanging:
    """A gate through which no commit comes for long."""

    async def turn(self, *, is_urgent: bool = False) -> None:
        """Wait."""
        await asyncio.sleep(HANGS_S)


def sabotage(what: str) -> None:
    """Take one promise out of this process: ``tail``, ``claim``, ``sends`` or ``position``."""
    {"tail": _no_tail, "claim": _no_claim, "sends": _no_sends, "position": _no_position}[what]()


def _no_tail() -> None:
    """A takeover does not look at what was told."""

    async def nothing(*_: Any, **__: Any) -> list[Record]:
        return []

    takeover.read_decisions = nothing


_CLAIM = events.encode_claim(events.Claim(0, 0, "", 0))[:10]


def _no_claim() -> None:
    """A takeover reads the tail, but fences nobody's fast lane."""
    send = producer.KafkaProducer.send
    brokers: list[Broker] = []
    take_over = takeover.take_over

    async def end_of(topic: str, partition: int) -> int:
        reader = await brokers[0].open_reader(read_committed=False)
        try:
            return (await reader.offsets_end([(topic, partition)]))[topic, partition]
        finally:
            await reader.close()

    def without_claim(self: Any, topic: str, partition: int, records: Sequence[Outgoing]) -> Any:
        if (records[0][1] or b"").startswith(_CLAIM):
            return asyncio.ensure_future(end_of(topic, partition))
        return send(self, topic, partition, records)

    async def read(
        broker: Broker, topic: str, partition: int, start: int, claim: int, *, silence_s: float
    ) -> list[Record]:
        del silence_s
        found: list[Record] = []
        reader = await broker.open_reader(read_committed=False)
        try:
            reader.assign([(topic, partition)])
            reader.seek(topic, partition, start)
            while (reader.position(topic, partition) or 0) < claim:
                for batch in (await reader.poll(50)).values():
                    found.extend(batch)
        finally:
            await reader.close()
        return found

    async def taking(services: Any, *rest: Any, **named: Any) -> Any:
        brokers[:] = [services.broker]
        return await take_over(services, *rest, **named)

    async def unbounded(*rest: Any) -> Any:
        # What is told while the tail is read would show, as a verdict on a request not yet there.
        found = await bounds(*rest)
        found.ends["requests"] = 1 << 60
        return found

    bounds = takeover._bounds
    takeover._bounds = unbounded
    producer.KafkaProducer.send = without_claim  # type: ignore[method-assign]
    takeover.read_decisions = read
    from enforcer.stream import agent

    agent.take_over = taking


def _no_sends() -> None:
    """A commit does not look whether its records were taken, nor whether its verdicts were."""
    start, send = producer.KafkaLedger.start, producer.KafkaLedger.send

    async def starting(self: Any) -> int:
        epoch = await start(self)
        self._lane._poison_on_refusal = False

        async def settled() -> None:
            await asyncio.gather(*self._lane._pending, return_exceptions=True)

        self._lane.settled = settled
        return epoch

    def sending(self: Any, *rest: Any) -> Any:
        sent = send(self, *rest)

        async def whatever() -> int:
            try:
                return int(await sent)
            except Exception:  # noqa: BLE001 — this is the sabotage
                return 0

        return asyncio.ensure_future(whatever())

    producer.KafkaLedger.start = starting  # type: ignore[method-assign]
    producer.KafkaLedger.send = sending  # type: ignore[method-assign]


def _no_position() -> None:
    """The position is kept beside the ledger, in the table alone, and not in the transaction."""
    send = producer.KafkaLedger.send

    def sending(self: Any, topic: str, partition: int, records: Sequence[Outgoing]) -> Any:
        kept = [record for record in records if record[0] != b"p"]
        if kept:
            return send(self, topic, partition, kept)
        done = asyncio.get_running_loop().create_future()
        done.set_result(0)
        return done

    producer.KafkaLedger.send = sending  # type: ignore[method-assign]
