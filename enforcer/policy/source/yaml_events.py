"""
YAML to nodes, from the parser's events: nothing is constructed, resolved or merged behind our back.

Working on events is what lets tags, anchors, aliases, merge keys and duplicate keys be refused where they
stand, and keeps depth and size bounded while reading instead of after.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from enforcer.errors import Span
from enforcer.policy.source.nodes import (
    Limits,
    Node,
    NumberError,
    Style,
    Text,
    join_surrogates,
    scalar,
)
from enforcer.policy.source.yaml_faults import (
    BLOCK_SCALAR_HELP,
    EXPRESSION_KEYS,
    VARIABLES_KEY,
    YamlFault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.policy.findings import Findings

_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_STYLES: dict[str | None, Style] = {"'": "quoted", '"': "quoted", "|": "block", ">": "block"}


def documents(text: str, file: str, findings: Findings, limits: Limits) -> list[Text]:
    """The documents of a stream that have no fault of reading; faults go to *findings*."""
    builder = _Builder(text, file, findings, limits)
    parser = YAML(typ="safe", pure=True)
    try:
        events: Iterator[Any] = parser.parse(text)
        for event in events:
            if not builder.take(event):
                break
    except MarkedYAMLError as error:
        fault = YamlFault(error, text.split("\n"), file)
        if not builder.has_fault_at(fault.span.line):
            findings.error(fault.code, fault.message, fault.span, help=fault.help)
    except ReaderError as error:
        before = text[: error.position]
        span = Span(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        said = f"cannot be read as YAML: the character U+{error.character:04X} may not stand here"
        findings.error("ENF0101", said, span, help="remove it; a text may have it as an escape")
    except (YAMLError, ValueError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        findings.error(
            "ENF0101", f"cannot be read as YAML: {said}", Span(file, 1, 1), help="correct the text"
        )
    return builder.documents


class _Builder:
    """Folds events into nodes. One frame per open collection; no recursion."""

    def __init__(self, text: str, file: str, findings: Findings, limits: Limits) -> None:
        self.documents: list[Text] = []
        self._text = text
        self._file = file
        self._findings = findings
        self._limits = limits
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._start = 0
        self._nodes = 0
        self._errors_before = 0
        self._faulty_lines: set[int] = set()
        self._is_refused = False  # What is placed next.

    def has_fault_at(self, line: int) -> bool:
        """Whether something was refused in a line already: what stops the parser there is the same fault."""
        return line in self._faulty_lines

    def take(self, event: Any) -> bool:
        """Take one event. False stops the reading: a limit is passed."""
        if isinstance(event, ScalarEvent):
            return self._count(event) and self._scalar(event)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            return self._count(event) and self._open(event)
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._stack.pop()
        elif isinstance(event, AliasEvent):
            if self._is_expression():
                self._refuse_expression(event)
            else:
                self._fault("ENF0106", f"`*{event.anchor}` is an alias", event, "write it out")
            self._is_refused = True
            self._place(Node(None, self._span(event)))
        elif isinstance(event, DocumentStartEvent):
            self._root, self._start, self._nodes = None, event.start_mark.index, 0
            self._errors_before = self._findings.error_count
        elif isinstance(event, DocumentEndEvent):
            return self._end(event)
        return True

    def _end(self, event: Any) -> bool:
        end = event.end_mark.index
        root, self._root = self._root, None
        size_bytes = len(self._text[self._start : end].encode("utf-8", "replace"))
        if size_bytes > self._limits.document_bytes_max:
            self._findings.error(
                "ENF0102",
                f"the document has {size_bytes} bytes, more than {self._limits.document_bytes_max}",
                root.span if root else self._span(event),
                help="split it into several documents",
            )
        elif root is not None and (root.value is not None or root.style != "plain"):
            is_whole = self._findings.error_count == self._errors_before
            self.documents.append(Text(root, self._text[self._start : end], is_whole))
        return True

    def _count(self, event: Any) -> bool:
        frame = self._stack[-1] if self._stack else None
        is_key = frame is not None and isinstance(frame.node.value, dict) and frame.key is None
        self._nodes += not is_key
        if self._nodes > self._limits.nodes_max:
            self._findings.error(
                "ENF0104",
                f"the document has more than {self._limits.nodes_max} nodes",
                self._span(event),
                help="split it into several documents",
            )
            return False
        if event.anchor is not None or event.ctag is not None:
            self._refuse_markup(event)
        return True

    def _refuse_markup(self, event: Any) -> None:
        self._is_refused = True
        if self._is_expression():
            self._refuse_expression(event)
            return
        if event.anchor is not None:
            message = f"`&{event.anchor}` is an anchor"
            self._fault("ENF0106", message, event, "write the value out where it is needed")
        if event.ctag is not None:
            message = f"`{event.ctag}` is a tag to YAML"
            self._fault("ENF0105", message, event, "leave the tag out; quote a text")

    def _open(self, event: Any) -> bool:
        if len(self._stack) >= self._limits.depth_max:
            self._findings.error(
                "ENF0103",
                f"the document is nested deeper than {self._limits.depth_max}",
                self._span(event),
                help="chains of `and` and `or` need one level only",
            )
            return False
        if isinstance(event, MappingStartEvent):
            node = Node({}, self._span(event), "map")
        else:
            node = Node([], self._span(event), "list")
        self._place(node)
        self._stack.append(_Frame(node))
        return True

    def _scalar(self, event: Any) -> bool:
        span = self._span(event)
        style = _STYLES.get(event.style, "plain")
        value: Any = event.value
        if style == "plain" and event.ctag is None:
            try:
                value = scalar(event.value)
            except NumberError as error:
                self._findings.error(
                    error.code, str(error), span, help="write a finite number, or quote the text"
                )
                value = 0
                self._is_refused = True
            if isinstance(value, int) and _LEADING_ZERO.match(event.value):
                self._findings.warning(
                    "ENF0114",
                    f"`{event.value}` is the number {value} to YAML",
                    span,
                    help=f'write "{event.value}" for the text, {value} for the number',
                )
        elif event.style == '"':
            value = join_surrogates(value)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            self._take_key(frame, event, value, span=span)
        else:
            node = Node(value, span, style)
            if event.style == "|":
                node.text_at = self._text_at(event)
            elif self._is_expression():
                node.written = self._written(event)
            self._place(node)
        return True

    def _text_at(self, event: Any) -> Span | None:
        """Where the text of a literal block scalar begins; None where nothing stands in it."""
        begin = self._text.find("\n", event.start_mark.index) + 1
        line = event.start_mark.line + 2
        indents = [
            len(each) - len(each.lstrip(" "))
            for each in self._text[begin : event.end_mark.index].split("\n")
            if each.strip(" ")
        ]
        return Span(self._file, line, min(indents) + 1) if indents else None

    def _written(self, event: Any) -> str:
        """A scalar as it stands in the file; of a plain one with the rest of its last line."""
        start, end = event.start_mark.index, event.end_mark.index
        if event.style is None:
            line_end = self._text.find("\n", end)
            end = line_end if line_end >= 0 else len(self._text)
        return self._text[start:end]

    def _take_key(self, frame: _Frame, event: Any, value: Any, *, span: Span) -> None:
        key = event.value
        frame.key = key
        if key == "<<" and event.style is None:
            self._fault("ENF0107", "`<<` is a merge key", event, "write the fields out")
            frame.dropped = True
        elif not isinstance(value, str):
            self._fault("ENF0110", f"the key `{key}` is no string to YAML", event, f'write "{key}"')
            frame.dropped = True
        elif key in frame.node.keys:
            first = frame.node.keys[key]
            self._fault(
                "ENF0108",
                f"the key `{key}` stands twice",
                event,
                f"it is already at line {first.line}",
            )
            frame.dropped = True
        else:
            frame.node.keys[key] = span

    def _place(self, node: Node) -> None:
        node.is_refused, self._is_refused = self._is_refused, False
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        container = frame.node.value
        if isinstance(container, list):
            container.append(node)
        elif frame.key is None:
            help_line = "write the key as text"
            if self._begins_with_braces(node.span):
                help_line = "put a text that begins with `{{` in quotes"
            self._refuse("ENF0110", "a key must be a string", node.span, help_line)
            frame.key, frame.dropped = "", True
        else:
            if not frame.dropped:
                container[frame.key] = node
            frame.key, frame.dropped = None, False

    def _begins_with_braces(self, span: Span) -> bool:
        line = self._text.split("\n", span.line)[span.line - 1]
        return line[: span.column].endswith("{{")

    def _key(self) -> str | None:
        return self._stack[-1].key if self._stack else None

    def _is_expression(self) -> bool:
        if self._key() in EXPRESSION_KEYS:
            return True
        is_inner = len(self._stack) > 1 and self._key() is not None
        return is_inner and self._stack[-2].key == VARIABLES_KEY

    def _refuse_expression(self, event: Any) -> None:
        """The value of ``when`` and its like as YAML must not see it, and as a block scalar."""
        key = self._key()
        assert key is not None
        written, span = "a == b", self._span(event)
        at = self._stack[-1].node.keys.get(key)
        if at is not None:
            line = self._text.splitlines()[at.line - 1]
            after = line[at.column - 1 :].partition(":")[2]
            written = after.strip() or written
            column = at.column + len(key) + 1 + len(after) - len(after.lstrip())
            span = Span(self._file, at.line, column)
        said = f"the expression in `{key}` is a tag, anchor or alias to YAML"
        self._refuse("ENF0111", said, span, BLOCK_SCALAR_HELP.format(key=key, text=written))

    def _span(self, event: Any) -> Span:
        return Span(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _fault(self, code: str, message: str, event: Any, help_line: str) -> None:
        self._refuse(code, message, self._span(event), help_line or "write the value out instead")

    def _refuse(self, code: str, message: str, span: Span, help_line: str) -> None:
        self._faulty_lines.add(span.line)
        self._findings.error(code, message, span, help=help_line)


class _Frame:
    """An open collection; of a map, the key whose value comes next."""

    __slots__ = ("dropped", "key", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: str | None = None
        self.dropped = False
