"""
The stages of compilation, as a table: from texts to the program of a tenant.

Each stage reads what the ones before it made, and has the name of the metric that its time goes by. The order is the
only one there is, but for one choice: a scope's values are read before its policies are checked, for
``values.<id>`` is part of an expression's type. The core has no clock: whoever wants times brings one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

from enforcer.policy.findings import Findings
from enforcer.policy.loader import Document, load
from enforcer.policy.program import ScopeProgram, TenantProgram, compile_scope, compile_tenant
from enforcer.policy.source import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

    from enforcer.policy.findings import Finding
    from enforcer.policy.model import PolicyCode


@dataclass(slots=True)
class Compilation:
    """What the stages make of *sources*, names and texts, for *tenant*."""

    sources: list[tuple[str, str]]
    tenant: str
    nodes: int = 0
    documents: tuple[Document, ...] = ()
    findings: tuple[Finding, ...] = ()
    scopes: dict[str, ScopeProgram] = field(default_factory=dict)
    program: TenantProgram | None = None


class Stage(NamedTuple):
    """One step: its name, its metric, what it does, and what it comes to as a size."""

    name: str
    metric: str
    does: str
    run: Callable[[Compilation], int]


def _read(work: Compilation) -> int:
    return sum(len(read(name, text, Findings())) for name, text in work.sources)


def _check(work: Compilation) -> int:
    loaded = load(work.sources)
    work.documents, work.findings = loaded.documents, loaded.findings
    return len(work.documents)


def _compile(work: Compilation) -> int:
    for scope in sorted({each.scope for each in work.documents}):
        work.scopes[scope] = compile_scope(work.documents, scope)
    return sum(code_bytes(code) for each in work.scopes.values() for code in each.policies)


def _index(work: Compilation) -> int:
    own = work.scopes.get(work.tenant) if work.tenant != "*" else None
    work.program = compile_tenant(work.scopes.get("*"), own, work.tenant)
    return len(work.program.policies)


STAGES: tuple[Stage, ...] = (
    Stage("read", "policy_read_seconds", "texts to trees with places; documents", _read),
    Stage(
        "check", "policy_check_seconds", "shape, meaning, types; the trees again; documents", _check
    ),
    Stage(
        "compile", "policy_compile_seconds", "the form to Python functions; bytes of code", _compile
    ),
    Stage(
        "index", "policy_index_seconds", "which policies a request can concern; policies", _index
    ),
)


def code_bytes(policy: PolicyCode) -> int:
    """The size of a policy's function, without what stands beside it."""
    code: bytes = cast("FunctionType", policy.run).__code__.co_code
    return len(code)


class Timing(NamedTuple):
    """A stage, what it took and what it came to."""

    stage: Stage
    took_ns: int
    size: int


def run_stages(work: Compilation, clock_ns: Callable[[], int]) -> list[Timing]:
    """Run every stage; after one that leaves errors the others are not run."""
    timings: list[Timing] = []
    for stage in STAGES:
        begun = clock_ns()
        size = stage.run(work)
        timings.append(Timing(stage, clock_ns() - begun, size))
        if any(each.severity == "error" for each in work.findings):
            break
    return timings
