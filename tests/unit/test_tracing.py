"""Which traces are sampled, which headers are none, and when the environment asks for spans at all."""

import pytest

from enforcer import tracing
from enforcer.config import Settings

TRACE = f"00-{'a' * 32}-{'b' * 16}-"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        *((TRACE + f"0{digit:x}", bool(digit & 1)) for digit in range(16)),
        (TRACE + "1", False),
        ("", False),
        (TRACE + "01-more", False),
    ],
)
def test_the_lowest_bit_of_the_flags_decides(header, sampled):
    """W3C Trace Context: 01 is sampled, whatever other flags are set; what is no header is not."""
    assert tracing.is_sampled(header.encode()) is sampled


@pytest.fixture
def exported():
    """Spans, and a way to make them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return tracing.Spans(provider, group="g"), exporter.get_finished_spans


def traced(header):
    attributes = {tracing.DESTINATION: "e.requests", tracing.PARTITION: "3"}
    return tracing.Traced(header.encode(), 1_000, 2_000, attributes)


def test_a_batch_links_to_each_sampled_decision(exported):
    """One span for all, in a trace of its own; each decision's is its caller's child, with its own times."""
    spans, found = exported
    other = f"00-{'c' * 32}-{'d' * 16}-01"
    spans.batch([traced(TRACE + "01"), traced(other)], count=7, begun_ns=500)
    *decisions, batch = found()
    assert [f"{s.context.trace_id:x}" for s in decisions] == ["a" * 32, "c" * 32]
    assert [f"{s.parent.span_id:x}" for s in decisions] == ["b" * 16, "d" * 16]
    assert [(s.start_time, s.end_time) for s in decisions] == [(1_000, 2_000)] * 2
    assert [link.context.span_id for link in batch.links] == [s.context.span_id for s in decisions]
    assert (batch.start_time, batch.parent) == (500, None)
    assert (batch.attributes[tracing.COUNT], batch.attributes[tracing.GROUP]) == (7, "g")


@pytest.mark.parametrize(
    "header", ["x" * 54 + "1", f"00-{'0' * 32}-{'b' * 16}-01", "00" * 27 + "1"]
)
def test_a_header_that_is_none_makes_no_span(exported, header):
    """Neither a decision's nor its batch's: a sender's mistake is not ours to show."""
    spans, found = exported
    spans.batch([traced(header)], count=1, begun_ns=1)
    assert found() == ()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
    ],
)
def test_the_usual_variables_ask_for_spans(environment, wanted):
    """An endpoint, or the exporter by name; each way to say no is heard."""
    assert Settings.load({"HOME": "/h"} | environment).wants_tracing is wanted
