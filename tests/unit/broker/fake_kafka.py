"""aiokafka's client and its connections, as far as this package uses them: what is sent is kept, and answered by hand."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

FRAME = struct.Struct(">ihhih")


class Connection:
    """A connection to a broker, its own transport, that answers when it is told to."""

    def __init__(self) -> None:
        self._writer = self.transport = self._protocol = self
        self._versions = {0: (3, 13), 1: (4, 17)}
        self._client_id = "enforcer"
        self._last_action = 0.0
        self._is_open = True
        self._is_reset = False
        self.line: Any = None
        self.sent: list[bytes] = []
        self.unanswered: list[int] = []
        self.told: list[str] = []

    def connected(self) -> bool:
        return self._is_open

    def is_closing(self) -> bool:
        return self._is_reset or not self._is_open

    def set_protocol(self, line: Any) -> None:
        self.line = line

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        length, _, _, number, name = FRAME.unpack_from(data)
        assert length == len(data) - 4
        assert data[FRAME.size : FRAME.size + name] == b"enforcer"
        self.unanswered.append(number)

    @property
    def bodies(self) -> list[bytes]:
        return [data[FRAME.size + len("enforcer") :] for data in self.sent]

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            if not self._is_reset:
                self.line.connection_lost(None)

    def reset(self) -> None:
        """By the peer: the library, whose reading task has not run yet, still thinks that it is connected."""
        self._is_reset = True
        self.line.connection_lost(ConnectionResetError())

    abort = close

    def connection_lost(self, _error: Exception | None) -> None:
        self.told.append("lost")

    def eof_received(self) -> None:
        self.told.append("eof")

    def frame(self, body: bytes) -> bytes:
        """The answer to the oldest request."""
        return struct.pack(">ii", len(body) + 4, self.unanswered.pop(0)) + body

    def answer(self, body: bytes) -> None:
        self.line.data_received(self.frame(body))

    def acknowledge(self, *codes: tuple[int, int, int]) -> None:
        """Answer a produce request: (partition of topic t, error code, base offset)."""
        body = struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", len(codes))
        for partition, code, offset in codes:
            body += struct.pack(">ihqqq", partition, code, offset, -1, 0)
        self.answer(body + struct.pack(">i", 0))


class Kafka:
    """One node, as many connections as are asked for."""

    def __init__(self) -> None:
        self.cluster = self
        self.unauthorized_topics: set[str] = set()
        self.leaders: dict[int, int] = {}
        self.made: dict[tuple[int, str], Connection] = {}
        self.refreshed = 0

    def leader_for_partition(self, tp: Any) -> int | None:
        return self.leaders.get(tp.partition, 0)

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0, 1, 2}

    def add_topic(self, _topic: str) -> asyncio.Future[bool]:
        return self._done()

    def force_metadata_update(self) -> asyncio.Future[bool]:
        self.refreshed += 1
        return self._done()

    def _done(self) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        future.set_result(True)
        return future

    async def _get_conn(self, node: int, *, group: str) -> Connection | None:
        made = self.made[node, group] = Connection()
        return made

    async def close(self) -> None:
        pass

    @property
    def open(self) -> list[Connection]:
        return list(self.made.values())


async def turns() -> None:
    """Some turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)
