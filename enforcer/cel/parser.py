"""
The parser: tokens to one tree, by recursive descent without recursion.

Every rule that may nest is a generator that yields the rule it needs and is sent that rule's node. So a
hostile text costs memory, never Python's stack, and the bounds on nesting are ours. Chains of binary
operators are read flat and grouped by precedence afterwards.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from enforcer.cel import macros
from enforcer.cel.lexer import RESERVED, Token, tokens
from enforcer.cel.limits import DEPTH_MAX, NODES_MAX, PARENTHESES_MAX
from enforcer.cel.source import Source
from enforcer.cel.syntax import (
    Call,
    Chain,
    Conditional,
    Ident,
    Index,
    ListDisplay,
    Literal,
    Logic,
    MapDisplay,
    Message,
    Node,
    Select,
    Unary,
    children,
)
from enforcer.cel.values import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVELS: Final = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
_SHOWN_MAX: Final = 40
_BINARY: Final = frozenset().union(*_LEVELS)
_Rule: TypeAlias = Generator["_Rule", Any, Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree and the text it was read from."""

    root: Node
    source: Source


def parse(text: str, name: str = "") -> Expression:
    """
    Read one expression.

    Args:
        text: The whole expression.
        name: What spans call the text, usually a file.

    Raises: CelSyntaxError, with the place; LimitError, beyond ``limits``. Nothing else, whatever the text.
    """
    source = Source(text, name)
    root = _run(_Parser(source).whole())
    _measure(source, root)
    return Expression(root, source)


def _run(rule: _Rule) -> Node:
    stack = [rule]
    made: Any = None
    while stack:
        try:
            below = stack[-1].send(made)
        except StopIteration as done:
            stack.pop()
            made = done.value
        else:
            stack.append(below)
            made = None
    node: Node = made
    return node


def _measure(source: Source, root: Node) -> None:
    """Hold the bounds on depth and size."""
    count = 0
    level: list[Node] = [root]
    depth = 0
    while level:
        depth += 1
        count += len(level)
        if depth > DEPTH_MAX:
            raise source.too_large(
                f"the expression nests deeper than {DEPTH_MAX}", level[0].span[0]
            )
        if count > NODES_MAX:
            raise source.too_large(f"the expression has more than {NODES_MAX} terms", 0)
        level = [below for node in level for below in children(node)]


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.at = 0
        self.open = 0

    # --- tokens ---------------------------------------------------------------------------------

    def peek(self) -> str:
        return self.tokens[self.at].kind

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def take(self, kind: str) -> bool:
        if self.tokens[self.at].kind != kind:
            return False
        self.at += 1
        return True

    def expect(self, kind: str) -> Token:
        if self.tokens[self.at].kind != kind:
            raise self.unexpected(f"expected `{kind}`")
        return self.next()

    def unexpected(self, wanted: str) -> Exception:
        token = self.tokens[self.at]
        found = "the end of the expression"
        if token.kind != "end":
            found = f"`{self.source.text[token.start : min(token.end, token.start + _SHOWN_MAX)]}`"
        return self.source.error(f"{wanted}, found {found}", token.start, token.end)

    def end(self) -> int:
        """Where the token before this one ended."""
        return self.tokens[self.at - 1].end

    def enter(self) -> None:
        self.open += 1
        if self.open > PARENTHESES_MAX:
            place = self.tokens[self.at].start
            raise self.source.too_large(f"brackets nest deeper than {PARENTHESES_MAX}", place)

    # --- rules ----------------------------------------------------------------------------------

    def whole(self) -> _Rule:
        node = yield self.expression()
        if self.peek() != "end":
            raise self.unexpected("expected an operator or the end")
        return node

    def expression(self) -> _Rule:
        """A conditional, whose last branch may be another: read in a loop, joined from the end."""
        branches: list[tuple[Node, Node]] = []
        while True:
            test = yield self.binary()
            if not self.take("?"):
                break
            then = yield self.binary()
            self.expect(":")
            branches.append((test, then))
        node: Node = test
        for condition, then in reversed(branches):
            node = Conditional(condition, then, node, (condition.span[0], node.span[1]))
        return node

    def binary(self) -> _Rule:
        operands = [(yield self.unary())]
        operators: list[str] = []
        while self.peek() in _BINARY:
            operators.append(self.next().kind)
            operands.append((yield self.unary()))
        return _grouped(operands, operators, 0)

    def unary(self) -> _Rule:
        starts: list[int] = []
        sign = self.peek()
        if sign in {"!", "-"}:
            while self.peek() == sign and not self._is_negative_number():
                starts.append(self.next().start)
        node: Node = yield self.member()
        for start in reversed(starts):
            node = Unary(sign, node, (start, node.span[1]))
        return node

    def _is_negative_number(self) -> bool:
        following = self.tokens[self.at + 1]
        return (
            self.tokens[self.at].kind == "-"
            and following.kind == "literal"
            and following.value.__class__ in {int, float}
        )

    def member(self) -> _Rule:
        node: Node = yield self.primary()
        start = node.span[0]
        while True:
            if self.take("."):
                optional = self.take("?")
                field = self.field()
                if not optional and self.tokens[self.at - 1].kind != "quoted" and self.take("("):
                    arguments = yield self.arguments()
                    node = self.called(field, node, arguments, start=start)
                else:
                    node = Select(node, field, optional, (start, self.end()))
            elif self.take("["):
                optional = self.take("?")
                index = yield self.bracketed("]")
                node = Index(node, index, optional, (start, self.end()))
            else:
                return node

    def field(self) -> str:
        """The name behind a dot: any word but a keyword, or anything in backticks."""
        if self.peek() not in {"name", "quoted"}:
            raise self.unexpected("expected a field's name")
        return str(self.next().value)

    def bracketed(self, closing: str) -> _Rule:
        self.enter()
        node = yield self.expression()
        self.expect(closing)
        self.open -= 1
        return node

    def primary(self) -> _Rule:
        kind = self.peek()
        if kind == "literal":
            return self.literal(negative=None)
        if kind == "-" and self._is_negative_number():
            return self.literal(negative=self.next().start)
        if kind == "name" or kind == ".":  # noqa: PLR1714 — the hot one first
            return (yield self.named())
        opening = self.next()
        if kind == "(":
            return (yield self.bracketed(")"))
        if kind == "[":
            return (yield self.list_display(opening.start))
        if kind == "{":
            return (yield self.map_display(opening.start))
        self.at -= 1
        raise self.unexpected("expected an expression")

    def literal(self, negative: int | None) -> Node:
        token = self.next()
        value, start = token.value, token.start
        if negative is not None:
            start = negative
            value = -value
        elif value.__class__ is int and value > INT_MAX:
            raise self.source.error("an integer out of range", start, token.end)
        return Literal(value, (start, token.end))

    def named(self) -> _Rule:
        start = self.tokens[self.at].start
        absolute = self.take(".")
        token = self.tokens[self.at]
        if token.kind != "name":
            raise self.unexpected("expected a name")
        name = str(self.next().value)
        if name in RESERVED:
            raise self.source.error(f"`{name}` is a reserved word", token.start, token.end)
        if self.take("("):
            arguments = yield self.arguments()
            return self.called(name, None, arguments, start=start, absolute=absolute)
        if self._opens_message():
            return (yield self.message(name, start, absolute=absolute))
        return Ident(name, absolute, (start, self.end()))

    def _opens_message(self) -> bool:
        """Whether a brace follows the dotted name here; a map never follows a name."""
        at = self.at
        while self.tokens[at].kind == "." and self.tokens[at + 1].kind == "name":
            at += 2
        return self.tokens[at].kind == "{"

    def arguments(self) -> _Rule:
        self.enter()
        found: list[Node] = []
        if self.peek() != ")":
            found.append((yield self.expression()))
            while self.take(","):
                found.append((yield self.expression()))
        self.expect(")")
        self.open -= 1
        return tuple(found)

    def called(
        self,
        name: str,
        target: Node | None,
        arguments: tuple[Node, ...],
        *,
        start: int,
        absolute: bool = False,
    ) -> Node:
        call = Call(name, target, arguments, absolute, (start, self.end()))
        return macros.expanded(self.source, call) or call

    def list_display(self, start: int) -> _Rule:
        self.enter()
        elements: list[Node] = []
        optionals: set[int] = set()
        while self.peek() != "]":
            if self.take("?"):
                optionals.add(len(elements))
            elements.append((yield self.expression()))
            if not self.take(","):
                break
        self.expect("]")
        self.open -= 1
        return ListDisplay(tuple(elements), frozenset(optionals), (start, self.end()))

    def map_display(self, start: int) -> _Rule:
        self.enter()
        entries: list[tuple[Node, Node]] = []
        optionals: set[int] = set()
        while self.peek() != "}":
            if self.take("?"):
                optionals.add(len(entries))
            key = yield self.expression()
            self.expect(":")
            entries.append((key, (yield self.expression())))
            if not self.take(","):
                break
        self.expect("}")
        self.open -= 1
        return MapDisplay(tuple(entries), frozenset(optionals), (start, self.end()))

    def message(self, first: str, start: int, *, absolute: bool) -> _Rule:
        names = [first]
        while self.take("."):
            names.append(str(self.next().value))
        self.expect("{")
        self.enter()
        fields: list[tuple[str, Node]] = []
        optionals: set[int] = set()
        while self.peek() != "}":
            if self.take("?"):
                optionals.add(len(fields))
            name = self.field()
            self.expect(":")
            fields.append((name, (yield self.expression())))
            if not self.take(","):
                break
        self.expect("}")
        self.open -= 1
        span = (start, self.end())
        return Message(".".join(names), tuple(fields), absolute, frozenset(optionals), span)


def _grouped(operands: Sequence[Node], operators: Sequence[str], level: int) -> Node:
    """A flat chain as a tree: split at the weakest operators first, five levels at most."""
    if not operators:
        return operands[0]
    splits = [i for i, operator in enumerate(operators) if operator in _LEVELS[level]]
    if not splits:
        return _grouped(operands, operators, level + 1)
    parts: list[Node] = []
    start = 0
    for split in [*splits, len(operators)]:
        parts.append(_grouped(operands[start : split + 1], operators[start:split], level + 1))
        start = split + 1
    span = (parts[0].span[0], parts[-1].span[1])
    if level < 2:
        return Logic(operators[splits[0]], tuple(parts), span)
    steps = zip((operators[split] for split in splits), parts[1:], strict=True)
    return Chain(parts[0], tuple(steps), span)
