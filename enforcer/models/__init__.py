"""Models of others behind the detectors: optional, bounded in time, and closed where they fail."""

from enforcer.models.classifier import OnnxClassifier
from enforcer.models.guarded import Guarded

__all__ = ["Guarded", "OnnxClassifier"]
