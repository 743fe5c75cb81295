"""Models of others in a running worker: an ONNX classifier and a recogniser of entities, asked, failing, and refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from enforcement_world import make_topics, until_owned

from enforcer import policy
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.client import Gateway
from enforcer.control import policies
from tests.unit.models.tiny_model import tiny_model

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnxruntime", reason="pip install 'llm-enforcer[onnx]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MODULE = """
from pathlib import Path
from enforcer.models import OnnxClassifier

def encode(text):
    if "outage" in text:
        raise RuntimeError(text)
    return [200] if "zebra" in text else [1]

score = OnnxClassifier(Path(__file__).with_name("tiny.onnx").read_bytes(), encode=encode)

def entities(text):
    at = text.find("Zaphod")
    return [] if at < 0 else [("name", at, at + 6, 0.9)]
"""
POLICY = """
apiVersion: enforcer/v1
kind: Tenant
metadata: {id: acme}
spec: {on_timeout: deny, pii_kinds: [name]}
---
apiVersion: enforcer/v1
kind: Policy
metadata: {id: models, tenant: acme}
spec:
  rules:
    - id: attack
      condition: {operator: gt, field: injection.score, value: 0.9}
      then: deny
      code: INJ-001
      reason: The classifier sees an attack
    - id: names
      then: {verdict: modify, edits: [{redact: llm.messages, types: [name]}]}
"""


def request(number: int, text: str) -> dict:
    messages = [{"role": "user", "content": text}]
    llm = {"provider": "openai", "model": "gpt-4o", "messages": messages}
    return {"id": f"call-{number}", "tenant": "acme", "llm": llm}


def started(command: list[str], log: Path, modules: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": str(modules)}
        )


async def test_models_of_others_decide_in_a_running_worker(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """What the classifier sees is denied, what the recogniser finds is redacted, and a model that fails denies: first by its errors, then by its breaker."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_model())
    (tmp_path / "of_others.py").write_text(MODULE)
    command = [
        *(sys.executable, "-P", "-m", "enforcer.cli", "worker"),
        *("--bootstrap", bootstrap, "--prefix", prefix, "--state-dir", str(tmp_path / "state")),
        *("--injection-classifier", "of_others:score", "--entities", "of_others:entities"),
        *("--model-deadline-ms", "5000"),
    ]
    loaded = policy.load([("models.yaml", POLICY)], default_tenant="acme")
    assert not loaded.findings, loaded.findings
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, 2)
        await policies.apply(broker, prefix, loaded.documents)
        log = tmp_path / "worker.log"
        worker = started(command, log, tmp_path)
        try:
            await until_owned(broker, prefix, timeout_s=60)
            async with Gateway(broker, prefix=prefix) as gateway:

                async def decide(number: int, text: str):
                    return await gateway.decide(request(number, text), deadline_ms=15_000)

                clean = await decide(1, "hello there")
                named = await decide(2, "tell Zaphod")
                attack = await decide(3, "a zebra")
                failed = [await decide(10 + n, f"outage {n}") for n in range(5)]
                refused = await decide(4, "hello again")
        finally:
            worker.terminate()
            assert await asyncio.to_thread(worker.wait, 40) == 0, log.read_text()[-2_000:]
    assert clean.verdict == "allow", clean.decision
    assert named.request["llm"]["messages"][0]["content"] == "tell [NAME_REDACTED]"
    assert (attack.verdict, attack.code) == ("deny", "INJ-001")
    assert {each.verdict for each in failed} == {"deny"}
    assert "the classifier failed: RuntimeError" in failed[0].decision.errors[0].message
    assert refused.verdict == "deny"
    assert "not called for a while" in refused.decision.errors[0].message
    assert "outage" not in log.read_text(), "a log never quotes a text"
