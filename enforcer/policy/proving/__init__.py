"""
Proofs about policies, by a solver: what holds for every request, and a request where it does not.

Needs the extra ``proof`` (z3-solver). ``decisions`` has the theory of operation.
"""

from enforcer.policy.proving.answers import Answer, equivalent, prove

__all__ = ["Answer", "equivalent", "prove"]
