"""
Where a benchmark runs: a broker of its own, an installation of its own, all gone afterwards.

Everything lies under ``<home>/bench/<name>-<pid>``, so that no benchmark disturbs the running stack or another
benchmark. What a killed run left behind, the next run ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from enforcer import policy
from enforcer.bench import workload
from enforcer.broker import Broker, BrokerConfig, KafkaBroker, NewTopicSpec, topics
from enforcer.local import Progress, Stack
from enforcer.local.jvm import Jit, Jvm
from enforcer.local.properties import Extras

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from enforcer.broker.topics import TopicSpec
    from enforcer.config import Settings

Publish = Callable[[Broker, str, Sequence[policy.Document]], Awaitable[object]]
"""Puts documents in force under a prefix."""


@dataclass(frozen=True, slots=True)
class Place:
    """A broker and a directory. *broker_pid* is None where the broker was given."""

    bootstrap: str
    directory: Path
    prefix: str
    jvm_flags: tuple[str, ...] = ()
    broker_pid: int | None = None

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}.{name}"


@contextlib.contextmanager
def place(
    name: str,
    settings: Settings,
    *,
    jit: Jit,
    bootstrap: str | None,
    keep: bool,
    progress: Progress,
    broker: Mapping[str, str] | None = None,
) -> Iterator[Place]:
    """
    A directory, and a broker with the settings *broker* unless *bootstrap* names one. *keep* leaves the directory, stopped.

    Raises: UnavailableError when the broker does not start.
    """
    home = settings.home / "bench"
    end_left_behind(home, settings)
    directory = home / f"{name}-{os.getpid()}"
    directory.mkdir(parents=True, exist_ok=True)
    prefix = f"bench{uuid.uuid4().hex[:8]}"
    stack = _stack(directory, settings, jit, broker)
    try:
        if bootstrap is not None:
            yield Place(bootstrap, directory, prefix)
        else:
            running = stack.start(progress=progress)
            flags = Jvm((), settings.cache, jit=jit).flags
            yield Place(running.bootstrap, directory, prefix, flags, running.pid)
    finally:
        stack.stop()
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _stack(
    directory: Path, settings: Settings, jit: Jit, broker: Mapping[str, str] | None = None
) -> Stack:
    return Stack(
        directory,
        extras=Extras(settings=broker or {}),
        cache=settings.cache,
        jit=jit,
        train=False,
        maven_url=settings.maven_url,
        maven_repository=settings.maven_repository,
    )


def end_left_behind(home: Path, settings: Settings) -> None:
    """End and delete what benchmarks left whose process is no more."""
    for directory in home.glob("*-*"):
        pid = directory.name.rpartition("-")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            _stack(directory, settings, "c1").stop()
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def installed(
    where: Place,
    publish: Publish,
    *,
    specs: Sequence[TopicSpec] | None = None,
    partitions: int = workload.PARTITIONS,
    documents: Sequence[policy.Document] | None = None,
) -> AsyncIterator[KafkaBroker]:
    """
    The topics and policies of an installation, on a connected broker; gone afterwards if the broker stays.

    Args:
        specs: Topics other than the packaged ones.
        partitions: How many.
        documents: Policies other than ``workload.documents``.
    """
    wanted = topics.load_specs() if specs is None else specs
    config = BrokerConfig(bootstrap=where.bootstrap, prefix=where.prefix)
    async with KafkaBroker(config) as broker:
        try:
            await topics.apply(
                broker,
                wanted,
                prefix=where.prefix,
                partitions=partitions,
            )
            given = workload.documents() if documents is None else documents
            if given:
                await publish(broker, where.prefix, given)
            yield broker
        finally:
            if where.broker_pid is None:
                names = [where.topic(spec.name) for spec in wanted]
                await broker.delete_topics(names)


@contextlib.asynccontextmanager
async def scratch_topic(broker: KafkaBroker, name: str) -> AsyncIterator[str]:
    """A topic with the settings of the inputs, for the echo; deleted afterwards."""
    spec = NewTopicSpec(name, workload.PARTITIONS, 1, {"message.timestamp.type": "LogAppendTime"})
    await broker.create_topics([spec])
    try:
        yield name
    finally:
        await broker.delete_topics([name])
