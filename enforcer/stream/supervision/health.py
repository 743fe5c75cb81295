"""What the parent says of itself and its children: one readiness, one exposition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from enforcer.stream.supervision.supervisor import ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer.stream.supervision.supervisor import Child, Supervisor


class FleetHealth:
    """Answers ``/ready`` and ``/metrics`` for all children of a supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._children = supervisor.children

    def why_not(self) -> str | None:
        """For /ready: None when every process decides, else what is missing."""
        if all(child.is_ready for child in self._children):
            return None
        return orjson.dumps(self.describe()).decode()

    def notes(self) -> list[str]:
        """For /ready: what a process that decides says besides; the same of several once."""
        said = {each for child in self._children for each in child.status.get("policy_refused", ())}
        return [f"policy refused: {each}" for each in sorted(said)]

    def describe(self) -> dict[str, Any]:
        """Each process, and the partitions of all of them."""
        partitions: dict[str, str] = {}
        for child in self._children:
            if child.pid and not child.is_silent:
                partitions |= child.status.get("partitions", {})
        return {
            "ready": all(child.is_ready for child in self._children),
            "partitions": dict(sorted(partitions.items(), key=lambda item: int(item[0]))),
            "processes": [_process(child) for child in self._children],
        }

    async def exposition(self) -> bytes:
        """Every child's metrics with a label ``process``, and the parent's own, in Prometheus's text form."""
        running = [child for child in self._children if child.pid]
        answers = await asyncio.gather(
            *(child.channel.ask("metrics", timeout_s=ANSWER_TIMEOUT_S) for child in running)
        )
        told = [
            (child.number, answer.decode())
            for child, answer in zip(running, answers, strict=True)
            if answer
        ]
        registry = CollectorRegistry()
        registry.register(_Collected([*merged(told), *self._own()]))
        return generate_latest(registry)

    def _own(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("enforcer_process_ready", "1: it decides.", labels=["process"])
        restarts = CounterMetricFamily(
            "enforcer_process_restarts", "Times it was started again.", labels=["process"]
        )
        for child in self._children:
            up.add_metric([str(child.number)], float(child.is_ready))
            restarts.add_metric([str(child.number)], child.restarts.count)
        yield up
        yield restarts


class _Collected:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


def merged(told: Iterable[tuple[int, str]]) -> list[Metric]:
    """
    Expositions of several processes as one.

    Each sample gets its process's number as a label, so that a counter that begins anew with its process is seen to.
    """
    families: dict[str, Metric] = {}
    for number, text in told:
        for family in text_string_to_metric_families(text):
            kept = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "process": str(number)}
                kept.add_sample(sample.name, labels, sample.value)
    return list(families.values())


def _process(child: Child) -> dict[str, Any]:
    told = child.status if child.pid else {}
    return {
        "process": child.number,
        "pid": child.pid or None,
        "state": child.state,
        "restarts": child.restarts.count,
        "last_end": child.last_end or None,
        **{name: value for name, value in told.items() if name != "ready"},
    }
