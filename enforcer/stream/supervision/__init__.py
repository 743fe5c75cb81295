"""
Several workers as one: a parent that forks them, starts again what has ended, and answers for all of them.

The parent imports and warms everything once and runs no agent, so that a fork of it decides within a moment, and shares
with its siblings the memory that none of them writes.
"""

from enforcer.stream.supervision.channel import ChildEnd
from enforcer.stream.supervision.health import FleetHealth
from enforcer.stream.supervision.restarts import Restarts
from enforcer.stream.supervision.supervisor import Supervisor

__all__ = ["ChildEnd", "FleetHealth", "Restarts", "Supervisor"]
