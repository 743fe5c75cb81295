"""
The compiler: from a policy's intermediate form to one Python function.

Theory of operation
===================

A policy becomes a function ``run(request, facts, now_us, denied, hits, errors) -> denied``. It appends
the ``Match`` of each rule that matched to ``hits``, in the order of rule ids, and says whether a deny is
among the matches so far. Policies are called in canonical order, each with the ``denied`` of the one
before; rules other than deny are skipped once it is true. Nothing is looked up, dispatched or walked per
event: what can be known before a request comes is in the code or in a constant.

1. **The code is an ``ast``**, never text: no literal and no name of an author can end a string or begin
   a statement. Literals are ``ast.Constant`` or entries of the function's globals under generated names
   (``k0``, ``k1``); author names occur in neither.

2. **Three values.** A test yields True, False, or None for an error. ``All`` and ``AnyOf`` absorb errors
   in any order (see ir.py), so the terms of a chain are sorted: those that cannot err first, cheap
   before costly, then those that can.

3. **No nesting that follows the author's.** Python's own compiler recurses over nested expressions and
   blocks, so a deep condition must not become deep code. Tests that cannot err are the operands of one
   flat ``and`` or ``or``. Everything else is *predicated*: a compound term gets a guard variable, its
   statements each stand under ``if guard:`` at the same depth, and its result is folded into its
   parent's. A chain of 3,000 terms is 3,000 operands; 64 levels are 64 variables, not 64 indents.

       r = v1 == 'a' and v2 in k3          # the terms that cannot err
       if r is not False:                  # one that can: None is an error
           t = order_number(k4, v5, 10)
           if not t: r = t
       g = r is not False                  # a compound term, under its guard
       if g: q = v6 == 'x' or v7 == 'y'
       if g and not q: r = q

   The fold of ``All``: with r True or None and t any of three, ``r = r if t else t`` is t and r with
   false above error above true. ``AnyOf`` is the mirror image.

4. **Fields are read once** per function, into ``v0, v1, …``: those of ``match`` and ``unless`` first,
   the others after the guard has let the request through. Facts are not: a fact is computed when its
   expression is reached, and the facts object keeps it.

5. **Errors are a slow path.** A None that reaches a rule calls a method of ``failures``, which finds out
   what erred by looking at the few tests that can, and appends the rule's failure. A detector that cannot
   tell a fact raises RequestError; the test that asked is an error. Other exceptions are bugs and pass.

6. **Requirements.** Equality tests that a request must pass for any rule to match are read off the form
   (requirements.py); the program indexes policies by them. Absorption makes that exact: a false term
   makes a chain false whatever else errs in it.

The same documents give the same code: no sets are iterated, no addresses or clocks are involved.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from enforcer.errors import RequestError
from enforcer.policy import runtime
from enforcer.policy.fields import CONTAINS_PII, Field, Kind, Origin, is_direct
from enforcer.policy.ir import (
    NEGATIONS,
    ORDERINGS,
    All,
    AnyOf,
    Expr,
    Not,
    Test,
    can_err,
    cost,
    tests,
)
from enforcer.policy.reading import ABSENT, descend, read_record
from enforcer.policy.regex import compile_search

if TYPE_CHECKING:
    from enforcer.policy.failures import Failures
    from enforcer.policy.model import Guard, RuleCode, Run
    from enforcer.policy.paths import Path

_NUMBERS = frozenset({Kind.INT, Kind.DOUBLE})
_COMPARISONS: dict[str, type[ast.cmpop]] = {
    "gt": ast.Gt,
    "gte": ast.GtE,
    "lt": ast.Lt,
    "lte": ast.LtE,
}
_HELPERS: dict[str, Any] = {
    "ABSENT": ABSENT,
    "contains": runtime.contains,
    "descend": descend,
    "element_of": runtime.element_of,
    "matches": runtime.matches,
    "negated": runtime.negated,
    "order_number": runtime.order_number,
    "order_text": runtime.order_text,
    "order_time": runtime.order_time,
    "read_record": read_record,
    "same": runtime.same,
    "text_in": runtime.text_in,
    "unknown": RequestError,
}


class _Code:
    """The body of one function while it is written: statements, constants, fields read so far."""

    def __init__(self) -> None:
        self.globals: dict[str, Any] = dict(_HELPERS)
        self.body: list[ast.stmt] = []
        self._temporaries = 0
        self._constants = 0
        self._fields: dict[Path, str] = {}

    # --- pieces ---------------------------------------------------------------------------------

    def constant(self, value: Any) -> ast.expr:
        """A literal: scalars stand in the code, all else is a global under a generated name."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return ast.Constant(value)
        name = f"k{self._constants}"
        self._constants += 1
        self.globals[name] = value
        return _name(name)

    def temporary(self) -> str:
        """A fresh local name."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def emit(self, statement: ast.stmt, guard: str | None = None) -> None:
        """Append a statement, under its guard if it has one."""
        self.body.append(_if(_name(guard), [statement]) if guard else statement)

    # --- reading --------------------------------------------------------------------------------

    def load(self, expression: Expr) -> None:
        """Read the fields of *expression* that were not read yet."""
        for test in tests(expression):
            field = test.field
            if field.origin in {Origin.FACT, Origin.NOW} or field.path in self._fields:
                continue
            name = f"v{len(self._fields)}"
            self._fields[field.path] = name
            self.emit(_assign(name, self._read(field)))

    def _read(self, field: Field) -> ast.expr:
        path = field.path
        if is_direct(field):
            return _attribute(_name("request"), path)
        if field.origin is Origin.ATTRIBUTES:
            attributes = _attribute(_name("request"), ("attributes",))
            if len(path) == 2:
                get = ast.Attribute(attributes, "get", ast.Load())
                return ast.Call(get, [self.constant(path[1]), _name("ABSENT")], [])
            return _call("descend", attributes, self.constant(path[1:]))
        if field.origin is Origin.RAW:
            raw = _attribute(_name("request"), ("raw",))
            return _call("descend", raw, self.constant(path[1:]))
        return _call("read_record", _name("request"), self.constant(path))

    def value(self, field: Field) -> ast.expr:
        """The expression that stands for a field."""
        if field.origin is Origin.NOW:
            return _name("now_us")
        if field.origin is not Origin.FACT:
            return _name(self._fields[field.path])
        fact = _attribute(_name("facts"), (field.fact,))
        if field.path == CONTAINS_PII:
            return ast.Compare(fact, [ast.Gt()], [ast.Constant(0)])
        if field.argument is not None:
            fact = ast.Call(fact, [ast.Constant(field.argument)], [])
        if field.path[-2] == "counts":  # Of a kind.
            get = ast.Attribute(fact, "get", ast.Load())
            return ast.Call(get, [self.constant(field.path[-1]), ast.Constant(0)], [])
        return fact

    # --- conditions -----------------------------------------------------------------------------

    def lower(self, expression: Expr, guard: str | None = None) -> str:
        """
        Write the statements that evaluate *expression*; the name of the variable with its result.

        Under a guard that is false the variable is not set, and nobody reads it.
        """
        if isinstance(expression, Test):
            result = self.temporary()
            self.emit(self._assign_test(result, expression), guard)
            return result
        if isinstance(expression, Not):
            inner = self.lower(expression.term, guard)
            result = self.temporary()
            contrary: ast.expr = ast.UnaryOp(ast.Not(), _name(inner))
            if can_err(expression):
                contrary = _call("negated", _name(inner))
            self.emit(_assign(result, contrary), guard)
            return result
        return self._chain(expression, guard)

    def _chain(self, expression: All | AnyOf, guard: str | None) -> str:
        is_all = isinstance(expression, All)
        # Absorption makes terms commute; the sort is stable, so the order is the same every time.
        terms = sorted(expression.terms, key=cost)
        certain = [term for term in terms if isinstance(term, Test) and not term.can_err]
        result = self.temporary()
        operands = [self.test(term) for term in certain]
        self.emit(_assign(result, _flat(operands, is_all=is_all)), guard)
        for term in terms:
            if isinstance(term, Test):
                if term.can_err:
                    self._fold_test(term, result, guard, is_all=is_all)
            else:
                self._fold_compound(term, result, guard, is_all=is_all)
        return result

    def _fold_test(self, term: Test, result: str, guard: str | None, *, is_all: bool) -> None:
        inner = self.temporary()
        statements = [self._assign_test(inner, term), _fold(result, inner, is_all=is_all)]
        self.emit(_if(_undecided(result, is_all=is_all), statements), guard)

    def _assign_test(self, result: str, test: Test) -> ast.stmt:
        """The value of a test into a variable; None where a detector cannot tell the fact."""
        assign = _assign(result, self.test(test))
        if not test.is_detected:
            return assign
        unknown = ast.ExceptHandler(_name("unknown"), None, [_assign(result, ast.Constant(None))])
        return ast.Try([assign], [unknown], [], [])

    def _fold_compound(self, term: Expr, result: str, guard: str | None, *, is_all: bool) -> None:
        open_ = self.temporary()
        condition: ast.expr = _undecided(result, is_all=is_all)
        if guard is not None:
            condition = ast.BoolOp(ast.And(), [_name(guard), condition])
        self.emit(_assign(open_, condition))
        inner = self.lower(term, open_)
        self.emit(_fold(result, inner, is_all=is_all), open_)

    # --- tests ----------------------------------------------------------------------------------

    def test(self, test: Test) -> ast.expr:
        """The expression of one comparison: True, False, or None for an error."""
        positive = NEGATIONS.get(test.op)
        if positive is not None:
            contrary = Test(positive, test.field, test.value, test.span)
            if contrary.can_err:
                return _call("negated", self.test(contrary))
            return ast.UnaryOp(ast.Not(), self.test(contrary))
        if test.field.type.kind is Kind.TIME:
            compare = self.constant(runtime.COMPARE[test.op])
            return _call("order_time", compare, _name("now_us"), self.constant(test.value))
        value = self.value(test.field)
        return self._direct(test, value) if is_direct(test.field) else self._open(test, value)

    def _direct(self, test: Test, value: ast.expr) -> ast.expr:
        """A field of known type, None for absent."""
        kind = test.field.type.kind
        if test.op == "exists":
            if not test.field.optional:
                return ast.Constant(True)
            return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)])
        if test.op == "eq":
            return self._direct_equality(kind, value, test.value)
        if test.op == "in":
            return self._direct_membership(kind, value, test.value)
        if test.op == "contains" and kind is Kind.LIST:
            return ast.Compare(self.constant(test.value), [ast.In()], [value])
        present, value = self._present(test.field, value)
        if test.op in ORDERINGS:
            operator = _COMPARISONS[test.op]()
            found: ast.expr = ast.Compare(value, [operator], [self.constant(test.value)])
        elif test.op == "contains":
            found = ast.Compare(self.constant(test.value), [ast.In()], [value])
        else:
            found = ast.Call(self.constant(compile_search(test.value)), [value], [])
        return found if present is None else ast.BoolOp(ast.And(), [present, found])

    def _present(self, field: Field, value: ast.expr) -> tuple[ast.expr | None, ast.expr]:
        """The test that an optional field is there, and the value to go on with, read once."""
        if not field.optional:
            return None, value
        if isinstance(value, ast.Name):
            return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)]), value
        name = self.temporary()
        read = ast.NamedExpr(ast.Name(name, ast.Store()), value)
        return ast.Compare(read, [ast.IsNot()], [ast.Constant(None)]), _name(name)

    def _direct_equality(self, kind: Kind, value: ast.expr, literal: Any) -> ast.expr:
        if kind is Kind.LIST:
            return _call("same", value, self.constant(literal))
        if not _equals(kind, literal):
            return ast.Constant(False)
        operator = ast.Is() if kind is Kind.BOOL else ast.Eq()
        return ast.Compare(value, [operator], [self.constant(literal)])

    def _direct_membership(self, kind: Kind, value: ast.expr, literal: list[Any]) -> ast.expr:
        if kind is Kind.LIST:
            return _call("element_of", value, self.constant(literal))
        fitting = [each for each in literal if _equals(kind, each)]
        if not fitting:
            return ast.Constant(False)
        return ast.Compare(value, [ast.In()], [self.constant(frozenset(fitting))])

    def _open(self, test: Test, value: ast.expr) -> ast.expr:
        """A value whose type shows at run time, ABSENT for absent."""
        literal = test.value
        if test.op == "exists":
            return ast.Compare(value, [ast.IsNot()], [_name("ABSENT")])
        if test.op == "eq":
            if isinstance(literal, str):
                return ast.Compare(value, [ast.Eq()], [ast.Constant(literal)])
            return _call("same", value, self.constant(literal))
        if test.op == "in":
            if all(isinstance(each, str) for each in literal):
                return _call("text_in", value, self.constant(frozenset(literal)))
            return _call("element_of", value, self.constant(literal))
        if test.op == "contains":
            return _call("contains", value, self.constant(literal))
        if test.op == "matches":
            return _call("matches", value, self.constant(compile_search(literal)))
        helper = "order_text" if isinstance(literal, str) else "order_number"
        compare = self.constant(runtime.COMPARE[test.op])
        return _call(helper, compare, value, self.constant(literal))


def _equals(kind: Kind, literal: Any) -> bool:
    """Whether *literal* is of a type that can equal a declared scalar."""
    if kind is Kind.BOOL:
        return isinstance(literal, bool)
    if kind in _NUMBERS:
        return isinstance(literal, (int, float)) and not isinstance(literal, bool)
    return isinstance(literal, str)


def _flat(operands: list[ast.expr], *, is_all: bool) -> ast.expr:
    if not operands:
        return ast.Constant(is_all)
    if len(operands) == 1:
        return operands[0]
    return ast.BoolOp(ast.And() if is_all else ast.Or(), operands)


def _undecided(result: str, *, is_all: bool) -> ast.expr:
    """Whether a further term can still change *result*."""
    return ast.Compare(_name(result), [ast.IsNot()], [ast.Constant(not is_all)])


def _fold(result: str, inner: str, *, is_all: bool) -> ast.stmt:
    """Join a term into a result that is undecided (see the theory of operation, 3)."""
    test: ast.expr = ast.UnaryOp(ast.Not(), _name(inner))
    if not is_all:
        test = ast.Compare(_name(inner), [ast.IsNot()], [ast.Constant(False)])
    return _if(test, [_assign(result, _name(inner))])


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _if(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt] | None = None) -> ast.stmt:
    return ast.If(test, body, orelse or [])


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(_name(function), list(arguments), [])


def _attribute(value: ast.expr, path: Path) -> ast.expr:
    for step in path:
        # Steps of direct reads are names of our own schema, never an author's text.
        assert isinstance(step, str), path
        value = ast.Attribute(value, step, ast.Load())
    return value


def _append(target: str, item: ast.expr) -> ast.stmt:
    append = ast.Attribute(_name(target), "append", ast.Load())
    return ast.Expr(ast.Call(append, [item], []))


# --- functions ----------------------------------------------------------------------------------

_RUN_ARGUMENTS = ("request", "facts", "now_us", "denied", "hits", "errors")
_GUARD_ARGUMENTS = ("request", "facts", "now_us")


def compile_guard(match: Expr, unless: Expr | None) -> Guard:
    """``guard(request, facts, now_us)``: True, False, or None where ``match`` errs."""
    code = _Code()
    code.load(match)
    result = code.lower(match)
    if unless is not None:
        code.load(unless)
        exempt = code.lower(unless)
        is_true = ast.Compare(_name(exempt), [ast.Is()], [ast.Constant(True)])
        code.emit(_if(is_true, [ast.Return(ast.Constant(False))]))
    code.emit(ast.Return(_name(result)))
    guard: Guard = _finish(code, "guard", _GUARD_ARGUMENTS)
    return guard


def compile_run(
    *,
    match: Expr | None,
    unless: Expr | None,
    rules: tuple[RuleCode, ...],
    failures: Failures,
) -> Run:
    """The function of a policy. *rules* are the enabled ones, sorted by id."""
    code = _Code()
    code.globals["failures"] = failures
    phases = {rule.phases for rule in rules}
    shared = next(iter(phases)) if len(phases) == 1 else None
    code.emit(_assign("phase", _attribute(_name("request"), ("phase",))))
    if shared is not None:
        code.emit(_if(_not(_in_phases(code, shared)), [_return_denied()]))
    _emit_guard(code, match, unless)
    for rule in rules:
        code.load(rule.condition)
    for at, rule in enumerate(rules):
        outer, code.body = code.body, []
        _emit_rule(code, at, rule)
        inner, code.body = code.body, outer
        wanted: list[ast.expr] = []
        if shared is None:
            wanted.append(_in_phases(code, rule.phases))
        if rule.verdict != "deny":
            wanted.append(_not(_name("denied")))
        code.body.extend([_if(_flat(wanted, is_all=True), inner)] if wanted else inner)
    code.emit(_return_denied())
    run: Run = _finish(code, "run", _RUN_ARGUMENTS)
    return run


def _emit_guard(code: _Code, match: Expr | None, unless: Expr | None) -> None:
    """Return early where the policy does not apply; an erring guard is a failure, not a way out."""
    result = None
    if match is not None:
        code.load(match)
        result = code.lower(match)
        is_false = ast.Compare(_name(result), [ast.Is()], [ast.Constant(False)])
        code.emit(_if(is_false, [_return_denied()]))
    if unless is not None:
        code.load(unless)
        exempt = code.lower(unless)
        code.emit(_if(_name(exempt), [_return_denied()]))
        if can_err(unless):
            is_error = ast.Compare(_name(exempt), [ast.Is()], [ast.Constant(None)])
            code.emit(_if(is_error, [ast.Expr(_failure("unless"))]))
    if result is not None and match is not None and can_err(match):
        is_error = ast.Compare(_name(result), [ast.Is()], [ast.Constant(None)])
        code.emit(_if(is_error, [ast.Return(_failure("match"))]))


def _emit_rule(code: _Code, at: int, rule: RuleCode) -> None:
    result = code.lower(rule.condition)
    matched: list[ast.stmt] = [_append("hits", code.constant(rule.match))]
    if rule.verdict == "deny":
        matched.append(_assign("denied", ast.Constant(True)))
    failed: list[ast.stmt] = []
    if can_err(rule.condition):
        is_error = ast.Compare(_name(result), [ast.Is()], [ast.Constant(None)])
        failed = [_if(is_error, [_assign("denied", _failure("rule", ast.Constant(at)))])]
    code.emit(_if(_name(result), matched, failed))


def _failure(method: str, *arguments: ast.expr) -> ast.expr:
    function = ast.Attribute(_name("failures"), method, ast.Load())
    return ast.Call(function, [*arguments, *(_name(name) for name in _RUN_ARGUMENTS)], [])


def _in_phases(code: _Code, phases: tuple[str, ...]) -> ast.expr:
    if len(phases) == 1:
        return ast.Compare(_name("phase"), [ast.Eq()], [ast.Constant(phases[0])])
    return ast.Compare(_name("phase"), [ast.In()], [code.constant(phases)])


def _not(value: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), value)


def _return_denied() -> ast.stmt:
    return ast.Return(_name("denied"))


def _finish(code: _Code, name: str, arguments: tuple[str, ...]) -> Any:
    # The frame is parsed, for what a function node consists of differs between Pythons.
    module = ast.parse(f"def {name}({', '.join(arguments)}): pass")
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = code.body
    ast.fix_missing_locations(module)
    exec(compile(module, f"<compiled {name}>", "exec"), code.globals)  # noqa: S102 — an ast of our own making, with literals as constants only
    return code.globals[name]
