"""
What models of others add to the detectors: entities of any recogniser, and the score of a classifier.

They are functions that the caller gives (``enforcer.models`` bounds them); here their answers are joined with
the detectors' own. What they find stands beside a detector's finding, never in its place; what they raise is the fact's error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enforcer.detect import pii
from enforcer.detect.scanning import CONFIDENCE_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ATTACK_FROM = 0.5
Entity = tuple[str, int, int, float]
"""Kind, start and end in code points, confidence."""


@dataclass(frozen=True, slots=True)
class Models:
    """
    The models that are asked, if there are any.

    Attributes:
        entities: From a text to what it holds: ``(kind, start, end, confidence)``, of kinds of personal data.
        classifier: From a text to the probability that it is an attack.
    """

    entities: Callable[[str], Iterable[Entity]] | None = None
    classifier: Callable[[str], float] | None = None

    def found(self, text: str, kinds: frozenset[str]) -> list[Entity]:
        """The entities of some kinds that count; those that lie outside of the text are none."""
        if self.entities is None:
            return []
        return [
            (kind, start, end, confidence)
            for kind, start, end, confidence in self.entities(text)
            if kind in kinds and confidence >= CONFIDENCE_DEFAULT and 0 <= start < end <= len(text)
        ]

    def counted(self, text: str, kinds: frozenset[str]) -> dict[str, int]:
        """Findings by kind, the detectors' and the entities that they did not find."""
        counts = pii.counts(text, kinds)
        own = pii.scan(text, kinds)
        for kind, start, end, _ in self.found(text, kinds):
            if not any(f.kind == kind and f.start < end and start < f.end for f in own):
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    def judged(
        self, text: str, score: float, signals: tuple[str, ...]
    ) -> tuple[float, tuple[str, ...]]:
        """The higher score of the two; ``classifier`` is a signal where the model sees an attack."""
        if self.classifier is None:
            return score, signals
        probability = self.classifier(text)
        if probability >= ATTACK_FROM:
            signals = tuple(sorted({*signals, "classifier"}))
        return max(score, probability), signals


NO_MODELS = Models()
