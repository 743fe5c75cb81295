"""The state file of a stack: which process it is, where it listens, how it was started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from enforcer.local import files

if TYPE_CHECKING:
    from pathlib import Path

    from enforcer.local.jvm import Jit


@dataclass(frozen=True, slots=True)
class Record:
    """One started broker. A record with ``ready`` false is of a start that did not come to its end."""

    pid: int
    start_mark: float
    started_s: float
    port: int
    controller_port: int
    jit: Jit
    kafka: str
    ready: bool = False
    training: bool = False

    def write(self, path: Path) -> None:
        """Write the state file in one step. Raises: OSError."""
        files.write_whole(path, json.dumps(asdict(self)) + "\n")


def read(path: Path) -> Record | None:
    """
    Read the state file.

    Returns: None where there is none, or none that can be read: a process it may have named is found
        by its command line instead.
    """
    try:
        fields = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        record = Record(**fields)
    except (OSError, ValueError, TypeError):
        return None
    numbers = (record.pid, record.port, record.controller_port, record.start_mark, record.started_s)
    whole = all(isinstance(number, int | float) and number >= 0 for number in numbers)
    return record if whole and record.pid > 0 else None
