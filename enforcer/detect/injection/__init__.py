"""Prompt injection and hidden text: a score with named signals, apart for user, retrieved and tool text."""

from __future__ import annotations

from enforcer.detect.injection.judge import NOTHING, Judgement, combined_score, judge
from enforcer.detect.injection.weights import ATTACK_AT, ORIGINS, WEIGHTS

__all__ = ["ATTACK_AT", "NOTHING", "ORIGINS", "WEIGHTS", "Judgement", "combined_score", "judge"]
