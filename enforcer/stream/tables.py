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
    return _open(state_dir / f"p{partition}", partition=partition)


def open_signed_sets(state_dir: Path) -> RocksTable:
    """The table of ``stream.signed_sets``. One that is damaged is deleted: the topics vouch. Raises: as above."""
    return _open(state_dir / "policies", partition=None)


def _open(path: Path, *, partition: int | None) -> RocksTable:
    try:
        return RocksTable(path)
    except AgentCorruptedError:
        _log.warning("table_wiped", partition=partition, path=str(path), reason="damaged")
        RocksTable.destroy(path)
        return RocksTable(path)
