"""
The newest signed set of each scope, as a worker keeps it in its own directory: what no topic may show any more.

One row a scope, replaced as a whole. It is written once the set is in force, and read when the worker starts. It goes
through RocksDB's log and is not synced: it survives the process, and after the death of the machine the topics vouch.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from enforcer.errors import EnforcerError
from enforcer.policy.trust import Signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from enforcer.store.table import Table

_log = structlog.get_logger("enforcer.policies")


@dataclass(frozen=True, slots=True)
class Held:
    """What was in force for a scope when this worker last knew."""

    scope: str
    revision: int
    records: Sequence[Signed]


class SignedSets:
    """Over a table of its own."""

    __slots__ = ("_kept", "_table")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._kept: dict[str, tuple[int, int]] = {}
        """Of each scope the revision, and how many records there are of it."""

    def read(self) -> Iterator[Held]:
        """Everything that is kept; a row that cannot be read is passed over, loudly."""
        for key, value in self._table.scan():
            scope = key.decode()
            try:
                row = orjson.loads(value)
                records = [_signed(each) for each in row["records"]]
                held = Held(scope, int(row["revision"]), records)
            except (ValueError, KeyError, TypeError, AttributeError):
                _log.error("policy_floor_unreadable", scope=scope)
                continue
            self._kept[scope] = held.revision, len(records)
            yield held

    def keep(self, scope: str, revision: int, records: Sequence[Signed]) -> None:
        """
        Keep a set in the place of an older one, or of one whose documents had not all come.

        A disk that does not take it stops nobody: it is logged.
        """
        kept = revision, len(records)
        if kept <= self._kept.get(scope, (0, 0)):
            return
        row = {"revision": revision, "records": [_as_json(each) for each in records]}
        try:
            self._table.write({scope.encode(): orjson.dumps(row)})
        except EnforcerError as error:
            _log.error("policy_floor_not_kept", scope=scope, code=error.code)
            return
        self._kept[scope] = kept

    def close(self) -> None:
        """Release the files."""
        self._table.close()


def _as_json(signed: Signed) -> dict[str, Any]:
    return {
        "topic": signed.topic,
        "key": _text(signed.key),
        "value": _text(signed.value),
        "headers": [[name, _text(content)] for name, content in signed.headers],
    }


def _signed(row: dict[str, Any]) -> Signed:
    headers = tuple((name, base64.b64decode(content)) for name, content in row["headers"])
    return Signed(
        row["topic"], base64.b64decode(row["key"]), base64.b64decode(row["value"]), headers
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
