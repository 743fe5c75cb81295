"""``cel``: expressions alone, one from the command line or one a line from a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.output import OutputFormat, emit, note, write
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from enforcer import cel as language

LINE_BYTES_MAX = 16 * 1024 * 1024
_EXIT_NO_VALUE, _EXIT_INVALID = 1, 3


def cel(
    expression: Annotated[
        str | None, typer.Argument(metavar="EXPR", help="The expression.", show_default=False)
    ] = None,
    variables: Annotated[
        str, typer.Option("--vars", help="The values of its variables: a JSON object.")
    ] = "{}",
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="A row a line, as JSON; `-` is stdin.", allow_dash=True),
    ] = None,
    typed: Annotated[
        bool,
        typer.Option("--typed", help="Rows and answers as the conformance suite writes them."),
    ] = False,
    output: Annotated[
        OutputFormat | None,
        typer.Option("--output", "-o", help="For people, as JSON documents, or one a line."),
    ] = None,
) -> int:
    """
    Evaluate CEL expressions.

    A row is {"expr", "vars"}, its answer {"value"} with {"type"} if the expression checks, or {"error"}. With
    --typed a row is a case of the conformance suite: expr, bindings, container, type_env, disable_check,
    check_only; values are cel.expr.Value.
    """
    if (expression is None) is (source is None):
        raise ConfigError(
            "one of an expression and --input is needed", help="give EXPR, or --input FILE"
        )
    if source is not None:
        _answer_file(source, typed=typed, output=output or OutputFormat.JSONL)
        return 0
    row = {"expr": expression, "bindings" if typed else "vars": _object(variables)}
    answer = answer_typed(row) if typed else answer_plain(row)
    return _show(answer, output or OutputFormat.TABLE)


def _show(answer: dict[str, Any], output: OutputFormat) -> int:
    """One answer; for people the value alone, and what is wrong to stderr."""
    if output is not OutputFormat.TABLE:
        emit(answer, output)
    elif "error" in answer:
        note(f"error[{answer['code']}]: {answer['error']}")
    else:
        write(json.dumps(answer.get("value", answer.get("type")), ensure_ascii=False))
    for issue in answer.get("issues", ()):
        note(f"warning: {issue}")
    if "error" not in answer:
        return 0
    return (
        _EXIT_INVALID
        if answer["code"] in {"cel_syntax", "cel_limit", "cel_check"}
        else _EXIT_NO_VALUE
    )


def _answer_file(source: Path, *, typed: bool, output: OutputFormat) -> None:
    answers: list[dict[str, Any]] = []
    for line in _lines(source):
        if not line.strip():
            continue
        answer = answer_line(line, typed=typed)
        if output is OutputFormat.JSONL:
            write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
        else:
            answers.append(answer)
    if output is not OutputFormat.JSONL:
        columns = ("value", "type", "error")
        is_table = output is OutputFormat.TABLE
        emit([{c: a.get(c) for c in columns} for a in answers] if is_table else answers, output)


def answer_line(line: bytes, *, typed: bool) -> dict[str, Any]:
    """The answer to one line, whatever stands in it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return _error("invalid_argument", "the line is no JSON", typed=typed)
    if not isinstance(row, dict) or not isinstance(row.get("expr"), str):
        return _error("invalid_argument", "a row is an object with `expr`, a string", typed=typed)
    return answer_typed(row) if typed else answer_plain(row)


def answer_plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """
    The answer to ``{"expr", "vars"}``.

    What does not check is evaluated all the same, for JSON has no types to check against; ``issues`` then
    stands in place of ``type``.
    """
    from enforcer import cel as language  # noqa: PLC0415 — only when the verb is called
    from enforcer.cel.exchange import to_plain  # noqa: PLC0415 — as above

    try:
        given = row.get("vars") or {}
        if not isinstance(given, dict):
            return _error("invalid_argument", "`vars` is an object")
        values = {name: language.from_host(value) for name, value in given.items()}
        dyn = language.read_type("dyn")
        environment = language.Environment(
            dict.fromkeys(values, dyn), container=str(row.get("container", ""))
        )
        expression = language.parse(row["expr"])
        checked = language.check(expression, environment)
        found: dict[str, Any] = {"type": str(checked.type)}
        if checked.issues:
            found = {"issues": [str(issue) for issue in checked.issues]}
        program = language.compile_expression(expression, environment, checked)
        return {"value": to_plain(program.evaluate(values)), **found}
    except (language.CelSyntaxError, language.EvaluationError) as error:
        return _error(error.code, str(error))


def answer_typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """
    The answer to a case of the conformance suite, under the suite's names and the plain ones:
    ``value``; ``type`` and ``typed_result`` if it was checked; ``error`` and ``eval_error``.
    """
    from enforcer import cel as language  # noqa: PLC0415 — only when the verb is called
    from enforcer.cel import exchange  # noqa: PLC0415 — as above

    try:
        values = _bindings(row)
        environment = _environment(row, values)
        expression = language.parse(row["expr"])
        checked = None
        if not row.get("disable_check"):
            checked = language.check(expression, environment).raise_issues()
        answer: dict[str, Any] = {}
        result: dict[str, Any] = {}
        if not row.get("check_only"):
            program = language.compile_expression(expression, environment, checked)
            answer["value"] = result["result"] = exchange.to_typed(program.evaluate(values))
        if checked is not None:
            answer["type"] = result["deduced_type"] = exchange.type_to_json(checked.type)
            answer["typed_result"] = result
    except (language.CelSyntaxError, language.CelCheckError, language.EvaluationError) as error:
        return _error(error.code, str(error), typed=True)
    else:
        return answer


def _bindings(row: Mapping[str, Any]) -> dict[str, Any]:
    from enforcer.cel import exchange  # noqa: PLC0415 — as above

    given = row.get("bindings") or {}
    if not isinstance(given, dict) or not all(
        isinstance(each, dict) and "value" in each for each in given.values()
    ):
        raise exchange.bad("`bindings` is an object of objects with `value`")
    return {name: exchange.from_typed(each["value"]) for name, each in given.items()}


def _environment(row: Mapping[str, Any], values: Mapping[str, Any]) -> language.Environment:
    from enforcer.cel import Environment, Overload, Type, exchange, read_type  # noqa: PLC0415 — as above

    declared: dict[str, Type] = {}
    functions: list[Overload] = []
    try:
        for each in row.get("type_env") or ():
            if "function" in each:
                functions.extend(exchange.overloads_from_json(each))
            else:
                declared[each["name"]] = exchange.type_from_json(each["ident"]["type"])
    except (LookupError, TypeError):
        raise exchange.bad("`type_env` is a list of cel.expr.Decl") from None
    for name in values:
        declared.setdefault(name, read_type("dyn"))
    return Environment(declared, tuple(functions), str(row.get("container", "")))


def _error(code: str, message: str, *, typed: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {"error": message, "code": code}
    if typed:
        answer["eval_error"] = {"errors": [{"message": message}]}
    return answer


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError("--vars is no JSON object", help="""write it like '{"x": 1}'""")
    return found


def _lines(path: Path) -> Iterator[bytes]:
    if str(path) == "-":
        yield from iter(lambda: sys.stdin.buffer.readline(LINE_BYTES_MAX), b"")
        return
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.readline(LINE_BYTES_MAX), b"")
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", help="give a file, or - for stdin"
        ) from error
