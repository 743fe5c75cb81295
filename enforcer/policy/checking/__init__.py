"""
Proofs about expressions: what passes here has a value on every request, as far as its fields are declared.

And second thoughts about what is well formed and hardly meant.
"""

from enforcer.policy.checking.proof import prove
from enforcer.policy.checking.reporting import prove_policy
from enforcer.policy.checking.second_thoughts import Placed, compare, think_again

__all__ = ["Placed", "compare", "prove", "prove_policy", "think_again"]
