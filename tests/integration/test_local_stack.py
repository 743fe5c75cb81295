"""The local stack as its users meet it: real processes, a real broker, real failures."""

from __future__ import annotations

from enforcer.local import probe


def test_shared_broker_takes_records(bootstrap: str) -> None:
    """The broker of the run creates topics and acknowledges a produce."""
    probe.prove_ready(int(bootstrap.rpartition(":")[2]))
