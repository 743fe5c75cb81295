"""``worker --processes N``: the parent, and what each of its children does."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Final

from enforcer.cli.main import report
from enforcer.cli.worker import run_one
from enforcer.errors import EnforcerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from enforcer.cli.worker import Given
    from enforcer.stream.supervision import ChildEnd

STOP_TIMEOUT_S: Final = 25.0
"""A drain takes up to 10 s, and what is closed after it some more; then what still runs is killed."""


def run_processes(given: Given, processes: int, *, log_level: str) -> int:
    """Be the parent of *processes* workers until a signal; the exit code."""
    from enforcer.stream.supervision import FleetHealth, Supervisor  # noqa: PLC0415 — heavy
    from enforcer.telemetry import HealthServer  # noqa: PLC0415 — as above

    _warm(given.of_process(number).state_dir for number in range(processes))
    supervisor = Supervisor(
        lambda number, parent: _be_worker(given.of_process(number), parent, log_level=log_level),
        processes=processes,
        stop_timeout_s=STOP_TIMEOUT_S,
    )
    fleet = FleetHealth(supervisor)
    server = HealthServer(fleet, live=lambda: None, ready=fleet.why_not, notes=fleet.notes)

    async def listen() -> None:
        if given.metrics_port is None:
            return
        try:
            await server.start(given.metrics_host, given.metrics_port)
        except OSError as error:
            raise UnavailableError(
                f"port {given.metrics_port} on {given.metrics_host} cannot be used: {error.strerror}",
                help="give another one with --metrics-port",
            ) from error

    return supervisor.run(opened=listen, closed=server.stop)


def _warm(state_dirs: Iterable[Path]) -> None:
    """Load all that the workers of *state_dirs* need, once for all of them, and keep the collector from writing to it."""
    import uvloop  # noqa: F401, PLC0415 — as above

    from enforcer import broker, detect, engine  # noqa: F401, PLC0415 — as above
    from enforcer.stream import (  # noqa: PLC0415 — as above
        identity,  # noqa: F401 — as above
        tables,  # noqa: F401 — as above
        vocabularies,
        worker,  # noqa: F401 — as above
    )

    detect.warm(vocabularies.wanted(state_dirs))
    detect.pricing.warm()
    gc.collect()
    gc.freeze()


def _be_worker(given: Given, parent: ChildEnd, *, log_level: str) -> int:
    """One child's life; the exit code, as the command line would have it."""
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging(log_level, process=given.state_dir.name)
    try:
        run_one(given, parent=parent)
    except EnforcerError as error:
        return report(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0
