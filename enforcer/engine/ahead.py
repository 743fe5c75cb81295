"""
Looking ahead: what a request alone determines, made for the next few requests at once, each step for all of them.

Reading a text for tokens and for personal data is native code over large tables. Between two Python steps of one
decision these tables are out of the nearest cache again, and the same scan takes two to three times as long as back
to back. So the requests at the head of a queue are decoded together, then counted together, then scanned together.

Nothing depends on it: what is foreseen is what the decision would find itself, and a step that fails is left to it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import detect, events
from enforcer.engine.prices import called, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from enforcer.policy import TenantProgram

    FactsOf = Callable[[TenantProgram, events.Request, int], detect.RequestFacts]


_PII: Final = "pii"
"""In what a program's rules have looked for: personal data of its kinds."""


class Ahead(NamedTuple):
    """
    One request as read, and its facts under a program.

    Attributes:
        facts: Of the request with nothing filled in; None where the tenant has defaults.
        day: The facts' date: prices are that day's.
        known: Facts of its long texts, which were read elsewhere; None where there are none.
    """

    request: events.Request
    program: TenantProgram
    facts: detect.RequestFacts | None
    day: date
    known: Mapping[str, detect.CachedFacts] | None = None

    def facts_under(self, program: TenantProgram, now_us: int) -> detect.RequestFacts | None:
        """The facts, if they were made under this program and for the prices of this moment's day."""
        return self.facts if self.program is program and self.day == day_of(now_us) else None


class LongRequest(NamedTuple):
    """
    A request whose long texts are to be read elsewhere, and which of their facts are wanted.

    Attributes:
        ahead: The request, and where the facts of its texts are to be put before its turn.
        found: The same place: facts by text.
    """

    ahead: Ahead
    found: dict[str, detect.CachedFacts]
    texts: list[detect.LongText]
    wanted: detect.Wanted


class Foresight:
    """Looks ahead, and notes at each program what its rules ask for: a guess, on which no decision depends."""

    __slots__ = ("_facts_of", "_models", "_timed")

    def __init__(
        self, facts_of: FactsOf, timed: detect.Timed | None, models: detect.Models
    ) -> None:
        """*facts_of*: the engine's facts of a request, none computed yet; *timed* takes the time of the detectors."""
        self._facts_of = facts_of
        self._timed = timed
        self._models = models

    def note(self, program: TenantProgram, facts: detect.RequestFacts) -> None:
        """A request was decided: what its rules asked for, the next one's will."""
        asked = program.looked_for
        if facts.has_asked_for_pii and _PII not in asked:
            asked.add(_PII)
        more = facts.more_asked_for
        if more:
            asked |= more

    def read_long(
        self, program_of: Callable[[str], TenantProgram], value: bytes, now_us: int
    ) -> LongRequest | None:
        """
        Read a large request for what is to be read of it elsewhere.

        Returns: None if none of its texts is long, and where it is for the decision to say what is wrong.
        """
        with contextlib.suppress(Exception):
            request = events.read_request(value)
            program = program_of(request.tenant)
            texts = detect.long_texts(request)
            if texts and program.known and not program.invalid:
                found: dict[str, detect.CachedFacts] = {}
                ahead = Ahead(request, program, None, day_of(now_us), found)
                return LongRequest(ahead, found, texts, self._wanted(program, request))
        return None

    def _wanted(self, program: TenantProgram, request: events.Request) -> detect.Wanted:
        """What the rules of *program* have asked for so far. Models of others are asked here, not elsewhere."""
        provider, model = called(program.settings, request.llm.provider, request.llm.model)
        more = program.looked_for
        own_pii = _PII in more and self._models.entities is None
        return detect.Wanted(
            vocabulary=detect.vocabulary_of(model, provider).name,
            kinds=program.pii_kinds if own_pii else None,
            at=tuple(sorted(each for each in more if isinstance(each, float))),
            secrets="secrets" in more,
            injection="injection" in more and self._models.classifier is None,
        )

    def look_ahead(
        self,
        program_of: Callable[[str], TenantProgram],
        values: Sequence[bytes | None],
        now_us: int,
    ) -> list[Ahead | None]:
        """
        Read *values* and find their facts.

        Args:
            program_of: The program in force for a tenant.
            values: Of request records.
            now_us: Event time, as far as it is known.

        Returns: One for each value; None where it is for the decision to say what is wrong.
        """
        day = day_of(now_us)
        found: list[Ahead | None] = []
        known: list[tuple[detect.RequestFacts, bool]] = []
        for value in values:
            try:
                request = events.read_request(value or b"")
                program = program_of(request.tenant)
                has_defaults = bool(program.settings.defaults)
                facts = None if has_defaults else self._facts_of(program, request, now_us)
                found.append(Ahead(request, program, facts, day))
            except Exception:  # noqa: BLE001 — the decision meets it again, where it is told as what it is
                found.append(None)
                continue
            if facts is not None and program.known and not program.invalid:
                known.append((facts, _PII in program.looked_for))
        if self._timed is None:
            _foresee(known)
        else:
            self._timed(lambda: _foresee(known))
        return found


def _foresee(known: Sequence[tuple[detect.RequestFacts, bool]]) -> None:
    # Not `contextlib.suppress`, which is three calls for each of them.
    for facts, _ in known:
        try:  # noqa: SIM105 — as above
            facts.foresee_tokens()
        except Exception:  # noqa: BLE001, S110 — whoever asks for the fact meets it again
            pass
    for facts, wants_pii in known:
        if wants_pii:
            try:  # noqa: SIM105 — as above
                facts.foresee_pii()
            except Exception:  # noqa: BLE001, S110 — as above
                pass
