"""
The checker: the type of each node, or what does not fit.

It goes on after a fault, with a type that fits everywhere, so that one run finds all faults. Nodes are
known by identity; ``Checked`` keeps the tree, so that no identity is used twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel import names
from enforcer.cel.errors import CelCheckError, EvaluationError, Issue
from enforcer.cel.functions.arithmetic import EXTREMES
from enforcer.cel.functions.patterns import searcher
from enforcer.cel.limits import ISSUES_MAX
from enforcer.cel.macros import INDEX, written
from enforcer.cel.standard import OPERATOR_TYPES, TYPES
from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Chain,
    Conditional,
    Has,
    Ident,
    Index,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    MapDisplay,
    Message,
    Node,
    Select,
    Unary,
)
from enforcer.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    NUMBERS,
    STRING,
    UINT,
    Mapping,
    Type,
    is_parameter,
    is_wild,
    list_of,
    map_of,
    most_general,
    optional_of,
    type_of,
)
from enforcer.cel.values import UInt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from enforcer.cel.parser import Expression
    from enforcer.cel.registry import Overload

_LITERALS: Final[dict[type, Type]] = {
    type(None): NULL,
    bool: BOOL,
    int: INT,
    UInt: UINT,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
}
_CONDITIONS: Final = frozenset({"all", "exists", "exists_one", "existsOne"})


@dataclass(frozen=True, slots=True)
class Checked:
    """
    An expression with its types.

    ``types`` knows each node by ``id(node)``. With ``issues`` the types are not to be trusted.
    """

    expression: Expression
    environment: names.Environment
    type: Type
    types: dict[int, Type] = field(repr=False)
    issues: tuple[Issue, ...]

    def raise_issues(self) -> Checked:
        """
        Itself, if nothing is wrong.

        Raises: CelCheckError, with all issues.
        """
        if self.issues:
            raise CelCheckError(self.issues)
        return self


def check(expression: Expression, environment: names.Environment) -> Checked:
    """Type *expression*. What is wrong is in the result's ``issues``, sorted by place."""
    checker = _Checker(expression, environment)
    found = checker.visit(expression.root)
    substitute = checker.mapping.substitute
    types = {at: substitute(each, free_to_dyn=True) for at, each in checker.types.items()}
    issues = sorted(checker.issues, key=lambda issue: (issue.start, issue.end, issue.message))
    return Checked(
        expression,
        environment,
        substitute(found, free_to_dyn=True),
        types,
        tuple(dict.fromkeys(issues))[:ISSUES_MAX],
    )


class _Checker:
    def __init__(self, expression: Expression, environment: names.Environment) -> None:
        self.source = expression.source
        self.environment = environment
        self.mapping = Mapping()
        self.types: dict[int, Type] = {}
        self.issues: list[Issue] = []
        self.scope: dict[str, Type] = {}
        self.fresh_count = 0

    def visit(self, node: Node) -> Type:
        found = _VISIT[node.__class__](self, node)
        self.types[id(node)] = found
        return found

    def issue(self, kind: str, message: str, node: Node) -> Type:
        self.issues.append(self.source.issue(kind, message, node.span))
        return ERROR

    def fresh(self) -> Type:
        self.fresh_count += 1
        return Type(f"@{self.fresh_count}")

    def shown(self, types: Iterable[Type]) -> str:
        return ", ".join(str(self.mapping.substitute(each, free_to_dyn=True)) for each in types)

    def resolved(self, type_: Type) -> Type:
        return self.mapping.substitute(type_)

    # --- leaves and names -----------------------------------------------------------------------

    def literal(self, node: Literal) -> Type:
        return _LITERALS[node.value.__class__]

    def ident(self, node: Ident) -> Type:
        if not node.absolute and node.name in self.scope:
            return self.scope[node.name]
        found = self.named(node)
        if found is not None:
            return found
        name = written(node.name)
        where = f" (in container '{self.environment.container}')"
        return self.issue("undeclared", f"undeclared reference to '{name}'{where}", node)

    def named(self, node: Ident | Select) -> Type | None:
        """The type of a name that is declared, or that stands for a type."""
        variable = names.variable_named(self.environment, node, self.scope)
        if variable is not None:
            return self.environment.variables[variable]
        name = names.type_named(self.environment, node, self.scope)
        return type_of(TYPES[name]) if name is not None else None

    def select(self, node: Select) -> Type:
        if node.optional:
            variable = names.presence_named(self.environment, node, self.scope)
            if variable is not None:
                return optional_of(self.environment.variables[variable])
            return self.field_of(node)
        found = self.named(node)
        return found if found is not None else self.field_of(node)

    def field_of(self, node: Select) -> Type:
        operand = self.resolved(self.visit(node.operand))
        is_optional = operand.name == "optional"
        if is_optional:
            operand = self.resolved(operand.parameters[0])
        if operand.name == "map":
            found = operand.parameters[1]
        elif is_parameter(operand):
            self.mapping.fits((DYN,), (operand,))
            found = DYN
        elif is_wild(operand):
            found = DYN
        else:
            shown = self.shown([operand])
            return self.issue("no_field", f"type '{shown}' does not support field selection", node)
        return optional_of(found) if is_optional or node.optional else found

    def has(self, node: Has) -> Type:
        if names.presence_named(self.environment, node.select, self.scope) is not None:
            return BOOL
        # The field itself is no name with dots: its operand may be.
        self.types[id(node.select)] = self.field_of(node.select)
        return BOOL

    # --- operators and calls --------------------------------------------------------------------

    def overload(
        self, overloads: Iterable[Overload], arguments: Sequence[Type], *, is_member: bool = False
    ) -> Type | None:
        """The result of the overloads that fit; dyn where they differ; None where none does."""
        result: Type | None = None
        for overload in overloads:
            if overload.is_member != is_member or len(overload.parameters) != len(arguments):
                continue
            fresh = Mapping()
            fresh.found.update((name, self.fresh()) for name in overload.generics)
            wanted = tuple(map(fresh.substitute, overload.parameters))
            if not self.mapping.fits(tuple(arguments), wanted):
                continue
            found = self.resolved(fresh.substitute(overload.result))
            if result is None:
                result = found
            elif result.name != "dyn" and found != result:
                result = DYN
        return result

    def operation(self, name: str, node: Node, *arguments: Type) -> Type:
        found = self.overload(OPERATOR_TYPES[name].overloads, arguments)
        return found if found is not None else self.mismatch(name, node, arguments)

    def mismatch(self, name: str, node: Node, arguments: Iterable[Type]) -> Type:
        shown = self.shown(arguments)
        message = f"found no matching overload for '{name}' applied to '({shown})'"
        return self.issue("no_overload", message, node)

    def unary(self, node: Unary) -> Type:
        return self.operation(f"unary {node.operator}", node, self.visit(node.operand))

    def logic(self, node: Logic) -> Type:
        for operand in node.operands:
            self.condition(operand, f"an operand of `{node.operator}`")
        return BOOL

    def condition(self, node: Node, what: str) -> None:
        found = self.visit(node)
        if not self.mapping.fits((found,), (BOOL,)):
            self.issue("not_bool", f"{what} is a bool, not {self.shown([found])}", node)

    def chain(self, node: Chain) -> Type:
        left = self.visit(node.first)
        for operator, right in node.steps:
            left = self.operation(operator, node, left, self.visit(right))
        return left

    def conditional(self, node: Conditional) -> Type:
        arguments = [self.visit(each) for each in (node.test, node.then, node.otherwise)]
        return self.operation("?:", node, *arguments)

    def index(self, node: Index) -> Type:
        name = "[?]" if node.optional else "[]"
        return self.operation(name, node, self.visit(node.operand), self.visit(node.index))

    def call(self, node: Call) -> Type:
        name = names.function_named(self.environment, node, self.scope)
        if name is None and node.target is not None:
            return self.member_call(node)
        arguments = [self.visit(each) for each in node.arguments]
        if name is None:
            where = f" (in container '{self.environment.container}')"
            message = f"undeclared reference to '{node.function}'{where}"
            return self.issue("undeclared", message, node)
        if name in EXTREMES:
            return self.extreme(name, node, arguments)
        found = self.overload(self.overloads(name, is_member=False), arguments)
        if name == "matches" and len(node.arguments) == 2:
            self.pattern(node.arguments[1])
        return found if found is not None else self.mismatch(name, node, arguments)

    def member_call(self, node: Call) -> Type:
        assert node.target is not None
        arguments = [self.visit(each) for each in (node.target, *node.arguments)]
        overloads = self.overloads(node.function, is_member=True)
        if not overloads:
            message = f"undeclared reference to '{node.function}' (in container '{self.environment.container}')"
            return self.issue("undeclared", message, node)
        if node.function == "matches" and len(node.arguments) == 1:
            self.pattern(node.arguments[0])
        found = self.overload(overloads, arguments, is_member=True)
        return found if found is not None else self.mismatch(node.function, node, arguments)

    def overloads(self, name: str, *, is_member: bool) -> list[Overload]:
        function = self.environment.function_code(name, is_member=is_member)
        return function.overloads if function is not None else []

    def pattern(self, node: Node) -> None:
        """A pattern that stands in the expression is refused here, not at run time."""
        if isinstance(node, Literal) and node.value.__class__ is str:
            try:
                searcher(node.value)
            except EvaluationError as error:
                self.issue("bad_pattern", error.message, node)

    def extreme(self, name: str, node: Call, arguments: list[Type]) -> Type:
        numbers = [self.resolved(each) for each in arguments]
        if len(numbers) == 1 and numbers[0].name == "list":
            numbers = [self.resolved(numbers[0].parameters[0])]
        if not numbers or not all(
            each in NUMBERS or is_wild(each) or is_parameter(each) for each in numbers
        ):
            return self.mismatch(name, node, arguments)
        return numbers[0] if len(set(numbers)) == 1 else DYN

    # --- displays -------------------------------------------------------------------------------

    def joined(self, previous: Type | None, current: Type) -> Type:
        if previous is None:
            return current
        if self.mapping.fits((previous,), (current,)):
            return most_general(self.resolved(previous), self.resolved(current))
        return DYN

    def element(self, node: Node, *, optional: bool) -> Type:
        found = self.visit(node)
        if not optional:
            return found
        value = self.fresh()
        if not self.mapping.fits((found,), (optional_of(value),)):
            shown = self.shown([found])
            return self.issue("not_optional", f"expected an optional, found {shown}", node)
        return self.resolved(value)

    def list_display(self, node: ListDisplay) -> Type:
        element: Type | None = None
        for at, each in enumerate(node.elements):
            element = self.joined(element, self.element(each, optional=at in node.optionals))
        return list_of(element if element is not None else self.fresh())

    def map_display(self, node: MapDisplay) -> Type:
        key: Type | None = None
        value: Type | None = None
        for at, (key_node, value_node) in enumerate(node.entries):
            key = self.joined(key, self.visit(key_node))
            value = self.joined(value, self.element(value_node, optional=at in node.optionals))
        if key is None or value is None:
            return map_of(self.fresh(), self.fresh())
        return map_of(key, value)

    def message(self, node: Message) -> Type:
        for _, value in node.fields:
            self.visit(value)
        return self.issue("no_messages", f"there is no message type '{node.name}'", node)

    # --- macros ---------------------------------------------------------------------------------

    def within(self, variables: dict[str, Type], visit: Callable[[], Any]) -> Any:
        """What *visit* gives while *variables* are in scope."""
        outer, self.scope = self.scope, {**self.scope, **variables}
        try:
            return visit()
        finally:
            self.scope = outer

    def macro(self, node: Macro) -> Type:
        operand = self.resolved(self.visit(node.operand))
        if node.kind in {"optMap", "optFlatMap"}:
            return self.optional_macro(node, operand)
        range_types = self.ranges(node, operand)
        variables = dict(zip(node.variables, range_types[-len(node.variables) :], strict=True))
        if len(node.variables) == 1:
            variables = {node.variables[0]: range_types[0 if operand.name == "map" else 1]}
        element = variables[node.variables[0]]
        if len(node.bodies) == 2:
            self.within(variables, lambda: self.condition(node.bodies[0], "a filter"))
        body = node.bodies[-1]
        if node.kind in _CONDITIONS or node.kind == "filter":
            self.within(variables, lambda: self.condition(body, f"the condition of `{node.kind}`"))
            return list_of(element) if node.kind == "filter" else BOOL
        found: Type = self.within(variables, lambda: self.visit(body))
        if node.kind == "sortBy":
            return list_of(element)
        if node.kind == "transformMap":
            return map_of(range_types[0], found)
        if node.kind == "transformMapEntry":
            key, value = self.fresh(), self.fresh()
            if not self.mapping.fits((found,), (map_of(key, value),)):
                self.issue("no_overload", f"expected a map, found {self.shown([found])}", body)
            return map_of(key, value)
        return list_of(found)

    def ranges(self, node: Macro, operand: Type) -> tuple[Type, Type]:
        """Key and value of what a macro runs over."""
        if operand.name == "list":
            return INT, operand.parameters[0]
        if operand.name == "map":
            return operand.parameters[0], operand.parameters[1]
        if is_parameter(operand):
            self.mapping.fits((DYN,), (operand,))
        elif not is_wild(operand):
            shown = self.shown([operand])
            message = f"expression of type '{shown}' cannot be the range of '{node.kind}'"
            self.issue("no_range", message, node.operand)
        return DYN, DYN

    def optional_macro(self, node: Macro, operand: Type) -> Type:
        value = self.fresh()
        if not self.mapping.fits((operand,), (optional_of(value),)):
            return self.mismatch(node.kind, node, [operand])
        body = node.bodies[0]
        scope = {node.variables[0]: self.resolved(value)}
        found: Type = self.within(scope, lambda: self.visit(body))
        if node.kind == "optMap":
            return optional_of(found)
        result = optional_of(self.fresh())
        if not self.mapping.fits((found,), (result,)):
            return self.mismatch(node.kind, node, [operand, found])
        return self.resolved(result)

    def bind(self, node: Bind) -> Type:
        value = self.visit(node.value)
        found: Type = self.within({node.variable: value}, lambda: self.visit(node.body))
        return found

    def block(self, node: Block) -> Type:
        outer = self.scope
        for at, slot in enumerate(node.slots):
            self.scope = {**self.scope, f"{INDEX}{at}": self.visit(slot)}
        found = self.visit(node.body)
        self.scope = outer
        return found


_VISIT: Final[dict[type, Callable[[_Checker, Any], Type]]] = {
    Literal: _Checker.literal,
    Ident: _Checker.ident,
    Select: _Checker.select,
    Has: _Checker.has,
    Index: _Checker.index,
    Call: _Checker.call,
    Unary: _Checker.unary,
    Logic: _Checker.logic,
    Chain: _Checker.chain,
    Conditional: _Checker.conditional,
    ListDisplay: _Checker.list_display,
    MapDisplay: _Checker.map_display,
    Message: _Checker.message,
    Macro: _Checker.macro,
    Bind: _Checker.bind,
    Block: _Checker.block,
}
