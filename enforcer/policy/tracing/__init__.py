"""What a decision's rules looked at: every term of every condition, its value, and why others were passed over."""

from enforcer.policy.tracing.program import Asked, TracedProgram
from enforcer.policy.tracing.terms import Term, describe_term
from enforcer.policy.tracing.traces import PolicyTrace, RuleTrace, TermTrace
from enforcer.policy.tracing.walk import TracedPolicy, trace_policies, traced_policies

__all__ = [
    "Asked",
    "PolicyTrace",
    "RuleTrace",
    "Term",
    "TermTrace",
    "TracedPolicy",
    "TracedProgram",
    "describe_term",
    "trace_policies",
    "traced_policies",
]
