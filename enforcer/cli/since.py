"""``--since``: how far back to look, as a duration before now or as a moment."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

import typer

from enforcer.errors import ConfigError

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhdw])")

SinceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="24h|TIME",
        help="Event time to begin at: 30m, 24h, 7d before now, or 2026-01-31T12:00:00Z. Default: the beginning.",
    ),
]


def since_us(text: str | None, *, now_s: float | None = None) -> int:
    """
    The moment that *text* names, in microseconds since the epoch; 0 for none.

    Raises: ConfigError, if it is neither a duration nor a time.
    """
    if text is None:
        return 0
    duration = _DURATION.fullmatch(text.strip())
    if duration is not None:
        now = time.time() if now_s is None else now_s
        return max(0, int((now - int(duration[1]) * _SECONDS[duration[2]]) * 1e6))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            f"`{text}` is neither a duration nor a time",
            help="30m, 24h, 7d, or 2026-01-31T12:00:00Z",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1e6)
