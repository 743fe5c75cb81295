"""
The compiler: from a policy's intermediate form to one Python function.

Theory of operation
===================

A policy becomes a function ``run(request, facts, now_us, limits, denied, hits, errors) -> denied``. It appends
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

4. **Nothing is computed twice.** What says nothing is taken out first, so that both notations come to one
   code (simplifying.py). Fields are read once per function, into ``v0, v1, …``: those of ``match`` and
   ``unless`` first, the others after the guard has let the request through. What costs more (a fact, a
   search, a part of an expression, and so a variable of the policy) is counted over all rules beforehand
   (sharing.py); asked for more than once, it is computed where it is first reached and kept: in ``s0``, or, of
   parts of leaves, which may stand in functions of their own, in a list that these share. An error is not
   kept: it is raised again.

       t = 'ssn' in (s0 if s0 is not UNSET else (s0 := facts.pii_counts))

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
from typing import TYPE_CHECKING

from enforcer.policy.ir import Expr, can_err
from enforcer.policy.lowering import Code, append, assign, attribute, finish, flat, local, when
from enforcer.policy.sharing import Sharing
from enforcer.policy.simplifying import simplified

if TYPE_CHECKING:
    from enforcer.policy.failures import Failures
    from enforcer.policy.model import Guard, RuleCode, Run

# --- functions ----------------------------------------------------------------------------------

_RUN_ARGUMENTS = ("request", "facts", "now_us", "limits", "denied", "hits", "errors")
_GUARD_ARGUMENTS = ("request", "facts", "now_us", "limits=None")


def compile_guard(match: Expr, unless: Expr | None) -> Guard:
    """``guard(request, facts, now_us, limits=None)``: True, False, or None where ``match`` errs."""
    code = Code(_GUARD_ARGUMENTS)
    match = simplified(match)
    unless = None if unless is None else simplified(unless)
    code.load(match)
    result = code.lower(match)
    if unless is not None:
        code.load(unless)
        exempt = code.lower(unless)
        is_true = ast.Compare(local(exempt), [ast.Is()], [ast.Constant(True)])
        code.emit(when(is_true, [ast.Return(ast.Constant(False))]))
    code.emit(ast.Return(local(result)))
    guard: Guard = finish(code, "guard", _GUARD_ARGUMENTS)
    return guard


def compile_run(
    *,
    match: Expr | None,
    unless: Expr | None,
    rules: tuple[RuleCode, ...],
    failures: Failures,
) -> Run:
    """The function of a policy. *rules* are the enabled ones, sorted by id."""
    match = None if match is None else simplified(match)
    unless = None if unless is None else simplified(unless)
    conditions = [simplified(rule.condition) for rule in rules]
    guards = [each for each in (match, unless) if each is not None]
    code = Code(_RUN_ARGUMENTS, Sharing([*guards, *conditions]))
    code.globals["failures"] = failures
    phases = {rule.phases for rule in rules}
    shared = next(iter(phases)) if len(phases) == 1 else None
    code.emit(assign("phase", attribute(local("request"), ("phase",))))
    if shared is not None:
        code.emit(when(_not(_in_phases(code, shared)), [_return_denied()]))
    _emit_guard(code, match, unless)
    for condition in conditions:
        code.load(condition)
    for at, (rule, condition) in enumerate(zip(rules, conditions, strict=True)):
        outer, code.body = code.body, []
        _emit_rule(code, at, rule, condition)
        inner, code.body = code.body, outer
        wanted: list[ast.expr] = []
        if shared is None:
            wanted.append(_in_phases(code, rule.phases))
        if rule.verdict != "deny":
            wanted.append(_not(local("denied")))
        code.body.extend([when(flat(wanted, is_all=True), inner)] if wanted else inner)
    code.emit(_return_denied())
    run: Run = finish(code, "run", _RUN_ARGUMENTS)
    return run


def _emit_guard(code: Code, match: Expr | None, unless: Expr | None) -> None:
    """Return early where the policy does not apply; an erring guard is a failure, not a way out."""
    result = None
    if match is not None:
        code.load(match)
        result = code.lower(match)
        is_false = ast.Compare(local(result), [ast.Is()], [ast.Constant(False)])
        code.emit(when(is_false, [_return_denied()]))
    if unless is not None:
        code.load(unless)
        exempt = code.lower(unless)
        code.emit(when(local(exempt), [_return_denied()]))
        if can_err(unless):
            is_error = ast.Compare(local(exempt), [ast.Is()], [ast.Constant(None)])
            code.emit(when(is_error, [ast.Expr(_failure("unless"))]))
    if result is not None and match is not None and can_err(match):
        is_error = ast.Compare(local(result), [ast.Is()], [ast.Constant(None)])
        code.emit(when(is_error, [ast.Return(_failure("match"))]))


def _emit_rule(code: Code, at: int, rule: RuleCode, condition: Expr) -> None:
    holds = _holds(code, condition)
    matched: list[ast.stmt]
    if rule.exceptions or rule.template is not None:
        matched = [assign("denied", _failure("matched", ast.Constant(at)))]
    else:
        matched = [append("hits", code.constant(rule.match))]
        if rule.verdict == "deny":
            matched.append(assign("denied", ast.Constant(True)))
    failed: list[ast.stmt] = []
    if can_err(condition):
        is_error = ast.Compare(holds, [ast.Is()], [ast.Constant(None)])
        failed = [when(is_error, [assign("denied", _failure("rule", ast.Constant(at)))])]
    code.emit(when(holds, matched, failed))


def _holds(code: Code, condition: Expr) -> ast.expr:
    """Whether *condition* holds: a variable, or one expression that cannot err."""
    result = code.lower(condition)
    last = code.body[-1]
    if not can_err(condition) and isinstance(last, ast.Assign):
        code.body.pop()
        return last.value
    return local(result)


def _failure(method: str, *arguments: ast.expr) -> ast.expr:
    function = ast.Attribute(local("failures"), method, ast.Load())
    return ast.Call(function, [*arguments, *(local(name) for name in _RUN_ARGUMENTS)], [])


def _in_phases(code: Code, phases: tuple[str, ...]) -> ast.expr:
    if len(phases) == 1:
        return ast.Compare(local("phase"), [ast.Eq()], [ast.Constant(phases[0])])
    return ast.Compare(local("phase"), [ast.In()], [code.constant(phases)])


def _not(value: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), value)


def _return_denied() -> ast.stmt:
    return ast.Return(local("denied"))
