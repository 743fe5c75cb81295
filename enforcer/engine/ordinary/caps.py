"""
Caps on the size of an answer, the one edit that ordinary decisions make.

A cap changes a number of the call: its texts stay, and with them all that was read of them. Which caps a set of
matched rules asks for is known beforehand; of one request it is seen which of them are needed, what the deny rules
that read the number say now, and what the call may cost. Merging is ``engine.edits``' law: of several caps of one
number the smallest counts, the first of them where they are equal, and a rule whose cap changes nothing did not match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from enforcer import events
from enforcer.engine.edits import json_text, pointer, segments
from enforcer.engine.ordinary.pieces import Telling, telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer import detect
    from enforcer.policy import Match, TenantProgram
    from enforcer.policy.model import LimitsView

NUMBERS: Final = frozenset({("llm", "max_tokens"), ("llm", "n")})
"""What may be capped here: numbers that no fact of a text follows from."""
CAP_MAX: Final = 1 << 31


class Cap(NamedTuple):
    """
    The cap of one number.

    Attributes:
        name: Its field of the call.
        value: The most it may be.
        rule: Whose cap it is.
    """

    name: str
    value: int
    rule: Match


class Capping:
    """
    The decisions of one program, account and set of matched rules, some of which cap.

    Args:
        program: Of the tenant.
        account: Whose decisions they are.
        hits: What matched, in order.
        caps: What ``caps_of`` finds in *hits*.
        limits: What rules are given that ask how limits stand.
    """

    __slots__ = ("_account", "_caps", "_hits", "_limits", "_program", "_tellings")

    def __init__(
        self,
        program: TenantProgram,
        account: str,
        hits: Sequence[Match],
        *,
        caps: tuple[Cap, ...],
        limits: LimitsView,
    ) -> None:
        self._program = program
        self._account = account
        self._hits = tuple(hits)
        self._caps = caps
        self._limits = limits
        # By what becomes of each cap: few.
        self._tellings: dict[tuple[str, ...], Telling | None] = {}

    def of(
        self, request: events.Request, facts: detect.RequestFacts, now_us: int
    ) -> tuple[Telling, detect.RequestFacts] | None:
        """
        The decision of one request, and the facts of the request as it would be sent.

        Args:
            request: As it came.
            facts: Of it.
            now_us: Event time.

        Returns: None where the general path must decide.
        """
        ops: list[str] = []
        sent, paths = request, []
        for name, value, _ in self._caps:
            given = getattr(request.llm, name)
            op = "add" if given is None else "replace" if given > value else ""
            ops.append(op)
            if op:
                if sent is request:
                    sent = _copied(request)
                    sent.llm = _copied(request.llm)
                setattr(sent.llm, name, value)
                paths.append(f"llm.{name}")
        key = tuple(ops)
        if key not in self._tellings:
            self._tellings[key] = self._telling(key)
        told = self._tellings[key]
        if told is None or sent is request:
            return None if told is None else (told, facts)
        after = facts.with_other_maxima(sent)
        again = self._program.recheck(sent, after, paths, now_us=now_us, limits=self._limits)
        return None if again else (told, after)

    def _telling(self, ops: tuple[str, ...]) -> Telling | None:
        needed = [(cap, op) for cap, op in zip(self._caps, ops, strict=True) if op]
        edits = [
            events.Edit(op, pointer(("llm", cap.name)), json_text(cap.value)) for cap, op in needed
        ]
        rules = {cap.rule for cap, _ in needed}
        # The rules that edit stand in the order in which they matched.
        hits = [hit for hit in self._hits if hit.verdict != "modify" or hit in rules]
        return telling(self._program, self._account, hits, edits=edits)


def caps_of(program: TenantProgram, hits: Sequence[Match]) -> tuple[Cap, ...]:
    """
    The caps that *hits* ask for, of each number one.

    Returns: None at all where another edit is asked for, a reason was made for one request, or something is tried out.
    """
    is_tried = program.shadow_policies or program.shadow_budgets or program.shadow_rate_limits
    specs = [(hit, spec) for hit in hits if hit.verdict == "modify" for spec in hit.edits]
    if not specs or is_tried or any(hit.origin is not None for hit in hits):
        return ()
    found: dict[str, Cap] = {}
    for hit, spec in specs:
        path = segments(spec.path)
        value = spec.value
        if spec.op != "cap" or path not in NUMBERS or type(value) is not int:
            return ()
        if not 0 < value < CAP_MAX:
            return ()
        name = str(path[1])
        if name not in found or value < found[name].value:
            # Its place among the edits is that of the number's first cap.
            found[name] = Cap(name, value, hit)
    return tuple(found.values())


def _copied(record: Any) -> Any:
    """A record whose fields may be set; what they hold is shared. ``copy`` takes five times as long."""
    copied = object.__new__(type(record))
    for name in record.__slots__:
        setattr(copied, name, getattr(record, name))
    return copied
