"""
JSON to nodes, with places. The standard decoder keeps none, and YAML reads some JSON differently.

One pass over tokens with an explicit stack: depth is a limit of the language, not of the interpreter.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import TYPE_CHECKING, Any, NoReturn

from enforcer.errors import Span
from enforcer.policy.source.nodes import Limits, Node, NumberError, Text, decimal, scalar

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_DECODER = JSONDecoder()
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class JsonSyntaxError(ValueError):
    """The text is no JSON. ``offset`` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _StopError(Exception):
    """A limit is passed; the finding is already made."""


def documents(text: str, file: str, findings: Findings, limits: Limits) -> list[Text]:
    """
    The JSON values of *text*, one after another.

    Raises: JsonSyntaxError, if the text is no JSON; everything else goes to *findings*.
    """
    scanner = _Scanner(text, file, findings, limits)
    found: list[Text] = []
    try:
        while (start := scanner.skip()) < len(text):
            before = findings.error_count
            node = scanner.value()
            source = text[start : scanner.at]
            if len(source.encode("utf-8", "replace")) > limits.document_bytes_max:
                findings.error(
                    "ENF0102",
                    f"the document has more than {limits.document_bytes_max} bytes",
                    node.span,
                    help="split it into several documents",
                )
            else:
                found.append(Text(node, source, findings.error_count == before))
    except _StopError:
        pass
    return found


class _Scanner:
    def __init__(self, text: str, file: str, findings: Findings, limits: Limits) -> None:
        self.at = 0
        self._text = text
        self._file = file
        self._findings = findings
        self._limits = limits
        self._nodes = 0
        self._line = 1
        self._line_start = 0
        self._counted_to = 0

    def skip(self) -> int:
        """Pass over blanks; where the next token starts."""
        match = _BLANK.match(self._text, self.at)
        assert match is not None
        self.at = match.end()
        return self.at

    def value(self) -> Node:
        """One whole value. Collections that are open stand on a stack."""
        self._nodes = 0
        stack: list[tuple[Node, str | None]] = []
        while True:
            node = self._token(len(stack))
            if isinstance(node.value, (dict, list)) and not self._closes(node):
                stack.append((node, self._key(node)))
                continue
            done = self._attach(stack, node)
            if done is not None:
                return done

    def _attach(self, stack: list[tuple[Node, str | None]], node: Node) -> Node | None:
        """Put a finished value into what it belongs to; the root, when all is closed."""
        while stack:
            parent, key = stack[-1]
            if isinstance(parent.value, list):
                parent.value.append(node)
            elif key is not None and key not in parent.value:
                parent.value[key] = node
            self.skip()
            if self._peek() == ",":
                self.at += 1
                stack[-1] = (parent, self._key(parent))
                return None
            if self._peek() != ("]" if isinstance(parent.value, list) else "}"):
                self._refuse("expected `,` or the end of the collection")
            self.at += 1
            stack.pop()
            node = parent
        return node

    def _closes(self, node: Node) -> bool:
        """Whether a collection just opened is empty."""
        self.skip()
        if self._peek() == ("]" if isinstance(node.value, list) else "}"):
            self.at += 1
            return True
        return False

    def _key(self, node: Node) -> str | None:
        if isinstance(node.value, list):
            return None
        start = self.skip()
        span = self._span(start)
        if self._peek() != '"':
            self._refuse("expected a key in double quotes")
        key = self._string()
        self.skip()
        if self._peek() != ":":
            self._refuse("expected `:`")
        self.at += 1
        if key in node.keys:
            first = node.keys[key].line
            self._findings.error(
                "ENF0108",
                f"the key `{key}` stands twice",
                span,
                help=f"it is already at line {first}",
            )
            return key
        node.keys[key] = span
        return key

    def _token(self, depth: int) -> Node:
        start = self.skip()
        span = self._span(start)
        self._limit(depth, span)
        char = self._peek()
        if char == "{" or char == "[":  # noqa: PLR1714 — faster than a set for the two
            if depth >= self._limits.depth_max:
                self._stop("ENF0103", f"the document is nested deeper than {depth}", span)
            self.at += 1
            return Node({}, span, "map") if char == "{" else Node([], span, "list")
        if char == '"':
            return Node(self._string(), span, "quoted")
        match = _NUMBER.match(self._text, self.at)
        if match is not None:
            self.at = match.end()
            return Node(self._number(match, span), span)
        for word, value in _WORDS.items():
            if self._text.startswith(word, self.at):
                self.at += len(word)
                return Node(value, span)
        return self._refuse("expected a value")

    def _number(self, match: re.Match[str], span: Span) -> Any:
        text = match.group()
        try:
            return decimal(text) if match.group(1) or match.group(2) else scalar(text)
        except NumberError as error:
            self._findings.error(error.code, str(error), span, help="write a smaller number")
            return 0

    def _string(self) -> str:
        try:
            text, self.at = _DECODER.raw_decode(self._text, self.at)
        except JSONDecodeError as error:
            raise JsonSyntaxError(error.msg.lower(), error.pos) from None
        assert isinstance(text, str)
        return text

    def _limit(self, depth: int, span: Span) -> None:
        del depth
        self._nodes += 1
        if self._nodes > self._limits.nodes_max:
            self._stop(
                "ENF0104", f"the document has more than {self._limits.nodes_max} nodes", span
            )

    def _stop(self, code: str, message: str, span: Span) -> NoReturn:
        self._findings.error(code, message, span, help="split it into several documents")
        raise _StopError

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def _refuse(self, message: str) -> NoReturn:
        raise JsonSyntaxError(message, self.at)

    def _span(self, offset: int) -> Span:
        """Line and column of *offset*; offsets only grow, so lines are counted once."""
        newlines = self._text.count("\n", self._counted_to, offset)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", 0, offset) + 1
        self._counted_to = offset
        return Span(self._file, self._line, offset - self._line_start + 1)
