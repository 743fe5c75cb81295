"""
A deterministic simulation: a cluster, processes, disks and time in memory, all from one seed.

``SimulatedBroker`` stands behind ``broker``'s port, so that whatever runs on Kafka runs on it unchanged. On a
``SimulatedLoop`` the same seed gives the same run, to the callback; on any other loop, with fair weather, it is a
small Kafka for tests.
"""

from enforcer.testing.simulation.broker import SimulatedBroker, SimulatedMembership
from enforcer.testing.simulation.cluster import Cluster
from enforcer.testing.simulation.disk import Disk, SimulatedTable
from enforcer.testing.simulation.log import Entry, Log
from enforcer.testing.simulation.loop import (
    PROCESS,
    Died,
    Process,
    SimulatedLoop,
    StuckError,
    simulated_clock,
)
from enforcer.testing.simulation.weather import Marks, Odds, Storm, Strike, Weather

__all__ = [
    "PROCESS",
    "Cluster",
    "Died",
    "Disk",
    "Entry",
    "Log",
    "Marks",
    "Odds",
    "Process",
    "SimulatedBroker",
    "SimulatedLoop",
    "SimulatedMembership",
    "SimulatedTable",
    "Storm",
    "Strike",
    "StuckError",
    "Weather",
    "simulated_clock",
]
