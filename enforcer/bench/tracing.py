"""
What spans cost a worker's process: CPU time of whole rounds with and without them, in turn, by the driver of ``tenures``.

One trace in a hundred is sampled. Spans are made by the real SDK and sent by its own thread, whose time counts, to a collector in
another process. *off* is timed by itself, for it is far below what two rounds differ by: the work that a slice does for each
verdict when nobody wants spans.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from enforcer import tracing
from enforcer.bench import machine, workload
from enforcer.bench.figures import rounded, spread
from enforcer.bench.programs import programs
from enforcer.bench.tenures import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from enforcer.policy import TenantProgram

_COLLECTOR: Final = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
_CHECKS: Final = 1_000_000


def measure(rounds: int, count: int) -> dict[str, Any]:
    """Run *rounds* of *count* events each way; the answer of ``bench tracing``."""
    program_of = programs(workload.documents())
    begun, own_s = machine.read(None), time.process_time()
    with _collector() as endpoint, tempfile.TemporaryDirectory() as directory:
        plain_us, traced_us = asyncio.run(
            _rounds(program_of, Path(directory), endpoint, rounds=rounds, count=count)
        )
    load = machine.load(begun, machine.read(None), time.process_time() - own_s)
    shares = [t / p - 1 for p, t in zip(plain_us, traced_us, strict=True)]
    off_us = _off_us()
    answer = {
        "figures": {
            "event_us": median(plain_us),
            "event_sampled_us": median(traced_us),
            "sampled_share": median(shares),
            "off_us": off_us,
            "off_share": off_us / median(plain_us),
        },
        "baseline": {"event_us": median(plain_us)},
        "sampled_one_in": workload.SAMPLED_ONE_IN,
        "share_spread": spread(shares),
        "rounds": rounds,
        "events": count,
        "machine": load,
    }
    found = rounded(answer)
    assert isinstance(found, dict)
    return found


async def _rounds(
    program_of: Callable[[str], TenantProgram],
    directory: Path,
    endpoint: str,
    *,
    rounds: int,
    count: int,
) -> tuple[list[float], list[float]]:
    """CPU microseconds an event without and with spans. Which goes first changes from round to round."""
    spans = tracing.started("bench", group="bench", endpoint=endpoint)
    driver, tables = await Driver.opened(program_of, directory)
    taken: dict[bool, list[float]] = {False: [], True: []}
    try:
        # One more round than is counted: the first pays for what is made on first use.
        for number in range(rounds + 1):
            for is_traced in (number % 2 == 0, number % 2 == 1):
                polls = driver.polls(count)
                driver.show(spans if is_traced else None)
                gc.collect()
                begun_s = time.process_time()
                events = await driver.take(polls)
                # The exporter's thread wakes every five seconds; its work belongs to this round.
                await asyncio.to_thread(spans.flush)
                us = (time.process_time() - begun_s) / events * 1e6
                if number:
                    taken[is_traced].append(us)
    finally:
        for table in tables:
            table.close()
        await asyncio.to_thread(spans.stop)
    return taken[False], taken[True]


def _off_us() -> float:
    """Microseconds of the one question that a verdict without spans costs, loop and all."""
    spans: object = None

    def asked() -> None:
        if spans is not None:
            raise AssertionError

    def nothing() -> None: ...

    asked_s = min(timeit.repeat(asked, number=_CHECKS, repeat=5))
    nothing_s = min(timeit.repeat(nothing, number=_CHECKS, repeat=5))
    return max(0.0, asked_s - nothing_s) / _CHECKS * 1e6


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    """A collector in a process of its own; its endpoint."""
    process = subprocess.Popen(  # noqa: S603 — our own command line
        [sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces"
    finally:
        process.kill()
        process.communicate()
