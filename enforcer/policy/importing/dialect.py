"""
The expressions of ``conditions.match`` to CEL.

They are CEL but for a few signs (``x => y``, ``#`` comments, ``!a in [..]``) and for what they name. Signs are
replaced outside of texts; the rest is parsed as CEL, and the tree rewritten from the top: the longest name known
is replaced, then what is below. A name that nothing here stands for makes the expression impossible.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from enforcer import cel
from enforcer.cel.syntax import (
    Call,
    Chain,
    Ident,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    Node,
    Select,
    Unary,
    rewritten_below,
)
from enforcer.policy.importing import names

if TYPE_CHECKING:
    from enforcer.policy.importing.report import Notes

_TEXT: Final = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
_SIGNS: Final = re.compile(rf"({_TEXT})|#[^\n]*|([A-Za-z_]\w*)\s*=>")
_METHODS: Final = {"starts_with": "startsWith", "ends_with": "endsWith", "length": "size"}
_ARITHMETIC: Final = frozenset("+-*/%")
_LISTS: Final = frozenset(
    {"tags", "roles", "permissions", "data_classification", "recent_prompts", "lawful_basis"}
)


def translated(text: str, notes: Notes) -> str:
    """
    *text* in CEL.

    Args:
        text: A ``match`` as written.
        notes: What changes, and what has no place here; where it is refused, the result means nothing.
    """
    try:
        expression = cel.parse(_SIGNS.sub(_sign, text).strip() or "true")
    except cel.CelSyntaxError as error:
        notes.refuse(f"the expression cannot be read: {error.message}")
        return "true"
    return cel.show(_Translation(notes).boolean(expression.root, frozenset()))


def _sign(match: re.Match[str]) -> str:
    if match.group(1) is not None:
        return match.group(1)
    return f"{match.group(2)}," if match.group(2) is not None else ""


def _path(node: Node) -> tuple[str, ...] | None:
    """The names of ``a.b.c``; None of anything else."""
    found: list[str] = []
    while isinstance(node, Select) and not node.optional:
        found.append(node.name)
        node = node.operand
    return (node.name, *reversed(found)) if isinstance(node, Ident) else None


class _Translation:
    """One expression. *hidden* are the variables of lambdas."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def boolean(self, node: Node, hidden: frozenset[str]) -> Node:
        """A node whose value is asked for as true or false: an absent attribute is false."""
        if isinstance(node, Logic):
            return Logic(node.operator, tuple(self.boolean(n, hidden) for n in node.operands))
        if isinstance(node, Unary) and node.operator == "!":
            return Unary("!", self.boolean(node.operand, hidden))
        return self._guarded(node, hidden, default=Literal(False))

    def _guarded(self, node: Node, hidden: frozenset[str], *, default: Literal) -> Node:
        """The translation; of an attribute, with what it counts as where it is absent."""
        found = self.node(node, hidden)
        path = _path(found)
        if path is not None and path[0] == "attributes" and path[0] not in hidden:
            shown = "false" if default.value is False else repr(default.value)
            self._notes.change(f"an absent `{'.'.join(path)}` counts as {shown}")
            inner = Select(_of(path[:-1]), path[-1], optional=True)
            return Call("orValue", inner, (default,))
        return found

    def node(self, node: Node, hidden: frozenset[str]) -> Node:
        """Any node."""
        path = _path(node)
        if path is not None:
            return node if path[0] in hidden else self._name(path)
        if isinstance(node, Select):
            return self._property(node, hidden)
        if isinstance(node, Call):
            return self._call(node, hidden)
        if isinstance(node, Chain):
            return self._chain(node, hidden)
        if isinstance(node, (Logic, Unary)):
            is_minus = isinstance(node, Unary) and node.operator != "!"
            return (
                rewritten_below(node, lambda n: self.node(n, hidden))
                if is_minus
                else self.boolean(node, hidden)
            )
        return rewritten_below(node, lambda below: self.node(below, hidden))

    def _name(self, path: tuple[str, ...]) -> Node:
        found = names.fact_of(path)
        if found is None:
            self._notes.refuse(names.why_not(path))
            return Literal(value=True)
        written, note = found
        if note:
            self._notes.change(note)
        return cel.parse(written).root

    def _property(self, node: Select, hidden: frozenset[str]) -> Node:
        """``f(x).name``: what a provider answered."""
        operand = node.operand
        if not isinstance(operand, Call):
            return rewritten_below(node, lambda below: self.node(below, hidden))
        name = _call_name(operand)
        if name == "now":
            written = {"hour": "now.getHours()", "minute": "now.getMinutes()"}.get(node.name)
            if written is not None:
                return cel.parse(written).root
        return self._provider(f"{name}().{node.name}")

    def _provider(self, name: str) -> Node:
        found = names.PROVIDERS.get(name)
        if found is None:
            self._notes.refuse(names.why_no_provider(name))
            return Literal(value=True)
        written, note = found
        if note:
            self._notes.change(note)
        return cel.parse(written).root

    def _call(self, node: Call, hidden: frozenset[str]) -> Node:
        name = _call_name(node)
        if name in names.PROVIDERS or name.partition(".")[0] in names.PROVIDER_ROOTS:
            return self._provider(name)
        if node.target is None:
            return self._function(node, hidden)
        arguments = node.arguments
        if node.function == "has_permission" and len(arguments) == 1:
            return Chain(arguments[0], (("in", _of(("user", "permissions"))),))
        if (
            node.function in {"any", "all"}
            and len(arguments) == 2
            and isinstance(arguments[0], Ident)
        ):
            variable = arguments[0].name
            body = self.boolean(arguments[1], hidden | {variable})
            kind = "exists" if node.function == "any" else "all"
            operand = self._guarded_list(node.target, hidden)
            return Macro(kind, operand, (variable,), (body,))
        if node.function == "weekday" and not arguments:
            target = self.node(node.target, hidden)
            days = Chain(Call("getDayOfWeek", target, ()), (("+", Literal(6)),))
            return Chain(days, (("%", Literal(7)),))
        if node.function == "add_days" and len(arguments) == 1:
            hours = Chain(Literal(86_400), (("*", self.node(arguments[0], hidden)),))
            return Chain(
                self.node(node.target, hidden),
                (("+", Call("duration", None, (Call("string", None, (hours,)),))),),
            )
        if node.function == "contains" and len(arguments) == 1:
            return self._contains(node, hidden)
        return self._method(node, hidden)

    def _contains(self, node: Call, hidden: frozenset[str]) -> Node:
        assert node.target is not None
        path = _path(node.target) or ()
        argument = self.node(node.arguments[0], hidden)
        if path and path[-1] in _LISTS:
            return Chain(argument, (("in", self._guarded_list(node.target, hidden)),))
        target = self._guarded(node.target, hidden, default=Literal(""))
        return Call("contains", target, (argument,))

    def _guarded_list(self, node: Node, hidden: frozenset[str]) -> Node:
        found = self.node(node, hidden)
        path = _path(found)
        if path is not None and path[0] == "attributes" and path[0] not in hidden:
            self._notes.change(f"an absent `{'.'.join(path)}` counts as empty")
            inner = Select(_of(path[:-1]), path[-1], optional=True)
            return Call("orValue", inner, (ListDisplay(()),))
        return found

    def _method(self, node: Call, hidden: frozenset[str]) -> Node:
        assert node.target is not None
        function = _METHODS.get(node.function, node.function)
        known = {"matches", "contains", "startsWith", "endsWith", "size", "lowerAscii", "getHours"}
        if function not in known:
            self._notes.refuse(f"there is no method `{node.function}`")
            return Literal(value=True)
        target = self._guarded(node.target, hidden, default=Literal(""))
        arguments = tuple(self.node(each, hidden) for each in node.arguments)
        if function == "size":
            return Call("size", None, (target,))
        return Call(function, target, arguments)

    def _function(self, node: Call, hidden: frozenset[str]) -> Node:
        arguments = tuple(self.node(each, hidden) for each in node.arguments)
        if node.function == "now" and not arguments:
            return Ident("now")
        if node.function == "abs" and len(arguments) == 1:
            return Call("abs", Ident("math"), arguments)
        if node.function in {"timestamp", "duration", "size"}:
            return Call(node.function, None, arguments)
        if node.function == "duration_since" and len(arguments) == 1:
            return Chain(Ident("now"), (("-", arguments[0]),))
        self._notes.refuse(f"there is no function `{node.function}`")
        return Literal(value=True)

    def _chain(self, node: Chain, hidden: frozenset[str]) -> Node:
        first, steps = node.first, node.steps
        if len(steps) == 1 and steps[0][0] == "in":
            if isinstance(first, Unary) and first.operator == "!":
                self._notes.change("`!a in b` is read as `!(a in b)`, as it was meant")
                return Unary("!", self._member(first.operand, steps[0][1], hidden))
            return self._member(first, steps[0][1], hidden)
        if steps[0][0] in {"==", "!="}:
            role = self._role(node, hidden)
            if role is not None:
                return role
            return rewritten_below(node, lambda below: self.node(below, hidden))
        if steps[0][0] in _ARITHMETIC:
            return self._arithmetic(node, hidden)
        literals = [
            each for each in (first, *(right for _, right in steps)) if isinstance(each, Literal)
        ]
        default = next((each for each in literals if not isinstance(each.value, bool)), Literal(0))
        zero = (
            Literal("")
            if isinstance(default.value, str)
            else Literal(0.0 if isinstance(default.value, float) else 0)
        )
        return rewritten_below(node, lambda below: self._guarded(below, hidden, default=zero))

    def _arithmetic(self, node: Chain, hidden: frozenset[str]) -> Node:
        """Numbers of different types do not mix: where one is a double, or unknown, all are doubles."""
        zero = Literal(0.0)
        operands = [
            self._guarded(each, hidden, default=zero)
            for each in (node.first, *(right for _, right in node.steps))
        ]
        kinds = {_number(each) for each in operands}
        if kinds & {"double", "unknown"}:
            operands = [_as_double(each) for each in operands]
        signs = [sign for sign, _ in node.steps]
        return Chain(operands[0], tuple(zip(signs, operands[1:], strict=True)))

    def _member(self, element: Node, group: Node, hidden: frozenset[str]) -> Node:
        if _path(element) == ("user", "role"):
            self._notes.change("a user has `roles`: one of them must be it")
            body = Chain(Ident("role"), (("in", self.node(group, hidden)),))
            return Macro("exists", _of(("user", "roles")), ("role",), (body,))
        return Chain(self.node(element, hidden), (("in", self._guarded_list(group, hidden)),))

    def _role(self, node: Chain, hidden: frozenset[str]) -> Node | None:
        """``user.role == x``: users have several roles here."""
        sign, right = node.steps[0]
        if len(node.steps) != 1 or _path(node.first) != ("user", "role"):
            return None
        self._notes.change("a user has `roles`: one of them must be it")
        found = Chain(self.node(right, hidden), (("in", _of(("user", "roles"))),))
        return found if sign == "==" else Unary("!", found)


def _number(node: Node) -> str:
    """What kind of number a translated operand is."""
    if isinstance(node, Literal):
        return "double" if isinstance(node.value, float) else "int"
    if isinstance(node, Chain):
        return _number(node.first)
    text = cel.show(node)
    if text.startswith(("double(", "math.abs(double", "llm.?estimated_cost_usd")):
        return "double"
    return "unknown" if text.startswith("attributes.") else "int"


def _as_double(node: Node) -> Node:
    if _number(node) == "double":
        return node
    if isinstance(node, Literal) and isinstance(node.value, int):
        return Literal(float(node.value))
    return Call("double", None, (node,))


def _of(path: tuple[str, ...]) -> Node:
    node: Node = Ident(path[0])
    for name in path[1:]:
        node = Select(node, name)
    return node


def _call_name(node: Call) -> str:
    path = () if node.target is None else _path(node.target)
    return node.function if path is None else ".".join((*path, node.function))
