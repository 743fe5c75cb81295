"""
The scan: clues say which patterns a text can match, RE2 sets of those which kinds can be in it; exact work only for these.

Linear in the text for every input: RE2 does not backtrack, recognisers look at bounded windows,
and each kind stops at 1,000 findings. A set carries a pattern that matches every text; one
that does not report it has erred, and the scan errs with it instead of finding nothing.

The states of a set's automaton are built as texts ask for them, and those of many patterns together
are nearly their product: a long text of random letters asks for a new one at each step, which costs
a hundred times the step. So a long text is read by several sets of few patterns each, whose states
are soon known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

import re2

from enforcer.detect import clues
from enforcer.detect.errors import DetectError
from enforcer.detect.recogniser import (
    PROVEN,
    Candidate,
    Family,
    Plan,
    Recogniser,
    TooManyPlacesError,
    options,
    utf8,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SCAN_BYTES_MAX = 1 << 20
FINDINGS_MAX = 1000
CONFIDENCE_DEFAULT = 0.5
_PROVEN_RANK = 101
# From this length on a text is read by several sets; measured with base64 of random bytes.
_SPLIT_BYTES_MIN = 1 << 14
_PATTERNS_PER_SET = 12
_SETS_MAX = 8


class Finding(NamedTuple):
    """
    A place in a text that holds a kind of personal data or a secret. Never the value.

    Attributes:
        kind: One of the registry's kinds.
        start: First code point of it.
        end: First code point after it.
        confidence: 0 to 1; what counts is 0.5 and above unless asked otherwise.
        reason: What was seen: a check digit, a context word, a shape.
    """

    kind: str
    start: int
    end: int
    confidence: float
    reason: str = ""


class Findings(list[Finding]):
    """
    What a scan found, in order of place.

    Attributes:
        truncated: Kinds that reached 1,000 findings, or more than that of what could be one. The
            rest of the text counts as holding them, and redaction replaces the text as a whole.
    """

    __slots__ = ("truncated",)

    def __init__(
        self, findings: list[Finding] | None = None, truncated: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(findings or ())
        self.truncated = truncated


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The asked kinds of one family, which looks for all of them at once."""

    members: tuple[Recogniser, ...]
    plan: Plan


_Owner = Recogniser | _Group | int
_Owned = tuple[bytes, _Owner]


@dataclass(frozen=True, slots=True)
class Program:
    """A set of patterns, and what each is: whose, or which clue."""

    matcher: re2.Set
    match: Callable[[bytes], Sequence[int]]
    owners: tuple[_Owner, ...]
    sentinel: int


@dataclass(frozen=True, slots=True)
class _Scan:
    """
    How some kinds are looked for.

    Attributes:
        first: The clues, and the patterns of kinds that have none.
        behind: By clues, the patterns that are looked for where one of them is.
        long: All patterns, few to a set: for a long text, in which every clue is.
    """

    first: Program
    behind: tuple[tuple[int, Program], ...]
    long: tuple[Program, ...]


class Registry:
    """Kinds that can be looked for together, and the programs of the subsets that were asked for."""

    __slots__ = ("_program", "_scan", "kinds", "recognisers")

    def __init__(self, recognisers: Iterable[Recogniser]) -> None:
        self.recognisers = {recogniser.kind: recogniser for recogniser in recognisers}
        self.kinds: tuple[str, ...] = tuple(self.recognisers)
        self._program = lru_cache(maxsize=256)(self._compile)
        self._scan = lru_cache(maxsize=256)(self._compile_scan)

    def program(self, kinds: frozenset[str], *, at: float = CONFIDENCE_DEFAULT) -> Program:
        """The program of some kinds, compiled when first asked for: one for what counts, one for all."""
        return self._program(kinds, at >= CONFIDENCE_DEFAULT)

    def scan(
        self,
        text: str,
        kinds: frozenset[str],
        *,
        at: float = CONFIDENCE_DEFAULT,
        scan_bytes_max: int = SCAN_BYTES_MAX,
    ) -> Findings:
        """
        Find some kinds in a text.

        Args:
            text: Any text; a lone surrogate counts as one code point.
            kinds: Which to look for; an unknown kind is a ``KeyError``, a bug.
            at: Findings below this confidence are left out.
            scan_bytes_max: UTF-8 bytes that a scan may read.

        Returns: Findings in order, overlaps resolved in favour of the kind that proves more.
        Raises: DetectError, if the text is larger than *scan_bytes_max* or the pattern set failed.
        """
        data = text.encode("utf-8", "replace")
        if len(data) > scan_bytes_max:
            raise too_large(len(data), scan_bytes_max)
        owners = _possible(self._scan(kinds, at >= CONFIDENCE_DEFAULT), data)
        return _exact(data, text, owners, at) if owners else Findings()

    def _compile(self, kinds: frozenset[str], counts: bool) -> Program:  # noqa: FBT001 — a key of the cache
        return _compiled(self._owned_patterns(kinds, counts=counts))

    def _compile_scan(self, kinds: frozenset[str], counts: bool) -> _Scan:  # noqa: FBT001 — as above
        owned = self._owned_patterns(kinds, counts=counts)
        behind: dict[int, list[_Owned]] = {}
        for each in owned:
            behind.setdefault(_clue(each[1]), []).append(each)
        first: list[_Owned] = list(behind.pop(clues.NONE, ()))
        first += [(clues.PATTERNS[clue], clue) for clue in clues.bits(reduce(or_, behind, 0))]
        return _Scan(
            _compiled(first),
            tuple((clue, _compiled(patterns)) for clue, patterns in behind.items()),
            _split(owned),
        )

    def _owned_patterns(self, kinds: frozenset[str], *, counts: bool) -> list[_Owned]:
        """The patterns of some kinds, and whose each is."""
        owned: list[_Owned] = []
        families: dict[Family, list[Recogniser]] = {}
        for kind in sorted(kinds):
            recogniser = self.recognisers[kind]
            if recogniser.family is not None:
                families.setdefault(recogniser.family, []).append(recogniser)
                continue
            owned += [(source, recogniser) for source in recogniser.patterns]
        for family, members in families.items():
            own = tuple(members)
            group = _Group(own, family.plan(own, CONFIDENCE_DEFAULT if counts else 0.0))
            owned += [(source, group) for source in group.plan.patterns]
        return owned


def _clue(owner: _Owner) -> int:
    if isinstance(owner, _Group):
        family = owner.members[0].family
        assert family is not None, owner.members
        return family.clue
    assert isinstance(owner, Recogniser), owner
    return owner.clue


def _split(owned: list[_Owned]) -> tuple[Program, ...]:
    """Programs of few patterns each, for a long text."""
    parts = max(1, min(_SETS_MAX, len(owned) // _PATTERNS_PER_SET))
    # Neighbours are alike and multiply most; every n-th keeps them apart.
    return tuple(_compiled(owned[part::parts]) for part in range(parts))


def _possible(scan: _Scan, data: bytes) -> set[_Owner]:
    """Who may find something in a text: whose clue is there, and one of whose patterns."""
    if len(data) >= _SPLIT_BYTES_MIN:
        return {owner for part in scan.long for owner in _hit(part, data)}
    seen = 0
    owners: set[_Owner] = set()
    for owner in _hit(scan.first, data):
        if isinstance(owner, int):
            seen |= owner
        else:
            owners.add(owner)
    if seen:
        for clue, program in scan.behind:
            if clue & seen:
                owners.update(_hit(program, data))
    return owners


def _compiled(owned: list[_Owned]) -> Program:
    matcher = re2.Set.SearchSet(options())
    for source, _ in owned:
        matcher.Add(utf8(source))
    matcher.Add(b"")
    matcher.Compile()
    # Its own set under the package's wrapper, which asks at every call whether the text is a str.
    return Program(matcher, matcher._set.Match, tuple([owner for _, owner in owned]), len(owned))  # noqa: SLF001 — see above


def _hit(program: Program, data: bytes) -> Sequence[_Owner]:
    """What matches, once for each of its patterns; nothing, mostly."""
    hits = program.match(data)
    if len(hits) == 1 and hits[0] == program.sentinel:
        return ()
    if program.sentinel not in hits:
        raise DetectError("the pattern set failed", code="detect_failed")
    return [program.owners[hit] for hit in hits if hit != program.sentinel]


def too_large(size: int, scan_bytes_max: int) -> DetectError:
    """The error of a text that may not be read."""
    return DetectError(
        f"a text of {size} bytes is above scan_bytes_max, {scan_bytes_max}", code="scan_too_large"
    )


def _exact(data: bytes, text: str, hit: set[_Owner], at: float) -> Findings:
    found: list[tuple[Recogniser, Candidate]] = []
    truncated: set[str] = set()
    for owner in hit:
        if isinstance(owner, _Group):
            _group_findings(owner, data, at, found, truncated)
        elif isinstance(owner, Recogniser):
            _own_findings(owner, data, at, found, truncated)
    if not found:
        return Findings(None, frozenset(truncated)) if truncated else Findings()
    layers = {_layer(recogniser) for recogniser, _ in found}
    if len(layers) == 1:
        return Findings(_as_findings(_resolved(found), data, text), frozenset(truncated))
    # A secret inside a web address is both, and so is an e-mail address: overlaps are resolved within a layer.
    together = []
    for layer in sorted(layers):
        own = [item for item in found if _layer(item[0]) == layer]
        together += _as_findings(_resolved(own), data, text)
    together.sort(key=lambda finding: (finding.start, finding.end, finding.kind))
    return Findings(together, frozenset(truncated))


def _layer(recogniser: Recogniser) -> tuple[str, bool]:
    """Kinds of one layer exclude each other where they overlap."""
    return recogniser.detector, recogniser.holds_others


def _own_findings(
    owner: Recogniser,
    data: bytes,
    at: float,
    found: list[tuple[Recogniser, Candidate]],
    truncated: set[str],
) -> None:
    count = 0
    try:
        for candidate in owner.find(data):
            if candidate.confidence < at:
                continue
            if count == FINDINGS_MAX:
                truncated.add(owner.kind)
                break
            found.append((owner, candidate))
            count += 1
    except TooManyPlacesError:
        truncated.add(owner.kind)


def _group_findings(
    group: _Group,
    data: bytes,
    at: float,
    found: list[tuple[Recogniser, Candidate]],
    truncated: set[str],
) -> None:
    counts: dict[str, int] = {}
    for recogniser, candidate in _bounded(group, data, truncated):
        if candidate.confidence < at:
            continue
        count = counts.get(recogniser.kind, 0)
        if count == FINDINGS_MAX:
            truncated.add(recogniser.kind)
            continue
        counts[recogniser.kind] = count + 1
        found.append((recogniser, candidate))


def _bounded(
    group: _Group, data: bytes, truncated: set[str]
) -> Iterator[tuple[Recogniser, Candidate]]:
    """What the family yields; a None at its end says that it gave up, and truncates all its kinds."""
    for item in group.plan.find(data):
        if item is None:
            truncated.update(member.kind for member in group.members)
            return
        yield item


def _resolved(found: list[tuple[Recogniser, Candidate]]) -> list[tuple[Recogniser, Candidate]]:
    """
    Of findings that overlap, one stays: what counts before what does not, then by rank.

    Of one rank the surer stays, then the longer, then the first.
    """
    if len(found) == 1:
        return found
    found.sort(key=lambda item: (item[1].start, item[1].end, item[0].kind))
    kept: list[tuple[Recogniser, Candidate]] = []
    for item in found:
        recogniser, candidate = item
        while kept and kept[-1][1].end > candidate.start:
            before_recogniser, before = kept[-1]
            if _weight(recogniser, candidate) <= _weight(before_recogniser, before):
                break
            kept.pop()
        else:
            kept.append(item)
    return kept


def _weight(recogniser: Recogniser, candidate: Candidate) -> tuple[bool, int, float, int]:
    rank = recogniser.rank
    if candidate.reason == PROVEN:
        rank = max(rank, _PROVEN_RANK)
    return (
        candidate.confidence >= CONFIDENCE_DEFAULT,
        rank,
        candidate.confidence,
        candidate.end - candidate.start,
    )


def _as_findings(
    found: list[tuple[Recogniser, Candidate]], data: bytes, text: str
) -> list[Finding]:
    if len(data) == len(text):
        return [Finding(r.kind, c.start, c.end, c.confidence, c.reason) for r, c in found]
    # Byte offsets become code points in one pass, since findings are sorted and disjoint.
    findings: list[Finding] = []
    byte = point = 0
    for recogniser, candidate in found:
        point += len(data[byte : candidate.start].decode())
        width = len(data[candidate.start : candidate.end].decode())
        findings.append(
            Finding(recogniser.kind, point, point + width, candidate.confidence, candidate.reason)
        )
        point += width
        byte = candidate.end
    return findings
