"""
Policies: documents, checker, compiler, program. Pure: text comes in, functions come out.

``load`` reads and checks documents; ``compile_scope`` and ``compile_tenant`` make programs of them;
``TenantProgram.evaluate`` is step 1 of a decision. Laws: docs/policy-language.md; findings: docs/errors.md.
"""

from enforcer.policy.canonical import policy_digest, set_digest
from enforcer.policy.fields import FieldError
from enforcer.policy.findings import CODES, Finding
from enforcer.policy.limits import BudgetLimit, RateLimit, key_values
from enforcer.policy.loader import Document, Loaded, load
from enforcer.policy.mending import mended
from enforcer.policy.model import (
    EditSpec,
    Evaluation,
    EvaluationError,
    FactsView,
    Match,
    RuleErrorInfo,
)
from enforcer.policy.program import (
    ScopeProgram,
    TenantProgram,
    compile_scope,
    compile_scope_steps,
    compile_tenant,
)
from enforcer.policy.reading import ABSENT, get_path
from enforcer.policy.settings import TenantSettings
from enforcer.policy.steps import Steps, finish
from enforcer.policy.stops import SCOPE as STOPS

__all__ = [
    "ABSENT",
    "CODES",
    "STOPS",
    "BudgetLimit",
    "Document",
    "EditSpec",
    "Evaluation",
    "EvaluationError",
    "FactsView",
    "FieldError",
    "Finding",
    "Loaded",
    "Match",
    "RateLimit",
    "RuleErrorInfo",
    "ScopeProgram",
    "Steps",
    "TenantProgram",
    "TenantSettings",
    "compile_scope",
    "compile_scope_steps",
    "compile_tenant",
    "finish",
    "get_path",
    "key_values",
    "load",
    "mended",
    "policy_digest",
    "set_digest",
]
