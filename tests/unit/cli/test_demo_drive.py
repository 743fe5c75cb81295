"""Calls as the demo makes them: in time, acted on, reported, and bounded."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from enforcer import events
from enforcer.cli import demo_drive
from enforcer.cli.demo_drive import Drive
from enforcer.cli.demo_figures import CallId, Figures
from enforcer.client import Outcome
from enforcer.errors import RequestError
from enforcer.testing.traffic import Call, Report


class Gateway:
    """Answers after *takes_s*, and refuses calls named ``refused``."""

    def __init__(self, verdict="allow", takes_s=0.0):
        self.verdict = verdict
        self.takes_s = takes_s
        self.in_flight = 0
        self.most = 0
        self.reported = []

    async def decide(self, request, deadline_ms):
        if request.id == "refused":
            raise RequestError("too large", code="too_large")
        if request.id == "bug":
            raise ZeroDivisionError
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(self.takes_s)
        self.in_flight -= 1
        return Outcome(
            verdict=self.verdict,
            acted=self.verdict,
            code="",
            decision=None,
            request=request,
            latency_ms=1.0,
            by_timeout=True,
            traceparent="",
        )

    async def report(self, usage):
        self.reported.append(usage.request_id)


def call(name, at_s=0.0, reports=()):
    request = events.Request(name, "acme", llm=events.Llm("openai", "gpt-4o"))
    usages = tuple(Report(after_s, events.Usage(name, "acme")) for after_s in reports)
    return Call(at_s, request, usages)


async def driven(gateway, calls, seconds=None, stop=None):
    figures = Figures()
    drive = Drive(gateway, iter(calls), figures)
    await drive.run(stop or asyncio.Event(), seconds)
    await drive.finish()
    return figures


async def test_reports_that_are_due_later_are_made_at_the_end():
    """The end of the run does not wait for streams of minutes, and no report is lost."""
    gateway = Gateway()
    begun_s = time.monotonic()
    figures = await driven(gateway, [call("a", reports=(30.0, 60.0)), call("b", reports=(0.0,))])

    assert sorted(gateway.reported) == ["a", "a", "b"]
    assert figures.reports == 3
    assert time.monotonic() - begun_s < 5


async def test_nothing_is_reported_of_a_call_that_was_denied():
    """It was never made."""
    gateway = Gateway("deny")
    await driven(gateway, [call("a", reports=(0.0,))])

    assert gateway.reported == []


async def test_the_run_ends_in_time_under_any_load(monkeypatch):
    """Calls that cannot be made in time are not made; in flight are never more than the limit."""
    monkeypatch.setattr(demo_drive, "_IN_FLIGHT_MAX", 5)
    gateway = Gateway(takes_s=0.05)
    begun_s = time.monotonic()
    figures = await driven(gateway, (call(f"c{n}", n / 1e5) for n in itertools.count()), 0.4)

    assert time.monotonic() - begun_s < 2
    assert gateway.most == 5
    assert 5 <= figures.calls < 1000


async def test_a_stop_ends_the_run_between_two_calls():
    """Ctrl-C does not wait for the next arrival."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)
    begun_s = time.monotonic()
    figures = await driven(Gateway(), [call("a"), call("b", 60.0)], stop=stop)

    assert figures.calls == 1
    assert time.monotonic() - begun_s < 5


async def test_a_refused_call_is_counted_and_the_rest_goes_on():
    """What the client refuses was never sent, and has no verdict."""
    figures = await driven(Gateway(), [call("refused"), call("b")])

    assert figures.refused == {"too_large": 1}
    assert figures.told[CallId("acme", "refused", 1)] is None
    assert len(figures.latencies_ms) == 1


async def test_a_bug_is_not_swallowed():
    """An error that nobody meant ends the run."""
    with pytest.raises(ZeroDivisionError):
        await driven(Gateway(), [call("bug")])
