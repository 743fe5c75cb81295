r"""
What parent and child say to each other, over a pair of connected sockets.

The parent asks, ``<number> <name>\n``; the child answers, number and length as eight bytes, then the answer. The end of the
stream is news by itself: the child has ended, or the parent has, and then the child stops, drained.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

_HEAD: Final = struct.Struct(">II")
ANSWER_BYTES_MAX: Final = 64 << 20
"""Of one answer; metrics of thousands of partitions are a few MB."""


class ParentEnd:
    """The parent's end of the channel to one child."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes | None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, own: socket.socket) -> None:
        """Talk over *own* from now on."""
        reader, self._writer = await asyncio.open_connection(sock=own)
        self._reading = asyncio.create_task(self._read(reader))

    async def ask(self, name: str, *, timeout_s: float) -> bytes | None:
        """The child's answer; None when it gives none in time, or has ended."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return None
        number = next(self._numbers) & 0xFFFF_FFFF
        waiting: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(timeout_s):
                writer.write(f"{number} {name}\n".encode())
                await writer.drain()
                return await waiting
        except (OSError, TimeoutError):
            return None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Say no more: the child reads the end of the stream."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                answer = await reader.readexactly(length)
                waiting = self._waiting.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, asyncio.IncompleteReadError):
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(None)


class ChildEnd:
    """The child's end: answers until the parent is gone."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own

    async def serve(
        self, answers: Mapping[str, Callable[[], bytes]], *, parent_gone: Callable[[], None]
    ) -> None:
        """Answer questions by name, until cancelled or the parent has ended: that is told once."""
        reader, writer = await asyncio.open_connection(sock=self._own)
        try:
            while line := await reader.readline():
                number, _, name = line.decode().strip().partition(" ")
                answer = answers[name]()[:ANSWER_BYTES_MAX] if name in answers else b""
                writer.write(_HEAD.pack(int(number), len(answer)) + answer)
                await writer.drain()
        except OSError:
            pass  # It went away while it was told something.
        finally:
            writer.close()
        parent_gone()
