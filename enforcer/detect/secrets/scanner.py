"""The kinds of secrets, and the scan for them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.recogniser import Candidate, Recogniser, pattern, word_after, word_before
from enforcer.detect.scanning import CONFIDENCE_DEFAULT, SCAN_BYTES_MAX, Findings, Registry
from enforcer.detect.secrets import structured
from enforcer.detect.secrets.checks import CHECKSUMS, entropy, is_placeholder
from enforcer.detect.secrets.contextual import CONTEXTUAL
from enforcer.detect.secrets.prefixed import CORES, PREFIXED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import re2

_PREFIXED_RANK = 80
_CONTEXTUAL_RANK = 45
_META = frozenset("[](){}|*+?.^$\\")
# Behind its mark, a token goes on for at least so many of a token's characters.
_CORE_BODY = r"[A-Za-z0-9_\-./%:+~$=]{6}"
_CORE_LITERAL_MIN = 2
_RANDOM_BITS_MIN = 2.0
_CHECKED, _UNCHECKED, _MISFIT = 0.99, 0.9, 0.6
_CONTEXT_CONFIDENCE = 0.75
_BETWEEN = rb"[A-Za-z0-9_\-. ]{0,24}[\"'`]?\]?\s{0,4}(?::=|=>|=|:|\bis\b|,)\s{0,4}(?:token |bearer )?[\"'`]?"


def _literal_prefix(source: str) -> str:
    """The literal text that a pattern begins with, its escapes kept."""
    found = ""
    at = 0
    while at < len(source):
        char = source[at]
        if char == "\\" and at + 1 < len(source) and not source[at + 1].isalnum():
            found += source[at : at + 2]
            at += 2
        elif char in _META:
            break
        else:
            found += char
            at += 1
    return found


def _core(kind: str, source: str) -> bytes:
    """What is looked for first: short, so that the set of all of them stays small."""
    if kind in CORES:
        return CORES[kind].encode()
    prefix = _literal_prefix(source)
    assert len(prefix) >= _CORE_LITERAL_MIN, kind
    boundary = r"\b" if prefix[0].isalnum() else ""
    return (boundary + prefix + _CORE_BODY).encode()


def _find_prefixed(kind: str, compiled: re2._Regexp, data: bytes) -> Iterator[Candidate]:
    fits = CHECKSUMS.get(kind)
    for match in compiled.finditer(data):
        start, end = match.span()
        if word_before(data, start) or word_after(data, end):
            continue
        value = match.group(1)
        if is_placeholder(value) or (len(value) >= 8 and entropy(value) < _RANDOM_BITS_MIN):
            continue
        if fits is None:
            yield Candidate(start, end, _UNCHECKED, "its issuer's mark and form")
        elif fits(match.group(0)):
            yield Candidate(start, end, _CHECKED, "its issuer's mark, checksum fits")
        else:
            yield Candidate(start, end, _MISFIT, "its issuer's mark, checksum does not fit")


def _find_contextual(compiled: re2._Regexp, data: bytes) -> Iterator[Candidate]:
    for match in compiled.finditer(data):
        start, end = match.span(1)
        if word_after(data, end):
            continue
        value = match.group(1)
        if is_placeholder(value) or entropy(value) < _RANDOM_BITS_MIN or value.isalpha():
            continue
        yield Candidate(start, end, _CONTEXT_CONFIDENCE, "the name it is assigned to, its form")


def _prefixed(kind: str, source: str) -> Recogniser:
    finder: Callable[[bytes], Iterator[Candidate]] = partial(
        _find_prefixed, kind, pattern(source.encode())
    )
    rank = _PREFIXED_RANK + min(len(_literal_prefix(source)), 19)
    return Recogniser(kind, (_core(kind, source),), finder, rank, None, "secrets", clues.TOKEN)


def _contextual(kind: str, names: str, value: str) -> Recogniser:
    source = b"(?i)(?:" + names.encode() + b")" + _BETWEEN + b"((?-i:" + value.encode() + b"))"
    core = b"(?i)(?:" + names.encode() + b")" + rb"[^\n]{0,3}"
    return Recogniser(
        kind,
        (core,),
        partial(_find_contextual, pattern(source)),
        _CONTEXTUAL_RANK,
        None,
        "secrets",
        clues.TOKEN,
    )


RECOGNISERS: tuple[Recogniser, ...] = (
    *(_prefixed(kind, source) for kind, source in PREFIXED),
    *(_contextual(*row) for row in CONTEXTUAL),
    *structured.RECOGNISERS,
)
REGISTRY = Registry(RECOGNISERS)
KINDS: tuple[str, ...] = REGISTRY.kinds
ALL: frozenset[str] = frozenset(KINDS)


def scan(
    text: str,
    kinds: frozenset[str] = ALL,
    *,
    at: float = CONFIDENCE_DEFAULT,
    scan_bytes_max: int = SCAN_BYTES_MAX,
) -> Findings:
    """
    Find secrets of some kinds, all of them unless asked otherwise; as ``Registry.scan``.

    Raises: DetectError, if the text is larger than *scan_bytes_max* or the pattern set failed.
    """
    return REGISTRY.scan(text, kinds, at=at, scan_bytes_max=scan_bytes_max)
