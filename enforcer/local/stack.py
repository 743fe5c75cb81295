"""
One local stack in one directory: start it, find it, stop it.

What keeps it to *one*: every start and stop holds the directory's lock, and a process counts as ours
only by process id, start time and command line together. Because the command line alone finds it
too, a lost or damaged state file leaves no process behind.

    home/kafka/lock  state.json  server.properties  broker.log  data/
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from enforcer.config import Settings
from enforcer.errors import ConflictError
from enforcer.local import broker, files, jars, ports, probe, processes, properties, record
from enforcer.local.jars import KAFKA_VERSION
from enforcer.local.jvm import Jit, Jvm
from enforcer.local.steps import Progress, Step, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType, TracebackType

    from enforcer.local.record import Record

_LOCK_TIMEOUT_S = 180.0
_STOP_GRACE_S = 15.0
_STOP_GRACE_TRAINING_S = 45.0
_SPACE_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that has acknowledged a produce."""

    bootstrap: str
    pid: int
    ports: tuple[int, ...]
    started: bool
    """True if this call started it, False if it ran already."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is there now. ``topics`` is None when the broker does not answer."""

    running: bool
    bootstrap: str | None
    pid: int | None
    uptime_s: float | None
    topics: int | None
    kafka: str
    jit: Jit | None
    home: Path
    log: Path


class Stack:
    """
    The local stack of one directory.

    As a context manager it starts on entry, and stops on exit what it has started itself.
    """

    def __init__(
        self,
        home: Path,
        *,
        cache: Path | None = None,
        port: int | None = None,
        jit: Jit = "c1",
        train: bool = True,
        maven_url: str | None = None,
        maven_repository: Path | None = None,
        extras: properties.Extras | None = None,
    ) -> None:
        """
        Describe a stack; nothing happens yet.

        Args:
            home: Its directory; the broker's files are in ``home/kafka``.
            cache: Jars and the JVM's cache, shared by all stacks; the settings' default otherwise.
            port: A fixed port for clients; otherwise the last one, or a free one.
            jit: ``c1`` starts fast and leaves the cores to others; ``c2`` is for throughput
                benchmarks longer than 25 s.
            train: Make the JVM's cache when the first run stops; not while something is measured.
            maven_url: A mirror of Maven Central.
            maven_repository: A Maven repository to read jars from, before downloading.
            extras: Listeners and settings beyond the usual.
        """
        self._cache = (cache or Settings.load().cache).absolute()
        self._home = home.absolute()
        self._directory = self._home / "kafka"
        self._port = port
        self._jit: Jit = jit
        self._train = train and jit == "c1"
        self._maven_url = maven_url
        self._maven_repository = maven_repository
        self._extras = extras or properties.Extras()
        self._running: Running | None = None

    @classmethod
    def from_settings(
        cls, settings: Settings, *, port: int | None = None, jit: Jit = "c1", train: bool = True
    ) -> Stack:
        """The stack that the command line's verbs share."""
        return cls(
            settings.home,
            cache=settings.cache,
            port=port,
            jit=jit,
            train=train,
            maven_url=settings.maven_url,
            maven_repository=settings.maven_repository,
        )

    @property
    def log(self) -> Path:
        """The broker's log of this start; the one before has ``.1`` at its end."""
        return self._directory / "broker.log"

    def __enter__(self) -> Self:
        """Start."""
        self._running = self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what was started on entry."""
        if self._running is not None and self._running.started:
            self.stop()
        self._running = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect, between entry and exit of the context."""
        assert self._running is not None, "the stack is not entered"
        return self._running.bootstrap

    def start(self, *, progress: Progress = silent) -> Running:
        """
        Return when clients can create topics and produce; at once when the stack runs already.

        Ctrl-C and SIGTERM while it starts leave no process behind.

        Raises: UnavailableError (port, download, disk, permission, a broker that dies), ConflictError
            (it runs with another port or other flags), ConfigError (a directory Kafka cannot use).
        """
        properties.require_plain(self._directory)
        properties.require_plain(self._cache)
        files.ensure_directory(self._directory)
        with _terminate_raises(), self._locked("starting"), files.explained(self._directory):
            found = self._found()
            if found is not None and found.ready:
                return self._reused(found)
            # A start that did not come to its end, or a process whose record was lost.
            self._end(found)
            return self._start(progress)

    def stop(self, *, progress: Progress = silent) -> bool:
        """
        End the broker, and make the JVM's cache if this was the run that trained for it.

        Returns: True if something ran.
        Raises: UnavailableError, if another process holds the stack too long.
        """
        if not self._directory.is_dir():
            return False
        with (
            _terminate_raises(),
            self._locked("starting or stopping"),
            files.explained(self._directory),
        ):
            return self._stop(progress)

    def status(self) -> Status:
        """What is there now; takes no lock and changes nothing."""
        found = self._found()
        topics: int | None = None
        if found is not None:
            with contextlib.suppress(OSError, probe.NotReadyError):
                topics = len(probe.topics(found.port))
        return Status(
            running=found is not None,
            bootstrap=_bootstrap(found.port) if found else None,
            pid=found.pid if found else None,
            uptime_s=max(0.0, time.time() - found.started_s) if found else None,
            topics=topics,
            kafka=found.kafka if found else KAFKA_VERSION,
            jit=found.jit if found else None,
            home=self._home,
            log=self.log,
        )

    def running_bootstrap(self) -> str | None:
        """Where clients connect if the stack runs and has come to its end of starting, else None."""
        found = self._found()
        return _bootstrap(found.port) if found is not None and found.ready else None

    # The rest holds the lock.

    def _locked(self, what: str) -> contextlib.AbstractContextManager[None]:
        return files.locked(
            self._directory / "lock",
            what=f"{what} the stack in {self._home}",
            timeout_s=_LOCK_TIMEOUT_S,
        )

    @property
    def _marker(self) -> str:
        return str(self._directory / "server.properties")

    @property
    def _record_file(self) -> Path:
        return self._directory / "state.json"

    @property
    def _training_file(self) -> Path:
        return self._directory / "training.aotconf"

    def _found(self) -> Record | None:
        """The recorded broker, if that very process is alive."""
        known = record.read(self._record_file)
        if known is None:
            return None
        alive = processes.is_alive(known.pid, mark=known.start_mark, marker=self._marker)
        return known if alive else None

    def _reused(self, found: Record) -> Running:
        if self._port not in {None, found.port}:
            raise ConflictError(
                f"the local stack already runs on port {found.port}",
                help="enforcer down, then start it again",
            )
        if found.jit != self._jit:
            raise ConflictError(
                f"the local stack already runs with {found.jit} flags",
                help="enforcer down, then start it again",
            )
        return _running(found, started=False)

    def _start(self, progress: Progress) -> Running:
        if self._port is not None:
            ports.require(self._port)
        paths = jars.obtain(
            self._cache / "jars",
            progress=progress,
            maven_url=self._maven_url,
            maven_repository=self._maven_repository,
        )
        files.ensure_space(self._directory, _SPACE_BYTES)
        jvm = Jvm(paths, self._cache, jit=self._jit)
        use_cache = jvm.has_cache()
        data = self._directory / "data"
        if not (data / "meta.properties").exists():
            progress(Step("format"))
            shutil.rmtree(data, ignore_errors=True)
            broker.format_directory(jvm, data, templates=self._cache, use_cache=use_cache)
        progress(Step("start"))
        launch = broker.Launch(
            jvm=jvm,
            directory=self._directory,
            record_file=self._record_file,
            use_cache=use_cache,
            training_file=self._training_file if self._train and not use_cache else None,
            fixed_port=self._port,
            preferred=self._last_ports(),
            extras=self._extras,
        )
        ready = broker.launch(launch)
        try:
            progress(Step("start", 1, 1))
        except BaseException:
            self._end(ready)
            raise
        return _running(ready, started=True)

    def _last_ports(self) -> tuple[int, ...]:
        """Clients that were left running find the broker again."""
        last = record.read(self._record_file)
        return (last.port, last.controller_port) if last else ()

    def _stop(self, progress: Progress) -> bool:
        found = self._found()
        if found is not None:
            progress(Step("stop"))
        ended = self._end(found)
        if found is not None and found.training and self._training_file.exists():
            self._make_cache(progress)
        self._training_file.unlink(missing_ok=True)
        return ended

    def _make_cache(self, progress: Progress) -> None:
        jvm = Jvm([self._cache / "jars" / pin.path for pin in jars.pins()], self._cache)
        if not jvm.has_cache() and all(path.exists() for path in jvm.jars):
            progress(Step("train"))
            # The broker is stopped; who presses Ctrl-C now does without the cache.
            with contextlib.suppress(KeyboardInterrupt):
                jvm.train(self._training_file)

    def _end(self, found: Record | None) -> bool:
        """End the recorded broker and every other that runs on this directory."""
        pids = {found.pid} if found is not None else set()
        pids.update(processes.find(self._marker))
        grace_s = _STOP_GRACE_TRAINING_S if found and found.training else _STOP_GRACE_S
        for pid in pids:
            processes.stop(pid, marker=self._marker, grace_s=grace_s)
        return bool(pids)


def _running(found: Record, *, started: bool) -> Running:
    return Running(
        bootstrap=_bootstrap(found.port),
        pid=found.pid,
        ports=(found.port, found.controller_port),
        started=started,
    )


def _bootstrap(port: int) -> str:
    return f"{ports.HOST}:{port}"


@contextlib.contextmanager
def _terminate_raises() -> Iterator[None]:
    """Make SIGTERM and SIGHUP exceptions, so that the interrupted cleans up; unless somebody does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_exit(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, raise_exit)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
