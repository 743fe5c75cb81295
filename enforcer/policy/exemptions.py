"""
What a rule does off the fast path: exceptions that remove it, reasons that are made when it matches.

An exception removes its rules while its ``when`` holds and event time is before ``expires``. It is asked only
where a rule would count, and each use is a match of its own, ``exempt``, that joins no verdict. One that errs,
or that is asked without a time, removes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from enforcer.policy.compiler import compile_guard
from enforcer.policy.lowering import ERRORS, compile_value
from enforcer.policy.model import EVALUATION_ERROR, Match, RuleErrorInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.policy.ir import Expr, Leaf
    from enforcer.policy.model import FactsView, LimitsView, RuleCode

Arguments: TypeAlias = "tuple[Any, FactsView, int | None, LimitsView | None]"

EXCEPTION_USE = "exception_use"
REASON_CHARACTERS_MAX = 512
_PART_CHARACTERS_MAX = 128
_UNKNOWN = "(unknown)"


@dataclass(frozen=True, slots=True, eq=False)
class ExceptionCode:
    """An exception, lowered. *told* is what the reason of each use says."""

    id: str
    condition: Expr
    expires_us: int
    told: str


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A reason with expressions in it: texts, and leaves that come to texts."""

    parts: tuple[str | Leaf, ...]


class Exemptions:
    """The exceptions and templates of one policy's rules, compiled."""

    def __init__(self, policy: str, rules: tuple[RuleCode, ...]) -> None:
        self._policy = policy
        codes = {code.id: code for rule in rules for code in rule.exceptions}
        self._guards = {id_: compile_guard(code.condition, None) for id_, code in codes.items()}
        self._parts: dict[Leaf, Callable[..., Any]] = {}

    def removes(
        self, rule: RuleCode, arguments: Arguments, hits: list[Match], errors: list[RuleErrorInfo]
    ) -> bool:
        """Whether an exception removes *rule* from this request; its use is a match then."""
        now_us = arguments[2]
        for code in rule.exceptions:
            if now_us is None or now_us >= code.expires_us:
                continue
            holds = self._guards[code.id](*arguments)
            if holds:
                use = Match(self._policy, rule.id, "exempt", EXCEPTION_USE, code.told, 0)
                hits.append(use)
                return True
            if holds is None:
                said = f"exception {code.id}: it could not be evaluated, and removes nothing"
                errors.append(RuleErrorInfo(self._policy, rule.id, EVALUATION_ERROR, said))
        return False

    def match(self, rule: RuleCode, arguments: Arguments) -> Match:
        """The match of *rule*, its reason written."""
        if rule.template is None:
            return rule.match
        texts = [
            part if isinstance(part, str) else self._text(part, arguments)
            for part in rule.template.parts
        ]
        reason = "".join(texts)[:REASON_CHARACTERS_MAX]
        return replace(rule.match, reason=reason, origin=rule.match)

    def _text(self, leaf: Leaf, arguments: Arguments) -> str:
        read = self._parts.get(leaf)
        if read is None:
            read = self._parts[leaf] = compile_value(leaf)
        try:
            text = str(read(*arguments))
        except ERRORS:
            return _UNKNOWN
        # A name that a caller chose stands in a reason as one short line.
        shown = "".join(each if each.isprintable() else " " for each in text)
        return shown[:_PART_CHARACTERS_MAX]
