"""Spans of a real worker at a real collector: a decision's in its caller's trace, the batch's beside it with links."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from enforcer import tracing
from enforcer.cli.main import run
from enforcer.client import Gateway

PROMPT = "The answer is 4711"
POLICY = """\
apiVersion: enforcer/v1
kind: Tenant
metadata: {id: acme}
spec: {}
---
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec: {rules: [{id: a, then: warn, code: SEEN}]}
"""


@pytest.fixture
def collector():
    """What a collector was sent: spans with the attributes of their resource."""
    found = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told = ExportTraceServiceRequest.FromString(body)
            for resource in told.resource_spans:
                for scope in resource.scope_spans:
                    found.extend((resource.resource, span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", found
    server.shutdown()
    server.server_close()
    thread.join()


def values(attributes):
    return {a.key: a.value.string_value or a.value.bool_value or a.value.int_value for a in attributes}  # fmt: skip


def test_spans_of_a_worker(bootstrap, prefix, tmp_path, collector):
    """A sampled request has a span, one that is not has none, and no span holds a word of a prompt."""
    endpoint, found = collector
    where = ["--bootstrap", bootstrap, "--prefix", prefix]
    assert run(["topics", "apply", "--partitions", "1", *where]) == 0
    (tmp_path / "p.yaml").write_text(POLICY)
    assert run(["policy", "apply", str(tmp_path / "p.yaml"), *where]) == 0
    environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "guard"}  # fmt: skip
    command = [sys.executable, "-m", "enforcer.cli", "worker", *where, "--state-dir", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        outcomes = asyncio.run(asked(bootstrap, prefix))
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, (tmp_path / "log").read_text()
    assert len(outcomes) == 2

    assert sorted(span.name for _, span in found) == [
        f"process {prefix}.requests", "run_guardrail enforcer",
    ]  # fmt: skip
    spans = {span.name.split(" ")[0]: span for _, span in found}
    decision, batch = spans["run_guardrail"], spans["process"]
    assert decision.trace_id.hex() == "a" * 32
    assert decision.parent_span_id.hex() == "b" * 16
    assert [(link.trace_id, link.span_id) for link in batch.links] == [
        (decision.trace_id, decision.span_id)
    ]
    assert batch.trace_id != decision.trace_id
    assert batch.end_time_unix_nano >= decision.end_time_unix_nano > decision.start_time_unix_nano
    said = values(decision.attributes)
    assert (said[tracing.VERDICT], said[tracing.VERDICT_CODE]) == ("warn", "SEEN")
    assert (said[tracing.POLICY], said[tracing.RULE], said[tracing.TARGET_ID]) == ("p", "a", "yes")
    assert (said[tracing.TARGET_TYPE], said[tracing.TARGET_SUBTYPE]) == ("input", "llm")
    assert values(batch.attributes)[tracing.GROUP] == prefix
    resource = values(found[0][0].attributes)
    assert (resource["service.name"], bool(resource["service.instance.id"])) == ("guard", True)
    assert not re.search("4711|u-4712", str(found))


async def asked(bootstrap, prefix):
    """One call of a sampled trace, one of another."""
    async with Gateway(bootstrap, prefix=prefix) as gateway:
        return [
            await gateway.decide(
                {
                    "id": request_id,
                    "tenant": "acme",
                    "user": {"id": "u-4712"},
                    "llm": {"provider": "openai", "model": "gpt-4o", "prompt": PROMPT},
                },
                deadline_ms=60_000,
                traceparent=f"00-{'a' * 32}-{'b' * 16}-{flags}",
            )
            for request_id, flags in (("no", "00"), ("yes", "01"))
        ]
