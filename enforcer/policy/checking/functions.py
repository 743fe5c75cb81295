"""What functions ask of their arguments, and what is known of their results."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from enforcer import cel
from enforcer.cel.limits import LIST_LENGTH_MAX
from enforcer.cel.syntax import Call, Literal, Node
from enforcer.policy.checking.known import INTS, LENGTHS, UINTS, UNKNOWN, Known, Range

if TYPE_CHECKING:
    from enforcer.policy.checking.known import State

TIME_PARTS: Final = {
    "getFullYear": Range(1, 9999), "getMonth": Range(0, 11), "getDate": Range(1, 31),
    "getDayOfMonth": Range(0, 30), "getDayOfYear": Range(0, 365), "getDayOfWeek": Range(0, 6),
    "getHours": Range(0, 2_600_000), "getMinutes": Range(0, 160_000_000),
    "getSeconds": Range(-(10**10), 10**10), "getMilliseconds": Range(-(10**13), 10**13),
}  # fmt: skip
_DOUBLE_INTS: Final = Range(-(2.0**63) + 1024, 2.0**63 - 1024)
_DOUBLE_UINTS: Final = Range(0.0, 2.0**64 - 2048)


def constant(node: Call, environment: cel.Environment) -> object:
    """The value of a call of literals alone; ``UNKNOWN`` of others. Raises: EvaluationError."""
    parts = (*([node.target] if node.target is not None else []), *node.arguments)
    if not parts or not all(_is_constant(each) for each in parts):
        return UNKNOWN
    source = cel.parse("true").source
    return cel.compile_expression(cel.Expression(node, source), environment).evaluate({})


def _is_constant(node: Node) -> bool:
    if isinstance(node, Call):
        parts = (*([node.target] if node.target is not None else []), *node.arguments)
        return bool(parts) and all(map(_is_constant, parts))
    return isinstance(node, Literal)


def result_range(node: Call, arguments: list[Known], result: str) -> Range:
    """Where the number lies that a call comes to."""
    name = node.function
    if name == "size":
        return arguments[0].size
    if name in TIME_PARTS:
        return TIME_PARTS[name]
    if name in {"indexOf", "lastIndexOf"}:
        return Range(-1, arguments[0].size.high)
    if name in {"greatest", "least"} and len(arguments) > 1:
        pick = max if name == "greatest" else min
        lows, highs = [a.range.low for a in arguments], [a.range.high for a in arguments]
        return Range(pick(lows), pick(highs))
    if name == "abs" and arguments[0].range.within(INTS):
        low, high = arguments[0].range.low, arguments[0].range.high
        least = 0 if low <= 0 <= high else min(abs(low), abs(high))
        return Range(least, max(abs(low), abs(high)))
    if name in {"int", "uint", "double"} and arguments[0].type.name in {"int", "uint", "double"}:
        return arguments[0].range
    return {"int": INTS, "uint": UINTS}.get(result, Range())


def result_size(node: Call, arguments: list[Known]) -> Range:
    """How long the text or list is that a call comes to."""
    name, first = node.function, arguments[0].size if arguments else LENGTHS
    if name in {"lowerAscii", "upperAscii", "reverse", "sort", "sortBy"}:
        return first
    if name in {"trim", "substring", "slice", "distinct"}:
        return Range(0, first.high)
    if name == "split":
        return Range(0, first.high + 1)
    if name == "range":
        return arguments[0].range.cut(Range(0, LIST_LENGTH_MAX))
    return LENGTHS


def demand(node: Call, arguments: list[Known], state: State) -> tuple[str, str, str] | None:
    """
    What a call of arguments of fitting types asks for and is not known to get.

    Returns: kind of problem, what may go wrong, and a guard with ``{0}``, ``{1}`` for the arguments, or none;
    None where nothing can go wrong. Overloads that are certain are not asked about.
    """
    ask = _DEMANDS.get(node.function)
    if ask is None:
        return "argument", f"`{node.function}` may have no value here", ""
    return ask(node, arguments, state)


_Found = tuple[str, str, str] | None


def _int(_node: Call, arguments: list[Known], state: State) -> _Found:
    given = arguments[0]
    if given.type.name == "string":
        if f"digits({given.key})" in state.true:
            return None
        return (
            "conversion",
            "a text that is no number has no `int`",
            "{0}.matches('^-?[0-9]{{1,18}}$')",
        )
    if given.range.within(INTS if given.type.name == "uint" else _DOUBLE_INTS):
        return None
    return "conversion", "a number of this size has no `int`", "{0} > -1e18 && {0} < 1e18"


def _uint(_node: Call, arguments: list[Known], _state: State) -> _Found:
    given = arguments[0]
    if given.type.name == "string":
        return "conversion", "a text that is no number has no `uint`", ""
    if given.range.within(UINTS if given.type.name == "int" else _DOUBLE_UINTS):
        return None
    if given.type.name == "int":
        return "conversion", "a negative number has no `uint`", "{0} >= 0"
    return "conversion", "a number of this size has no `uint`", "{0} >= 0.0 && {0} < 1e18"


def _double(_node: Call, arguments: list[Known], state: State) -> _Found:
    if f"digits({arguments[0].key})" in state.true:
        return None
    return (
        "conversion",
        "a text that is no number has no `double`",
        "{0}.matches('^-?[0-9]{{1,18}}$')",
    )


def _bool(_node: Call, _arguments: list[Known], _state: State) -> _Found:
    return "conversion", "a text other than `true` or `false` has no `bool`", ""


def _abs(_node: Call, arguments: list[Known], _state: State) -> _Found:
    if arguments[0].range.low > INTS.low:
        return None
    return "overflow", "the smallest integer has no positive counterpart", "{0} > -1000000000000000"


def _address(_node: Call, arguments: list[Known], state: State) -> _Found:
    if f"isIP({arguments[0].key})" in state.true:
        return None
    return "conversion", "the text may be no IP address", "isIP({0})"


def _block(_node: Call, arguments: list[Known], state: State) -> _Found:
    if f"isCIDR({arguments[0].key})" in state.true:
        return None
    return "conversion", "the text may be no block of addresses", "isCIDR({0})"


def _contains_address(node: Call, arguments: list[Known], state: State) -> _Found:
    check = "isIP" if node.function == "containsIP" else "isCIDR"
    if f"{check}({arguments[1].key})" in state.true or _is_valid(arguments[1], check):
        return None
    return "conversion", "the text may be no address", f"{check}({{1}})"


def _is_valid(known: Known, check: str) -> bool:
    if not isinstance(known.value, str):
        return False
    program = cel.compile_expression(
        cel.parse(f"{check}(text)"), cel.Environment({"text": cel.read_type("string")})
    )
    return program.evaluate({"text": known.value}) is True


def _position(node: Call, arguments: list[Known], _state: State) -> _Found:
    """Positions in a text or list: from 0 to its length."""
    length = arguments[0].size
    at = arguments[1:] if node.function in {"substring", "slice", "charAt"} else arguments[2:]
    if all(each.range.within(Range(0, length.low)) for each in at):
        pairs = pairwise(at)
        if all(first.range.high <= second.range.low for first, second in pairs):
            return None
    highest = max((each.range.high for each in at), default=0)
    exact = all(each.range.low == each.range.high for each in at)
    guard = f"size({{0}}) >= {highest}" if exact and 0 <= highest < 10**9 else ""
    return "argument", f"a position that `{node.function}` takes may lie outside", guard


def _option(node: Call, arguments: list[Known], state: State) -> _Found:
    key = arguments[0].key
    if key is not None and f"{key} has a value" in state.true:
        return None
    if node.function != "value":
        return None
    return "absent", "the optional may be empty", "{0}.hasValue()"


def _size_of_text(node: Call, arguments: list[Known], _state: State) -> _Found:
    """``replace`` and ``join`` may build a text beyond the bound."""
    high = arguments[0].size.high
    if node.function == "replace":
        high = (high + 1) * max(1, arguments[2].size.high)
    elif len(arguments) > 1:
        high *= arguments[1].size.high + 1
    if high <= LENGTHS.high:
        return None
    return "cost", "the text that it builds may be too long", "size({0}) <= 10000"


def _zone(_node: Call, _arguments: list[Known], _state: State) -> _Found:
    return "argument", "the time zone may not exist", ""


def _zone_literal(node: Call, arguments: list[Known], state: State) -> _Found:
    zone = arguments[-1].value
    if isinstance(zone, str):
        program = f'timestamp("2026-01-01T00:00:00Z").{node.function}(zone)'
        try:
            cel.compile_expression(
                cel.parse(program), cel.Environment({"zone": cel.read_type("string")})
            ).evaluate({"zone": zone})
        except cel.EvaluationError:
            return "argument", f"there is no time zone `{zone}`", ""
        return None
    return _zone(node, arguments, state)


def _shift(_node: Call, arguments: list[Known], _state: State) -> _Found:
    if arguments[1].range.low >= 0:
        return None
    return "argument", "a shift may be negative", "{1} >= 0"


def _length(_node: Call, arguments: list[Known], _state: State) -> _Found:
    if arguments[0].range.within(Range(0, LIST_LENGTH_MAX)):
        return None
    return "argument", "the list may be too long", f"{{0}} >= 0 && {{0}} <= {LIST_LENGTH_MAX}"


def _ordered(node: Call, arguments: list[Known], _state: State) -> _Found:
    element = arguments[0].type.parameters[0].name if arguments[0].type.parameters else "dyn"
    if element in {"int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration"}:
        return None
    return "type", f"`{node.function}` orders elements of one type, and these may be of several", ""


def _pattern(_node: Call, arguments: list[Known], _state: State) -> _Found:
    if isinstance(arguments[-1].value, str):
        return None
    return "argument", "a pattern that is no literal may be no regular expression", ""


def _nothing(_node: Call, _arguments: list[Known], _state: State) -> _Found:
    return None


_DEMANDS: Final = {
    "int": _int, "uint": _uint, "double": _double, "bool": _bool, "abs": _abs,
    "ip": _address, "isCanonical": _address, "cidr": _block, "containsIP": _contains_address,
    "containsCIDR": _contains_address, "charAt": _position, "substring": _position,
    "slice": _position, "indexOf": _position, "lastIndexOf": _position,
    "value": _option, "hasValue": _nothing, "or": _nothing, "orValue": _nothing,
    "unwrap": _nothing, "unwrapOpt": _nothing, "distinct": _nothing,
    "replace": _size_of_text, "join": _size_of_text, "matches": _pattern,
    "bitShiftLeft": _shift, "bitShiftRight": _shift, "range": _length, "sort": _ordered,
    **dict.fromkeys(TIME_PARTS, _zone_literal),
}  # fmt: skip
