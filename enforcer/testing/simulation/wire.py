"""Requests on their way: what is sent arrives later, or twice, or not, whether its sender lives or not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from enforcer.errors import EnforcerError, UnavailableError
from enforcer.testing.simulation.loop import nobodys_context
from enforcer.testing.simulation.weather import LATE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.testing.simulation.cluster import Cluster
    from enforcer.testing.simulation.loop import Process

T = TypeVar("T")

REQUEST_TIMEOUT_S: Final = 2.0
"""After so long an answer that does not come is given up."""


class Wire:
    """One process's connection to a cluster."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self.cluster = cluster
        self.process = process
        self.journal: list[str] = []
        """Sites of the requests that the broker has done, in order; the newest thousands."""

    def stand(self, site: str) -> None:
        """Be at a site, before it is done: dead processes go no further, and some die here."""
        self.process.check()
        self.cluster.weather.at(site, "before", self.process)
        self.process.check()

    def send(
        self, site: str, act: Callable[[], T], *, repeatable: bool = False
    ) -> asyncio.Future[T]:
        """
        Let the cluster *act*, some time from now; the future is its answer.

        Args:
            site: What this is.
            act: What the broker does, and returns or raises.
            repeatable: Whether the broker knows a second delivery as such.
        """
        self.stand(site)
        request = _Request(self, site, act, repeatable=repeatable)
        request.depart()
        return request.answer

    async def call(self, site: str, act: Callable[[], T]) -> T:
        """``send``, and wait for the answer."""
        try:
            return await self.send(site, act)
        finally:
            self.process.check()

    def note(self, site: str) -> None:
        """The broker has done a request."""
        if len(self.journal) > 10_000:
            del self.journal[:5_000]
        self.journal.append(site)


class _Request(Generic[T]):
    """One request, under way."""

    def __init__(self, wire: Wire, site: str, act: Callable[[], T], *, repeatable: bool) -> None:
        self._wire, self._site, self._act = wire, site, act
        self._weather = wire.cluster.weather
        self._fate = self._weather.fate(site, wire.process)
        self._is_repeated = repeatable and self._fate == "twice"
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()
        self.answer.add_done_callback(_look_at)

    def depart(self) -> None:
        """Leave the process: from here on it is nobody's."""
        self._later(
            self._weather.latency_s() + (LATE_S if self._fate == "late" else 0.0), self._deliver
        )

    def _deliver(self) -> None:
        try:
            if self._fate == "refused":
                raise UnavailableError(f"{self._site} is refused", code="refused")
            done = self._act()
        except EnforcerError as error:
            self._give(None, error)
            return
        self._wire.note(self._site)
        self._weather.at(self._site, "after", self._wire.process)
        if self._fate == "unanswered":
            silence = UnavailableError(f"{self._site}: no answer in time", code="indefinite")
            self._later(REQUEST_TIMEOUT_S, self._settle, None, silence)
            return
        if self._is_repeated:
            self._later(self._weather.latency_s(), self._deliver_again)
        self._give(done, None)

    def _deliver_again(self) -> None:
        with contextlib.suppress(EnforcerError):
            self._act()

    def _give(self, done: T | None, error: Exception | None) -> None:
        self._later(self._weather.latency_s(), self._settle, done, error)

    def _settle(self, done: T | None, error: Exception | None) -> None:
        if self.answer.done():
            return
        if not self._wire.process.is_alive:
            error = _gone(self._wire.process)
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(cast("T", done))

    def _later(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        if seconds > 0:
            self._loop.call_later(seconds, do, *args, context=nobodys_context())
        else:
            self._loop.call_soon(do, *args, context=nobodys_context())


def _gone(process: Process) -> Exception:
    # A future takes it, and whoever awaits it finds the process dead.
    return UnavailableError(f"{process.name} is dead", code="dead")


def _look_at(done: asyncio.Future[Any]) -> None:
    """A failure that nobody awaits is not reported."""
    if not done.cancelled():
        done.exception()
