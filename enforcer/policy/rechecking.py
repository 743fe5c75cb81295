"""What an edit touches: the facts derived from an edited path, and the deny rules that read any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.policy.paths import Path, parse_edited

if TYPE_CHECKING:
    from enforcer.policy.model import Match, PolicyCode

_TEXT_SOURCES: tuple[Path, ...] = (("llm", "messages"), ("llm", "prompt"))
_DERIVED: tuple[tuple[Path, tuple[Path, ...]], ...] = (
    (("llm", "prompt"), _TEXT_SOURCES),
    (("llm", "contains_pii"), _TEXT_SOURCES),
    (("pii",), _TEXT_SOURCES),
    (("secrets",), _TEXT_SOURCES),
    (("injection",), _TEXT_SOURCES),
    # Anything in the call can change its tokens and its price.
    (("llm", "input_tokens"), (("llm",),)),
    (("llm", "max_output_tokens"), (("llm",),)),
    (("llm", "estimated_cost_usd"), (("llm",),)),
)


def touched(edited_paths: tuple[str, ...]) -> tuple[Path, ...]:
    """The paths edited, and the facts derived from them."""
    edited = [parse_edited(path) for path in edited_paths]
    derived = [
        fact
        for fact, sources in _DERIVED
        if any(_overlap(source, path) for source in sources for path in edited)
    ]
    return (*edited, *derived)


def concerned(policy: PolicyCode, touched: tuple[Path, ...]) -> frozenset[Match]:
    """The matches of the deny rules that read something touched: their own, and for an error."""
    rules = [
        rule
        for rule in policy.rules
        if rule.verdict == "deny"
        and any(_overlap(read, path) for read in rule.reads for path in touched)
    ]
    failures = [rule.failure for rule in rules if rule.failure is not None]
    return frozenset([*(rule.match for rule in rules), *failures])


def _overlap(one: Path, other: Path) -> bool:
    """Whether one path is the other, or stands above it."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]
