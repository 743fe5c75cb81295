"""
The 45 jars of the broker: pinned, verified, downloaded at most once.

A jar counts only if its size and its SHA-256 are those of the pin file. The downloader is jgo's: it
checks no cached file and writes in place, so it works in a directory apart, and a jar moves to the
cache, whole and verified, in one rename. One process downloads at a time; the others wait and find
the cache full. With a full cache the network is not touched and jgo is not even imported.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.errors import EnforcerError, UnavailableError
from enforcer.local import files
from enforcer.local.steps import Progress, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

KAFKA_VERSION = "4.4.0"
_PIN_FILE = Path(__file__).with_name(f"kafka-jars-{KAFKA_VERSION}.txt")
_THREADS = 8
_TIMEOUT_S = 60
_TRIES = 2
# How long a download that was given up may take to notice.
_GIVE_UP_S = 1.0
_LOCK_TIMEOUT_S = 300.0
# Beside the jars themselves: the JVM's cache and a formatted directory.
_SPACE_BYTES = 160_000_000


@dataclass(frozen=True, slots=True)
class Pin:
    """One jar: Maven coordinate, size and digest."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where a Maven repository keeps it, relative to the repository."""
        name = f"{self.artifact}-{self.version}.jar"
        return Path(*self.group.split("."), self.artifact, self.version, name)

    def __str__(self) -> str:
        """The coordinate, ``group:artifact:version``."""
        return f"{self.group}:{self.artifact}:{self.version}"


@cache
def pins() -> tuple[Pin, ...]:
    """The pin file: ``group:artifact:version size sha256:digest`` a line, in class path order."""
    found = []
    for line in _PIN_FILE.read_text(encoding="ascii").splitlines():
        coordinate, size, digest = line.split()
        group, artifact, version = coordinate.split(":")
        found.append(Pin(group, artifact, version, int(size), digest.removeprefix("sha256:")))
    return tuple(found)


def is_intact(path: Path, pin: Pin) -> bool:
    """Is *path* exactly the pinned file?"""
    try:
        if path.stat().st_size != pin.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == pin.sha256
    except (FileNotFoundError, NotADirectoryError):
        return False


def obtain(
    cache_dir: Path,
    *,
    progress: Progress,
    maven_url: str | None = None,
    maven_repository: Path | None = None,
    wanted: Sequence[Pin] | None = None,
) -> list[Path]:
    """
    Return the verified jars, downloading what is missing or damaged.

    Args:
        cache_dir: Ours; laid out as a Maven repository.
        progress: Told of every chunk: bytes done of the bytes to download.
        maven_url: A mirror instead of Maven Central.
        maven_repository: Read first, never written.
        wanted: Instead of the pin file, for tests.

    Raises: UnavailableError (no network, a jar damaged twice, full disk, no permission).
    """
    wanted = pins() if wanted is None else wanted
    roots = [cache_dir, *([maven_repository] if maven_repository else [])]
    with files.explained(cache_dir):
        found = _find(wanted, roots)
    if all(found):
        return [path for path in found if path is not None]
    files.ensure_directory(cache_dir)
    lock = files.locked(
        cache_dir / "lock", what="downloading the jars of Kafka", timeout_s=_LOCK_TIMEOUT_S
    )
    with lock, files.explained(cache_dir):
        # Another process may have filled the cache while this one waited for the lock.
        missing = [pin for pin, path in zip(wanted, _find(wanted, roots), strict=True) if not path]
        if missing:
            files.ensure_space(cache_dir, sum(p.size_bytes for p in missing) + _SPACE_BYTES)
            _download_all(missing, cache_dir, maven_url=maven_url, progress=progress)
        return [path for path in _find(wanted, roots) if path is not None]


def _find(wanted: Sequence[Pin], roots: Sequence[Path]) -> list[Path | None]:
    def one(pin: Pin) -> Path | None:
        return next((r / pin.path for r in roots if is_intact(r / pin.path, pin)), None)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, wanted))


class _CancelledError(Exception):
    """The start was given up while a jar was on its way."""


class _Meter:
    """Adds up what the threads download, and stops them when nobody wants it any more."""

    def __init__(self, total_bytes: int, progress: Progress) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._done_bytes = 0
        self._total_bytes = total_bytes
        self._progress = progress

    def add(self, count_bytes: int) -> None:
        """Count a chunk; negative when a damaged jar is thrown away."""
        if self.cancelled.is_set():
            raise _CancelledError
        with self._lock:
            self._done_bytes += count_bytes
            done = min(self._done_bytes, self._total_bytes)
            self._progress(Step("download", done, self._total_bytes, "bytes"))

    @contextmanager
    def of_one_file(self, _name: str, _size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Jgo's form of a progress callback."""
        yield self.add


def _download_all(
    missing: list[Pin], cache_dir: Path, *, maven_url: str | None, progress: Progress
) -> None:
    meter = _Meter(sum(pin.size_bytes for pin in missing), progress)
    staging = cache_dir / f".download-{os.getpid()}"
    # We hold the lock: whatever another process left behind belongs to nobody.
    for leftover in cache_dir.glob(".download-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    meter.add(0)
    try:
        artifact_of = _maven(staging, maven_url, meter)

        def one(pin: Pin) -> None:
            _download(pin, artifact_of, cache_dir=cache_dir, meter=meter)

        # The big ones first: they decide when the last thread is done.
        _in_threads(one, sorted(missing, key=lambda pin: -pin.size_bytes), meter.cancelled)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _in_threads(
    work: Callable[[Pin], None], items: Sequence[Pin], cancelled: threading.Event
) -> None:
    """
    Do *work* on all *items* in a few threads; raise the first error.

    They are daemons, and not a pool, because Ctrl-C must not wait for a server that does not answer.
    """
    todo: queue.SimpleQueue[Pin] = queue.SimpleQueue()
    results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    for item in items:
        todo.put(item)

    def run() -> None:
        while not cancelled.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001 — handed over to the waiting thread
                results.put(error)
            else:
                results.put(None)

    threads = [
        threading.Thread(target=run, name=f"jars-{number}", daemon=True)
        for number in range(min(_THREADS, len(items)))
    ]
    for thread in threads:
        thread.start()
    try:
        for error in (results.get() for _ in items):
            if error is not None:
                raise error
    finally:
        cancelled.set()
        _join(threads)


def _join(threads: Sequence[threading.Thread]) -> None:
    deadline_s = time.monotonic() + _GIVE_UP_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))


def _download(
    pin: Pin, artifact_of: Callable[[Pin], Path], *, cache_dir: Path, meter: _Meter
) -> None:
    for _ in range(_TRIES):
        try:
            staged = artifact_of(pin)
        except (_CancelledError, EnforcerError):
            raise
        except Exception as error:
            raise _unreachable(pin, error, cache_dir) from error
        if is_intact(staged, pin):
            target = cache_dir / pin.path
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            return
        meter.add(-staged.stat().st_size)
        staged.unlink()
    raise UnavailableError(
        f"the download of {pin} was damaged twice: its SHA-256 is not the pinned one",
        help="try again; if it stays, a proxy or mirror changes it: set ENFORCER_MAVEN_URL to another",
        code="download_damaged",
    )


def _maven(staging: Path, maven_url: str | None, meter: _Meter) -> Callable[[Pin], Path]:
    """Jgo's downloader, into *staging*. Imported here: it takes 0.2 s, and a full cache needs none."""
    from jgo.maven import MavenContext  # noqa: PLC0415 — see above
    from jgo.maven import PythonResolver as Resolver  # noqa: PLC0415 — see above

    callback: Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
    callback = meter.of_one_file
    context = MavenContext(
        resolver=Resolver(progress_callback=callback),
        repo_cache=staging,
        remote_repos={"mirror": maven_url.rstrip("/")} if maven_url else None,
        timeout=_TIMEOUT_S,
    )

    def fetch(pin: Pin) -> Path:
        project = context.project(pin.group, pin.artifact)
        return Path(project.at_version(pin.version).artifact().resolve())

    return fetch


def _unreachable(pin: Pin, error: Exception, cache_dir: Path) -> EnforcerError:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return files.explain(error, cache_dir)
    if _is_disk_full(error):
        return files.explain(OSError(28, "no space left on device"), cache_dir)
    reason = "not served there" if isinstance(error, RuntimeError) else _root(error)
    return UnavailableError(
        f"cannot download {pin}: {reason}",
        help="check the network and HTTPS_PROXY or REQUESTS_CA_BUNDLE, or set ENFORCER_MAVEN_URL to a "
        "mirror; once downloaded no network is needed",
        code="download_failed",
    )


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno == 28:
            return True
        error = error.__cause__ or error.__context__
    return False


def _root(error: BaseException) -> str:
    """The innermost reason, on one line: `Connection refused` instead of four nested wrappers."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
