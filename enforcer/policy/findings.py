"""
What is wrong with a policy source: one finding per fault, with a stable code, a place and a help line.

Codes are stable for ever and are headings of docs/errors.md. They are grouped by stage: 01 reading the
text, 02 the document's shape, 03 what the language will have later, 04 conditions, 05 effects, 06 the
existing engine's form, 07 expressions, 08 operations that may have no value, 09
second thoughts, 20 files of tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from enforcer.errors import PolicyError, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From what keeps a document from being used to what is good to know."""

FINDINGS_MAX = 100

# Code: what it means, in the words of the heading in docs/errors.md.
CODES: dict[str, str] = {
    "ENF0101": "The text is neither YAML nor JSON",
    "ENF0102": "The document is too large",
    "ENF0103": "The document is nested too deep",
    "ENF0104": "The document has too many nodes",
    "ENF0105": "A YAML tag",
    "ENF0106": "A YAML anchor or alias",
    "ENF0107": "A YAML merge key",
    "ENF0108": "A duplicate key",
    "ENF0109": "NaN or infinity",
    "ENF0110": "A key that is no string",
    "ENF0111": "An expression that YAML read as something else",
    "ENF0112": "A number out of range",
    "ENF0113": "A source without documents",
    "ENF0114": "A number with zeros before it",
    "ENF0201": "An unknown field",
    "ENF0202": "A missing field",
    "ENF0203": "A wrong value",
    "ENF0204": "An unknown kind",
    "ENF0205": "An unknown apiVersion",
    "ENF0206": "An id that cannot be used",
    "ENF0207": "A duplicate id",
    "ENF0208": "An amount that cannot be used",
    "ENF0209": "A limit that is not well formed",
    "ENF0210": "A duration that cannot be used",
    "ENF0211": "An unknown time zone",
    "ENF0304": "A reaction that does not fit its limit",
    "ENF0306": "A fact that comes later",
    "ENF0401": "An unknown operator",
    "ENF0402": "An operator with the wrong operands",
    "ENF0403": "An unknown field of the request",
    "ENF0404": "A field that reads the raw request",
    "ENF0405": "A path that cannot be read",
    "ENF0406": "An operator that does not fit the field's type",
    "ENF0407": "A comparison that is always the same",
    "ENF0408": "A regular expression that RE2 refuses",
    "ENF0409": "Unknown values",
    "ENF0410": "A control character in a regular expression",
    "ENF0501": "Edits and verdict do not fit",
    "ENF0502": "A path that cannot be edited",
    "ENF0503": "An edit's value of the wrong type",
    "ENF0504": "Edits that contradict each other",
    "ENF0505": "An unknown kind of personal data or secret",
    "ENF0506": "A policy without effect",
    "ENF0507": "A redaction without its key",
    "ENF0601": "A policy that is not active",
    "ENF0602": "No document of the existing engine",
    "ENF0701": "An expression that cannot be read",
    "ENF0702": "An expression beyond a bound",
    "ENF0703": "An unknown budget or rate limit",
    "ENF0704": "An expression whose types do not fit",
    "ENF0705": "A reason that cannot be told",
    "ENF0706": "A variable that cannot be",
    "ENF0707": "An exception that is not well formed",
    "ENF0801": "A field that may be absent",
    "ENF0802": "A value whose type may not fit",
    "ENF0803": "Arithmetic that may overflow",
    "ENF0804": "A division by what may be zero",
    "ENF0805": "An index or key that may not be there",
    "ENF0806": "A conversion that may fail",
    "ENF0807": "An argument that may be out of range",
    "ENF0808": "An expression whose cost is not bounded",
    "ENF0901": "A rule that never matches",
    "ENF0902": "A condition that is always true",
    "ENF0903": "A rule behind a deny",
    "ENF0904": "Sets that fall out with each other",
    "ENF0905": "Units that do not fit",
    "ENF0906": "An exception that has expired, or never does",
    "ENF0907": "Policies without tests",
    "ENF2001": "An unknown parameter",
    "ENF2002": "An unknown fixture",
    "ENF2003": "Documents under test that are not there",
    "ENF2004": "A matrix that cannot be used",
    "ENF2005": "A file that holds no tests",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a source: the text to insert at a place."""

    place: Span
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One fault of a source. An error keeps the document from being used, all else does not.

    ``length`` is that of what is at fault, in characters on its line, where it is known; ``fix`` the edits that mend
    it.
    """

    code: str
    severity: Severity
    message: str
    span: Span
    help: str = ""
    length: int = 0
    fix: tuple[Edit, ...] = ()

    def __str__(self) -> str:
        """As editors and CI systems recognise it: ``file:line:column: error[ENF0201]: message``."""
        return f"{self.span}: {self.severity}[{self.code}]: {self.message}"


class Findings:
    """Collects findings; hands them out sorted by place and capped."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        help: str,  # noqa: A002 — the field's word
        length: int = 0,
    ) -> None:
        """
        Note an error: the document is not used.

        Args:
            code: One of ``CODES``.
            message: What is wrong, in lower case.
            span: Where.
            help: What to do.
            length: Of what is at fault, in characters; 0 where it is not known.
        """
        assert code in CODES, code
        self._found.append(Finding(code, "error", message, span, help, length))

    def warning(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        help: str,  # noqa: A002 — the field's word
        length: int = 0,
    ) -> None:
        """Note a warning: the document loads, but hardly does what its author wants."""
        assert code in CODES, code
        self._found.append(Finding(code, "warning", message, span, help, length))

    def info(self, code: str, message: str, span: Span, *, help: str) -> None:  # noqa: A002 — as above
        """Note what is good to know."""
        assert code in CODES, code
        self._found.append(Finding(code, "info", message, span, help))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Take over findings made elsewhere."""
        self._found.extend(findings)

    @property
    def all(self) -> tuple[Finding, ...]:
        """Everything found so far, as it came."""
        return tuple(self._found)

    @property
    def error_count(self) -> int:
        """How many errors there are so far."""
        return sum(1 for finding in self._found if finding.severity == "error")

    def sorted(self) -> tuple[Finding, ...]:
        """
        Everything found, by place, each once, at most ``FINDINGS_MAX``.

        The cap keeps errors before warnings, so that it never hides why a document is refused.
        """
        distinct = self._distinct()
        distinct.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        kept = distinct[:FINDINGS_MAX]
        kept.sort(key=lambda f: (f.span.file, f.span.line, f.span.column, f.code, f.message))
        return tuple(kept)

    @property
    def omitted(self) -> int:
        """How many ``sorted`` leaves out."""
        return max(0, len(self._distinct()) - FINDINGS_MAX)

    def _distinct(self) -> list[Finding]:
        return list(dict.fromkeys(self._found))


def raise_errors(findings: Iterable[Finding]) -> None:
    """
    Raise the first error among *findings*, if there is one.

    Raises: PolicyError, with the finding's code, message, place and help.
    """
    for finding in findings:
        if finding.severity == "error":
            raise PolicyError(
                finding.message, span=finding.span, help=finding.help, code=finding.code
            )
