"""
What a process tells about itself: JSON logs, metrics, and the little HTTP server that shows its health.

A log line holds an event's name and the scalars listed in ``LOGGED``, and nothing else: what is not listed
is dropped, so that the text of a prompt cannot get into a log by an oversight.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TextIO, TypeVar

import orjson
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping

_T = TypeVar("_T")

LOGGED = frozenset(
    """
    event level timestamp code error where help dropped
    topic partition partitions offset usage_offset policy_offset tail_start end sequence starts epoch revision
    group instance transactional_id owner worker process pid host port path version schema cluster_id topic_id
    policy rule budget tenant scope digest verdict kind state step reason signal
    records rows bytes requests decisions pending count attempt restored_rows
    ms seconds late_ms lag_records lag_seconds took_ms commit_ms
    """.split()  # noqa: SIM905 — a paragraph of words reads better than sixty quoted ones
)
"""Every key that a log line may have. Values are scalars; texts are cut at ``TEXT_MAX`` characters."""

TEXT_MAX = 300
LATENCY_EDGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COMMIT_EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def setup_logging(
    level: str = "info", *, stream: TextIO | None = None, process: str | None = None
) -> None:
    """
    Log JSON, a line an event, to *stream* (stderr).

    Args:
        level: debug, info, warning, error, critical; an unknown one is info.
        process: In every line: which of several processes says it.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *([] if process is None else [_of_process(process)]),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _error_without_text,
            only_listed,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _of_process(process: str) -> Any:
    def add(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault("process", process)
        return event

    return add


def logger(**bound: str | float | bool | None) -> Any:
    """A structlog logger with *bound* in each of its lines."""
    return structlog.get_logger(**bound)


def only_listed(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep scalars under the keys of ``LOGGED``; count what was dropped."""
    kept: dict[str, Any] = {}
    for key, value in event.items():
        if key not in LOGGED or not isinstance(value, str | int | float | bool | None):
            kept["dropped"] = kept.get("dropped", 0) + 1
        else:
            kept[key] = value[:TEXT_MAX] if isinstance(value, str) else value
    return kept


def _error_without_text(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """An exception becomes its class and the places it went through: its message may quote a prompt."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event["error"] = type(raised).__name__
        frames = traceback.extract_tb(raised.__traceback__)[-4:]
        event["where"] = " < ".join(
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
        )
    return event


def _json(value: Any, **_: Any) -> str:
    return orjson.dumps(value).decode()


class _Buckets:
    """A histogram that costs a bisection and two additions."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        # An edge belongs to the bucket below it: Prometheus says "less or equal".
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        buckets: list[tuple[str, float]] = []
        so_far = 0
        for edge, count in zip((*map(str, self.edges), "+Inf"), self.counts, strict=True):
            so_far += count
            buckets.append((edge, so_far))
        family = HistogramMetricFamily(name, text)
        family.add_metric([], buckets, self.total)
        return family


class _Shown(NamedTuple):
    """A gauge that is asked for."""

    text: str
    ask: Callable[[], Mapping[str, float]]
    label: str


class Metrics:
    """
    The process's metrics: plain numbers, added to once a slice, turned into Prometheus's form when asked.

    Labels are bounded: verdicts, topics, partitions and codes are short lists of our own. One event loop.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, str], float] = {}
        self._lag: dict[tuple[str, int], int] = {}
        self._lag_seconds: dict[tuple[str, int], float] = {}
        self._standby: dict[int, tuple[int, bool]] = {}
        self._open: dict[int, int] = {}
        self._latency = _Buckets(LATENCY_EDGES_S)
        self._commit = _Buckets(_COMMIT_EDGES_S)
        self._policy_age_s = 0.0
        self._shown: dict[str, _Shown] = {}

    def show(
        self, name: str, text: str, ask: Callable[[], Mapping[str, float]], *, label: str = ""
    ) -> None:
        """
        A gauge whose values are asked for when somebody wants to see them: by *label*'s values, which must be few.

        Without a label the one value stands under ``""``.
        """
        self._shown[name] = _Shown(text, ask, label)

    def decided(self, verdict: str, n: int = 1) -> None:
        """*n* decisions with *verdict* were told."""
        self._add("decisions", n, "verdict", verdict)

    def latencies(self, seconds: Iterable[float]) -> None:
        """From a request's record time to its verdict's acknowledgement, one number a decision."""
        for value in seconds:
            self._latency.add(value)

    def lag(self, topic: str, partition: int, records: int, seconds: float) -> None:
        """How far an input is behind its end: records, and age of the newest record processed."""
        self._lag[topic, partition] = records
        self._lag_seconds[topic, partition] = seconds

    def holds(self, partition: int, reservations: int) -> None:
        """So many calls of a partition hold a part of a budget, or have usage that waits for its request."""
        self._open[partition] = reservations

    def lag_forget(self, partition: int) -> None:
        """The partition is not ours any more."""
        self._open.pop(partition, None)
        for lags in (self._lag, self._lag_seconds):
            for key in [key for key in lags if key[1] == partition]:
                del lags[key]

    def standby(self, partition: int, lag_records: int, *, is_warm: bool) -> None:
        """A copy of another worker's tables: how far it is behind its changelogs, and whether it could take over."""
        self._standby[partition] = (lag_records, is_warm)

    def standby_forget(self, partition: int) -> None:
        """We stand by for *partition* no more."""
        self._standby.pop(partition, None)

    def committed(self, seconds: float) -> None:
        """One commit, and how long it took."""
        self._commit.add(seconds)

    def commit_failed(self) -> None:
        """A commit failed or is indefinite; its agent takes over from itself."""
        self._add("commit_failures", 1)

    def restored(self, rows: int) -> None:
        """A partition was taken over; *rows* came from the changelog."""
        self._add("restores", 1)
        self._add("restored_rows", rows)

    def dead_letter(self, code: str, n: int = 1) -> None:
        """*n* records were set aside for *code*."""
        self._add("dead_letters", n, "code", code)

    def budget_denied(self, n: int = 1) -> None:
        """*n* requests were denied for a budget or rate limit."""
        self._add("budget_denials", n)

    def bypassed(self, acted: str, n: int = 1) -> None:
        """*n* usage reports say that the gateway did not wait for a verdict."""
        self._add("bypasses", n, "acted", acted)

    def detected(self, compute: Callable[[], _T], /) -> _T:
        """What *compute* finds in the texts of a request; its time counts as a detector's."""
        begun_s = time.perf_counter()
        try:
            return compute()
        finally:
            self._add("detector_seconds", time.perf_counter() - begun_s)

    def policies_changed(self) -> None:
        """A set of policies came into force."""
        self._add("policy_changes", 1)

    def policy_refused(self, code: str) -> None:
        """A policy record was not believed."""
        self._add("policy_refused", 1, "code", code)

    def policies_known(self, age_s: float) -> None:
        """So long ago the policy table was last known to be at the end of its topic."""
        self._policy_age_s = age_s

    def exposition(self) -> bytes:
        """Everything, in Prometheus's text form."""
        registry = CollectorRegistry()
        registry.register(self)
        # Memory, descriptors and CPU of this process, under the names that every Prometheus client gives them.
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """Prometheus's collector protocol."""
        for name, (text, label) in _COUNTERS.items():
            family = CounterMetricFamily(f"enforcer_{name}", text, labels=[label] if label else [])
            found = [(key[2], value) for key, value in self._counters.items() if key[0] == name]
            for value_of_label, number in found or ([] if label else [("", 0.0)]):
                family.add_metric([value_of_label] if label else [], number)
            yield family
        for gauge, text, values in (
            ("lag_records", "Records of an input not yet processed.", self._lag),
            ("lag_seconds", "Age of the newest record processed.", self._lag_seconds),
        ):
            lags = GaugeMetricFamily(f"enforcer_{gauge}", text, labels=["topic", "partition"])
            for (topic, partition), lag in values.items():
                lags.add_metric([topic, str(partition)], lag)
            yield lags
        yield from self._standby_families()
        yield from self._shown_families()
        yield self._latency.family(
            "enforcer_decision_latency_seconds", "Request's record time to acknowledged verdict."
        )
        yield self._commit.family("enforcer_commit_seconds", "Time of a ledger commit.")
        age = GaugeMetricFamily(
            "enforcer_policy_age_seconds", "Since when policies are not known to be the newest."
        )
        age.add_metric([], self._policy_age_s)
        yield age
        commits = CounterMetricFamily("enforcer_commits", "Ledger commits.")
        commits.add_metric([], sum(self._commit.counts))
        yield commits

    def _standby_families(self) -> Iterator[GaugeMetricFamily]:
        behind = GaugeMetricFamily(
            "enforcer_standby_lag_records",
            "Changelog records that a copy lacks.",
            labels=["partition"],
        )
        warm = GaugeMetricFamily(
            "enforcer_standby_warm", "1: it could take over within moments.", labels=["partition"]
        )
        for partition, (lag, is_warm) in sorted(self._standby.items()):
            behind.add_metric([str(partition)], lag)
            warm.add_metric([str(partition)], float(is_warm))
        yield behind
        yield warm

    def _shown_families(self) -> Iterator[GaugeMetricFamily]:
        held = GaugeMetricFamily(
            "enforcer_open_reservations", "Calls whose end is awaited.", labels=["partition"]
        )
        for partition, count in sorted(self._open.items()):
            held.add_metric([str(partition)], count)
        yield held
        for name, shown in self._shown.items():
            labels = [shown.label] if shown.label else []
            family = GaugeMetricFamily(f"enforcer_{name}", shown.text, labels=labels)
            for of, value in shown.ask().items():
                family.add_metric([of] if labels else [], value)
            yield family
        blocks = GaugeMetricFamily("enforcer_python_blocks", "Memory blocks that Python holds.")
        blocks.add_metric([], sys.getallocatedblocks())
        yield blocks

    def _add(self, name: str, n: float, label: str = "", value: str = "") -> None:
        key = (name, label, value)
        self._counters[key] = self._counters.get(key, 0) + n


_COUNTERS = {
    "decisions": ("Verdicts told.", "verdict"),
    "dead_letters": ("Records set aside.", "code"),
    "budget_denials": ("Denials for a budget or rate limit.", ""),
    "bypasses": ("Calls made without waiting for a verdict.", "acted"),
    "restores": ("Partitions taken over.", ""),
    "restored_rows": ("Rows read back from the changelog.", ""),
    "commit_failures": ("Commits failed or indefinite.", ""),
    "detector_seconds": ("Time spent in detectors.", ""),
    "policy_changes": ("Policy sets that came into force.", ""),
    "policy_refused": ("Policy records that were not believed.", "code"),
}

_REQUEST_BYTES_MAX = 8_192
_REQUEST_TIMEOUT_S = 5.0


class Exposed(Protocol):
    """Who has metrics to show."""

    def exposition(self) -> bytes | Awaitable[bytes]:
        """Everything, in Prometheus's text form."""


class HealthServer:
    """
    ``/live``, ``/ready`` and ``/metrics`` over plain HTTP; on the loopback unless told otherwise.

    *live* and *ready* are asked at each request and answer None, or why not (status 503). *notes* are lines that a
    ready one says besides ``ok``.
    """

    def __init__(
        self,
        metrics: Exposed,
        *,
        live: Callable[[], str | None],
        ready: Callable[[], str | None],
        notes: Callable[[], list[str]] = list,
    ) -> None:
        self._metrics = metrics
        self._notes = notes
        self._checks = {"/live": live, "/ready": ready}
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port, which matters if 0 was asked for. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_REQUEST_BYTES_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening; requests under way are let go."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A client that is slow, gone, or no HTTP client at all gets no answer.
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0].decode("latin-1")
        if method not in {b"GET", b"HEAD"}:
            return _response(405, "text/plain", b"GET only\n", method)
        if path == "/metrics":
            kind = "text/plain; version=0.0.4; charset=utf-8"
            shown = self._metrics.exposition()
            return _response(200, kind, shown if isinstance(shown, bytes) else await shown, method)
        check = self._checks.get(path)
        if check is None:
            return _response(404, "text/plain", b"/live, /ready, /metrics\n", method)
        why_not = check()
        text = "\n".join(["ok", *self._notes()]) if why_not is None else why_not
        status = 200 if why_not is None else 503
        return _response(status, "text/plain; charset=utf-8", f"{text}\n".encode(), method)


def _response(status: int, kind: str, body: bytes, method: bytes) -> bytes:
    phrase = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
    head = (
        f"HTTP/1.1 {status} {phrase[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return head if method == b"HEAD" else head + body
