"""One run of the demo on a broker that is there: topics, policies, worker, traffic, and the reckoning."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from enforcer import policy
from enforcer.broker import KafkaBroker, load, topics
from enforcer.cli import demo_ledger, demo_runs, policy_files
from enforcer.cli.demo_drive import Drive
from enforcer.cli.demo_figures import Figures
from enforcer.cli.demo_signals import Signals, ended_by
from enforcer.cli.demo_view import Ledger
from enforcer.cli.demo_watch import count_audit, feel_pulse, meanwhile, settled
from enforcer.cli.demo_worker import READY_S, DemoWorker
from enforcer.client import Gateway
from enforcer.config import data
from enforcer.control import policies
from enforcer.errors import EnforcerError, PolicyError, UnavailableError
from enforcer.testing.traffic import traffic

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from enforcer.broker import Broker
    from enforcer.cli.demo_ledger import Found, Reconciliation
    from enforcer.cli.demo_screen import Screen
    from enforcer.local import Stack

T = TypeVar("T")

PARTITIONS: Final = 4
_READY_POLL_S: Final = 0.05
_LOOK_S: Final = 0.5
_FOLLOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. *seconds* None: until Ctrl-C."""

    home: Path
    bootstrap: str
    prefix: str
    seconds: float | None
    rate_per_s: float
    seed: int
    documents: tuple[policy.Document, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    plan: Plan
    figures: Figures
    seconds: float
    found: Found
    reconciliation: Reconciliation


class Session:
    """
    ``run`` once. Ctrl-C before the first call stops everything; after it, it ends the traffic.

    A second Ctrl-C, and SIGTERM at any time, stop everything at once.
    """

    def __init__(self, plan: Plan, stack: Stack, screen: Screen, signals: Signals) -> None:
        self._plan = plan
        self._stack = stack
        self._screen = screen
        self._signals = signals
        self._stop_traffic = asyncio.Event()
        self._has_traffic = False
        self._signal: int | None = None
        self._main: asyncio.Task[object] | None = None
        self._worker = DemoWorker(
            demo_runs.directory(plan.home), bootstrap=plan.bootstrap, prefix=plan.prefix
        )

    async def run(self) -> Result:
        """
        Run to the end. Leaves no worker behind, however it ends.

        Raises: KeyboardInterrupt or SystemExit for the signal that ended it; UnavailableError for a worker
        that died; what the steps raise.
        """
        self._main = asyncio.current_task()
        plan = self._plan
        try:
            with self._signals.told_to(self._told):
                config = load(bootstrap=plan.bootstrap, prefix=plan.prefix, file=None)
                async with KafkaBroker(config) as broker:
                    return await self._run(broker)
        except asyncio.CancelledError:
            if self._signal is None:
                raise
            raise ended_by(self._signal) from None
        finally:
            self._worker.kill()

    def _told(self, number: int) -> None:
        """A signal has come; the first Ctrl-C after the first call only ends the traffic."""
        gently = number == signal.SIGINT and self._has_traffic and not self._stop_traffic.is_set()
        self._stop_traffic.set()
        if not gently:
            self._signal = self._signal or number
            assert self._main is not None
            self._main.cancel()

    async def _run(self, broker: Broker) -> Result:
        plan = self._plan
        try:
            await self._prepare(broker)
            figures, seconds = await self._while_all_live(self._serve(broker))
            self._screen.step("draining the worker")
            await self._worker.stop()
        finally:
            await self._end_worker()
        self._screen.step("reading the ledger back")
        found = await demo_ledger.read_back(
            broker, plan.prefix, lambda n: self._screen.step("reading the ledger back", n)
        )
        result = Result(plan, figures, seconds, found, demo_ledger.reconcile(figures.told, found))
        await self._record(broker, result)
        return result

    async def _prepare(self, broker: Broker) -> None:
        """Topics, policies and a worker that decides."""
        plan, screen = self._plan, self._screen
        screen.step("making topics")
        specs = topics.load_specs()
        await topics.apply(broker, specs, prefix=plan.prefix, partitions=PARTITIONS)
        # The worker takes its time to load, which is enough to put policies in force.
        await asyncio.to_thread(self._worker.start)
        screen.step("putting policies in force")
        await self._while_all_live(self._apply_policies(broker))
        await self._while_all_live(self._worker_ready())

    async def _apply_policies(self, broker: Broker) -> None:
        plan = self._plan
        await policies.apply(broker, plan.prefix, plan.documents, author="demo")
        if (await self._worker.readiness()).is_ready:
            # It took over when there were none, and follows now.
            await asyncio.sleep(_FOLLOW_S)

    async def _worker_ready(self) -> None:
        text = "starting a worker"
        self._screen.step(text)
        try:
            async with asyncio.timeout(READY_S):
                while not (now := await self._worker.readiness()).is_ready:
                    if now.partitions:
                        text = "restoring partitions"
                        self._screen.step(text, now.deciding, PARTITIONS)
                    await asyncio.sleep(_READY_POLL_S)
        except TimeoutError:
            raise UnavailableError(
                f"the worker was not ready after {READY_S:.0f} s",
                help=f"its log: {self._worker.log}",
                code="worker_not_ready",
            ) from None

    async def _serve(self, broker: Broker) -> tuple[Figures, float]:
        """Traffic, from the first call to the last report settled."""
        plan = self._plan
        async with Gateway(broker, prefix=plan.prefix) as gateway:
            figures = Figures()
            calls = traffic(plan.seed, rate_per_s=plan.rate_per_s, tag=plan.prefix)
            drive = Drive(gateway, calls, figures)
            ledger = Ledger()
            self._has_traffic = True
            try:
                async with meanwhile(
                    count_audit(broker, f"{plan.prefix}.audit", PARTITIONS, figures),
                    feel_pulse(self._worker, ledger),
                    self._screen.show(figures, ledger, plan.seconds),
                ):
                    await drive.run(self._stop_traffic, plan.seconds)
                    seconds = figures.seconds
                    self._screen.state("finishing calls")
                    await drive.finish()
            finally:
                await drive.abandon()
        self._screen.step("settling usage")
        await settled(broker, plan.prefix, PARTITIONS)
        return figures, seconds

    async def _while_all_live(self, work: Coroutine[Any, Any, T]) -> T:
        """Do *work*; where worker or broker end meanwhile, raise why."""
        doing = asyncio.create_task(work)
        dying = {
            asyncio.create_task(self._worker.ended()),
            asyncio.create_task(self._broker_ended()),
        }
        try:
            await asyncio.wait({doing, *dying}, return_when=asyncio.FIRST_COMPLETED)
            for end in dying:
                if end.done():
                    raise end.result()
            return await doing
        finally:
            for task in (doing, *dying):
                task.cancel()
            await asyncio.gather(doing, *dying, return_exceptions=True)

    async def _broker_ended(self) -> UnavailableError:
        while self._stack.running_bootstrap() is not None:  # noqa: ASYNC110 — a process sets no event
            await asyncio.sleep(_LOOK_S)
        # Without a broker it cannot drain, and would only wait.
        self._worker.kill()
        return UnavailableError(
            "the local Kafka has ended", help=f"its log: {self._stack.log}", code="kafka_ended"
        )

    async def _end_worker(self) -> None:
        """Drain the worker after a failure too; that one is told, not this."""
        with contextlib.suppress(EnforcerError):
            await self._worker.stop()

    async def _record(self, broker: Broker, result: Result) -> None:
        plan = self._plan
        last = demo_runs.LastDemo(
            prefix=plan.prefix,
            bootstrap=plan.bootstrap,
            partitions=PARTITIONS,
            started_s=round(time.time() - result.seconds, 3),
            seconds=round(result.seconds, 3),
            requests=len(result.found.requests),
        )
        demo_runs.record(plan.home, last)
        with contextlib.suppress(EnforcerError):
            await demo_runs.forget_others(broker, plan.bootstrap, plan.prefix)


def packaged_policies() -> tuple[policy.Document, ...]:
    """
    The documents in ``policies/``, checked.

    Raises: IntegrityError for an installation without them, PolicyError for one that does not check.
    """
    loaded = policy.load(policy_files.sources([data("policies")]))
    wrong = [finding for finding in loaded.findings if finding.severity == "error"]
    if wrong:
        raise PolicyError(
            f"{wrong[0].span}: error[{wrong[0].code}]: {wrong[0].message}",
            help=f"enforcer policy check {data('policies')}",
        )
    return loaded.documents
