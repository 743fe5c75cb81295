"""The systems that do the job: our worker, and each framework. How one is started, and where it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.bench import workload
from enforcer.bench.peers.environment import python_of
from enforcer.bench.processes import started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from enforcer.bench.processes import Measured
    from enforcer.bench.site import Place

OURS: Final = "enforcer"
COMMIT_INTERVAL_S: Final = {
    # Our own. Under exactly once a decision can be read with its commit, so this is the kind setting.
    "quix": 0.1,
    # Its default is 5 s: fewer commits, later decisions.
    "quix-default": 5.0,
    # Its default. Nothing waits for it: at least once.
    "faust": 2.8,
}
NAMES: Final = tuple(COMMIT_INTERVAL_S)
SESSION_TIMEOUT_MS: Final = 6_000
_OUR_COMMIT_INTERVAL_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Topics:
    """Full names."""

    requests: str
    decisions: str
    audit: str


@dataclass(frozen=True, slots=True)
class System:
    """One of them. *python* is None for our own worker."""

    name: str
    python: Path | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is the product."""
        return self.python is None

    @property
    def settle_s(self) -> float:
        """How long a verdict may take undisturbed: with a framework's transaction, up to its next commit."""
        return 0.5 + (COMMIT_INTERVAL_S[self.name] if self.name.startswith("quix") else 0.0)

    def topics(self, where: Place, run: str) -> Topics:
        """Where it writes in the *run*, and reads unless it is told otherwise: ours in its installation."""
        if self.is_ours:
            return Topics(*(where.topic(name) for name in ("requests", "decisions", "audit")))
        return Topics(
            *(where.topic(f"{run}-{self.name}-{name}") for name in ("requests", "told", "audit"))
        )

    def start(
        self,
        where: Place,
        topics: Topics,
        run: str,
        *,
        more: Sequence[tuple[str, str]] = (),
    ) -> AbstractAsyncContextManager[Measured]:
        """
        Its process, ready; gone afterwards. It goes on where the one before in the same *run* stopped.

        *more*: policies beside those of all benchmarks; ours has them from its topic.
        """
        directory = where.directory / f"{run}-{self.name}"
        directory.mkdir(exist_ok=True)
        if self.is_ours:
            task = {
                "bootstrap": where.bootstrap,
                "prefix": where.prefix,
                "state_dir": str(directory / "state"),
                "commit_interval_ms": _OUR_COMMIT_INTERVAL_MS,
            }
            return started("worker_round", task, where.directory)
        framework = self.name.partition("-")[0]
        return started(
            f"peers.{framework}_agent",
            self._task(where, topics, run, directory, more=more),
            where.directory,
            python=self.python,
        )

    def _task(
        self,
        where: Place,
        topics: Topics,
        run: str,
        directory: Path,
        *,
        more: Sequence[tuple[str, str]],
    ) -> dict[str, Any]:
        group = where.topic(f"{run}-{self.name}")
        return {
            "bootstrap": where.bootstrap,
            "source": topics.requests,
            "decisions": topics.decisions,
            "audit": topics.audit,
            "group": group,
            "state_dir": str(directory / "state"),
            "partitions": workload.PARTITIONS,
            "sources": [*workload.sources(), *more],
            "commit_interval_s": COMMIT_INTERVAL_S[self.name],
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            # Left to itself, Quix has another id in each process, and what a killed one left open
            # holds readers up until it times out, after a minute.
            "producer": {"transactional.id": group} if self.name == "quix" else {},
        }


def systems(names: Sequence[str], home: Path, *, tell: Callable[[str], None]) -> list[System]:
    """
    Our worker, and the systems *names* of ``NAMES`` with their environments.

    Raises: UnavailableError when an environment cannot be made.
    """
    found = [System(OURS)]
    for name in names:
        framework = name.partition("-")[0]
        found.append(System(name, python_of(framework, home, tell=tell)))
    return found
