"""
Which vocabularies this worker's traffic needs, kept in its state directory.

A vocabulary takes 20 to 40 MB and, in one piece, 0.1 to 0.3 s to load, in which no verdict is told. So those that every installation meets are
loaded before a worker is ready, and any other at its first request, once: from then on its name is in the state
directory, and the next start loads it before it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import detect

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMES_FILE: Final = "vocabularies"
LOOK_EVERY_S: Final = 10.0
_BYTES_MAX: Final = 4_096

_log = structlog.get_logger("enforcer.vocabularies")


def wanted(directories: Iterable[Path]) -> list[str]:
    """
    What to load before anything is decided: the likely ones, and those that were needed before.

    Args:
        directories: Of this worker, or of all workers that will be forked from this process. What cannot be read names none.
    """
    names = set(detect.LIKELY_VOCABULARIES)
    for directory in directories:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            names |= set((directory / NAMES_FILE).read_text("utf-8")[:_BYTES_MAX].split())
    return sorted(names)


def remember(directory: Path, names: Iterable[str]) -> None:
    """
    Write down what was needed, whole or not at all.

    Raises: OSError.
    """
    new = directory / f"{NAMES_FILE}.new"
    new.write_text("".join(f"{name}\n" for name in sorted(names)), "utf-8")
    os.replace(new, directory / NAMES_FILE)  # noqa: PTH105 — of one directory, atomic


async def remembering(directory: Path) -> None:
    """Write down what is needed beyond the likely ones, as it comes, until cancelled. A full disk costs the memory alone."""
    known = frozenset(wanted([directory]))
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        names = known | detect.loaded()
        if names == known:
            continue
        known = names
        try:
            remember(directory, names)
        except OSError as error:
            _log.warning("vocabularies_not_kept", error=error.strerror)
