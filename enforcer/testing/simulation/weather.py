"""
What befalls requests and processes: delays, refusals, lost answers, deaths. Drawn from a seed.

A *site* is a named place where the simulated client or disk does something that others may see: ``ledger.commit``,
``fast.send decisions``. At each a process may die, before it is done or after; and each request has a *fate*.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import random

    from enforcer.testing.simulation.loop import Process

Fate = Literal["done", "refused", "unanswered", "twice", "late"]
"""
Of one request: done; refused by the broker, definitely; done, and its answer is lost; delivered twice; done long
after it was sent.
"""
When = Literal["before", "after"]

LATE_S: Final = 1.5
FALLIBLE: Final = ("fast.", "ledger.", "group_offsets", "reader.offsets")
"""Sites whose failures reach the code under test; of the others the client library makes delays."""


class Marks:
    """Counts what happened: a fault that never struck has tested nothing."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def sometimes(self, what: str) -> None:
        """Note that *what* has happened."""
        self.seen[what] += 1


class Weather:
    """Fair weather: nothing is late, nothing fails, nobody dies. Others override what they want otherwise."""

    def __init__(self) -> None:
        self.marks = Marks()

    def latency_s(self) -> float:
        """One way of one request."""
        return 0.0

    def marker_delay_s(self) -> float:
        """From the decision to end a transaction to its marker in one partition."""
        return 0.0

    def fetched_max(self) -> int:
        """How many records of a partition one fetch brings."""
        return 1_000_000

    def fate(self, site: str, process: Process) -> Fate:
        """What becomes of a request."""
        del site, process
        return "done"

    def at(self, site: str, when: When, process: Process) -> None:
        """A process stands at a site. May kill it; raises nothing."""


@dataclass(slots=True)
class Strike:
    """A death to come: of whoever is the *countdown*-th at *site*, before or after it is done."""

    site: str
    when: When
    countdown: int


@dataclass(slots=True)
class Odds:
    """How likely each fate of one request is while a storm blows."""

    refused: float = 0.001
    unanswered: float = 0.001
    twice: float = 0.02
    late: float = 0.002


@dataclass(slots=True)
class Storm(Weather):
    """Weather from a seed. *strikes* and *odds* are set by whoever plans the faults."""

    rng: random.Random
    marks: Marks = field(default_factory=Marks)
    odds: Odds = field(default_factory=Odds)
    strikes: list[Strike] = field(default_factory=list)
    spared: set[str] = field(default_factory=set)
    """Processes to which nothing happens: clients, and whoever looks at the topics afterwards."""
    slow: float = 0.004
    is_over: bool = False

    def latency_s(self) -> float:
        """Mostly short, sometimes ten times that."""
        draw = self.rng.random()
        return self.slow * draw * (10.0 if self.rng.random() < 0.03 else 1.0)

    def marker_delay_s(self) -> float:
        """Late now and then, and lost and sent again now and then."""
        if self.is_over:
            return self.latency_s()
        draw = self.rng.random()
        if draw < 0.02:
            self.marks.sometimes("marker lost")
            return 0.7 + draw
        if draw < 0.1:
            self.marks.sometimes("marker late")
            return 0.2 * self.rng.random()
        return self.latency_s()

    def fetched_max(self) -> int:
        """Often everything, often a few."""
        return 1 + int(self.rng.random() ** 3 * 400)

    def fate(self, site: str, process: Process) -> Fate:
        """By the odds of now."""
        if self.is_over or process.name in self.spared or not site.startswith(FALLIBLE):
            return "done"
        draw, odds = self.rng.random(), self.odds
        for fate in ("refused", "unanswered", "twice", "late"):
            draw -= getattr(odds, fate)
            if draw < 0:
                self.marks.sometimes(f"{fate} {site}")
                return fate
        return "done"

    def at(self, site: str, when: When, process: Process) -> None:
        """Kill whom a strike is meant for."""
        if self.is_over or process.name in self.spared or not process.is_alive:
            return
        for strike in self.strikes:
            if strike.site == site and strike.when == when:
                strike.countdown -= 1
                if strike.countdown <= 0:
                    self.strikes.remove(strike)
                    self.marks.sometimes(f"killed {when} {site}")
                    process.kill()
                    return
