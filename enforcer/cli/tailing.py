"""What ``tail`` does: the records of a topic as lines, as they come."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import orjson

from enforcer.audit.files import Stored, to_line
from enforcer.cli import traffic_rows
from enforcer.cli.output import write
from enforcer.cli.reading import connected, records
from enforcer.cli.traffic import TailOutput, TailTopic

if TYPE_CHECKING:
    from enforcer.broker import Record
    from enforcer.cli.broker_options import BrokerTarget


async def follow_topic(
    target: BrokerTarget,
    topic: TailTopic,
    wanted: list[tuple[str, str]],
    *,
    follow: bool,
    from_beginning: bool,
    limit: int | None,
    output: TailOutput,
) -> None:
    """
    Print the records of *topic* that all filters hold for.

    Args:
        wanted: Pairs of a dotted field and its value.
        limit: End after so many; None: never by itself.
    """
    printed = 0
    async with (
        connected(target) as broker,
        aclosing(
            records(
                broker, f"{target.prefix}.{topic}", from_beginning=from_beginning, follow=follow
            )
        ) as found,
    ):
        async for record in found:
            line = _line(record, topic, wanted, output)
            if line is None:
                continue
            write(line)
            printed += 1
            if printed == limit:
                return


def _line(
    record: Record, topic: TailTopic, wanted: list[tuple[str, str]], output: TailOutput
) -> str | None:
    """What to print of a record; None for one that a filter, or nobody, wants."""
    raw = output is TailOutput.RAW
    if raw and not wanted:
        return _raw(record)
    plain = traffic_rows.record_json(record, is_audit=topic is TailTopic.AUDIT)
    if plain is None or not traffic_rows.matches(plain, wanted):
        return None
    if raw:
        return _raw(record)
    if output is TailOutput.JSONL:
        return orjson.dumps(plain).decode()
    return traffic_rows.line(plain)


def _raw(record: Record) -> str:
    return to_line(Stored(record.partition, record.offset, record.value)).decode().rstrip("\n")
