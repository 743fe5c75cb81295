"""What ``doctor`` says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Line:
    """One check. *fix* is empty where nothing is to be done."""

    check: str
    status: Status
    message: str
    fix: str = ""


def line(check: str, wrong: list[str], good: str, fix: str, *, bad: Status = "fail") -> Line:
    """*good*, or the first three of what is *wrong* and how many more."""
    if not wrong:
        return Line(check, "ok", good)
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Line(check, bad, "; ".join(wrong[:3]) + more, fix)
