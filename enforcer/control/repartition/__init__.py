"""Moving an installation to a larger number of partitions: nothing lost, nothing doubled, and resumed where it was killed."""

from enforcer.control.repartition.moving import Moved, repartition

__all__ = ["Moved", "repartition"]
