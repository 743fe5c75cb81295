"""
What YAML does to an expression, told in words that help.

YAML gives ``: ``, `` #``, quotes, brackets and the first character of a value a meaning of its own, and joins lines. A
parser can only say that it expected something else; here its error is put beside the line that it stopped at, to see
whether an expression or a text stands there that YAML took apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from enforcer.errors import Span

if TYPE_CHECKING:
    from ruamel.yaml.error import MarkedYAMLError, StreamMark

# Keys whose value is an expression: what YAML does to one is told with its own help.
EXPRESSION_KEYS: Final = frozenset({"when", "match", "unless"})
VARIABLES_KEY: Final = "variables"

BLOCK_SCALAR_HELP: Final = (
    "write an expression as a block scalar, which YAML leaves alone:\n    {key}: |-\n      {text}"
)
_KEY = re.compile(r"""(?:^|[{,\s-])["']?(?P<key>[\w.-]+)["']?\s*:(?=\s|$)""")
_BLOCK = re.compile(r"[|>][-+0-9]{0,2}\s*(#.*)?")
_LINES_MAX: Final = 50
_SAID: Final = 300


class YamlFault:
    """A parser's error: code, message, place and help of its finding."""

    __slots__ = ("code", "help", "message", "span")

    def __init__(self, error: MarkedYAMLError, lines: list[str], file: str) -> None:
        mark = error.problem_mark or error.context_mark
        if error.context_mark is not None and "stream end" in str(error.problem):
            mark = error.context_mark  # What was opened and never closed.
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        self.code = "ENF0101"
        self.message = f"cannot be read as YAML: {said[:_SAID]}"
        self.span = Span(file, mark.line + 1, mark.column + 1) if mark else Span(file, 1, 1)
        self.help = "look at quotes, brackets and indentation here and in the line above"
        if mark is None or mark.line >= len(lines):
            return
        if r"'\t'" in said:
            self.help = "YAML is indented with blanks, not with tabs"
            return
        found = _expression(lines, mark)
        if found is not None:
            key, at, text, is_in_braces = found
            self.code = "ENF0111"
            self.message = f"the expression in `{key}` is taken apart by YAML"
            self.span = Span(file, at[0] + 1, at[1] + 1)
            self.help = BLOCK_SCALAR_HELP.format(key=key, text=text)
            if is_in_braces:
                self.help = (
                    "within braces `[`, `{` and `,` are YAML's: put the expression in single "
                    "quotes, or give the rule lines of its own"
                )
        elif "mapping values are not allowed" in said:
            self.help = "put a text that has a colon and a blank in it in quotes"


def _expression(
    lines: list[str], mark: StreamMark
) -> tuple[str, tuple[int, int], str, bool] | None:
    """
    The expression that an error at *mark* is in: its key, place, first line, and whether braces are around it.

    It begins in the line of the mark, or in a line above it that is indented less.
    """
    number = mark.line
    indent = _indent(lines[number])
    for at in range(number, max(-1, number - _LINES_MAX), -1):
        line = lines[at]
        is_above = at < number
        if is_above and (not line.strip() or _indent(line) >= indent):
            continue
        end = len(line) if is_above else mark.column
        keys = [each for each in _KEY.finditer(line) if each.end() <= end]
        named = [each for each in keys if _is_expression(lines, at, each)]
        if named:
            return _found(line, at, named[-1], end)
        if keys or is_above:
            return None
    return None


def _is_expression(lines: list[str], number: int, key: re.Match[str]) -> bool:
    if key["key"] in EXPRESSION_KEYS:
        return True
    return _is_variable(lines, number, lines[number][: key.start("key")])


def _found(
    line: str, number: int, key: re.Match[str], end: int
) -> tuple[str, tuple[int, int], str, bool] | None:
    text = line[key.end() :].strip()
    is_in_braces = "{" in line[: key.start("key")]
    if not text or _BLOCK.fullmatch(text):
        return None
    if is_in_braces and _has_ended(line[key.end() : end]):
        return None
    start = line.index(text, key.end())
    return key["key"], (number, start), text, is_in_braces


def _has_ended(text: str) -> bool:
    """Whether a comma stands in *text* outside of all brackets: then another field follows it."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            return True
    return False


def _is_variable(lines: list[str], number: int, before: str) -> bool:
    """Whether a key stands right below ``variables``."""
    if re.search(r"\bvariables\s*:\s*\{", before):
        return True
    indent = _indent(lines[number])
    for at in range(number - 1, max(-1, number - 1_000), -1):
        line = lines[at]
        if line.strip() and _indent(line) < indent:
            return re.match(r"\s*variables\s*:\s*(#.*)?$", line) is not None
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
