"""
Where recorded traffic comes from: the topics, or a file of the same records.

A file is one JSON object a line: first ``{"recording": 1, "partitions": 4, ...}``, then
``{"topic": "requests", "partition": 3, "offset": 1042, "time_ms": 0, "key": base64, "value": base64}``, each partition
of a topic in the order of its log. It holds prompts, as the topic of requests does.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import orjson

from enforcer.broker import KafkaBroker
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from enforcer.broker import BrokerConfig, Reader

VERSION: Final = 1
TOPICS: Final = ("requests", "usage", "audit", "policy-history")
POLL_MS: Final = 20
"""Control records, with which a committed topic ends, are passed without a word: it is looked for them so often."""
SILENCE_S: Final = 30.0
LEDGER_BYTES: Final = 4_000
"""Of a recording, for each record of the ledger, roughly."""


class Recorded(NamedTuple):
    """One record of a topic. *topic* is the name without the prefix."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None


class Recording(Protocol):
    """Recorded traffic. Records of one partition come in the order of its log, and only those committed."""

    @property
    def partitions(self) -> int:
        """How many the inputs have."""

    def records(self, topic: str, partition: int, begin: int = 0) -> Iterator[Recorded]:
        """From offset *begin* on, to where the topic ended when the first of them was asked for."""

    def ledger_size(self) -> int:
        """About how many records the ledger has, all partitions together."""

    def close(self) -> None:
        """Let go of what is held."""


class TopicRecording:
    """The topics of an installation, read committed. Never written."""

    def __init__(self, config: BrokerConfig, prefix: str) -> None:
        """Connect. Raises: UnavailableError, AuthError; NotFoundError without the topics."""
        self._prefix = prefix
        self._runner = asyncio.Runner()
        try:
            self._broker, self.partitions = self._runner.run(_connected(config, prefix))
        except BaseException:
            self._runner.close()
            raise

    def records(self, topic: str, partition: int, begin: int = 0) -> Iterator[Recorded]:
        """See ``Recording``. Raises: UnavailableError when the broker is silent for long."""
        run, place = self._runner.run, (f"{self._prefix}.{topic}", partition)
        reader, end = run(self._placed(place, begin))
        try:
            waited_ms = 0
            while (reader.position(*place) or 0) < end:
                polled = run(reader.poll(POLL_MS)).get(place, [])
                waited_ms = 0 if polled else waited_ms + POLL_MS
                if waited_ms > SILENCE_S * 1000:
                    raise UnavailableError(f"{place[0]}-{partition} cannot be read")
                for r in polled:
                    if r.offset < end:
                        yield Recorded(topic, partition, r.offset, r.timestamp, r.key, r.value)
        finally:
            run(reader.close())

    async def _placed(self, place: tuple[str, int], begin: int) -> tuple[Reader, int]:
        """A reader that stands at *begin* or the log's start, and where the log ends now."""
        reader = await self._broker.open_reader(read_committed=True)
        try:
            end = (await reader.offsets_end([place]))[place]
            first = (await reader.offsets_begin([place]))[place]
            reader.assign([place])
            reader.seek(*place, max(begin, first))
        except BaseException:
            await reader.close()
            raise
        return reader, end

    def ledger_size(self) -> int:
        """See ``Recording``. Offsets count: those of control records too."""
        return self._runner.run(self._size())

    async def _size(self) -> int:
        places = [(f"{self._prefix}.audit", number) for number in range(self.partitions)]
        reader = await self._broker.open_reader(read_committed=True)
        try:
            ends, begins = await reader.offsets_end(places), await reader.offsets_begin(places)
        finally:
            await reader.close()
        return sum(ends[place] - begins[place] for place in places)

    def close(self) -> None:
        """Disconnect."""
        try:
            self._runner.run(self._broker.stop())
        finally:
            self._runner.close()


async def _connected(config: BrokerConfig, prefix: str) -> tuple[KafkaBroker, int]:
    broker = KafkaBroker(config)
    try:
        await broker.start()
        return broker, await broker.partitions(f"{prefix}.audit")
    except BaseException:
        await broker.stop()
        raise


class FileRecording:
    """A file of records. Held in memory, the partitions that are asked for."""

    def __init__(self, path: Path) -> None:
        """Raises: NotFoundError; IntegrityError for a file that is no recording."""
        self._path = path
        self._held: dict[tuple[str, int], list[Recorded]] | None = None
        self._partition = -1
        header = next(self._lines(), {})
        if header.get("recording") != VERSION:
            raise IntegrityError(
                f"{path} is no recording", help="`enforcer replay --export FILE` makes one"
            )
        self.partitions: int = int(header["partitions"])

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        try:
                            yield orjson.loads(line)
                        except orjson.JSONDecodeError:
                            raise _damaged(self._path, number) from None
        except OSError as error:
            raise NotFoundError(f"{self._path} cannot be read: {error.strerror}") from None

    def records(self, topic: str, partition: int, begin: int = 0) -> Iterator[Recorded]:
        """See ``Recording``."""
        if self._held is None or self._partition not in (partition, -1):
            self._hold(partition)
        assert self._held is not None
        for record in self._held.get((topic, partition), []):
            if record.offset >= begin:
                yield record

    def _hold(self, partition: int) -> None:
        self._held, self._partition = {}, partition
        for number, line in enumerate(self._lines(), 1):
            if number == 1 or line.get("partition") != partition:
                continue
            try:
                record = Recorded(
                    line["topic"],
                    partition,
                    line["offset"],
                    line["time_ms"],
                    _bytes(line["key"]),
                    _bytes(line["value"]),
                )
            except (KeyError, TypeError, ValueError, binascii.Error):
                raise _damaged(self._path, number) from None
            self._held.setdefault((record.topic, partition), []).append(record)

    def ledger_size(self) -> int:
        """See ``Recording``: by the bytes of the file."""
        return self._path.stat().st_size // LEDGER_BYTES

    def close(self) -> None:
        """Forget what is held."""
        self._held = None


def _damaged(path: Path, number: int) -> IntegrityError:
    return IntegrityError(
        f"{path}:{number}: the line is no record of a recording",
        help="make one: enforcer replay --export FILE",
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text, validate=True)


def to_lines(recording: Recording) -> Iterator[bytes]:
    """*recording* as the lines of a file."""
    yield orjson.dumps({"recording": VERSION, "partitions": recording.partitions}) + b"\n"
    for topic in TOPICS:
        partitions = 1 if topic == "policy-history" else recording.partitions
        for partition in range(partitions):
            for r in recording.records(topic, partition):
                key, value = (None if x is None else b64encode(x).decode() for x in r[4:])
                line = {
                    "topic": topic,
                    "partition": partition,
                    "offset": r.offset,
                    "time_ms": r.time_ms,
                    "key": key,
                    "value": value,
                }
                yield orjson.dumps(line) + b"\n"
