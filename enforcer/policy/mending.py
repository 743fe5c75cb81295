"""
Fixes made: the edits of findings, in the text of their files.

An edit only inserts, so comments and layout stay. What is mended is checked again, for one guard may be what the
next finding waits for, and an edit that YAML or the checker does not take is not made: what comes out never
has more errors than what went in, and mending it again changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer.policy.loader import Loaded, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from enforcer.policy.findings import Edit, Finding

_ROUNDS_MAX: Final = 12


def mended(
    sources: Iterable[tuple[str, str]],
    *,
    default_tenant: str = "*",
    has_redaction_key: bool = True,
) -> dict[str, str]:
    """
    The texts of *sources* with every fix made that helps, by name; those that have none unchanged.

    Args:
        sources: As ``load`` takes them.
        default_tenant: As ``load`` takes it.
        has_redaction_key: As ``load`` takes it.
    """
    texts = dict(sources)

    def checked(texts: Mapping[str, str]) -> Loaded:
        return load(
            texts.items(),
            default_tenant=default_tenant,
            has_redaction_key=has_redaction_key,
            prove=True,
        )

    loaded = checked(texts)
    for _ in range(_ROUNDS_MAX):
        fixable = [finding for finding in loaded.findings if finding.fix]
        if not fixable:
            break
        changed, found = _try(texts, fixable, loaded, checked)
        if changed == texts:
            break
        texts, loaded = changed, found
    return texts


def _try(
    texts: dict[str, str], fixable: list[Finding], loaded: Loaded, checked: object
) -> tuple[dict[str, str], Loaded]:
    """All fixes at once; where that does not help, one at a time."""
    assert callable(checked)
    every = edited(texts, fixable)
    found = checked(every)
    if _is_better(found, loaded):
        return every, found
    for each in fixable:
        if not any(each.code == f.code and each.span == f.span for f in loaded.findings):
            continue
        one = edited(texts, [each])
        found = checked(one)
        if _is_better(found, loaded):
            return one, found
    return texts, loaded


def _is_better(after: Loaded, before: Loaded) -> bool:
    """Whether there is less to say, and no new kind of error."""
    codes = {each.code for each in before.findings}
    if any(each.severity == "error" and each.code not in codes for each in after.findings):
        return False
    return len(after.findings) < len(before.findings)


def edited(texts: Mapping[str, str], findings: Iterable[Finding]) -> dict[str, str]:
    """*texts* with the edits of *findings*; the same edit is made once."""
    wanted: dict[str, dict[Edit, None]] = {}
    for finding in findings:
        for edit in finding.fix:
            wanted.setdefault(edit.place.file, {})[edit] = None
    return {name: _inserted(text, wanted.get(name, {})) for name, text in texts.items()}


def _inserted(text: str, edits: Iterable[Edit]) -> str:
    lines = text.split("\n")
    at: dict[tuple[int, int], list[str]] = {}
    for edit in edits:
        place = at.setdefault((edit.place.line, edit.place.column), [])
        # What closes goes inward out, as what opens goes outward in.
        place.append(edit.text)
    for (line, column), parts in sorted(at.items(), reverse=True):
        old = lines[line - 1]
        lines[line - 1] = old[: column - 1] + "".join(parts) + old[column - 1 :]
    return "\n".join(lines)
