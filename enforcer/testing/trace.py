"""Recorded arrivals and sizes: ``TIMESTAMP,ContextTokens,GeneratedTokens``, as Azure has published them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


class Arrival(NamedTuple):
    """One call of a trace; *at_s* counts from its first."""

    at_s: float
    input_tokens: int
    output_tokens: int


def read_trace(path: Path) -> Iterator[Arrival]:
    """
    The calls of a trace file, in its order, streaming.

    Raises: NotFoundError; ConfigError naming the line that is none.
    """
    try:
        file = path.open(encoding="utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        if next(file, "").strip() != _HEADER:
            raise ConfigError(f"{path}:1: the first line of a trace is {_HEADER}")
        begin: datetime | None = None
        for number, line in enumerate(file, start=2):
            if not line.strip():
                continue
            try:
                time, given, generated = line.split(",")
                # Published with seven decimals; Python reads six.
                at = datetime.fromisoformat(time.strip()[:26])
                sizes = int(given), int(generated)
            except ValueError:
                raise ConfigError(f"{path}:{number}: not a time and two numbers") from None
            begin = begin or at
            yield Arrival((at - begin).total_seconds(), *sizes)
