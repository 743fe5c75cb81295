"""A text and its places: code point offsets to lines and columns."""

from __future__ import annotations

import re
from bisect import bisect_right

from enforcer.cel.errors import CelSyntaxError, Issue, LimitError
from enforcer.errors import Span

_LINE_END = re.compile(r"\r\n|\n|\r")


class Source:
    """The text of one expression. Lines end with LF, CR LF or CR."""

    __slots__ = ("_starts", "name", "text")

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of *offset*, both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def span(self, offset: int) -> Span:
        """The place of *offset*, for a finding."""
        return Span(self.name, *self.place(offset))

    def issue(self, kind: str, message: str, span: tuple[int, int]) -> Issue:
        """An issue at a place."""
        return Issue(kind, message, *span, *self.place(span[0]))

    def error(self, message: str, start: int, end: int) -> CelSyntaxError:
        """A syntax error to raise."""
        return CelSyntaxError(message, start=start, end=end, span=self.span(start))

    def too_large(self, message: str, start: int) -> LimitError:
        """A limit that is passed at *start*."""
        return LimitError(message, start=start, end=start, span=self.span(start))
