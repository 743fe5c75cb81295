"""Logs that cannot hold a prompt, metrics, and the health server."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from enforcer import telemetry
from enforcer.telemetry import HealthServer, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    telemetry.setup_logging("info", stream=stream)
    yield stream
    structlog.reset_defaults()


def test_a_line_is_json_with_listed_scalars_only(lines: io.StringIO) -> None:
    """What is not listed, or is no scalar, is dropped and counted."""
    telemetry.logger(worker="w1").info("commit", records=3, prompt="secret text", rows=[1])

    line = json.loads(lines.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "commit", "level": "info", "worker": "w1", "records": 3, "dropped": 2,
    }  # fmt: skip


def test_an_exception_is_logged_without_its_message(lines: io.StringIO) -> None:
    """The class and the places are told; the message, which may quote a prompt, is not."""
    try:
        int("my card is 4111")
    except ValueError as error:
        telemetry.logger().error("failed", exc_info=error)
        telemetry.logger().exception("failed")

    text = lines.getvalue()
    assert "4111" not in text
    for line in map(json.loads, text.splitlines()):
        assert line["error"] == "ValueError"
        assert "test_telemetry.py:" in line["where"]


def test_levels_filter_and_an_unknown_one_is_info(lines: io.StringIO) -> None:
    """Debug lines cost nothing unless asked for."""
    telemetry.logger().debug("quiet")
    assert lines.getvalue() == ""
    telemetry.setup_logging("nonsense", stream=lines)
    telemetry.logger().debug("quiet")
    assert lines.getvalue() == ""
    telemetry.setup_logging("debug", stream=lines)
    telemetry.logger().debug("loud")
    assert "loud" in lines.getvalue()


def test_long_texts_are_cut(lines: io.StringIO) -> None:
    """A runaway value does not fill the log."""
    telemetry.logger().info("x" * 1_000)
    assert len(json.loads(lines.getvalue())["event"]) == telemetry.TEXT_MAX


def test_metrics_are_exposed_under_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, labels and the ten-millisecond edge are what dashboards are built on."""
    metrics = Metrics()
    metrics.decided("allow", 3)
    metrics.decided("deny")
    metrics.latencies([0.0005, 0.01, 0.0101, 9.0])
    metrics.lag("enforcer.requests", 2, 17, 0.5)
    metrics.committed(0.02)
    metrics.restored(11)
    metrics.dead_letter("undecodable", 2)
    metrics.budget_denied(4)
    metrics.bypassed("timeout_allow")
    moments = iter((7.0, 7.25))
    monkeypatch.setattr(telemetry.time, "perf_counter", lambda: next(moments))
    assert metrics.detected(lambda: 42) == 42
    metrics.policies_changed()
    metrics.commit_failed()
    metrics.standby(3, 12, is_warm=True)
    metrics.holds(2, 5)
    metrics.show("facts_cached", "Facts.", lambda: {"": 9})
    metrics.show("table_memory_bytes", "Memory.", lambda: {"memtables": 7.0}, label="part")

    text = metrics.exposition().decode()
    for line in (
        'enforcer_decisions_total{verdict="allow"} 3.0',
        'enforcer_decisions_total{verdict="deny"} 1.0',
        'enforcer_decision_latency_seconds_bucket{le="0.001"} 1.0',
        'enforcer_decision_latency_seconds_bucket{le="0.01"} 2.0',
        'enforcer_decision_latency_seconds_bucket{le="0.025"} 3.0',
        'enforcer_decision_latency_seconds_bucket{le="+Inf"} 4.0',
        "enforcer_decision_latency_seconds_count 4.0",
        'enforcer_lag_records{partition="2",topic="enforcer.requests"} 17.0',
        'enforcer_lag_seconds{partition="2",topic="enforcer.requests"} 0.5',
        "enforcer_commits_total 1.0",
        "enforcer_commit_seconds_count 1.0",
        "enforcer_restores_total 1.0",
        "enforcer_restored_rows_total 11.0",
        'enforcer_dead_letters_total{code="undecodable"} 2.0',
        "enforcer_budget_denials_total 4.0",
        'enforcer_bypasses_total{acted="timeout_allow"} 1.0',
        "enforcer_detector_seconds_total 0.25",
        "enforcer_policy_changes_total 1.0",
        "enforcer_commit_failures_total 1.0",
        'enforcer_standby_lag_records{partition="3"} 12.0',
        'enforcer_standby_warm{partition="3"} 1.0',
        'enforcer_open_reservations{partition="2"} 5.0',
        "enforcer_facts_cached 9.0",
        'enforcer_table_memory_bytes{part="memtables"} 7.0',
    ):
        assert line in text.splitlines(), line

    metrics.standby_forget(3)
    assert "enforcer_standby_warm{" not in metrics.exposition().decode()
    metrics.lag_forget(2)
    text = metrics.exposition().decode()
    assert "enforcer_lag_records{" not in text
    assert "enforcer_open_reservations{" not in text


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: no such figures")
def test_a_process_tells_its_memory_and_its_open_files() -> None:
    """Under the names that every Prometheus client gives them, so that dashboards find them; Python's blocks besides."""
    told = dict(
        line.split(" ", 1)
        for line in Metrics().exposition().decode().splitlines()
        if line[0] != "#"
    )

    assert float(told["process_resident_memory_bytes"]) > 1e7
    assert float(told["process_open_fds"]) > 3
    assert float(told["enforcer_python_blocks"]) > 10_000


def test_counters_without_labels_stand_at_zero_from_the_start() -> None:
    """A rate over a counter that is not there yet would hide the first event."""
    assert "enforcer_restores_total 0.0" in Metrics().exposition().decode()


async def test_health_server_answers_and_refuses() -> None:
    """Live and ready ask their callables each time; unknown paths and methods are refused."""
    state: dict[str, str | None] = {"ready": "restoring 2 partitions"}
    server = HealthServer(Metrics(), live=lambda: None, ready=lambda: state["ready"])
    port = await server.start()

    assert (await ask(port, "GET /live"))[0] == 200
    assert await ask(port, "GET /ready") == (503, "restoring 2 partitions\n")
    state["ready"] = None
    assert await ask(port, "GET /ready?x=1") == (200, "ok\n")
    assert await ask(port, "HEAD /ready") == (200, "")
    assert "enforcer_commits_total" in (await ask(port, "GET /metrics"))[1]
    assert (await ask(port, "GET /secrets"))[0] == 404
    assert (await ask(port, "POST /live"))[0] == 405
    await server.stop()


async def test_health_server_survives_what_is_no_request() -> None:
    """Noise and clients that hang up do not end it."""
    server = HealthServer(Metrics(), live=lambda: None, ready=lambda: None)
    port = await server.start()
    for noise in (b"", b"\x00\xff", b"x" * 20_000):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(noise)
        writer.close()

    assert (await ask(port, "GET /live"))[0] == 200
    await server.stop()


async def ask(port: int, line: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body
