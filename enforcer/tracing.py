"""
OpenTelemetry spans of a worker: one a batch, and one of its own for each decision whose trace is sampled.

Who made a trace has decided whether it is sampled: the flag in the request's ``traceparent`` header (W3C Trace Context).
A decision of a sampled trace gets a span in that trace, as the caller's child; the batch that it was decided in gets a span of its own
that links to each of them, since it belongs to no one trace. A batch without a sampled decision makes no span: what nobody asked to
see costs one comparison.

All names are here. Those of decisions follow the draft of guardrail spans in OpenTelemetry's GenAI conventions
(open-telemetry/semantic-conventions-genai, pull request 427), those of batches the messaging conventions. No attribute holds text of
a prompt, nor a reason's message, for a policy may quote the request in it.

The SDK is the extra ``otel`` and is configured by its own ``OTEL_*`` variables; see ``Settings.wants_tracing``.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCOPE: Final = "enforcer"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"
SERVICE_NAME: Final = "enforcer-worker"
TRACEPARENT_BYTES: Final = 55
FLUSH_TIMEOUT_MS: Final = 3_000
_SAMPLED: Final = frozenset(b"13579bdf")
"""Last digits of flags whose lowest bit is set."""

BATCH_SPAN: Final = "process {destination}"
DECISION_SPAN: Final = "run_guardrail {component}"
COMPONENT: Final = "gen_ai.guardrail.component.name"
TARGET_TYPE: Final = "gen_ai.guardrail.target.type"
TARGET_SUBTYPE: Final = "gen_ai.guardrail.target.subtype"
TARGET_ID: Final = "gen_ai.guardrail.target.id"
VERDICT: Final = "gen_ai.guardrail.verdict.type"
VERDICT_CODE: Final = "gen_ai.guardrail.verdict.code"
MODIFIED: Final = "gen_ai.guardrail.content.modified"
POLICY: Final = "gen_ai.security.policy.id"
RULE: Final = "gen_ai.security.policy.rule.id"
POLICY_DIGEST: Final = "enforcer.policy.digest"
TENANT: Final = "enforcer.tenant"
DECISION_ID: Final = "enforcer.decision.id"
LATE_MS: Final = "enforcer.late_ms"
SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OPERATION: Final = "messaging.operation.type"
COUNT: Final = "messaging.batch.message_count"
GROUP: Final = "messaging.consumer.group.name"
OFFSET: Final = "messaging.kafka.offset"
TARGETS: Final = {
    "request": ("input", "llm"),
    "response": ("output", "llm"),
    "tool_call": ("input", "tool_call"),
    "tool_result": ("output", "tool_call"),
}
"""A request's phase as type and subtype of what is guarded."""

_log = structlog.get_logger("enforcer.tracing")


def is_sampled(traceparent: bytes) -> bool:
    """Whether who made the trace wants to see it."""
    return len(traceparent) == TRACEPARENT_BYTES and traceparent[-1] in _SAMPLED


class Traced(NamedTuple):
    """One sampled decision: its trace, when it was made, and what its span says."""

    traceparent: bytes
    begun_ns: int
    ended_ns: int
    attributes: dict[str, Any]


class Spans:
    """Makes spans with a provider of the SDK."""

    def __init__(self, provider: Any, *, group: str) -> None:
        """Spans of a worker of the consumer group *group*."""
        from opentelemetry import trace  # noqa: PLC0415 — only who has the extra

        self._trace = trace
        self._provider = provider
        self._group = group
        self._tracer = provider.get_tracer(SCOPE, schema_url=SCHEMA_URL)

    def batch(self, decisions: Sequence[Traced], *, count: int, begun_ns: int) -> None:
        """One batch of *count* verdicts of one partition is told: its span, and those of its sampled *decisions*."""
        trace = self._trace
        links, told = [], []
        for each in decisions:
            parent = self._parent(each.traceparent)
            if parent is None:
                continue
            span = self._tracer.start_span(
                DECISION_SPAN.format(component=SCOPE),
                context=trace.set_span_in_context(trace.NonRecordingSpan(parent)),
                attributes=each.attributes,
                start_time=each.begun_ns,
            )
            links.append(trace.Link(span.get_span_context()))
            told.append((span, each.ended_ns))
        if not told:
            return
        topic, partition = (decisions[0].attributes[name] for name in (DESTINATION, PARTITION))
        whole = self._tracer.start_span(
            BATCH_SPAN.format(destination=topic),
            kind=trace.SpanKind.CONSUMER,
            links=links,
            start_time=begun_ns,
            attributes={
                SYSTEM: "kafka",
                OPERATION: "process",
                DESTINATION: topic,
                PARTITION: partition,
                GROUP: self._group,
                COUNT: count,
            },
        )
        for span, ended_ns in told:
            span.end(ended_ns)
        whole.end(time.time_ns())

    def _parent(self, traceparent: bytes) -> Any:
        """The caller's span; None for a header that is none."""
        parts = traceparent.split(b"-")
        try:
            trace_id, span_id, flags = (int(part, 16) for part in parts[1:])
        except ValueError:
            return None
        trace = self._trace
        context = trace.SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags & 1)
        )
        return context if context.is_valid else None

    def flush(self) -> None:
        """Send what is there, for so long at most. Blocks."""
        self._provider.force_flush(FLUSH_TIMEOUT_MS)

    def stop(self) -> None:
        """Send what is left, and no more. Blocks."""
        self.flush()
        self._provider.shutdown()


def started(instance_id: str, *, group: str, endpoint: str | None = None) -> Spans:
    """
    Spans to the collector that the environment names, or to *endpoint*.

    Raises: ConfigError, without the extra.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 — an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 — as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 — as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 — as above
    except ImportError as error:
        raise ConfigError(
            "OTEL_* asks for traces, and the OpenTelemetry SDK is not installed",
            help="pip install 'llm-enforcer[otel]', or OTEL_TRACES_EXPORTER=none",
            code="extra_missing",
        ) from error
    _quiet()
    found = Resource.create({"service.instance.id": instance_id})
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": SERVICE_NAME}))
    provider = TracerProvider(resource=found, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Spans(provider, group=group)


class _Told(logging.Handler):
    """The SDK's complaints as a line of ours: which part, and no text."""

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        _log.warning("traces_not_sent", where=record.name)


def _quiet() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [_Told()], False
    logger.setLevel(logging.WARNING)
