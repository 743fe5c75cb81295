"""One request, its rows and the time, to one decision and its effects. Pure: no clock, no I/O."""

from enforcer.engine.concluding import DECISION_BYTES_MAX
from enforcer.engine.engine import REQUEST_BYTES_MAX, Engine, EngineConfig
from enforcer.engine.outcome import Arrival, Entry, Outcome

__all__ = [
    "DECISION_BYTES_MAX",
    "REQUEST_BYTES_MAX",
    "Arrival",
    "Engine",
    "EngineConfig",
    "Entry",
    "Outcome",
]
