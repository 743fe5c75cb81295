"""Opening the tables of a worker's state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from enforcer.errors import AgentCorruptedError
from enforcer.store import RocksTable

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger("enforcer.restore")


def open_table(state_dir: Path, partition: int) -> RocksTable:
    """
    The table of *partition*. One that is damaged is deleted: the changelog has all of it.

    Raises: ConflictError when another process has it open; UnavailableError.
    """
    path = state_dir / f"p{partition}"
    try:
        return RocksTable(path)
    except AgentCorruptedError:
        _log.warning("table_wiped", partition=partition, reason="damaged")
        RocksTable.destroy(path)
        return RocksTable(path)
