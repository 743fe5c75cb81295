"""The reader and the administration on the real broker."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from enforcer.broker import BrokerConfig, KafkaBroker, NewTopicSpec, Outgoing, Reader, topics
from enforcer.cli.main import run
from enforcer.errors import AgentCorruptedError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """A broker with one topic of four partitions, its times given by the broker."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        config = {"message.timestamp.type": "LogAppendTime"}
        await opened.create_topics([NewTopicSpec(f"{prefix}.t", 4, 1, config)])
        yield opened


async def fill(broker: KafkaBroker, topic: str, counts: Mapping[int, int]) -> None:
    producer = await broker.open_producer()
    for partition, count in counts.items():
        records: list[Outgoing] = [(b"k", b"%d" % i, [("h", b"x")], None) for i in range(count)]
        producer.send(topic, partition, records)
    await producer.flush()
    await producer.close()


async def drain(reader: Reader, wanted: int, timeout_s: float = 10) -> dict[int, list[int]]:
    got: dict[int, list[int]] = {}
    async with asyncio.timeout(timeout_s):
        while sum(map(len, got.values())) < wanted:
            for (_, partition), records in (await reader.poll(50)).items():
                got.setdefault(partition, []).extend(record.offset for record in records)
    return got


async def test_records_have_what_the_port_promises(broker: KafkaBroker, prefix: str) -> None:
    """Key, value, headers, place, and a time that the broker has given."""
    await fill(broker, f"{prefix}.t", {0: 1})
    reader = await broker.open_reader()
    reader.assign([(f"{prefix}.t", 0)])
    reader.seek(f"{prefix}.t", 0, 0)
    ((place, (record,)),) = (await reader.poll(2_000)).items()

    assert place == (f"{prefix}.t", 0) == (record.topic, record.partition)
    assert (record.offset, record.key, record.value) == (0, b"k", b"0")
    assert list(record.headers) == [("h", b"x")]
    assert record.timestamp_type == 1
    assert abs(record.timestamp - time.time() * 1000) < 60_000
    await reader.close()


async def test_positions_survive_a_change_of_the_assignment(
    broker: KafkaBroker, prefix: str
) -> None:
    """Kept partitions go on where they were, new ones wait for their seek, lost ones deliver nothing."""
    topic = f"{prefix}.t"
    await fill(broker, topic, {0: 10, 1: 10, 2: 10})
    reader = await broker.open_reader()
    reader.assign([(topic, 0), (topic, 1)])
    reader.seek(topic, 0, 0)
    reader.seek(topic, 1, 5)
    assert await drain(reader, 15) == {0: list(range(10)), 1: list(range(5, 10))}

    reader.assign([(topic, 1), (topic, 2)])
    assert reader.assignment() == {(topic, 1), (topic, 2)}
    assert reader.position(topic, 1) == 10
    assert reader.position(topic, 2) is None
    assert await reader.poll(100) == {}
    await fill(broker, topic, {0: 5, 1: 5})
    assert await drain(reader, 5) == {1: list(range(10, 15))}
    reader.seek(topic, 2, 8)
    assert await drain(reader, 2) == {2: [8, 9]}

    reader.assign([])
    assert await reader.poll(10) == {}
    await reader.close()


async def test_changes_of_the_assignment_lose_and_repeat_nothing(
    broker: KafkaBroker, prefix: str
) -> None:
    """Partitions come and go while records flow: each kept partition is read once and in order."""
    topic = f"{prefix}.t"
    reader = await broker.open_reader()
    reader.assign([(topic, 0)])
    reader.seek(topic, 0, 0)
    offsets: list[int] = []
    for i in range(30):
        await fill(broker, topic, {0: 20})
        extra = [(topic, 1 + i % 3)]
        reader.assign([(topic, 0), *extra])
        reader.seek(*extra[0], 0)
        for (_, partition), records in (await reader.poll(20)).items():
            if partition == 0:
                offsets.extend(record.offset for record in records)
    reader.assign([(topic, 0)])
    offsets.extend((await drain(reader, 600 - len(offsets))).get(0, []))
    assert offsets == list(range(600))
    await reader.close()


async def test_a_pause_holds_one_partition_and_no_other(broker: KafkaBroker, prefix: str) -> None:
    """A paused partition delivers nothing, whatever is assigned meanwhile, until it is resumed."""
    topic = f"{prefix}.t"
    await fill(broker, topic, {0: 5, 1: 5})
    reader = await broker.open_reader()
    reader.assign([(topic, 0), (topic, 1)])
    reader.pause((topic, 0))
    reader.seek(topic, 0, 0)
    reader.seek(topic, 1, 0)
    assert await drain(reader, 5) == {1: [0, 1, 2, 3, 4]}
    reader.assign([(topic, 0), (topic, 1), (topic, 2)])
    assert await reader.poll(100) == {}
    assert reader.position(topic, 0) == 0

    reader.resume((topic, 0))
    assert await drain(reader, 5) == {0: [0, 1, 2, 3, 4]}
    await reader.close()


async def test_offsets_by_place_and_time(broker: KafkaBroker, prefix: str) -> None:
    """Begin, end, first at a time, and None where no record is that young."""
    topic = f"{prefix}.t"
    await fill(broker, topic, {0: 3})
    reader = await broker.open_reader(read_committed=False)
    reader.assign([(topic, 0)])

    assert await reader.offsets_begin([(topic, 0), (topic, 1)]) == {(topic, 0): 0, (topic, 1): 0}
    assert await reader.offsets_end([(topic, 0), (topic, 1)]) == {(topic, 0): 3, (topic, 1): 0}
    future_ms = int(time.time() * 1000) + 3_600_000
    found = await reader.offsets_for_times({(topic, 0): 0, (topic, 1): 0})
    assert found == {(topic, 0): 0, (topic, 1): None}
    assert await reader.offsets_for_times({(topic, 0): future_ms}) == {(topic, 0): None}
    await reader.seek_to_end()
    assert reader.position(topic, 0) == 3
    await reader.seek_to_beginning((topic, 0))
    assert reader.position(topic, 0) == 0
    assert await reader.offsets_end([]) == {}
    await reader.close()


async def test_a_position_outside_the_log_is_an_error(broker: KafkaBroker, prefix: str) -> None:
    """Records that the log no longer holds are never skipped in silence."""
    reader = await broker.open_reader()
    reader.assign([(f"{prefix}.t", 0)])
    reader.seek(f"{prefix}.t", 0, 1_000)
    with pytest.raises(AgentCorruptedError) as caught:
        await reader.poll(5_000)
    assert caught.value.code == "offset_out_of_range"
    await reader.close()


async def test_topics_have_identities_and_single_settings_change(
    broker: KafkaBroker, prefix: str
) -> None:
    """Ids and counts are told, one setting changes without touching another, creating twice is once."""
    topic = f"{prefix}.t"
    assert await broker.partitions(topic) == 4
    assert len(await broker.topic_id(topic)) == 32
    assert await broker.cluster_id()
    assert await broker.broker_count() >= 1
    with pytest.raises(NotFoundError):
        await broker.partitions(f"{prefix}.nope")
    with pytest.raises(NotFoundError):
        await broker.topic_id(f"{prefix}.nope")

    await broker.create_topics([NewTopicSpec(topic, 9, 1)])
    await broker.alter_topic_configs({topic: {"segment.ms": "60000"}})
    await broker.alter_topic_configs({topic: {"retention.ms": "1000000"}})
    await broker.alter_topic_configs({topic: {"segment.ms": None}})
    # A broker hears of changes from its controller, a moment after these are acknowledged.
    async with asyncio.timeout(10):
        while "segment.ms" in (await broker.describe_topics([topic]))[topic].config:  # noqa: ASYNC110 — the broker sets no event
            await asyncio.sleep(0.02)
    info = (await broker.describe_topics([topic, f"{prefix}.nope"]))[topic]
    assert info.partitions == 4
    assert info.topic_id == await broker.topic_id(topic)
    assert dict(info.config) == {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "1000000",
    }


def write_specs(directory: Path, **settings: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name, partitions in (("requests", "inputs"), ("policies", "1")):
        config = "".join(f"  {key.replace('_', '.')}: {value}\n" for key, value in settings.items())
        (directory / f"{name}.yaml").write_text(
            f"name: {name}\npartitions: {partitions}\nconfig:\n  cleanup.policy: delete\n{config}"
        )
    return directory


async def test_topics_are_applied_once_and_partitions_never_change(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """apply creates and mends, a second one does nothing; another partition count changes nothing at all."""
    specs = topics.load_specs(write_specs(tmp_path / "a"))
    done = await topics.apply(broker, specs, prefix=prefix, partitions=3)
    assert [(d.topic, d.kind) for d in done] == [
        (f"{prefix}.policies", "missing"),
        (f"{prefix}.requests", "missing"),
    ]
    assert await topics.apply(broker, specs, prefix=prefix) == []

    changed = topics.load_specs(write_specs(tmp_path / "b", retention_ms="777000"))
    with pytest.raises(ConflictError) as caught:
        await topics.apply(broker, changed, prefix=prefix, partitions=5)
    assert "topics repartition" in caught.value.help
    assert len(await topics.differences(broker, changed, prefix=prefix, partitions=None)) == 2
    assert len(await topics.apply(broker, changed, prefix=prefix)) == 2
    async with asyncio.timeout(20):  # A broker answers an alteration before its description has it.
        while True:
            info = (await broker.describe_topics([f"{prefix}.requests"]))[f"{prefix}.requests"]
            if info.config.get("retention.ms") == "777000":
                break
            await asyncio.sleep(0.1)
    assert info.partitions == 3


def test_the_verbs_say_what_differs_by_their_exit_codes(
    bootstrap: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """diff exits 10 while something differs and 0 after apply; a partition count that differs is a conflict."""
    specs = str(write_specs(tmp_path / "a"))
    options = ["--bootstrap", bootstrap, "--prefix", prefix, "--specs", specs, "--output", "json"]

    assert run(["topics", "diff", "--partitions", "2", *options]) == 10
    assert [row["kind"] for row in json.loads(capsys.readouterr().out)] == ["missing", "missing"]
    assert run(["topics", "apply", "--partitions", "2", *options]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert run(["topics", "diff", *options]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["topics", "diff", "--partitions", "4", *options]) == 10
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["fixable"]) == ("partitions", False)
    assert run(["topics", "apply", "--partitions", "4", *options]) == 6
