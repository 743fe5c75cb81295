"""The text of a source, laid out; and the proof that nothing but the layout changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer.policy.canonical import canonical_json
from enforcer.policy.findings import Findings
from enforcer.policy.formatting.layout import LayoutError, comments_of, documents
from enforcer.policy.formatting.order import arrange
from enforcer.policy.formatting.printing import document_lines
from enforcer.policy.source import Limits, Text, plain, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.policy.findings import Finding
    from enforcer.policy.formatting.layout import Item

# Of tests: larger than a policy.
_LIMITS = Limits(document_bytes_max=4 * 1024 * 1024, nodes_max=200_000)


def formatted(name: str, text: str) -> tuple[str | None, Sequence[Finding]]:
    """
    A source in its canonical layout. The result formats to itself.

    Args:
        name: The file's name; ``.json`` is JSON.
        text: The source.

    Returns: The text; None, and what is wrong with it, where it cannot be read.
    Raises: LayoutError, for a source whose layout cannot be changed without changing more than that.
    """
    findings = Findings()
    before = read(name, text, findings, limits=_LIMITS)
    if findings.error_count:
        return None, findings.sorted()
    is_bare = not any(isinstance(each.node.value, dict | list) for each in before)
    if not before or (is_bare and not _is_json(name, text)):
        return _trimmed(
            text
        ), ()  # No entries: nothing to lay out, and nothing that comments belong to.
    if _is_json(name, text):
        return "\n".join(_json(plain(each.node), 0) for each in before) + "\n", ()
    found = _yaml(text)
    after = read(name, found, Findings(), limits=_LIMITS)
    if _data(before) != _data(after) or comments_of(text) != comments_of(found):
        raise LayoutError("the layout cannot be changed without changing the document")
    return found, ()


def _yaml(text: str) -> str:
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\t\n", "\n")
    parts: list[str] = []
    for root in documents(text):
        if root.kind == "map" and root.entries:
            _arrange_below_head(root)
        parts.append("\n".join(document_lines(root)) + "\n")
    return "---\n".join(parts)


def _arrange_below_head(root: Item) -> None:
    """What stands above the first key is the document's, and stays above whatever key comes first."""
    first = root.entries[0]
    head, is_apart = first.before, first.is_apart
    first.before, first.is_apart = [], False
    arrange(root)
    first = root.entries[0]
    first.before, first.is_apart = [*head, *first.before], is_apart


def _trimmed(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").split("\n")]
    return "\n".join(lines) + "\n" if any(lines) else ""


def _data(texts: list[Text]) -> list[str]:
    return [canonical_json(plain(each.node)) for each in texts]


def _is_json(name: str, text: str) -> bool:
    return name.endswith((".json", ".jsonl")) or _reads_as_json(text)


def _reads_as_json(text: str) -> bool:
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    findings = Findings()
    read("source.json", text, findings, limits=_LIMITS)
    return not findings.error_count


def _json(value: Any, indent: int) -> str:
    """Data as JSON, two blanks a level; numbers keep their exact digits."""
    pad, inner = " " * indent, " " * (indent + 2)
    if isinstance(value, dict) and value:
        rows = [f"{inner}{canonical_json(k)}: {_json(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    if isinstance(value, list) and value:
        rows = [inner + _json(each, indent + 2) for each in value]
        return "[\n" + ",\n".join(rows) + f"\n{pad}]"
    return canonical_json(value)
