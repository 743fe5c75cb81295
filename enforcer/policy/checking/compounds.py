"""Proofs of calls, displays and macros: the parts of an expression that have parts of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from enforcer import cel
from enforcer.cel import names
from enforcer.cel.functions.arithmetic import EXTREMES
from enforcer.cel.limits import STEPS_MAX
from enforcer.cel.types import BOOL, DYN, INT, Type
from enforcer.policy.checking import functions
from enforcer.policy.checking.known import NUMBER, UNKNOWN, Known, Range, State
from enforcer.policy.checking.operations import ORDERED, constant_parts, element_of
from enforcer.policy.checking.scope import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.cel.syntax import Bind, Block, Call, ListDisplay, Macro, MapDisplay, Node
    from enforcer.policy.checking.proof import Proof

CONTAINERS: Final = frozenset({"list", "map"})
_CONDITIONS: Final = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})
_LARGE: Final = 1_000


def prove_call(proof: Proof, node: Call, state: State, scope: Mapping[str, Known]) -> Known:
    """A function: its arguments must be of its types, and it may ask for more."""
    named = names.function_named(proof.environment.cel, node, scope)
    parts = list(node.arguments)
    if named is None and node.target is not None:
        parts.insert(0, node.target)
    arguments = [proof.visit(each, state, scope) for each in parts]
    result = proof.type(node)
    declared = all(each.is_declared for each in arguments)
    try:
        value = functions.constant(node, proof.environment.cel)
    except cel.EvaluationError as error:
        proof.problem("conversion", f"this never has a value: {error.message}", node, Known())
        return Known(result)
    if value is not UNKNOWN:
        return Known(result, **constant_parts(value))
    known = Known(
        result,
        range=functions.result_range(node, arguments, result.name),
        size=functions.result_size(node, arguments),
        key=key_of(node, scope),
        is_declared=declared,
    )
    _overloads(proof, node, named or node.function, parts, arguments, state)
    return state.of(known)


def _overloads(
    proof: Proof, node: Call, name: str, parts: list[Node], arguments: list[Known], state: State
) -> None:
    """Whether one overload takes the arguments for certain, and else what would."""
    is_member = node.target is not None and len(parts) > len(node.arguments)
    if name in EXTREMES:
        for part, known in zip(parts, arguments, strict=True):
            element = known.type.parameters[0] if known.type.name == "list" else known.type
            is_number = element == NUMBER or element.name in {"int", "uint", "double"}
            is_empty = known.type.name == "list" and known.size.low < 1
            if not is_number or is_empty:
                guard = f"size({proof.guards.text(part)}) > 0" if is_number else ""
                proof.problem(
                    "argument",
                    f"`{name}` takes numbers, one at least",
                    part,
                    known,
                    guard=guard,
                )
        return
    code = proof.environment.cel.function_code(name, is_member=is_member)
    if code is None:
        return
    fitting = [
        o
        for o in code.overloads
        if o.is_member == is_member and len(o.parameters) == len(arguments)
    ]
    exact = [o for o in fitting if all(map(_takes, o.parameters, arguments))]
    if not exact:
        _mistyped(proof, node, name, parts, arguments, fitting)
        return
    if exact[0].is_certain and name != "flatten":
        return
    found = functions.demand(node, arguments, state)
    if found is not None:
        kind, said, template = found
        texts = [proof.guards.text(each) for each in parts]
        guard = template.format(*texts) if template else ""
        is_declared = all(each.is_declared for each in arguments)
        proof.problem(kind, said, node, Known(is_declared=is_declared), guard=guard)


def _mistyped(
    proof: Proof,
    node: Call,
    name: str,
    parts: list[Node],
    arguments: list[Known],
    fitting: list[Any],
) -> None:
    """Arguments whose types show at run time only, with the guard that the overloads agree on."""
    for at, (part, known) in enumerate(zip(parts, arguments, strict=True)):
        wanted = {o.parameters[at].name for o in fitting}
        if not known.is_dyn and known.type != NUMBER:
            continue
        guard = ""
        if known.key is None:
            pass
        elif len(wanted) == 1 and not next(iter(wanted)).startswith("@"):
            guard = f"type({proof.guards.text(part)}) == {next(iter(wanted))}"
        elif "string" in wanted:
            guard = f"type({proof.guards.text(part)}) == string"
        said = f"{proof.guards.quoted(part)} may be of a type that `{name}` does not take"
        proof.problem("type", said, part, known, guard=guard)
        return
    first = Known(is_declared=all(each.is_declared for each in arguments))
    proof.problem("type", f"`{name}` may not take these types", node, first)


def prove_list(proof: Proof, node: ListDisplay, state: State, scope: Mapping[str, Known]) -> Known:
    """``[a, ?b]``."""
    found = [proof.visit(each, state, scope) for each in node.elements]
    value: Any = UNKNOWN
    if not node.optionals and all(each.value is not UNKNOWN for each in found):
        value = [each.value for each in found]
    least = len(found) - len(node.optionals)
    declared = all(each.is_declared for each in found)
    return Known(proof.type(node), size=Range(least, len(found)), value=value, is_declared=declared)


def prove_map(proof: Proof, node: MapDisplay, state: State, scope: Mapping[str, Known]) -> Known:
    """``{k: v}``, where no key may stand twice."""
    keys = [proof.visit(key, state, scope) for key, _ in node.entries]
    values = [proof.visit(value, state, scope) for _, value in node.entries]
    written = [each.value for each in keys]
    is_sure = all(isinstance(each, str) for each in written) and len(set(written)) == len(written)
    if not is_sure and (len(keys) > 1 or any(each.is_dyn for each in keys)):
        proof.problem("key", "a key may stand twice, or be of a type that is no key", node, Known())
    value: Any = UNKNOWN
    if is_sure and not node.optionals and all(each.value is not UNKNOWN for each in values):
        value = dict(zip(written, (each.value for each in values), strict=True))
    least = len(keys) - len(node.optionals)
    return Known(proof.type(node), size=Range(least, len(keys)), value=value)


def prove_macro(proof: Proof, node: Macro, state: State, scope: Mapping[str, Known]) -> Known:
    """A macro: its body holds for any element."""
    operand = proof.visit(node.operand, state, scope)
    if node.kind in {"optMap", "optFlatMap"}:
        inner = operand.type.parameters[0] if operand.type.parameters else DYN
        key = operand.key[:-1] if operand.key and operand.key.endswith("?") else proof.fresh()
        variable = Known(inner, operand.shape, key=key, is_declared=operand.is_declared)
        proof.visit(node.bodies[0], state, {**scope, node.variables[0]: variable})
        return Known(proof.type(node), is_declared=operand.is_declared)
    if operand.type.name not in CONTAINERS:
        text = proof.guards.text(node.operand)
        said = f"{proof.guards.quoted(node.operand)} may be no list"
        proof.problem("type", said, node.operand, operand, guard=f"type({text}) == list")
    variables = _variables(proof, node, operand)
    _steps(proof, node, operand)
    proof.loops.append((frozenset(each.key for each in variables.values()), operand))
    _bodies(proof, node, state, {**scope, **variables})
    proof.loops.pop()
    if node.kind == "transformMapEntry":
        proof.problem("key", "a key may stand twice in the map that it makes", node, operand)
    if node.kind == "sortBy" and proof.type(node.bodies[-1]).name not in ORDERED:
        proof.problem("type", "the keys may be of several types", node, operand)
    is_filter = node.kind == "filter" or len(node.bodies) > 1
    size = Range(0 if is_filter else operand.size.low, operand.size.high)
    shape = operand.shape if node.kind in {"filter", "sortBy"} else None
    return Known(proof.type(node), shape, size=size, is_declared=operand.is_declared)


def _bodies(proof: Proof, node: Macro, state: State, scope: Mapping[str, Known]) -> None:
    """The expressions of a macro: where there are two, the first one guards the second."""
    for at, each in enumerate(node.bodies):
        if at < len(node.bodies) - 1 or node.kind in _CONDITIONS:
            proof.condition(each, state, scope, node)
            state = proof.assumptions.learn(each, True, state, scope)
        else:
            proof.visit(each, state, scope)


def _variables(proof: Proof, node: Macro, operand: Known) -> dict[str, Known]:
    """What is known of the variables of a macro."""
    element = element_of(operand)
    is_list = operand.type.name != "map"
    at = Known(INT if is_list else element[0].type, range=Range(0, max(0, operand.size.high - 1)))
    found = [at, element[1]]
    if len(node.variables) == 1:
        found = [element[1] if is_list else element[0]]
    keyed = [replace(each, key=proof.fresh()) for each in found]
    return dict(zip(node.variables, keyed, strict=True))


def _steps(proof: Proof, node: Macro, operand: Known) -> None:
    """Macros within macros make a bounded number of steps in all."""
    if not proof.loops:
        return
    root = (operand.key or "").partition(".")[0].partition("[")[0]
    product: float = operand.size.high
    for keys, outer in proof.loops:
        # What belongs to the elements of a list is, over all of them, no more than the request.
        product *= 1 if root in keys else outer.size.high
    if product <= STEPS_MAX:
        return
    lists = [*(outer for _, outer in proof.loops), operand]
    large = [each.key or "#" for each in lists if each.size.high > _LARGE]
    guard = " && ".join(f"size({key}) <= 1000" for key in dict.fromkeys(large))
    guard = "" if "#" in guard else guard
    said = "macros within macros may make more than 10,000,000 steps"
    help_line = "bound the lists: `size(user.roles) <= 1000 && …`"
    proof.problem("cost", said, node, operand, guard=guard, help_line=help_line)


def prove_bind(proof: Proof, node: Bind, state: State, scope: Mapping[str, Known]) -> Known:
    """``cel.bind(x, value, body)``."""
    value = proof.visit(node.value, state, scope)
    if value.key is None:
        value = replace(value, key=proof.fresh())
    inner = {**scope, node.variable: value}
    if proof.type(node.body) == BOOL:
        return proof.condition(node.body, state, inner, node)
    return proof.visit(node.body, state, inner)


def prove_block(proof: Proof, node: Block, state: State, scope: Mapping[str, Known]) -> Known:
    """``cel.block([…], body)``."""
    inner = dict(scope)
    for at, slot in enumerate(node.slots):
        value = proof.visit(slot, state, inner)
        inner[f"@index{at}"] = value if value.key else replace(value, key=proof.fresh())
    return proof.visit(node.body, state, inner)


def _takes(wanted: Type, known: Known) -> bool:
    """Whether an argument is of the type of a parameter for certain."""
    if wanted.name.startswith("@") or wanted.name == "dyn":
        return True
    if wanted.name != known.type.name:
        return False
    inner = known.type.parameters
    return not inner or all(
        each.name.startswith("@") or each.name in {"dyn", have.name}
        for each, have in zip(wanted.parameters, inner, strict=False)
    )
