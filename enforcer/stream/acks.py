"""
Telling which policies this worker's agents decide under: one small record on ``policy-acks`` at each change.

No verdict waits for it: a broker that does not take it is said once in the log, and it is tried again. It is for whoever
waits for a change to be in force (``policy apply --wait``); and where policies are signed, a worker that starts later takes
no set that is older than what it reads here (``policy.trust``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import events
from enforcer.errors import EnforcerError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Broker, Producer

LOOK_S: Final = 0.2
"""Agents come and go without a word to us: this often it is looked whether any did."""
RETRY_S: Final = 1.0
MISSING_RETRY_S: Final = 60.0
SEND_TIMEOUT_S: Final = 10.0
REPEAT_S: Final = 86_400.0
"""Said again at least so often: the topic forgets after a week, and what is said is also a floor for who starts later."""

_log = structlog.get_logger("enforcer.policies")


class PolicyAcks:
    """``run`` as long as the worker does; ``changed`` after each change of the policy table."""

    __slots__ = ("_broker", "_changed", "_now", "_topic")

    def __init__(self, broker: Broker, topic: str, now: Callable[[], events.PolicyAck]) -> None:
        """*now* says what is in force, and on which agents; its ``time_us`` is filled in here."""
        self._broker = broker
        self._topic = topic
        self._now = now
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A set came into force: say so at once."""
        self._changed.set()

    async def run(self) -> None:
        """Send what is in force whenever it is other than what was sent last. Until cancelled."""
        has_failed = False
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 — whatever it is, verdicts do not wait for it
                if not has_failed:
                    code = error.code if isinstance(error, EnforcerError) else type(error).__name__
                    _log.warning("policy_acks_not_sent", topic=self._topic, code=code)
                has_failed = True
                missing = isinstance(error, NotFoundError)
                await asyncio.sleep(MISSING_RETRY_S if missing else RETRY_S)

    async def _follow(self) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            producer = await self._broker.open_producer()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await producer.prepare([self._topic])
            sent: object = None
            sent_s = 0.0
            while True:
                self._changed.clear()
                ack = self._now()
                # The offset alone moves with every record of the topic, tombstones too.
                says = (ack.partitions, ack.sets, ack.invalid, ack.refused, ack.revisions)
                if says != sent or time.monotonic() - sent_s > REPEAT_S:
                    await self._send(producer, ack)
                    sent, sent_s = says, time.monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._changed.wait()
        finally:
            await producer.close()

    async def _send(self, producer: Producer, ack: events.PolicyAck) -> None:
        ack.time_us = int(time.time() * 1e6)
        value = events.encode_policy_ack(ack)
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await producer.send(self._topic, 0, [(ack.instance_id.encode(), value, (), None)])
