"""Proofs about expressions: what passes here has a value on every request, as far as its fields are declared."""

from enforcer.policy.checking.proof import prove
from enforcer.policy.checking.reporting import prove_policy

__all__ = ["prove", "prove_policy"]
