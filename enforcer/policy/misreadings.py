"""
Expressions that cannot be read, or were not read as they were written: what their author most likely meant.

YAML may have changed the text of an expression before it came here: joined its lines, cut it at a ``#``, replaced
escapes. ``altered`` finds where that changed the meaning and nothing else would tell.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from enforcer import cel
from enforcer.cel.lexer import tokens
from enforcer.cel.macros import SHAPES
from enforcer.cel.registry import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.cel.errors import Issue
    from enforcer.policy.source import Node

_FOUND = re.compile(r"(?:found `|unexpected character ')(?P<word>[^`']+)[`']")
_TAIL = re.compile(r"\s(?P<tail>#.*)$")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OTHER_SIGNS: Final = {
    "and": "&&", "AND": "&&", "or": "||", "OR": "||", "not": "!", "NOT": "!", "=": "==", "is": "==",
    "===": "==", "contains": "in", "&": "&&", "|": "||",
}  # fmt: skip
_YAML_WORDS: Final = {
    "yes": "true", "on": "true", "no": "false", "off": "false",
    "True": "true", "False": "false", "TRUE": "true", "FALSE": "false", "None": "null",
}  # fmt: skip
_OTHER_FUNCTIONS: Final = {
    "length": "size", "lenght": "size", "len": "size", "count": "size", "lower": "lowerAscii",
    "toLower": "lowerAscii", "upper": "upperAscii", "toUpper": "upperAscii", "match": "matches",
    "regex": "matches", "any": "exists", "some": "exists", "every": "all", "includes": "contains",
}  # fmt: skip
_BLOCK: Final = "write it as a block scalar (`when: |-`, the expression in the next line)"


def unreadable(error: cel.CelSyntaxError, node: Node) -> tuple[str, str, str]:
    """Code, message and help of an expression that is no CEL."""
    said = f"the expression cannot be read: {error.message}"
    if isinstance(error, cel.LimitError):
        return "ENF0702", said, "name parts of it under `variables`"
    tail = _TAIL.search(node.written) if node.style == "plain" else None
    if tail is not None:
        message = f"the expression ends where YAML takes `{tail['tail'][:40]}` for a comment"
        return "ENF0111", message, _BLOCK
    if node.style == "quoted" and "escape" in error.message:
        return "ENF0701", said, f"of two backslashes in double quotes YAML leaves one; {_BLOCK}"
    found = _FOUND.search(error.message)
    sign = _OTHER_SIGNS.get(found["word"]) if found is not None else None
    if sign is not None:
        return "ENF0701", said, f"write `{sign}`"
    return "ENF0701", said, "correct the expression"


def altered(expression: cel.Expression, node: Node) -> tuple[str, str] | None:
    """Message and help, where YAML has changed what an expression means; None where it has not."""
    text = expression.source.text
    control = _CONTROL.search(text)
    if control is not None:
        said = f"an escape made U+{ord(control[0]):04X} of the text before the expression was read"
        return said, f"double the backslash, or {_BLOCK}"
    if "\n" not in node.written or "//" not in text:
        return None
    comment = _last_comment(expression)
    lines = node.written.rstrip().rstrip("\"'").splitlines()
    if comment and not lines[-1].rstrip().endswith(comment):
        said = "the lines of the expression are joined by YAML, and its `//` comment takes the rest"
        return said, f"{_BLOCK}, which keeps lines"
    return None


def _last_comment(expression: cel.Expression) -> str:
    """The comment after the last token, up to the end of its line."""
    text = expression.source.text
    found = tokens(expression.source)
    end = found[-2].end if len(found) > 1 else 0
    return text[end:].partition("//")[2].partition("\n")[0].rstrip()


def mistyped(issue: Issue) -> tuple[str, str, str]:
    """Code, message and help of what the checker of types refuses."""
    if issue.kind == "bad_pattern":
        help_line = "RE2 has no look-around and no back-references; everything else is Perl's"
        said = issue.message.rpartition("pattern: ")[2]
        return "ENF0408", f"the regular expression is refused by RE2: {said}", help_line
    if issue.kind == "no_overload" and "'" in issue.message:
        return "ENF0704", issue.message, _conversion(issue.message)
    return "ENF0704", issue.message, "correct the types"


def _conversion(message: str) -> str:
    """What to write where an operator does not take two types."""
    types = message.rpartition("(")[2]
    if "int" in types and "double" in types:
        return "numbers of different types do not mix: write `2.0`, or `double(x)`"
    if "string" in types and "int" in types:
        return "a number has no quotes, a text has; or convert with `int(x)` or `string(x)`"
    return "correct the types"


def unknown_function(name: str, *, is_member: bool) -> tuple[str, str]:
    """Message and help for a function that does not exist."""
    known = sorted({each for each, member in FUNCTIONS if member is is_member} | set(SHAPES))
    word = _OTHER_FUNCTIONS.get(name, name)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:
        close = [each for each in known if each.lower() == name.lower()][:1]
    if (name, not is_member) in FUNCTIONS:
        call = f"{name}(x)" if is_member else f"x.{name}(…)"
        return f"`{name}` is not called in this way", f"write `{call}`"
    help_line = f"did you mean `{close[0]}`?" if close else "docs/cel.md lists the functions"
    return f"there is no function `{name}`", help_line


def unknown_name(name: str, known: Iterable[str]) -> str | None:
    """Help for a name that nothing has, where there is a better one than the nearest field."""
    if name in _YAML_WORDS:
        return f"write `{_YAML_WORDS[name]}`"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else None
